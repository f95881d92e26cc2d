//! A worker that tries to break out, for the tests: jobs whose first argument is `probe` are not executed, but do what their other
//! arguments say from inside the isolated process; modules that are a text beginning with `probe` are not compiled, but do what its
//! other words say, and are refused with what came of it. `control` as the program's first argument does the same without isolation, and
//! `layer` and its name with that layer alone.

#[cfg(target_os = "linux")]
mod probes;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("control", probe)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        println!("{}", probes::attempt(probe));
        return ExitCode::SUCCESS;
    }
    if let [first, layer, probe @ ..] = &arguments[..]
        && first == "layer"
    {
        println!("{}", probes::attempt_within(layer, probe));
        return ExitCode::SUCCESS;
    }
    depx_worker::serve_with(
        |runtime, job| match job.spec.args.split_first() {
            Some((first, probe)) if first == "probe" => Ok(probes::result(job, probe)),
            _ => runtime.run_job(job, &depx_runtime::Cancel::default()),
        },
        |compiler, name, wasm| match probes::module(wasm) {
            Some(probe) => Err(depx_runtime::PrepareError::Refused(probes::refusal(&probe))),
            None => compiler.compile(name, wasm),
        },
    )
}

#[cfg(not(target_os = "linux"))]
fn main() {}
