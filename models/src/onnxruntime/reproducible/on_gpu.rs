//! Operators whose kernels a GPU has, too: the same operators on memory of the device, with the same bits.

use super::definitions;
use super::finish::Finish;
use super::operator::{Compute, Definition, Guarded, Run, axis, fail, optional, sizes};
use super::products::{Batch, repeated};
use crate::onnxruntime::gpu::Gpu;
use depx_cuda::{Address, Elements, Gemm, Launch, LayerNorm, TooLarge, elements, gemm, layer_norm, softmax};
use depx_kernels::{Activation, Isa, Threads, Unary};
use ort::memory::AllocationDevice;
use ort::operator::{KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput};
use ort::value::DynTensorValueType;
use std::ptr;
use std::sync::Arc;

type Prepare = fn(&KernelContext<'_>, Gpu) -> ort::Result<Compute>;

const TWINS: [(&str, Prepare); 13] = [
    ("Erf", |_, gpu| Ok(each(gpu, Elements::Erf))),
    ("Exp", |_, gpu| Ok(each(gpu, Elements::Exp))),
    ("Gelu", gelu),
    ("Gemm", general),
    ("HardSwish", |_, gpu| Ok(each(gpu, Elements::HardSwish))),
    ("LayerNormalization", layer_normalization),
    ("MatMul", matmul),
    ("Mish", |_, gpu| Ok(each(gpu, Elements::Mish))),
    ("Relu", |_, gpu| Ok(each(gpu, Elements::Relu))),
    ("Sigmoid", |_, gpu| Ok(each(gpu, Elements::Sigmoid))),
    ("Silu", |_, gpu| Ok(each(gpu, Elements::Silu))),
    ("Softmax", along),
    ("Tanh", |_, gpu| Ok(each(gpu, Elements::Tanh))),
];

/// Whether there is such an operator here.
pub(in crate::onnxruntime) fn has(name: &str) -> bool {
    TWINS.iter().any(|(twin, _)| *twin == name)
}

/// Adds all of them.
pub(in crate::onnxruntime) fn add(
    domain: OperatorDomain,
    gpu: &Gpu,
    threads: &Arc<Threads>,
) -> ort::Result<OperatorDomain> {
    TWINS.into_iter().try_fold(domain, |domain, (name, prepare)| {
        let Some(definition) = definitions().find(|definition| definition.name == name) else {
            return fail(format!("{name} is no operator of the processor"));
        };
        domain.add(OnGpu { definition, prepare, gpu: gpu.clone(), threads: threads.clone() })
    })
}

struct OnGpu {
    definition: &'static Definition,
    prepare: Prepare,
    gpu: Gpu,
    threads: Arc<Threads>,
}

impl Operator for OnGpu {
    type Kernel<'attr> = Guarded;

    fn name(&self) -> &str {
        self.definition.name
    }

    fn execution_provider_type(&self) -> Option<&str> {
        self.gpu.provider_name()
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        self.definition.inputs()
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        self.definition.outputs()
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Guarded> {
        Ok(Guarded::new((self.prepare)(context, self.gpu.clone())?, self.threads.clone()))
    }
}

/// This machine's failure, whatever the values. The library passes on only the text of an error.
fn broken<T>(gpu: &Gpu, reason: impl Into<String>) -> ort::Result<T> {
    gpu.set_broken();
    fail(reason)
}

/// A tensor of floats in the memory that kernels work on.
struct Tensor {
    shape: Vec<usize>,
    address: Address,
}

impl Tensor {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn at(gpu: &Gpu, shape: &[i64], device: &AllocationDevice<'_>, data: *const std::ffi::c_void) -> ort::Result<Self> {
        let there = match gpu.provider_name() {
            Some(_) => AllocationDevice::CUDA,
            None => AllocationDevice::CPU,
        };
        let shape = sizes(shape)?;
        // Nothing is nowhere.
        if *device != there && !shape.contains(&0) {
            return broken(gpu, format!("a tensor is on {} instead of {}", device.as_str(), there.as_str()));
        }
        Ok(Self { shape, address: data as Address })
    }
}

fn given(run: &Run<'_>, gpu: &Gpu, position: usize) -> ort::Result<Option<Tensor>> {
    let Some(value) = optional(run, position)? else { return Ok(None) };
    let value = value.downcast::<DynTensorValueType>()?;
    let device = value.memory_info().allocation_device();
    Tensor::at(gpu, value.shape(), &device, value.data_ptr()).map(Some)
}

fn required(run: &Run<'_>, gpu: &Gpu, position: usize) -> ort::Result<Tensor> {
    match given(run, gpu, position)? {
        Some(tensor) => Ok(tensor),
        None => fail(format!("input {position} is missing")),
    }
}

/// The output at a position, unless it is left out.
fn output(run: &Run<'_>, gpu: &Gpu, position: usize, shape: &[usize]) -> ort::Result<Option<Tensor>> {
    if position >= run.num_outputs()? {
        return Ok(None);
    }
    let shape = shape.iter().map(|&size| size as i64).collect::<Vec<_>>();
    let Some(value) = run.output(position, shape)? else { return Ok(None) };
    let value = value.downcast::<DynTensorValueType>()?;
    let device = value.memory_info().allocation_device();
    Tensor::at(gpu, value.shape(), &device, value.data_ptr()).map(Some)
}

fn result(run: &Run<'_>, gpu: &Gpu, shape: &[usize]) -> ort::Result<Tensor> {
    match output(run, gpu, 0, shape)? {
        Some(tensor) => Ok(tensor),
        None => fail("it has no output"),
    }
}

#[allow(unsafe_code, reason = "kernels are given addresses")]
fn launch(run: &Run<'_>, gpu: &Gpu, launches: impl IntoIterator<Item = Result<Launch, TooLarge>>) -> ort::Result<()> {
    let stream = match (run.stream()?, gpu.provider_name()) {
        (Some(stream), _) => stream.as_ptr(),
        (None, None) => ptr::null_mut(),
        (None, Some(_)) => return broken(gpu, "the library gives no stream"),
    };
    for launch in launches {
        let done = launch.map_err(depx_cuda::CudaError::from).and_then(|launch| {
            // SAFETY: the stream and the memory are the library's, of the GPU that was opened, or of this process where it is simulated;
            // shapes were compared, and the library frees memory in the stream's order.
            unsafe { gpu.kernels().launch(&launch, stream.cast()) }
        });
        done.or_else(|error| broken(gpu, error.to_string()))?;
    }
    Ok(())
}

fn each(gpu: Gpu, function: Elements) -> Compute {
    Box::new(move |run| {
        let x = required(run, &gpu, 0)?;
        let y = result(run, &gpu, &x.shape)?;
        launch(run, &gpu, [elements(function, x.address, y.address, x.len())])
    })
}

fn gelu(context: &KernelContext<'_>, gpu: Gpu) -> ort::Result<Compute> {
    let with_tanh = context.get::<String>("approximate").is_some_and(|approximate| approximate == "tanh");
    Ok(each(gpu, if with_tanh { Elements::GeluTanh } else { Elements::Gelu }))
}

fn along(context: &KernelContext<'_>, gpu: Gpu) -> ort::Result<Compute> {
    let along = context.get("axis").unwrap_or(-1);
    Ok(Box::new(move |run| {
        let x = required(run, &gpu, 0)?;
        let along = axis(along, x.shape.len())?;
        let y = result(run, &gpu, &x.shape)?;
        if x.len() == 0 {
            return Ok(());
        }
        let sizes = [x.shape[..along].iter().product(), x.shape[along], x.shape[along + 1..].iter().product()];
        launch(run, &gpu, [softmax(x.address, y.address, sizes)])
    }))
}

fn layer_normalization(context: &KernelContext<'_>, gpu: Gpu) -> ort::Result<Compute> {
    let along: i64 = context.get("axis").unwrap_or(-1);
    let epsilon: f32 = context.get("epsilon").unwrap_or(1e-5);
    Ok(Box::new(move |run| {
        let x = required(run, &gpu, 0)?;
        let along = axis(along, x.shape.len())?;
        let length = x.shape[along..].iter().product::<usize>();
        let factors = [given(run, &gpu, 1)?, given(run, &gpu, 2)?];
        if factors.iter().flatten().any(|factors| factors.len() != length) {
            return fail(format!("its scale and bias must have {length} elements"));
        }
        let y = result(run, &gpu, &x.shape)?;
        let mut of_rows = x.shape.clone();
        of_rows[along..].fill(1);
        let statistics = [output(run, &gpu, 1, &of_rows)?, output(run, &gpu, 2, &of_rows)?];
        if x.len() == 0 {
            return Ok(());
        }
        let address = |tensor: &Option<Tensor>| tensor.as_ref().map_or(0, |tensor| tensor.address);
        let of = LayerNorm {
            x: x.address,
            scale: address(&factors[0]),
            bias: address(&factors[1]),
            y: y.address,
            means: address(&statistics[0]),
            factors: address(&statistics[1]),
            rows: of_rows.iter().product(),
            length,
            epsilon,
        };
        launch(run, &gpu, [layer_norm(&of)])
    }))
}

/// What is added to the sums of a product.
#[derive(Default)]
struct Added {
    bias: Address,
    addend: Address,
    strides: [usize; 2],
    beta: f32,
}

impl Added {
    /// Something of the size of the result.
    fn whole(addend: Option<&Tensor>, shape: &[usize]) -> ort::Result<Self> {
        match addend {
            None => Ok(Self::default()),
            Some(addend) if addend.shape == shape => {
                let strides = [shape.last().copied().unwrap_or(1), 1];
                Ok(Self { addend: addend.address, strides, beta: 1.0, ..Self::default() })
            }
            Some(addend) => fail(format!("{:?} is added to a result of {shape:?}", addend.shape)),
        }
    }
}

/// One product, or several at equal distances.
struct Products {
    sizes: [usize; 3],
    items: usize,
    a: Address,
    a_strides: [usize; 3],
    b: Address,
    b_strides: [usize; 3],
    y: Address,
    alpha: f32,
}

impl Products {
    fn launches(&self, added: &Added, finish: &Finish) -> Vec<Result<Launch, TooLarge>> {
        let (low, high) = match finish.activation {
            Activation::Identity => (f32::NEG_INFINITY, f32::INFINITY),
            Activation::Relu => (0.0, f32::INFINITY),
            Activation::Clip { low, high } => (low, high),
        };
        let signed = |strides: [usize; 3]| strides.map(|stride| stride as i64);
        let launches = gemm(&Gemm {
            a: self.a,
            a_strides: signed(self.a_strides),
            b: self.b,
            b_strides: signed(self.b_strides),
            y: self.y,
            bias: added.bias,
            addend: added.addend,
            addend_strides: added.strides.map(|stride| stride as i64),
            alpha: self.alpha,
            beta: added.beta,
            low,
            high,
            items: self.items,
            sizes: self.sizes,
        });
        match launches {
            Ok(launches) => launches.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        }
    }
}

/// What is done to the results of a product then.
fn finished(finish: &Finish, y: &Tensor) -> ort::Result<Option<Result<Launch, TooLarge>>> {
    let function = match finish.function {
        None => return Ok(None),
        Some(Unary::Gelu) => Elements::Gelu,
        Some(Unary::GeluTanh) => Elements::GeluTanh,
        Some(Unary::HardSwish) => Elements::HardSwish,
        Some(Unary::Mish) => Elements::Mish,
        Some(Unary::Sigmoid) => Elements::Sigmoid,
        Some(Unary::Silu) => Elements::Silu,
        Some(Unary::Tanh) => Elements::Tanh,
        Some(function) => return fail(format!("no kernel ends with {function:?}")),
    };
    Ok(Some(elements(function, y.address, y.address, y.len())))
}

/// Strides of rows and columns.
fn strides(rows: usize, columns: usize, transposed: bool) -> [usize; 2] {
    if transposed { [1, rows] } else { [columns, 1] }
}

fn matmul(context: &KernelContext<'_>, gpu: Gpu) -> ort::Result<Compute> {
    let transposed = context.get::<i64>("transB").unwrap_or(0) != 0;
    let finish = Finish::of(context, Isa::PORTABLE)?;
    Ok(Box::new(move |run| {
        let (a, mut b) = (required(run, &gpu, 0)?, required(run, &gpu, 1)?);
        if transposed {
            b.shape.reverse();
        }
        let batch = Batch::of(&a.shape, &b.shape)?;
        let mut added = Added::whole(given(run, &gpu, 3)?.as_ref(), &batch.shape)?;
        let [mut rows, depth, columns] = batch.sizes;
        added.bias = match given(run, &gpu, 2)? {
            None => 0,
            Some(bias) if bias.len() == columns => bias.address,
            Some(_) => return fail("a bias for each column"),
        };
        let y = result(run, &gpu, &batch.shape)?;
        if y.len() == 0 {
            return Ok(());
        }
        let mut starts = batch.starts;
        // All rows of a batch meet the one right operand.
        if b.shape.len() == 2 && a.shape.len() > 2 {
            rows = a.shape[..a.shape.len() - 1].iter().product();
            starts.truncate(1);
        }
        let step = match &starts[..] {
            [first, second, ..] => [second[0].wrapping_sub(first[0]), second[1].wrapping_sub(first[1])],
            _ => [0, 0],
        };
        let even =
            starts.windows(2).all(|pair| (0..2).all(|side| pair[1][side].wrapping_sub(pair[0][side]) == step[side]));
        let items = if even { starts.len() } else { 1 };
        let [b_row, b_column] = strides(depth, columns, transposed);
        let mut launches = Vec::new();
        for (item, start) in starts.iter().enumerate().step_by(items) {
            let products = Products {
                sizes: [rows, depth, columns],
                items,
                a: a.address + 4 * start[0] as Address,
                a_strides: [depth, 1, step[0]],
                b: b.address + 4 * start[1] as Address,
                b_strides: [b_row, b_column, step[1]],
                y: y.address + 4 * (item * rows * columns) as Address,
                alpha: 1.0,
            };
            let addend = match added.addend {
                0 => 0,
                addend => addend + 4 * (item * rows * added.strides[0]) as Address,
            };
            launches.extend(products.launches(&Added { addend, ..added }, &finish));
        }
        launches.extend(finished(&finish, &y)?);
        launch(run, &gpu, launches)
    }))
}

fn general(context: &KernelContext<'_>, gpu: Gpu) -> ort::Result<Compute> {
    let flag = |name| context.get::<i64>(name).unwrap_or(0) != 0;
    let (trans_a, trans_b) = (flag("transA"), flag("transB"));
    let (alpha, beta) = (context.get("alpha").unwrap_or(1.0), context.get("beta").unwrap_or(1.0));
    let finish = Finish::of(context, Isa::PORTABLE)?;
    Ok(Box::new(move |run| {
        let (a, b, c) = (required(run, &gpu, 0)?, required(run, &gpu, 1)?, given(run, &gpu, 2)?);
        let (&[a_rows, a_columns], &[b_rows, b_columns]) = (&a.shape[..], &b.shape[..]) else {
            return fail("its operands must be matrices");
        };
        let (rows, depth) = if trans_a { (a_columns, a_rows) } else { (a_rows, a_columns) };
        let (b_depth, columns) = if trans_b { (b_columns, b_rows) } else { (b_rows, b_columns) };
        if depth != b_depth {
            return fail(format!("rows of {depth} do not fit columns of {b_depth}"));
        }
        let mut added = Added::whole(given(run, &gpu, 3)?.as_ref(), &[rows, columns])?;
        match c {
            Some(c) if beta == 1.0 && matches!(c.shape[..], [width] | [1, width] if width == columns) => {
                added.bias = c.address;
            }
            Some(_) if added.addend != 0 => return fail("two matrices are added"),
            Some(c) => {
                let strides = repeated(&c.shape, [rows, columns])?;
                added = Added { bias: 0, addend: c.address, strides, beta };
            }
            None => {}
        }
        let y = result(run, &gpu, &[rows, columns])?;
        if y.len() == 0 {
            return Ok(());
        }
        let with_item = |[row, column]: [usize; 2]| [row, column, 0];
        let products = Products {
            sizes: [rows, depth, columns],
            items: 1,
            a: a.address,
            a_strides: with_item(strides(rows, depth, trans_a)),
            b: b.address,
            b_strides: with_item(strides(depth, columns, trans_b)),
            y: y.address,
            alpha,
        };
        let mut launches = products.launches(&added, &finish);
        launches.extend(finished(&finish, &y)?);
        launch(run, &gpu, launches)
    }))
}
