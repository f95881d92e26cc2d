//! Writes ONNX files for tests, field by field, so that wrong ones can be written too.

/// A message under construction.
#[derive(Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn int(mut self, field: u64, value: i64) -> Self {
        varint(&mut self.0, field << 3);
        varint(&mut self.0, value.cast_unsigned());
        self
    }

    #[allow(dead_code, reason = "of the two test programs that share this file, one needs no such attribute")]
    pub(crate) fn fixed(mut self, field: u64, value: f32) -> Self {
        varint(&mut self.0, field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        varint(&mut self.0, field << 3 | 2);
        varint(&mut self.0, value.as_ref().len() as u64);
        self.0.extend(value.as_ref());
        self
    }

    pub(crate) fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, value.0)
    }

    pub(crate) fn all(self, field: u64, values: impl IntoIterator<Item = Message>) -> Self {
        values.into_iter().fold(self, |message, value| message.message(field, value))
    }
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Numbers of ONNX's element types.
pub(crate) const F32: i64 = 1;
pub(crate) const U8: i64 = 2;
pub(crate) const I32: i64 = 6;
pub(crate) const I64: i64 = 7;
pub(crate) const F16: i64 = 10;
pub(crate) const F64: i64 = 11;

/// A whole model of operator set 17.
pub(crate) fn model(graph: Message) -> Message {
    Message::default().int(1, 8).message(7, graph).message(8, opset("", 17))
}

pub(crate) fn opset(domain: &str, version: i64) -> Message {
    Message::default().bytes(1, domain).int(2, version)
}

pub(crate) fn graph(nodes: &[Message], weights: &[Message], inputs: &[Message], outputs: &[Message]) -> Message {
    Message::default()
        .all(1, nodes.iter().cloned())
        .bytes(2, "test")
        .all(5, weights.iter().cloned())
        .all(11, inputs.iter().cloned())
        .all(12, outputs.iter().cloned())
}

/// A graph of one operator from `x` to `y`, further inputs being weights.
pub(crate) fn one(node: Message, weights: &[Message], x: Message, y: Message) -> Vec<u8> {
    model(graph(&[node], weights, &[x], &[y])).0
}

pub(crate) fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> Message {
    let named = |message: Message, field, names: &[&str]| names.iter().fold(message, |m, name| m.bytes(field, name));
    let message = named(Message::default(), 1, inputs);
    named(message, 2, outputs).bytes(4, operator)
}

/// An integer attribute; field 5 of a node.
pub(crate) fn int(name: &str, value: i64) -> Message {
    Message::default().bytes(1, name).int(3, value).int(20, 2)
}

/// A list of integers as an attribute.
pub(crate) fn ints(name: &str, values: &[i64]) -> Message {
    values.iter().fold(Message::default().bytes(1, name), |message, &value| message.int(8, value)).int(20, 7)
}

/// An input or output; a negative size is left open.
pub(crate) fn port(name: &str, element_type: i64, shape: &[i64]) -> Message {
    let dimensions = shape.iter().map(|&size| match size {
        0.. => Message::default().int(1, size),
        _ => Message::default().bytes(2, "N"),
    });
    let shape = Message::default().all(1, dimensions);
    let tensor = Message::default().int(1, element_type).message(2, shape);
    Message::default().bytes(1, name).message(2, Message::default().message(1, tensor))
}

/// An initialiser with raw data.
pub(crate) fn weight(name: &str, element_type: i64, shape: &[i64], data: &[u8]) -> Message {
    let message = shape.iter().fold(Message::default(), |message, &size| message.int(1, size));
    message.int(2, element_type).bytes(8, name).bytes(9, data)
}

pub(crate) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn longs(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
