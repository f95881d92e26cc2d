use super::writer::{float, int, ints};
use super::{Data, Graph, Network};

const LAYERS: usize = 12;
const TOKENS: i64 = 128;
const WIDTH: i64 = 768;
const HEADS: i64 = 12;
const INNER: i64 = 3072;
/// Fewer than there are, which saves memory and no time.
const WORDS: i64 = 1024;

/// BERT-base for one sequence of 128 tokens, with a mask, as exporters write it.
pub(crate) fn bert() -> Network {
    let mut graph = Graph::new(12);
    let ids = (0..TOKENS).map(|_| graph.random.below(WORDS as u64)).collect();
    let ids = graph.input("ids", &[1, TOKENS], Data::Longs(ids));
    let mask = graph.input("mask", &[1, TOKENS], Data::Longs((0..TOKENS).map(|at| i64::from(at < 120)).collect()));
    let mask = additive(&mut graph, &mask);

    let words = graph.weights(0.05, &[WORDS, WIDTH]);
    let places = graph.weights(0.05, &[1, TOKENS, WIDTH]);
    let x = graph.node("Gather", &[&words, &ids], &[]);
    let x = graph.node("Add", &[&x, &places], &[]);
    let mut x = normalised(&mut graph, &x);
    for _ in 0..LAYERS {
        let attention = attention(&mut graph, &x, &mask);
        let sum = graph.node("Add", &[&attention, &x], &[]);
        x = normalised(&mut graph, &sum);
        let inner = graph.linear(&x, WIDTH, INNER);
        let inner = gelu(&mut graph, &inner);
        let outer = graph.linear(&inner, INNER, WIDTH);
        let sum = graph.node("Add", &[&outer, &x], &[]);
        x = normalised(&mut graph, &sum);
    }
    graph.finish(&x, &[1, TOKENS, WIDTH])
}

/// 0 where the mask is 1, and -10,000 where it is 0.
fn additive(graph: &mut Graph, mask: &str) -> String {
    let axes = graph.longs(&[2], &[1, 2]);
    let mask = graph.node("Unsqueeze", &[mask, &axes], &[]);
    let mask = graph.node("Cast", &[&mask], &[int("to", 1)]);
    let one = graph.floats(&[], &[1.0]);
    let mask = graph.node("Sub", &[&one, &mask], &[]);
    let least = graph.floats(&[], &[-10_000.0]);
    graph.node("Mul", &[&mask, &least], &[])
}

fn attention(graph: &mut Graph, x: &str, mask: &str) -> String {
    let [q, k, v] = [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]].map(|order| {
        let y = graph.linear(x, WIDTH, WIDTH);
        let y = graph.reshape(&y, &[0, 0, HEADS, WIDTH / HEADS]);
        graph.node("Transpose", &[&y], &[ints("perm", &order)])
    });
    let scores = graph.node("MatMul", &[&q, &k], &[]);
    let root = graph.floats(&[], &[((WIDTH / HEADS) as f32).sqrt()]);
    let scores = graph.node("Div", &[&scores, &root], &[]);
    let scores = graph.node("Add", &[&scores, mask], &[]);
    let shares = graph.node("Softmax", &[&scores], &[int("axis", -1)]);
    let heads = graph.node("MatMul", &[&shares, &v], &[]);
    let heads = graph.transpose(&heads, &[0, 2, 1, 3]);
    let heads = graph.reshape(&heads, &[0, 0, WIDTH]);
    graph.linear(&heads, WIDTH, WIDTH)
}

fn normalised(graph: &mut Graph, x: &str) -> String {
    let [scale, bias] = [1.0, 0.0].map(|centre| graph.weights_around(centre, 0.1, &[WIDTH]));
    graph.node("LayerNormalization", &[x, &scale, &bias], &[int("axis", -1), float("epsilon", 1e-12)])
}

/// Spelled with the error function.
pub(super) fn gelu(graph: &mut Graph, x: &str) -> String {
    let [root, one, half] = [2.0f32.sqrt(), 1.0, 0.5].map(|number| graph.floats(&[], &[number]));
    let y = graph.node("Div", &[x, &root], &[]);
    let y = graph.node("Erf", &[&y], &[]);
    let y = graph.node("Add", &[&y, &one], &[]);
    let y = graph.node("Mul", &[x, &y], &[]);
    graph.node("Mul", &[&y, &half], &[])
}
