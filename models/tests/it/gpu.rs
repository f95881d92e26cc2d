//! Models on a GPU. Its kernels are interpreted where `reproducible::ours` runs models; here is who computes them, and what a real GPU
//! gives. Without one that is skipped, and fails if `REQUIRE_GPU=1`.

use crate::backend;
use crate::reproducible::{assert_close, numbers, tensor};
use crate::writer::{F32, Message, floats, graph, node, opset, port, weight};
use depx_cuda::{CudaError, Kernels, Launch};
use depx_models::{Backend, Gpu, GpuError, GpuOptions, OnnxRuntime, Reproducible, RunError};
use std::ffi::c_void;
use std::sync::Arc;

const DIGITS: &[u8] = include_bytes!("../../zoo/digits/digits.onnx");

/// Every operator that a GPU has, on an input of 6 x 40.
fn operators() -> Vec<(&'static str, Vec<u8>)> {
    let weights =
        [weight("w", F32, &[40, 40], &floats(&numbers(1600))), weight("v", F32, &[40], &floats(&numbers(40)))];
    let tanh = Message::default().bytes(1, "approximate").bytes(4, "tanh").int(20, 3);
    let mut nodes: Vec<_> = ["Erf", "Exp", "Gelu", "HardSwish", "Mish", "Relu", "Sigmoid", "Softmax", "Tanh"]
        .map(|name| (name, node(name, &["x"], &["y"])))
        .into();
    nodes.push(("Gelu", node("Gelu", &["x"], &["y"]).message(5, tanh)));
    nodes.push(("Gemm", node("Gemm", &["x", "w", "v"], &["y"])));
    nodes.push(("LayerNormalization", node("LayerNormalization", &["x", "v", "v"], &["y"])));
    nodes.push(("MatMul", node("MatMul", &["x", "w"], &["y"])));
    let model = |node: Message| {
        let graph = graph(&[node], &weights, &[port("x", F32, &[6, 40])], &[port("y", F32, &[6, 40])]);
        // Gelu is of this operator set.
        Message::default().int(1, 9).message(7, graph).message(8, opset("", 20)).0
    };
    nodes.into_iter().map(|(name, node)| (name, model(node))).collect()
}

/// Kernels that cannot be launched.
struct None;

impl Kernels for None {
    #[allow(unsafe_code, reason = "it does nothing")]
    unsafe fn launch(&self, launch: &Launch, _: *mut c_void) -> Result<(), CudaError> {
        Err(CudaError::Call { function: "cuLaunchKernel", reason: format!("{} was launched", launch.kernel) })
    }
}

#[test]
fn what_a_gpu_has_kernels_for_is_computed_there() {
    let Some(library) = backend() else { return };
    let reproducible = Reproducible::new(library.with_gpu(Gpu::simulated(Arc::new(None))));
    for (name, onnx) in operators() {
        match reproducible.load(&onnx).unwrap().run(&[tensor(&[6, 40], &numbers(240))]) {
            // The machine's failure, not the input's.
            Err(RunError::Backend { reason }) => assert!(reason.contains("was launched"), "{name}: {reason}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// The GPU, or `None` where something that it needs is not here.
pub(crate) fn gpu(library: &OnnxRuntime) -> Option<Gpu> {
    match Gpu::open(library, GpuOptions { ordinal: 0, memory: 4 << 30 }) {
        Ok(gpu) => Some(gpu),
        Err(
            error @ (GpuError::NoProvider { .. } | GpuError::Device(CudaError::NoDriver { .. } | CudaError::NoDevice)),
        ) if std::env::var_os("REQUIRE_GPU").is_none_or(|value| value != "1") => {
            eprintln!("skipped: {error}");
            Option::None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_gpu_gives_the_bits_of_the_processor() {
    let Some(library) = backend() else { return };
    let Some(gpu) = gpu(&library) else { return };
    let on_gpu = Reproducible::new(library.clone().with_gpu(gpu));
    let on_processor = Reproducible::new(library);
    assert_eq!(on_gpu.profile(), on_processor.profile());
    let mut models = operators();
    models.push(("digits", DIGITS.to_vec()));
    for (name, onnx) in models {
        let (ours, expected) = (on_gpu.load(&onnx).unwrap(), on_processor.load(&onnx).unwrap());
        let shape: Vec<u32> = ours.inputs()[0].shape.iter().map(|size| size.unwrap_or(1)).collect();
        let x = tensor(&shape, &numbers(shape.iter().product::<u32>() as usize));
        let x = std::slice::from_ref(&x);
        assert!(ours.run(x).unwrap() == expected.run(x).unwrap(), "{name}");
    }
}

#[test]
fn the_library_on_a_gpu_is_another_profile_with_close_results() {
    let Some(library) = backend() else { return };
    let Some(gpu) = gpu(&library) else { return };
    let on_gpu = library.clone().with_gpu(gpu);
    assert!(on_gpu.profile().contains("provider cuda") && on_gpu.profile().contains("use_tf32=0"));
    let x = tensor(&[1, 1, 8, 8], &numbers(64));
    let run = |backend: &OnnxRuntime| backend.load(DIGITS).unwrap().run(std::slice::from_ref(&x)).unwrap();
    let (ours, expected) = (run(&on_gpu), run(&library));
    assert_close("digits", &ours, &expected);
    assert!(run(&on_gpu) == ours, "a second run");
}
