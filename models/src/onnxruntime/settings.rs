//! How models are run: everything here may decide bits, so everything here is in the profile.

use super::gpu::Gpu;
use ort::environment::Environment;
use ort::ep;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

/// What [`builder`] sets, for the profile. Whoever changes the one changes the other.
pub(super) const DESCRIPTION: &str =
    "extended graph optimisation, 1 thread, sequential, deterministic, x64quantprecision, subnormals kept, no kleidiai";

/// A builder of sessions with these settings.
pub(super) fn builder(environment: &Environment, gpu: Option<&Gpu>) -> ort::Result<SessionBuilder> {
    // Without an arena, a run's memory goes back to the system, and a large run does not stay in an idle node.
    let processor = ep::CPU::default().with_arena_allocator(false).build().error_on_failure();
    // The first that can compute an operator does.
    let providers: Vec<_> = gpu.and_then(Gpu::provider).into_iter().chain([processor]).collect();
    Ok(Session::builder(environment)?
        .with_no_environment_execution_providers()?
        .with_execution_providers(providers)?
        .with_memory_pattern(false)?
        // One thread: sums are split by thread. The caller's own thread does the work.
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_deterministic_compute(true)?
        // Fusions, the same on every processor; the next level chooses layouts by the width of vectors.
        .with_optimization_level(GraphOptimizationLevel::Level2)?
        // Products of 8-bit integers that saturate on processors without VNNI are not used.
        .with_precise_qmm()?
        // IEEE 754's subnormal numbers, whatever the state of the calling thread was.
        .with_config_entry("session.set_denormal_as_zero", "0")?
        .with_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "0")?
        // Arm's own kernels choose by features that the profile does not name.
        .with_config_entry("mlas.disable_kleidiai", "1")?
        // What was checked as ONNX is not to be taken for the library's own format.
        .with_config_entry("session.load_model_format", "ONNX")?
        .with_log_level(LogLevel::Warning)?)
}
