//! Networks of known shapes whose weights are drawn from a fixed seed: what they compute means nothing, and takes as long as if it did.

mod bert;
mod decoder;
mod mobilenet;
mod resnet;
pub(crate) mod single;
mod writer;

pub(crate) use bert::bert;
pub(crate) use decoder::decoder;
pub(crate) use mobilenet::mobilenet;
pub(crate) use resnet::resnet50;

use writer::Message;

const FLOAT: i64 = 1;
const LONG: i64 = 7;

/// An ONNX file and what it is run on.
pub(crate) struct Network {
    pub(crate) onnx: Vec<u8>,
    pub(crate) inputs: Vec<Input>,
}

/// One input, with its name and shape.
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) shape: Vec<i64>,
    pub(crate) data: Data,
}

pub(crate) enum Data {
    Floats(Vec<f32>),
    Longs(Vec<i64>),
}

/// The same numbers for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Between -bound and bound.
    pub(crate) fn floats(&mut self, count: i64, bound: f32) -> Vec<f32> {
        (0..count).map(|_| ((self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0) * bound).collect()
    }

    fn below(&mut self, bound: u64) -> i64 {
        (self.next() >> 20).checked_rem(bound).unwrap_or(0).cast_signed()
    }
}

/// A graph under construction. Values are called by numbers.
struct Graph {
    random: Random,
    nodes: Vec<Message>,
    constants: Vec<Message>,
    inputs: Vec<Input>,
    values: usize,
}

impl Graph {
    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), nodes: Vec::new(), constants: Vec::new(), inputs: Vec::new(), values: 0 }
    }

    fn name(&mut self) -> String {
        self.values += 1;
        format!("v{}", self.values)
    }

    /// An input of the model.
    fn input(&mut self, name: &'static str, shape: &[i64], data: Data) -> String {
        self.inputs.push(Input { name, shape: shape.to_vec(), data });
        name.to_owned()
    }

    /// Weights between -bound and bound, plus `centre`.
    fn weights_around(&mut self, centre: f32, bound: f32, shape: &[i64]) -> String {
        let numbers = self.random.floats(shape.iter().product(), bound);
        self.floats(shape, &numbers.iter().map(|number| number + centre).collect::<Vec<_>>())
    }

    fn weights(&mut self, bound: f32, shape: &[i64]) -> String {
        self.weights_around(0.0, bound, shape)
    }

    fn floats(&mut self, shape: &[i64], numbers: &[f32]) -> String {
        let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let name = self.name();
        self.constants.push(writer::tensor(&name, FLOAT, shape, &data));
        name
    }

    fn longs(&mut self, shape: &[i64], numbers: &[i64]) -> String {
        let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let name = self.name();
        self.constants.push(writer::tensor(&name, LONG, shape, &data));
        name
    }

    fn node(&mut self, operator: &str, inputs: &[&str], attributes: &[Message]) -> String {
        let output = self.name();
        self.nodes.push(writer::node(operator, inputs, &output, attributes));
        output
    }

    /// `x × weights`.
    fn product(&mut self, x: &str, from: i64, to: i64) -> String {
        let weights = self.weights((3.0 / from as f32).sqrt(), &[from, to]);
        self.node("MatMul", &[x, &weights], &[])
    }

    /// `x × weights + bias`.
    fn linear(&mut self, x: &str, from: i64, to: i64) -> String {
        let product = self.product(x, from, to);
        let bias = self.weights(0.1, &[to]);
        self.node("Add", &[&product, &bias], &[])
    }

    fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.longs(&[shape.len() as i64], shape);
        self.node("Reshape", &[x, &shape], &[])
    }

    fn transpose(&mut self, x: &str, order: &[i64]) -> String {
        self.node("Transpose", &[x], &[writer::ints("perm", order)])
    }

    /// A convolution without a bias.
    fn convolution(&mut self, x: &str, [from, to, groups]: [i64; 3], kernel: i64, stride: i64) -> String {
        let taps = from / groups * kernel * kernel;
        let weights = self.weights((6.0 / taps as f32).sqrt(), &[to, from / groups, kernel, kernel]);
        self.node("Conv", &[x, &weights], &windows(kernel, stride, groups))
    }

    /// The file, whose output is `y`, of floats.
    fn finish(self, y: &str, shape: &[i64]) -> Network {
        let ports: Vec<_> = self
            .inputs
            .iter()
            .map(|input| {
                let element_type = match input.data {
                    Data::Floats(_) => FLOAT,
                    Data::Longs(_) => LONG,
                };
                writer::port(input.name, element_type, &input.shape)
            })
            .collect();
        let graph = Message::default()
            .all(1, &self.nodes)
            .bytes(2, "network")
            .all(5, &self.constants)
            .all(11, &ports)
            .all(12, [&writer::port(y, FLOAT, shape)]);
        let operators = Message::default().bytes(1, "").int(2, 17);
        let onnx = Message::default().int(1, 8).bytes(7, graph.0).bytes(8, operators.0).0;
        Network { onnx, inputs: self.inputs }
    }
}

/// Attributes of a square window with the padding that keeps the size.
fn windows(kernel: i64, stride: i64, groups: i64) -> Vec<Message> {
    let mut attributes = vec![
        writer::ints("kernel_shape", &[kernel; 2]),
        writer::ints("strides", &[stride; 2]),
        writer::ints("pads", &[kernel / 2; 4]),
    ];
    if groups > 1 {
        attributes.push(writer::int("group", groups));
    }
    attributes
}
