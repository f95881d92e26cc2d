//! How fast class D1 is, next to ONNX Runtime at its highest level of optimisation.

use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::measure::{Turns, processor_time, take_turns, wall_time};
use crate::models::single::{self, Convolution};
use crate::models::{self, Data, Input, Network, Random};
use anyhow::{Result, ensure};
use depx_kernels::{
    Epilogue, Isa, Matrix, PackedFilters, PackedMatrix, Sequential, Unary, Window, convolution, gemm, layer_norm,
    softmax,
};
use depx_models::{Backend, ElementType, OnnxRuntime, Reproducible, Tensor};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor as Value};

const METHOD: &str = "Processor time of a run in ONNX Runtime, at its highest level of optimisation, divided by that in class D1, both with one \
                      thread, both with all that handing over takes. Weights and inputs are random. Median ratio.";
const METHOD_OF_TWO: &str = "As `inference.bert_d1`, but wall time, and both with two threads.";

pub(crate) const ENTRIES: &[Entry] = &[
    network("inference.bert_d1", 1.05, METHOD),
    network("inference.bert_d1_2t", 1.0, METHOD_OF_TWO),
    network("inference.resnet50_d1", 0.95, "As `inference.bert_d1`, with ResNet-50 and an image of 224 × 224."),
    network(
        "inference.mobilenet_d1",
        0.9,
        "As `inference.bert_d1`, with the shape of MobileNet V2 and an image of 224 × 224.",
    ),
    network(
        "inference.decoder_d1",
        0.9,
        "As `inference.bert_d1`, with a decoder after the manner of Llama, 4 layers 512 wide, and 64 tokens.",
    ),
    network(
        "inference.gemm_d1",
        0.97,
        "Processor time of ONNX Runtime's `MatMul` by constant weights divided by that of our kernel, with one thread; the worst of several \
         shapes. Median ratio.",
    ),
    network(
        "inference.conv_d1",
        0.9,
        "Processor time of ONNX Runtime's `Conv` divided by that of our kernel, with one thread; the worst of several shapes, depthwise and \
         strided ones included. Median ratio.",
    ),
    network(
        "inference.rowops_d1",
        0.9,
        "Processor time of ONNX Runtime's `Softmax`, `LayerNormalization`, `Gelu`, `Exp` and `Tanh` divided by that of our kernels, with one \
         thread; the worst of several sizes. Median ratio.",
    ),
];

const fn network(name: &'static str, goal: f64, method: &'static str) -> Entry {
    Entry { name, unit: "×", goal: Goal::AtLeast(goal), baseline: "ONNX Runtime, ms", method }
}

const MATRICES: [[i64; 3]; 8] = [
    [512, 512, 512],
    [1024, 1024, 1024],
    [128, 768, 768],
    [128, 768, 3072],
    [128, 3072, 768],
    [64, 512, 512],
    [16, 256, 256],
    [1, 768, 768],
];

const CONVOLUTIONS: [Convolution; 12] = [
    image(3, 64, 7, 2, 224),
    image(64, 64, 1, 1, 56),
    image(64, 64, 3, 1, 56),
    image(128, 128, 3, 1, 28),
    image(128, 128, 3, 2, 56),
    image(256, 256, 3, 1, 14),
    image(512, 512, 3, 1, 7),
    image(1024, 256, 1, 1, 14),
    depthwise(32, 1, 112),
    depthwise(96, 2, 112),
    depthwise(384, 1, 14),
    depthwise(960, 1, 7),
];

const ROWS: [(&str, [i64; 2]); 9] = [
    ("Softmax", [1536, 128]),
    ("Softmax", [512, 1024]),
    ("Softmax", [16384, 16]),
    ("LayerNormalization", [128, 768]),
    ("LayerNormalization", [4096, 64]),
    ("Gelu", [128, 3072]),
    ("Exp", [128, 3072]),
    ("Tanh", [128, 3072]),
    ("Sigmoid", [128, 3072]),
];

const fn image(from: i64, to: i64, kernel: i64, stride: i64, size: i64) -> Convolution {
    Convolution { from, to, groups: 1, kernel, stride, size }
}

const fn depthwise(channels: i64, stride: i64, size: i64) -> Convolution {
    Convolution { from: channels, to: channels, groups: channels, kernel: 3, stride, size }
}

/// Measures operators of one kind, of several sizes.
type Measure = fn(&OnnxRuntime, &Plan) -> Result<Vec<Turns<2>>>;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let library = OnnxRuntime::open(None)?;
    let mut figures = Vec::new();
    let networks: [(fn() -> Network, usize); 5] =
        [(models::bert, 1), (models::bert, 2), (models::resnet50, 1), (models::mobilenet, 1), (models::decoder, 1)];
    for (entry, (network, threads)) in ENTRIES.iter().zip(networks) {
        if plan.wants(entry.name) {
            let turns = compare(&library, &network(), threads, plan)?;
            figures.push(entry.figure(turns.ratio(0, 1), Some(turns.time(0) * 1e3)));
        }
    }
    let singles: [Measure; 3] = [products, convolutions, rows];
    for (entry, measure) in ENTRIES[networks.len()..].iter().zip(singles) {
        if plan.wants(entry.name) {
            let worst = measure(&library, plan)?.into_iter().min_by(|a, b| a.ratio(0, 1).total_cmp(&b.ratio(0, 1)));
            figures.extend(worst.map(|turns| entry.figure(turns.ratio(0, 1), Some(turns.time(0) * 1e3))));
        }
    }
    Ok(figures)
}

/// A network in both, the library first.
fn compare(library: &OnnxRuntime, network: &Network, threads: usize, plan: &Plan) -> Result<Turns<2>> {
    let ours = Reproducible::new(library.clone()).with_threads(threads).load(&network.onnx)?;
    let tensors = network.inputs.iter().map(tensor).collect::<Result<Vec<_>>>()?;
    let mut theirs = Theirs::new(library, network, threads)?;
    let mut theirs = || if threads == 1 { theirs.processor_time(1) } else { wall_time(|| theirs.run()) };
    let run = || {
        ensure!(ours.run(&tensors)?.len() == 1, "the model gave nothing");
        Ok(())
    };
    let mut ours = || if threads == 1 { processor_time(run) } else { wall_time(run) };
    take_turns(plan.turns(40, 10), [&mut theirs, &mut ours])
}

pub(crate) fn tensor(input: &Input) -> Result<Tensor> {
    let shape = input.shape.iter().map(|&size| size as u32).collect();
    Ok(match &input.data {
        Data::Floats(numbers) => {
            Tensor::new(ElementType::F32, shape, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())?
        }
        Data::Longs(numbers) => {
            Tensor::new(ElementType::I64, shape, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())?
        }
    })
}

/// A network in ONNX Runtime alone.
struct Theirs {
    session: Session,
    inputs: Vec<DynValue>,
}

impl Theirs {
    fn new(library: &OnnxRuntime, network: &Network, threads: usize) -> Result<Self> {
        let failed = |error: ort::Error<_>| anyhow::anyhow!(error.to_string());
        let session = Session::builder(library.environment())?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(failed)?
            .with_intra_threads(threads)
            .map_err(failed)?
            .commit_from_memory(&network.onnx)?;
        let value = |input: &Input| {
            let shape = input.shape.clone();
            Ok(match &input.data {
                Data::Floats(numbers) => Value::from_array((shape, numbers.clone()))?.into_dyn(),
                Data::Longs(numbers) => Value::from_array((shape, numbers.clone()))?.into_dyn(),
            })
        };
        Ok(Self { session, inputs: network.inputs.iter().map(value).collect::<ort::Result<_>>()? })
    }

    fn run(&mut self) -> Result<()> {
        let inputs: Vec<SessionInputValue<'_>> = self.inputs.iter().map(SessionInputValue::from).collect();
        ensure!(self.session.run(&inputs[..])?.len() == 1, "the model gave nothing");
        Ok(())
    }

    /// That of one of so many runs.
    fn processor_time(&mut self, runs: usize) -> Result<f64> {
        Ok(processor_time(|| (0..runs).try_for_each(|_| self.run()))? / runs as f64)
    }
}

/// An operator in the library and a kernel of ours, over so many runs that a turn takes some milliseconds.
fn alternate(library: &OnnxRuntime, network: &Network, plan: &Plan, ours: &mut dyn FnMut()) -> Result<Turns<2>> {
    let mut theirs = Theirs::new(library, network, 1)?;
    theirs.processor_time(3)?;
    let runs = ((4e-3 / theirs.processor_time(3)?) as usize).clamp(1, 1000);
    let mut theirs = || theirs.processor_time(runs);
    let mut ours = || {
        let time = processor_time(|| {
            (0..runs).for_each(|_| ours());
            Ok(())
        })?;
        Ok(time / runs as f64)
    };
    take_turns(plan.turns(60, 20), [&mut theirs, &mut ours])
}

fn floats(network: &Network) -> &[f32] {
    match &network.inputs[0].data {
        Data::Floats(numbers) => numbers,
        Data::Longs(_) => &[],
    }
}

fn products(library: &OnnxRuntime, plan: &Plan) -> Result<Vec<Turns<2>>> {
    let product = |shape: [i64; 3]| {
        let network = single::matmul(shape);
        let [rows, depth, columns] = shape.map(|size| size as usize);
        let weights = Random::new(1).floats(shape[1] * shape[2], 0.1);
        let packed = PackedMatrix::new(Isa::best(), Matrix::new(&weights, depth, columns));
        let mut y = vec![0.0; rows * columns];
        let turns = alternate(library, &network, plan, &mut || {
            gemm(
                &Sequential,
                Matrix::new(floats(&network), rows, depth),
                &packed,
                &mut y,
                columns,
                &Epilogue::default(),
            );
        })?;
        eprintln!("    {shape:?}: {:.3} of {:.3} ms", turns.ratio(0, 1), turns.time(0) * 1e3);
        Ok(turns)
    };
    MATRICES.into_iter().map(product).collect()
}

fn convolutions(library: &OnnxRuntime, plan: &Plan) -> Result<Vec<Turns<2>>> {
    let one = |shape: Convolution| {
        let network = single::convolution(shape);
        let [to, groups, kernel, stride, size] =
            [shape.to, shape.groups, shape.kernel, shape.stride, shape.size].map(|size| size as usize);
        let channels = shape.from as usize / groups;
        let pads = [0, kernel / 2, kernel / 2];
        let window = Window {
            strides: [1, stride, stride],
            pads_begin: pads,
            pads_end: pads,
            ..Window::new([1, kernel, kernel])
        };
        let weights = Random::new(1).floats((to * channels * kernel * kernel) as i64, 0.1);
        let filters = PackedFilters::new(Isa::best(), &weights, [to, channels], groups, window);
        let image = [1, size, size];
        let mut y = vec![0.0; to * window.output(image).iter().product::<usize>()];
        let turns = alternate(library, &network, plan, &mut || {
            convolution(&Sequential, floats(&network), 1, image, &filters, &mut y, &Epilogue::default());
        })?;
        eprintln!("    {shape:?}: {:.3} of {:.3} ms", turns.ratio(0, 1), turns.time(0) * 1e3);
        Ok(turns)
    };
    CONVOLUTIONS.into_iter().map(one).collect()
}

fn rows(library: &OnnxRuntime, plan: &Plan) -> Result<Vec<Turns<2>>> {
    let one = |(operator, shape): (&str, [i64; 2])| {
        let network = single::rows(operator, shape);
        let (isa, x, length) = (Isa::best(), floats(&network), shape[1] as usize);
        let mut y = vec![0.0; x.len()];
        let mut random = Random::new(3);
        let [scale, bias] = [(); 2].map(|()| random.floats(shape[1], 1.0));
        let turns = alternate(library, &network, plan, &mut || match operator {
            "Softmax" => softmax(isa, x, length, 1, &mut y),
            "LayerNormalization" => layer_norm(isa, x, length, Some(&scale), Some(&bias), 1e-5, &mut y),
            "Gelu" => Unary::Gelu.apply(isa, x, &mut y),
            "Exp" => Unary::Exp.apply(isa, x, &mut y),
            "Tanh" => Unary::Tanh.apply(isa, x, &mut y),
            _ => Unary::Sigmoid.apply(isa, x, &mut y),
        })?;
        eprintln!("    {operator} {shape:?}: {:.3} of {:.3} ms", turns.ratio(0, 1), turns.time(0) * 1e3);
        Ok(turns)
    };
    ROWS.into_iter().map(one).collect()
}
