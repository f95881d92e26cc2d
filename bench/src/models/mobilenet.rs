use super::{Data, Graph, Network, windows};

/// The shape of MobileNet V2 for one image of 224 × 224, its normalisations folded into the convolutions.
pub(crate) fn mobilenet() -> Network {
    let mut graph = Graph::new(2);
    let pixels = graph.random.floats(3 * 224 * 224, 2.0);
    let image = graph.input("x", &[1, 3, 224, 224], Data::Floats(pixels));
    let bounds = [graph.floats(&[], &[0.0]), graph.floats(&[], &[6.0])];
    let mut x = convolution(&mut graph, &image, [3, 32, 1], 3, 2, Some(&bounds));
    let mut channels = 32;
    for (expansion, width, blocks, stride) in
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    {
        for block in 0..blocks {
            let stride = if block == 0 { stride } else { 1 };
            let wide = channels * expansion;
            let mut y = x.clone();
            if expansion > 1 {
                y = convolution(&mut graph, &y, [channels, wide, 1], 1, 1, Some(&bounds));
            }
            let y = convolution(&mut graph, &y, [wide, wide, wide], 3, stride, Some(&bounds));
            let y = convolution(&mut graph, &y, [wide, width, 1], 1, 1, None);
            x = if block > 0 { graph.node("Add", &[&x, &y], &[]) } else { y };
            channels = width;
        }
    }
    let x = convolution(&mut graph, &x, [channels, 1280, 1], 1, 1, Some(&bounds));
    let x = graph.node("GlobalAveragePool", &[&x], &[]);
    let x = graph.node("Flatten", &[&x], &[]);
    let (weights, bias) = (graph.weights(0.04, &[1280, 1000]), graph.weights(0.1, &[1000]));
    let scores = graph.node("Gemm", &[&x, &weights, &bias], &[]);
    graph.finish(&scores, &[1, 1000])
}

fn convolution(
    graph: &mut Graph,
    x: &str,
    [from, to, groups]: [i64; 3],
    kernel: i64,
    stride: i64,
    bounds: Option<&[String; 2]>,
) -> String {
    let taps = from / groups * kernel * kernel;
    let weights = graph.weights((4.0 / taps as f32).sqrt(), &[to, from / groups, kernel, kernel]);
    let bias = graph.weights(0.1, &[to]);
    let y = graph.node("Conv", &[x, &weights, &bias], &windows(kernel, stride, groups));
    match bounds {
        Some([low, high]) => graph.node("Clip", &[&y, low, high], &[]),
        None => y,
    }
}
