//! Models of one operator.

use super::bert::gelu;
use super::{Data, Graph, Network};

/// `x × weights`, of these rows, depth and columns.
pub(crate) fn matmul([rows, depth, columns]: [i64; 3]) -> Network {
    let mut graph = Graph::new(1);
    let x = graph.random.floats(rows * depth, 1.0);
    let x = graph.input("x", &[rows, depth], Data::Floats(x));
    let y = graph.product(&x, depth, columns);
    graph.finish(&y, &[rows, columns])
}

/// A convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convolution {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) groups: i64,
    pub(crate) kernel: i64,
    pub(crate) stride: i64,
    /// Of the square image.
    pub(crate) size: i64,
}

pub(crate) fn convolution(shape: Convolution) -> Network {
    let Convolution { from, to, groups, kernel, stride, size } = shape;
    let mut graph = Graph::new(1);
    let x = graph.random.floats(from * size * size, 1.0);
    let x = graph.input("x", &[1, from, size, size], Data::Floats(x));
    let y = graph.convolution(&x, [from, to, groups], kernel, stride);
    let size = (size - 1) / stride + 1;
    graph.finish(&y, &[1, to, size, size])
}

/// An operator on rows.
pub(crate) fn rows(operator: &str, [rows, length]: [i64; 2]) -> Network {
    let mut graph = Graph::new(1);
    let x = graph.random.floats(rows * length, 4.0);
    let x = graph.input("x", &[rows, length], Data::Floats(x));
    let y = match operator {
        "LayerNormalization" => {
            let [scale, bias] = [graph.weights(1.0, &[length]), graph.weights(1.0, &[length])];
            graph.node(operator, &[&x, &scale, &bias], &[])
        }
        "Gelu" => gelu(&mut graph, &x),
        _ => graph.node(operator, &[&x], &[]),
    };
    graph.finish(&y, &[rows, length])
}
