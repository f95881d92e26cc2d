//! Tensors in the files that people have, `.npy` and `.npz`, and as jobs hold them.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use depx_models::{ElementType, TensorSpec, onnx};
use depx_protocol::{Canonical, OutputFile, RawTensor, TensorPack, TensorType};
use half::f16;
use npyz::{DType, NpyHeader, Order};
use std::fmt::Write;
use std::io::{Cursor, Read};
use std::path::Path;
use zip::ZipArchive;

/// What a model that is a job's program takes and gives.
#[derive(Debug)]
pub(crate) struct Ports {
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
}

impl Ports {
    /// Of an ONNX file.
    pub(crate) fn of(model: &[u8]) -> Result<Self> {
        let info = onnx::inspect(model)?;
        Ok(Self { inputs: info.inputs, outputs: info.outputs })
    }

    /// The item that a file's content stands for: an array, for a model with one input; an archive of arrays that are named as the
    /// model's inputs; or an item as it is.
    pub(crate) fn item(&self, content: Bytes) -> Result<Bytes> {
        if TensorPack::from_bytes(&content).is_ok() {
            return Ok(content);
        }
        Ok(TensorPack(self.arrays(&content)?).to_bytes().into())
    }

    /// The items of a file whose arrays have one dimension more, the first, or whose first dimension is of size 1 in the model:
    /// one for each position along it.
    pub(crate) fn items(&self, file: &Path) -> Result<Vec<Bytes>> {
        let content = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let arrays = self.arrays(&content).with_context(|| format!("{} cannot be a batch", file.display()))?;
        let lengths: Vec<_> = arrays.iter().map(|array| array.shape.first().copied()).collect();
        let Some(&Some(length)) = lengths.first() else {
            bail!("{} has no dimension to take items of", file.display())
        };
        ensure!(
            lengths.iter().all(|other| *other == Some(length)),
            "the arrays in {} have first dimensions of different sizes",
            file.display()
        );
        let slice = |array: &RawTensor, spec: &TensorSpec, position: usize| {
            let bytes = array.data.len() / length as usize;
            let data = array.data[position * bytes..][..bytes].to_vec().into();
            let rest = array.shape[1..].iter().copied();
            let shape = if spec.shape.len() < array.shape.len() {
                rest.collect()
            } else {
                [1].into_iter().chain(rest).collect()
            };
            RawTensor { element_type: array.element_type, shape, data }
        };
        let item = |position| {
            let tensors = arrays.iter().zip(&self.inputs).map(|(array, spec)| slice(array, spec, position));
            TensorPack(tensors.collect()).to_bytes().into()
        };
        Ok((0..length as usize).map(item).collect())
    }

    /// The model's inputs, in order.
    fn arrays(&self, content: &[u8]) -> Result<Vec<RawTensor>> {
        if !content.starts_with(b"PK\x03\x04") {
            ensure!(
                self.inputs.len() == 1,
                "the model has {} inputs ({}); give them as arrays of these names in an .npz file",
                self.inputs.len(),
                self.names()
            );
            return Ok(vec![array(content)?]);
        }
        let mut archive = ZipArchive::new(Cursor::new(content)).context("not an .npz file")?;
        for name in archive.file_names() {
            let name = name.context("not an .npz file")?;
            let name = name.trim_end_matches(".npy");
            if self.inputs.iter().all(|input| input.name != name) {
                bail!("the model has no input named {name:?}, but {}", self.names());
            }
        }
        let mut read = |input: &TensorSpec| {
            let file = archive.by_name(&format!("{}.npy", input.name));
            let mut file = file.with_context(|| format!("there is no array named {:?}", input.name))?;
            let mut content = Vec::new();
            file.read_to_end(&mut content).context("not an .npz file")?;
            array(&content).with_context(|| format!("array {:?}", input.name))
        };
        self.inputs.iter().map(&mut read).collect()
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.inputs.iter().map(|input| format!("{:?}", input.name)).collect();
        names.join(", ")
    }

    /// What an item gave as files, one for each of the model's outputs; none where there is no output.
    pub(crate) fn files(&self, output: &[u8]) -> Vec<OutputFile> {
        let TensorPack(tensors) = TensorPack::from_bytes(output).unwrap_or_default();
        let file = |(position, (tensor, spec)): (usize, (RawTensor, &TensorSpec))| {
            let kept = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
            let name: String = spec.name.chars().map(kept).collect();
            let before = if self.outputs.len() == 1 { String::new() } else { format!("{position}-") };
            OutputFile { path: format!("{before}{name}.npy"), content: npy(&tensor).into() }
        };
        tensors.into_iter().zip(&self.outputs).enumerate().map(file).collect()
    }
}

/// An item for a model with these inputs: floats between -1 and 1, integers 0 and 1, the same on every machine. Dimensions that are left open
/// are 1.
pub(crate) fn seeded(inputs: &[TensorSpec]) -> Bytes {
    // Marsaglia's xorshift64.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 40
    };
    let mut tensor = |spec: &TensorSpec| {
        let shape: Vec<u32> = spec.shape.iter().map(|size| size.unwrap_or(1)).collect();
        let mut element = || {
            let (number, bit) = (next() as f32 / (1 << 23) as f32 - 1.0, next() & 1);
            match spec.element_type {
                ElementType::F16 => f16::from_f32(number).to_le_bytes().to_vec(),
                ElementType::F32 => number.to_le_bytes().to_vec(),
                ElementType::F64 => f64::from(number).to_le_bytes().to_vec(),
                ElementType::U8 => vec![bit as u8],
                ElementType::I32 => (bit as i32).to_le_bytes().to_vec(),
                ElementType::I64 => (bit as i64).to_le_bytes().to_vec(),
            }
        };
        let data: Vec<u8> = (0..shape.iter().map(|&size| size as usize).product()).flat_map(|_| element()).collect();
        let element_type = TensorType::ALL[spec.element_type as usize];
        RawTensor { element_type, shape, data: data.into() }
    };
    TensorPack(inputs.iter().map(&mut tensor).collect()).to_bytes().into()
}

/// Elements of a tensor that people are shown.
const SHOWN: usize = 16;

impl Ports {
    /// What an item gave for people: a line for each output, with its first elements.
    pub(crate) fn text(&self, output: &[u8]) -> String {
        let TensorPack(tensors) = TensorPack::from_bytes(output).unwrap_or_default();
        let mut text = String::new();
        for (RawTensor { element_type, shape, data }, TensorSpec { name, element_type: shown, .. }) in
            tensors.iter().zip(&self.outputs)
        {
            let _ = write!(text, "{name} {shown}{shape:?}:");
            let size = shown.size();
            for element in data.chunks_exact(size).take(SHOWN) {
                let _ = match element_type {
                    TensorType::F16 => write!(text, " {}", f16::from_le_bytes(fixed(element))),
                    TensorType::F32 => write!(text, " {}", f32::from_le_bytes(fixed(element))),
                    TensorType::F64 => write!(text, " {}", f64::from_le_bytes(fixed(element))),
                    TensorType::U8 => write!(text, " {}", u8::from_le_bytes(fixed(element))),
                    TensorType::I32 => write!(text, " {}", i32::from_le_bytes(fixed(element))),
                    TensorType::I64 => write!(text, " {}", i64::from_le_bytes(fixed(element))),
                };
            }
            text.push_str(if data.len() / size > SHOWN { " …\n" } else { "\n" });
        }
        text
    }
}

/// The bytes of one element.
fn fixed<const N: usize>(element: &[u8]) -> [u8; N] {
    element.first_chunk().copied().unwrap_or([0; N])
}

/// How NumPy calls a type of elements.
fn descriptor(element_type: TensorType) -> &'static str {
    match element_type {
        TensorType::F16 => "<f2",
        TensorType::F32 => "<f4",
        TensorType::F64 => "<f8",
        TensorType::U8 => "|u1",
        TensorType::I32 => "<i4",
        TensorType::I64 => "<i8",
    }
}

/// The array in an `.npy` file.
fn array(mut content: &[u8]) -> Result<RawTensor> {
    let header = NpyHeader::from_reader(&mut content).context("neither an .npy file nor an .npz file")?;
    let found = match header.dtype() {
        DType::Plain(found) => found.to_string(),
        structured => structured.descr(),
    };
    let element_type = TensorType::ALL.into_iter().find(|element_type| descriptor(*element_type) == found);
    let element_type = element_type.with_context(|| {
        format!("its elements are {found}; models take {}", TensorType::ALL.map(descriptor).join(", "))
    })?;
    ensure!(
        header.order() == Order::C || header.shape().len() < 2,
        "its columns come first; make it row-major with numpy.ascontiguousarray"
    );
    let shape = header.shape().iter().map(|&size| u32::try_from(size)).collect::<Result<Vec<_>, _>>();
    let tensor = RawTensor { element_type, shape: shape.context("it is too large")?, data: content.to_vec().into() };
    let size = header.dtype().num_bytes().unwrap_or(0) as u64;
    let expected = header.shape().iter().try_fold(size, |product, size| product.checked_mul(*size));
    ensure!(expected == Some(content.len() as u64), "it ends early, or more follows");
    Ok(tensor)
}

/// An `.npy` file. Version 1.0 of the format: a header that is padded to 64 bytes, and the elements.
fn npy(RawTensor { element_type, shape, data }: &RawTensor) -> Vec<u8> {
    let mut header = format!("{{'descr': '{}', 'fortran_order': False, 'shape': (", descriptor(*element_type));
    for size in shape {
        let _ = write!(header, "{size}, ");
    }
    header.push_str("), }");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((length as u16).to_le_bytes());
    file.extend(format!("{header:<width$}\n", width = length - 1).into_bytes());
    file.extend_from_slice(data);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    fn ports(inputs: &[(&str, &[u32])]) -> Ports {
        let spec = |(name, shape): &(&str, &[u32])| TensorSpec {
            name: (*name).to_owned(),
            element_type: ElementType::F32,
            shape: shape.iter().copied().map(Some).collect(),
        };
        let outputs = vec![spec(&("dense/add:0", &[2]))];
        Ports { inputs: inputs.iter().map(spec).collect(), outputs }
    }

    fn floats(shape: &[u32], values: &[f32]) -> RawTensor {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        RawTensor { element_type: TensorType::F32, shape: shape.to_vec(), data: data.into() }
    }

    fn unpacked(item: &[u8]) -> Vec<RawTensor> {
        TensorPack::from_bytes(item).unwrap().0
    }

    fn npz(arrays: &[(&str, &RawTensor)]) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, array) in arrays {
            archive.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
            archive.write_all(&npy(array)).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    #[test]
    fn arrays_of_every_type_and_shape_are_read_as_written() {
        for element_type in TensorType::ALL {
            let size = descriptor(element_type)[2..].parse::<usize>().unwrap();
            for shape in [&[][..], &[3], &[2, 0, 5], &[1, 2, 3]] {
                let bytes = shape.iter().product::<u32>() as usize * size;
                let data: Vec<u8> = (0..bytes).map(|byte| byte as u8).collect();
                let tensor = RawTensor { element_type, shape: shape.to_vec(), data: data.into() };
                let file = npy(&tensor);
                assert_eq!((file.len() - bytes) % 64, 0, "elements are aligned");
                assert_eq!(array(&file).unwrap(), tensor);
            }
        }
    }

    #[test]
    fn items_are_arrays_archives_or_packs() {
        let (one, two) = (ports(&[("x", &[1, 2])]), ports(&[("x", &[1, 2]), ("y", &[1])]));
        let (x, y) = (floats(&[1, 2], &[1.0, 2.0]), floats(&[1], &[3.0]));
        assert_eq!(unpacked(&one.item(npy(&x).into()).unwrap()), vec![x.clone()]);
        let both = two.item(npz(&[("y", &y), ("x", &x)]).into()).unwrap();
        assert_eq!(unpacked(&both), [x.clone(), y.clone()], "in the model's order");
        assert_eq!(two.item(both.clone()).unwrap(), both);
        let file = tempfile::NamedTempFile::new().unwrap();
        for (shape, item) in [(&[2, 2][..], &[1, 2][..]), (&[2, 1, 2], &[1, 2])] {
            std::fs::write(file.path(), npy(&floats(shape, &[1.0, 2.0, 3.0, 4.0]))).unwrap();
            let items: Vec<_> = one.items(file.path()).unwrap().iter().map(|item| unpacked(item)).collect();
            assert_eq!(items, [[floats(item, &[1.0, 2.0])], [floats(item, &[3.0, 4.0])]]);
        }
    }

    #[test]
    fn what_is_no_item_is_told() {
        let two = ports(&[("x", &[2]), ("y", &[2])]);
        let (x, alone) = (floats(&[2], &[1.0, 2.0]), ports(&[("x", &[2])]));
        let refused = |ports: &Ports, content: Vec<u8>| format!("{:#}", ports.item(content.into()).unwrap_err());
        let header = |descr: &str, order: &str| {
            let text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': (1, 2), }}\n");
            [&b"\x93NUMPY\x01\x00"[..], &(text.len() as u16).to_le_bytes(), text.as_bytes(), &[0; 8]].concat()
        };
        for (message, expected) in [
            (
                refused(&two, npy(&x)),
                "the model has 2 inputs (\"x\", \"y\"); give them as arrays of these names in an .npz file",
            ),
            (refused(&two, npz(&[("x", &x)])), "there is no array named \"y\""),
            (refused(&two, npz(&[("z", &x)])), "the model has no input named \"z\", but \"x\", \"y\""),
            (refused(&alone, header(">f4", "False")), "its elements are >f4; models take <f2, <f4, <f8, |u1, <i4, <i8"),
            (refused(&alone, header("<f4", "True")), "its columns come first"),
            (refused(&alone, header("<f8", "False")), "it ends early, or more follows"),
            (refused(&alone, b"1.0, 2.0".to_vec()), "neither an .npy file nor an .npz file"),
        ] {
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn people_are_shown_the_first_elements() {
        let mut ports = ports(&[]);
        let pack = |tensor: &RawTensor| TensorPack(vec![tensor.clone()]).to_bytes();
        assert_eq!(ports.text(&pack(&floats(&[1, 2], &[1.5, -0.0]))), "dense/add:0 f32[1, 2]: 1.5 -0\n");
        ports.outputs[0].element_type = ElementType::U8;
        let bytes = RawTensor { element_type: TensorType::U8, shape: vec![17], data: vec![7; 17].into() };
        assert_eq!(ports.text(&pack(&bytes)), format!("dense/add:0 u8[17]:{} …\n", " 7".repeat(16)));
    }

    #[test]
    fn outputs_are_files_named_as_in_the_model() {
        let y = floats(&[2], &[1.0, 2.0]);
        let files = ports(&[]).files(&TensorPack(vec![y.clone()]).to_bytes());
        assert_eq!(files, [OutputFile { path: "dense_add_0.npy".into(), content: npy(&y).into() }]);
        assert_eq!(ports(&[]).files(b""), [], "an item that failed");
    }
}
