//! A loaded model: a few sessions, each used by one caller at a time.

use super::gpu::Gpu;
use super::{Failure, OnnxRuntime, guarded, reproducible, settings};
use crate::onnx::ModelInfo;
use crate::text::{MAX_REASON, bounded};
use crate::{ElementType, Model, RunError, Tensor, TensorSpec, check_inputs};
use depx_kernels::{Isa, Threads, with_ieee_floats};
use half::f16;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor as Value};
use std::fmt::Debug;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A model in ONNX Runtime. The library's sessions are not for several threads at once, so concurrent callers get one each, and
/// wait where there are as many as the machine has cores.
pub(super) struct Sessions {
    library: OnnxRuntime,
    kind: Kind,
    info: ModelInfo,
    onnx: Arc<[u8]>,
    pool: Mutex<Pool>,
    returned: Condvar,
}

/// Who computes.
pub(super) enum Kind {
    /// The library, all of it.
    Pinned,
    /// Our own kernels with these instructions and threads, and the library what is exact.
    Reproducible(Isa, Arc<Threads>),
}

/// Sessions that nobody uses, and how many more may be made.
struct Pool {
    idle: Vec<Session>,
    spare: usize,
}

impl Sessions {
    /// Loads the model; the library checks it once more, by its own rules.
    pub(super) fn new(library: OnnxRuntime, kind: Kind, info: ModelInfo, onnx: &[u8]) -> Result<Self, String> {
        let first = session(&library, &kind, onnx).map_err(|failure| failure.reason)?;
        let spare = std::thread::available_parallelism().map_or(1, NonZero::get) - 1;
        let pool = Mutex::new(Pool { idle: vec![first], spare });
        Ok(Self { library, kind, info, onnx: onnx.into(), pool, returned: Condvar::new() })
    }

    fn take(&self) -> Result<Session, Failure> {
        let mut pool = self.pool();
        loop {
            if let Some(session) = pool.idle.pop() {
                return Ok(session);
            }
            if pool.spare > 0 {
                pool.spare -= 1;
                drop(pool);
                return session(&self.library, &self.kind, &self.onnx).inspect_err(|_| self.forget());
            }
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, session: Session) {
        self.pool().idle.push(session);
        self.returned.notify_one();
    }

    /// Makes room for another session in the place of one that failed.
    fn forget(&self) {
        self.pool().spare += 1;
        self.returned.notify_one();
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Model for Sessions {
    fn inputs(&self) -> &[TensorSpec] {
        &self.info.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.info.outputs
    }

    fn fuel(&self) -> u64 {
        self.info.fuel
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        check_inputs(&self.info.inputs, inputs)?;
        let mut session = self.take().map_err(|failure| RunError::Backend { reason: failure.reason })?;
        match with_ieee_floats(|| guarded(|| run(&mut session, inputs, &self.info.outputs))) {
            Ok(outputs) => {
                self.give_back(session);
                match self.kind {
                    Kind::Pinned => outputs,
                    Kind::Reproducible(..) => Ok(outputs?.into_iter().map(Tensor::with_canonical_nans).collect()),
                }
            }
            Err(failure) => {
                // A session that failed may have kept part of that run; the next caller gets a fresh one.
                drop(session);
                self.forget();
                match self.library.gpu.as_ref().is_some_and(Gpu::is_broken) {
                    true => Err(RunError::Backend { reason: failure.reason }),
                    false => Err(judged(failure)),
                }
            }
        }
    }
}

fn session(library: &OnnxRuntime, kind: &Kind, onnx: &[u8]) -> Result<Session, Failure> {
    // Kernels prepare their weights here.
    with_ieee_floats(|| {
        guarded(|| {
            let gpu = library.gpu.as_ref();
            let mut builder = settings::builder(&library.library.environment, gpu)?;
            if let Kind::Reproducible(isa, threads) = kind {
                // The library's own fusions and constants would go past the operators.
                builder = builder.with_optimization_level(GraphOptimizationLevel::Disable)?;
                builder = builder.with_operators(reproducible::domain(*isa, threads, gpu)?)?;
                if let Some(gpu) = gpu {
                    return gpu.reproducible_session(builder, onnx);
                }
            }
            builder.commit_from_memory(onnx)
        })
    })
}

/// Whose fault it is. An operator that returns a status has found a value that it cannot take, such as an index out of range:
/// the same on every node. What it throws, a lack of memory included, comes back with another code.
fn judged(failure: Failure) -> RunError {
    let Failure { code, reason } = failure;
    let returned = matches!(code, ort::ErrorCode::InvalidArgument | ort::ErrorCode::GenericFailure);
    if returned && reason.starts_with("Non-zero status code returned while running") {
        RunError::Inputs { reason }
    } else {
        RunError::Backend { reason }
    }
}

/// One run. The inner result is this crate's judgement of what the library gave.
fn run(
    session: &mut Session,
    inputs: &[Tensor],
    expected: &[TensorSpec],
) -> ort::Result<Result<Vec<Tensor>, RunError>> {
    let inputs =
        inputs.iter().map(|tensor| Ok(value(tensor)?.into())).collect::<ort::Result<Vec<SessionInputValue<'_>>>>()?;
    let outputs = session.run(&inputs[..])?;
    let mut tensors = Vec::with_capacity(expected.len());
    for (spec, value) in expected.iter().zip(outputs.values()) {
        let tensor = tensor(&value, spec.element_type)?;
        match tensor.filter(|tensor| fits(spec, tensor)) {
            Some(tensor) => tensors.push(tensor),
            None => return Ok(Err(unexpected(spec))),
        }
    }
    Ok(match expected.get(tensors.len()) {
        None => Ok(tensors),
        Some(spec) => Err(unexpected(spec)),
    })
}

/// Outputs may be larger than inputs where a size is left open, and empty.
fn fits(spec: &TensorSpec, tensor: &Tensor) -> bool {
    let fits = |(size, expected): (&u32, &Option<u32>)| expected.is_none_or(|expected| *size == expected);
    tensor.shape().len() == spec.shape.len() && tensor.shape().iter().zip(&spec.shape).all(fits)
}

fn unexpected(spec: &TensorSpec) -> RunError {
    RunError::Backend { reason: bounded(&format!("output {} is not {spec}", spec.name), MAX_REASON) }
}

/// A tensor of the library's with a copy of the data.
fn value(tensor: &Tensor) -> ort::Result<DynValue> {
    fn typed<T, const N: usize>(tensor: &Tensor, read: fn([u8; N]) -> T) -> ort::Result<DynValue>
    where
        T: PrimitiveTensorElementType + Debug + Clone + 'static,
    {
        let shape = tensor.shape().iter().map(|&size| i64::from(size)).collect::<Vec<_>>();
        let data = tensor.data().as_chunks().0.iter().map(|&bytes| read(bytes)).collect::<Vec<T>>();
        Ok(Value::from_array((shape, data))?.into_dyn())
    }
    match tensor.element_type() {
        ElementType::F16 => typed(tensor, f16::from_le_bytes),
        ElementType::F32 => typed(tensor, f32::from_le_bytes),
        ElementType::F64 => typed(tensor, f64::from_le_bytes),
        ElementType::U8 => typed(tensor, u8::from_le_bytes),
        ElementType::I32 => typed(tensor, i32::from_le_bytes),
        ElementType::I64 => typed(tensor, i64::from_le_bytes),
    }
}

/// The library's tensor, which must be of the expected type; `None` if its shape is none.
fn tensor(value: &DynValue, element_type: ElementType) -> ort::Result<Option<Tensor>> {
    fn typed<T, const N: usize>(value: &DynValue, write: fn(T) -> [u8; N]) -> ort::Result<(Option<Vec<u32>>, Vec<u8>)>
    where
        T: PrimitiveTensorElementType + Copy,
    {
        let (shape, data) = value.try_extract_tensor::<T>()?;
        let shape = shape.iter().map(|&size| u32::try_from(size).ok()).collect();
        Ok((shape, data.iter().flat_map(|&element| write(element)).collect()))
    }
    let (shape, data) = match element_type {
        ElementType::F16 => typed(value, f16::to_le_bytes),
        ElementType::F32 => typed(value, f32::to_le_bytes),
        ElementType::F64 => typed(value, f64::to_le_bytes),
        ElementType::U8 => typed(value, u8::to_le_bytes),
        ElementType::I32 => typed(value, i32::to_le_bytes),
        ElementType::I64 => typed(value, i64::to_le_bytes),
    }?;
    Ok(shape.and_then(|shape| Tensor::new(element_type, shape, data).ok()))
}
