use super::{Data, Graph, Network, windows, writer};

/// ResNet-50 for one image of 224 × 224, its normalisations not folded into the convolutions.
pub(crate) fn resnet50() -> Network {
    let mut graph = Graph::new(50);
    let pixels = graph.random.floats(3 * 224 * 224, 2.0);
    let image = graph.input("x", &[1, 3, 224, 224], Data::Floats(pixels));
    let stem = normalised(&mut graph, &image, [3, 64], 7, 2);
    let stem = graph.node("Relu", &[&stem], &[]);
    let mut x = graph.node("MaxPool", &[&stem], &windows(3, 2, 1));
    let mut channels = 64;
    for (width, blocks, stride) in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)] {
        for block in 0..blocks {
            let stride = if block == 0 { stride } else { 1 };
            let y = normalised(&mut graph, &x, [channels, width], 1, 1);
            let y = graph.node("Relu", &[&y], &[]);
            let y = normalised(&mut graph, &y, [width, width], 3, stride);
            let y = graph.node("Relu", &[&y], &[]);
            let y = normalised(&mut graph, &y, [width, 4 * width], 1, 1);
            if block == 0 {
                x = normalised(&mut graph, &x, [channels, 4 * width], 1, stride);
                channels = 4 * width;
            }
            let sum = graph.node("Add", &[&y, &x], &[]);
            x = graph.node("Relu", &[&sum], &[]);
        }
    }
    let x = graph.node("GlobalAveragePool", &[&x], &[]);
    let x = graph.node("Flatten", &[&x], &[]);
    let (weights, bias) = (graph.weights(0.04, &[1000, 2048]), graph.weights(0.1, &[1000]));
    let scores = graph.node("Gemm", &[&x, &weights, &bias], &[writer::int("transB", 1)]);
    graph.finish(&scores, &[1, 1000])
}

fn normalised(graph: &mut Graph, x: &str, [from, to]: [i64; 2], kernel: i64, stride: i64) -> String {
    let y = graph.convolution(x, [from, to, 1], kernel, stride);
    let [scale, bias] = [(0.7, 0.2), (0.0, 0.1)].map(|(centre, bound)| graph.weights_around(centre, bound, &[to]));
    let [mean, variance] = [(0.0, 0.1), (1.0, 0.2)].map(|(centre, bound)| graph.weights_around(centre, bound, &[to]));
    graph.node("BatchNormalization", &[&y, &scale, &bias, &mean, &variance], &[])
}
