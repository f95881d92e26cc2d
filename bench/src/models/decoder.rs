use super::writer::{int, ints};
use super::{Data, Graph, Network};

const LAYERS: usize = 4;
const TOKENS: i64 = 64;
const WIDTH: i64 = 512;
const HEADS: i64 = 8;
const HEAD: i64 = WIDTH / HEADS;
const INNER: i64 = 1408;
const WORDS: i64 = 4096;

/// A small decoder of text after the manner of Llama, for 64 tokens: rotated positions, a causal mask, gated layers, normalisation by the
/// root of the mean square spelled out.
pub(crate) fn decoder() -> Network {
    let mut graph = Graph::new(4);
    let ids = (0..TOKENS).map(|_| graph.random.below(WORDS as u64)).collect();
    let ids = graph.input("ids", &[1, TOKENS], Data::Longs(ids));
    let mask: Vec<f32> =
        (0..TOKENS * TOKENS).map(|at| if at % TOKENS > at / TOKENS { f32::MIN } else { 0.0 }).collect();
    let mask = graph.floats(&[1, 1, TOKENS, TOKENS], &mask);
    let angle = |at: i64| {
        let (token, lane) = (at / HEAD, at % (HEAD / 2));
        token as f32 / 10_000f32.powf(2.0 * lane as f32 / HEAD as f32)
    };
    let turns = [f32::cos, f32::sin].map(|of| {
        let numbers: Vec<f32> = (0..TOKENS * HEAD).map(|at| of(angle(at))).collect();
        graph.floats(&[1, 1, TOKENS, HEAD], &numbers)
    });

    let words = graph.weights(0.5, &[WORDS, WIDTH]);
    let mut x = graph.node("Gather", &[&words, &ids], &[]);
    for _ in 0..LAYERS {
        let normal = normalised(&mut graph, &x);
        let attention = attention(&mut graph, &normal, &turns, &mask);
        x = graph.node("Add", &[&x, &attention], &[]);
        let normal = normalised(&mut graph, &x);
        let gate = graph.product(&normal, WIDTH, INNER);
        let sigmoid = graph.node("Sigmoid", &[&gate], &[]);
        let gate = graph.node("Mul", &[&gate, &sigmoid], &[]);
        let inner = graph.product(&normal, WIDTH, INNER);
        let inner = graph.node("Mul", &[&gate, &inner], &[]);
        let outer = graph.product(&inner, INNER, WIDTH);
        x = graph.node("Add", &[&x, &outer], &[]);
    }
    let normal = normalised(&mut graph, &x);
    let scores = graph.product(&normal, WIDTH, WORDS);
    graph.finish(&scores, &[1, TOKENS, WORDS])
}

fn normalised(graph: &mut Graph, x: &str) -> String {
    let [two, epsilon] = [2.0, 1e-6].map(|number| graph.floats(&[], &[number]));
    let scale = graph.weights_around(1.0, 0.1, &[WIDTH]);
    let squares = graph.node("Pow", &[x, &two], &[]);
    let mean = graph.node("ReduceMean", &[&squares], &[ints("axes", &[-1])]);
    let mean = graph.node("Add", &[&mean, &epsilon], &[]);
    let root = graph.node("Sqrt", &[&mean], &[]);
    let normal = graph.node("Div", &[x, &root], &[]);
    graph.node("Mul", &[&normal, &scale], &[])
}

fn attention(graph: &mut Graph, x: &str, turns: &[String; 2], mask: &str) -> String {
    let heads = |graph: &mut Graph| {
        let y = graph.product(x, WIDTH, WIDTH);
        let y = graph.reshape(&y, &[1, TOKENS, HEADS, HEAD]);
        graph.transpose(&y, &[0, 2, 1, 3])
    };
    let [q, k] = [heads(graph), heads(graph)].map(|y| rotated(graph, &y, turns));
    let v = heads(graph);
    let k = graph.transpose(&k, &[0, 1, 3, 2]);
    let scores = graph.node("MatMul", &[&q, &k], &[]);
    let root = graph.floats(&[], &[(HEAD as f32).sqrt()]);
    let scores = graph.node("Div", &[&scores, &root], &[]);
    let scores = graph.node("Add", &[&scores, mask], &[]);
    let shares = graph.node("Softmax", &[&scores], &[int("axis", -1)]);
    let y = graph.node("MatMul", &[&shares, &v], &[]);
    let y = graph.transpose(&y, &[0, 2, 1, 3]);
    let y = graph.reshape(&y, &[1, TOKENS, WIDTH]);
    graph.product(&y, WIDTH, WIDTH)
}

/// Pairs of lanes turned by angles that grow with the position.
fn rotated(graph: &mut Graph, x: &str, [cosine, sine]: &[String; 2]) -> String {
    let straight = graph.node("Mul", &[x, cosine], &[]);
    let [start, middle, end, axis] = [0, HEAD / 2, HEAD, 3].map(|number| graph.longs(&[1], &[number]));
    let lower = graph.node("Slice", &[x, &start, &middle, &axis], &[]);
    let upper = graph.node("Slice", &[x, &middle, &end, &axis], &[]);
    let upper = graph.node("Neg", &[&upper], &[]);
    let turned = graph.node("Concat", &[&upper, &lower], &[int("axis", -1)]);
    let turned = graph.node("Mul", &[&turned, sine], &[]);
    graph.node("Add", &[&straight, &turned], &[])
}
