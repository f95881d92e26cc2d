//! Writes ONNX files, field by field of their protocol buffers.

/// A message under construction.
#[derive(Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value.cast_unsigned());
        self
    }

    pub(crate) fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.as_ref().len() as u64);
        self.0.extend(value.as_ref());
        self
    }

    pub(crate) fn all<'a>(self, field: u64, values: impl IntoIterator<Item = &'a Message>) -> Self {
        values.into_iter().fold(self, |message, value| message.bytes(field, &value.0))
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// An attribute of a node.
pub(crate) fn int(name: &str, value: i64) -> Message {
    Message::default().bytes(1, name).int(3, value).int(20, 2)
}

/// An attribute of a node.
pub(crate) fn float(name: &str, value: f32) -> Message {
    Message::default().bytes(1, name).float(2, value).int(20, 1)
}

/// An attribute of a node.
pub(crate) fn ints(name: &str, values: &[i64]) -> Message {
    values.iter().fold(Message::default().bytes(1, name), |message, &value| message.int(8, value)).int(20, 7)
}

pub(crate) fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[Message]) -> Message {
    let message = inputs.iter().fold(Message::default(), |message, name| message.bytes(1, name));
    message.bytes(2, output).bytes(4, operator).all(5, attributes)
}

/// A constant.
pub(crate) fn tensor(name: &str, element_type: i64, shape: &[i64], data: &[u8]) -> Message {
    let message = shape.iter().fold(Message::default(), |message, &size| message.int(1, size));
    message.int(2, element_type).bytes(8, name).bytes(9, data)
}

/// An input or output.
pub(crate) fn port(name: &str, element_type: i64, shape: &[i64]) -> Message {
    let sizes =
        shape.iter().fold(Message::default(), |message, &size| message.bytes(1, Message::default().int(1, size).0));
    let tensor = Message::default().int(1, element_type).bytes(2, sizes.0);
    Message::default().bytes(1, name).bytes(2, Message::default().bytes(1, tensor.0).0)
}
