//! ONNX's messages, as far as they matter here.
//!
//! A field that may come once and comes twice would be merged by one reader and overwritten by another; such files are
//! refused, so that what is checked is what is loaded.

use super::invalid;
use super::limits::{
    IR_VERSIONS, MAX_ATTRIBUTES, MAX_MODEL_BYTES, MAX_MODEL_TENSORS, MAX_NODES, MAX_NUMBERS, MAX_PER_NODE, MAX_RANK,
    MAX_TENSOR_ELEMENTS, MAX_TENSORS, ML_OPSETS, OPSETS,
};
use super::types::DataType;
use super::wire::Message;
use crate::LoadError;
use crate::text::quoted;

/// A file that holds one graph for operators of known versions.
pub(super) struct Model<'a> {
    /// Whether the classic machine-learning operators are declared.
    pub(super) ml: bool,
    pub(super) opset: i64,
    pub(super) graph: Graph<'a>,
}

#[derive(Default)]
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) initializers: Vec<Tensor<'a>>,
    pub(super) inputs: Vec<Port<'a>>,
    pub(super) outputs: Vec<Port<'a>>,
}

#[derive(Default)]
pub(super) struct Node<'a> {
    pub(super) domain: &'a str,
    pub(super) operator: &'a str,
    /// Names of values; an empty name is an optional one left out.
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    pub(super) attributes: Vec<(&'a str, Attribute<'a>)>,
}

pub(super) enum Attribute<'a> {
    Float(f32),
    Int(i64),
    Text(&'a [u8]),
    Tensor(Tensor<'a>),
    Ints(Numbers<i64>),
    Floats(Numbers<f32>),
    Strings(Numbers<&'a [u8]>),
}

/// A list of which the first [`MAX_NUMBERS`] are kept.
#[derive(Clone, Default)]
pub(super) struct Numbers<T> {
    pub(super) count: u64,
    pub(super) kept: Vec<T>,
}

impl<T: Copy> Numbers<T> {
    fn push(&mut self, number: T) {
        self.count += 1;
        if self.kept.len() < MAX_NUMBERS {
            self.kept.push(number);
        }
    }

    /// All of them, if there are few.
    pub(super) fn all(&self) -> Option<&[T]> {
        (self.count == self.kept.len() as u64).then_some(&self.kept)
    }
}

/// A constant tensor whose data has the length that its shape says.
#[derive(Clone, Default)]
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) shape: Vec<u64>,
    pub(super) bytes: u64,
    pub(super) ty: DataType,
    pub(super) ints: Option<Vec<i64>>,
    pub(super) floats: Option<Vec<f32>>,
}

/// An input or output of the graph.
#[derive(Default)]
pub(super) struct Port<'a> {
    pub(super) name: &'a str,
    pub(super) element_type: i64,
    /// `None` where the size is left open.
    pub(super) shape: Vec<Option<u32>>,
}

pub(super) fn model(onnx: &[u8]) -> Result<Model<'_>, LoadError> {
    if onnx.len() > MAX_MODEL_BYTES {
        return Err(invalid(format_args!(
            "it has {} bytes, and {MAX_MODEL_BYTES} are allowed; quantise or split it",
            onnx.len()
        )));
    }
    let (mut ir, mut message, mut opset, mut ml) = (None, None, None, None);
    for field in Message(onnx) {
        let field = field?;
        match field.number {
            1 => once(&mut ir, field.int()?)?,
            7 => once(&mut message, field.message()?)?,
            8 => {
                let (domain, version) = operator_set(field.message()?)?;
                match domain {
                    "" | "ai.onnx" => once(&mut opset, version)?,
                    "ai.onnx.ml" => once(&mut ml, version)?,
                    // Declared by many exporters and used by few: only a node of that domain is refused.
                    _ => {}
                }
            }
            20 => return Err(invalid("it holds training information; export it for inference")),
            25 => {
                return Err(invalid("it defines functions; inline them with onnx.inliner.inline_local_functions"));
            }
            _ => {}
        }
    }
    let message = message.ok_or_else(|| invalid("it holds no graph; is it an ONNX file?"))?;
    match ir {
        Some(version) if IR_VERSIONS.contains(&version) => {}
        version => {
            return Err(invalid(format_args!(
                "its IR version is {}, and {} to {} are supported; export it again",
                version.unwrap_or(0),
                IR_VERSIONS.start(),
                IR_VERSIONS.end()
            )));
        }
    }
    let opset = opset.unwrap_or(0);
    for (name, version, supported) in [("ai.onnx", opset, OPSETS), ("ai.onnx.ml", ml.unwrap_or(1), ML_OPSETS)] {
        if !supported.contains(&version) {
            return Err(invalid(format_args!(
                "it uses operator set {version} of {name}, and {} to {} are supported; convert it with onnx.version_converter",
                supported.start(),
                supported.end()
            )));
        }
    }
    Ok(Model { ml: ml.is_some(), opset, graph: graph(message)? })
}

fn operator_set(message: Message<'_>) -> Result<(&str, i64), LoadError> {
    let (mut domain, mut version) = (None, None);
    for field in message {
        let field = field?;
        match field.number {
            1 => once(&mut domain, field.text()?)?,
            2 => once(&mut version, field.int()?)?,
            _ => {}
        }
    }
    Ok((domain.unwrap_or(""), version.unwrap_or(0)))
}

fn graph(message: Message<'_>) -> Result<Graph<'_>, LoadError> {
    let mut graph = Graph::default();
    for field in message {
        let field = field?;
        match field.number {
            1 => push(&mut graph.nodes, node(field.message()?)?, MAX_NODES, "operators")?,
            5 => push(&mut graph.initializers, tensor(field.message()?)?, MAX_TENSORS, "initialisers")?,
            11 => push(&mut graph.inputs, port(field.message()?)?, MAX_MODEL_TENSORS, "inputs")?,
            12 => push(&mut graph.outputs, port(field.message()?)?, MAX_MODEL_TENSORS, "outputs")?,
            15 => return Err(invalid("it has sparse initialisers; store them dense")),
            _ => {}
        }
    }
    Ok(graph)
}

fn node(message: Message<'_>) -> Result<Node<'_>, LoadError> {
    let mut node = Node::default();
    let (mut operator, mut domain) = (None, None);
    for field in message {
        let field = field?;
        match field.number {
            1 => push(&mut node.inputs, field.text()?, MAX_PER_NODE, "inputs of one operator")?,
            2 => push(&mut node.outputs, field.text()?, MAX_PER_NODE, "outputs of one operator")?,
            4 => once(&mut operator, field.text()?)?,
            5 => {
                push(&mut node.attributes, attribute(field.message()?)?, MAX_ATTRIBUTES, "attributes of one operator")?
            }
            7 => once(&mut domain, field.text()?)?,
            8 => return Err(invalid("it calls an overloaded function; inline its functions")),
            _ => {}
        }
    }
    node.operator = operator.unwrap_or("");
    node.domain = domain.unwrap_or("");
    Ok(node)
}

fn attribute(message: Message<'_>) -> Result<(&str, Attribute<'_>), LoadError> {
    let (mut name, mut kind) = (None, None);
    let (mut float, mut int, mut text, mut value) = (None, None, None, None);
    let (mut floats, mut ints, mut strings) = (Numbers::default(), Numbers::default(), Numbers::default());
    for field in message {
        let field = field?;
        match field.number {
            1 => once(&mut name, field.text()?)?,
            2 => {
                let mut last = 0.0;
                field.fixed(4)?.floats(|number| last = number);
                once(&mut float, last)?;
            }
            3 => once(&mut int, field.int()?)?,
            4 => once(&mut text, field.bytes()?)?,
            5 => once(&mut value, tensor(field.message()?)?)?,
            6 | 11 => {
                return Err(invalid(
                    "it contains control flow (If, Loop or Scan), whose cost is not known before it runs; unroll it",
                ));
            }
            7 => field.fixed(4)?.floats(|number| floats.push(number)),
            8 => {
                for number in field.ints()? {
                    ints.push(number?);
                }
            }
            9 => strings.push(field.bytes()?),
            10 | 14 | 15 | 22 | 23 => return Err(invalid("an attribute holds a type or a list of tensors")),
            20 => once(&mut kind, field.int()?)?,
            21 => return Err(invalid("an attribute refers to a function's; inline its functions")),
            _ => {}
        }
    }
    let name = name.unwrap_or("");
    // Exactly the value that the type names may be there: readers differ in which of two they believe.
    let values = [float.is_some(), int.is_some(), text.is_some(), value.is_some()];
    let lists = [floats.count > 0, ints.count > 0, strings.count > 0];
    let alone = |value: usize| (0..4).all(|i| i == value || !values[i]) && lists == [false; 3];
    let alone_list = |list: usize| (0..3).all(|i| i == list || !lists[i]) && values == [false; 4];
    let attribute = match kind {
        Some(1) if alone(0) => Some(Attribute::Float(float.unwrap_or(0.0))),
        Some(2) if alone(1) => Some(Attribute::Int(int.unwrap_or(0))),
        Some(3) if alone(2) => Some(Attribute::Text(text.unwrap_or(b""))),
        Some(4) if alone(3) => value.map(Attribute::Tensor),
        Some(6) if alone_list(0) => Some(Attribute::Floats(floats)),
        Some(7) if alone_list(1) => Some(Attribute::Ints(ints)),
        Some(8) if alone_list(2) => Some(Attribute::Strings(strings)),
        _ => None,
    };
    match attribute {
        Some(attribute) => Ok((name, attribute)),
        None => Err(invalid(format_args!("attribute {} does not hold one value of its type", quoted(name)))),
    }
}

fn tensor(message: Message<'_>) -> Result<Tensor<'_>, LoadError> {
    let mut tensor = Tensor::default();
    let (mut name, mut kind, mut raw) = (None, None, None);
    let (mut floats, mut ints) = (Numbers::default(), Numbers::default());
    let (mut doubles, mut longs, mut unsigned) = (0u64, Numbers::default(), 0u64);
    for field in message {
        let field = field?;
        match field.number {
            1 => {
                for size in field.ints()? {
                    let size = u64::try_from(size?).map_err(|_| invalid("a weight has a negative dimension"))?;
                    push(&mut tensor.shape, size, MAX_RANK, "dimensions of a tensor")?;
                }
            }
            2 => once(&mut kind, field.int()?)?,
            3 => return Err(invalid("a weight is stored in segments; store it whole")),
            4 => field.fixed(4)?.floats(|number| floats.push(number)),
            5 => {
                for number in field.ints()? {
                    ints.push(number?);
                }
            }
            7 => {
                for number in field.ints()? {
                    longs.push(number?);
                }
            }
            8 => once(&mut name, field.text()?)?,
            9 => once(&mut raw, field.bytes()?)?,
            10 => doubles += field.fixed(8)?.count(8),
            11 => {
                for number in field.ints()? {
                    number?;
                    unsigned += 1;
                }
            }
            13 => return Err(external()),
            14 if field.int()? != 0 => return Err(external()),
            _ => {}
        }
    }
    tensor.name = name.unwrap_or("");
    let kind = kind.unwrap_or(0);
    // Numbers of ONNX's TensorProto.DataType: bytes per element, and the field that holds them if not `raw_data`.
    let (size, typed) = match kind {
        1 => (4, floats.count),
        2 | 3 | 9 => (1, ints.count),
        4 | 5 | 10 | 16 => (2, ints.count),
        6 => (4, ints.count),
        7 => (8, longs.count),
        11 => (8, doubles),
        12 => (4, unsigned),
        13 => (8, unsigned),
        _ => {
            return Err(invalid(format_args!(
                "weight {} has element type {kind}, which is not supported; use floats or integers of 8 to 64 bits",
                quoted(tensor.name)
            )));
        }
    };
    let elements = tensor
        .shape
        .iter()
        .try_fold(1u64, |elements, &size| elements.checked_mul(size))
        .filter(|&elements| elements <= MAX_TENSOR_ELEMENTS)
        .ok_or_else(|| {
            invalid(format_args!("weight {} has more than {MAX_TENSOR_ELEMENTS} elements", quoted(tensor.name)))
        })?;
    tensor.bytes = elements * size;
    tensor.ty = DataType(kind);
    let all = [floats.count, ints.count, longs.count, doubles, unsigned].iter().sum::<u64>();
    let fits = match raw {
        Some(raw) => all == 0 && raw.len() as u64 == tensor.bytes,
        None => all == typed && typed == elements,
    };
    if !fits {
        return Err(invalid(format_args!("weight {} has not as much data as its shape says", quoted(tensor.name))));
    }
    if elements <= MAX_NUMBERS as u64 {
        match (kind, raw) {
            (1, Some(raw)) => tensor.floats = Some(raw.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
            (1, None) => tensor.floats = Some(floats.kept),
            (6, Some(raw)) => {
                tensor.ints = Some(raw.as_chunks().0.iter().map(|&b| i64::from(i32::from_le_bytes(b))).collect());
            }
            (6, None) => tensor.ints = Some(ints.kept),
            (7, Some(raw)) => tensor.ints = Some(raw.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect()),
            (7, None) => tensor.ints = Some(longs.kept),
            _ => {}
        }
    }
    Ok(tensor)
}

fn external() -> LoadError {
    invalid(
        "it keeps weights in other files; save it with all data inside (onnx.save_model(…, save_as_external_data=False))",
    )
}

fn port(message: Message<'_>) -> Result<Port<'_>, LoadError> {
    let (mut name, mut kind) = (None, None);
    for field in message {
        let field = field?;
        match field.number {
            1 => once(&mut name, field.text()?)?,
            2 => once(&mut kind, field.message()?)?,
            _ => {}
        }
    }
    let name = name.unwrap_or("");
    let mut tensor_type = None;
    for field in kind.unwrap_or(Message(&[])) {
        let field = field?;
        match field.number {
            1 => once(&mut tensor_type, field.message()?)?,
            6 => {}
            _ => return Err(not_a_tensor(name)),
        }
    }
    let (mut element_type, mut shape) = (None, None);
    for field in tensor_type.ok_or_else(|| not_a_tensor(name))? {
        let field = field?;
        match field.number {
            1 => once(&mut element_type, field.int()?)?,
            2 => once(&mut shape, field.message()?)?,
            _ => {}
        }
    }
    let shape = shape.ok_or_else(|| invalid(format_args!("{} has no shape; declare one", quoted(name))))?;
    let mut port = Port { name, element_type: element_type.unwrap_or(0), shape: Vec::new() };
    for field in shape {
        let field = field?;
        if field.number == 1 {
            let size = dimension(field.message()?, name)?;
            push(&mut port.shape, size, MAX_RANK, "dimensions of a tensor")?;
        }
    }
    Ok(port)
}

fn dimension(message: Message<'_>, name: &str) -> Result<Option<u32>, LoadError> {
    let (mut size, mut symbol) = (None, None);
    for field in message {
        let field = field?;
        match field.number {
            1 => once(&mut size, field.int()?)?,
            2 => once(&mut symbol, field.text()?)?,
            _ => {}
        }
    }
    match (size, symbol) {
        (None, _) => Ok(None),
        (Some(size), None) => match u32::try_from(size) {
            Ok(size) if size > 0 && u64::from(size) <= MAX_TENSOR_ELEMENTS => Ok(Some(size)),
            _ => Err(invalid(format_args!("{} has a dimension of size {size}", quoted(name)))),
        },
        (Some(_), Some(_)) => Err(invalid(format_args!("{} has a dimension with a size and a symbol", quoted(name)))),
    }
}

fn not_a_tensor(name: &str) -> LoadError {
    invalid(format_args!("{} is not a tensor; sequences, maps and optionals are not supported", quoted(name)))
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), LoadError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid("a field that may come once comes twice")),
    }
}

fn push<T>(list: &mut Vec<T>, item: T, max: usize, what: &str) -> Result<(), LoadError> {
    if list.len() == max {
        return Err(invalid(format_args!("it has more than {max} {what}")));
    }
    list.push(item);
    Ok(())
}
