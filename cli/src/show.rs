//! What people and programs see.

use crate::Global;
use depx_host_abi::{limit::LimitCode, refusal::RefusalCode, trap::TrapCode};
use depx_protocol::{Hash, ResultCore, Status};
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// One line on standard output: JSON or text.
pub(crate) fn line(global: &Global, value: &Value, text: impl FnOnce() -> String) {
    if global.json { print(value) } else { print(text()) }
}

/// A line on standard output. That nobody reads it any more, as behind `| head`, is no failure.
pub(crate) fn print(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// An error with its causes, on standard error.
pub(crate) fn error(global: &Global, error: &anyhow::Error) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let mut stderr = std::io::stderr().lock();
    let _ = if global.json {
        writeln!(stderr, "{}", json!({"error": causes[0], "causes": causes[1..]}))
    } else {
        writeln!(stderr, "error: {}", causes.join("\n  because: "))
    };
}

/// What the parser of the command line has to say: an error, or the help that was asked for. Gives the exit code.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        // The paragraphs after the first show how to call the command.
        let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(std::io::stderr().lock(), "{}", json!({"error": line, "causes": []}));
    } else {
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// How a job ended, in words.
pub(crate) fn status(result: &ResultCore) -> String {
    let named = |name: Option<&str>| name.map_or_else(|| format!("code {}", result.code), str::to_owned);
    match result.status {
        Status::Success => "success".to_owned(),
        Status::ExitCode => format!("exited with code {}", result.code),
        Status::Trap => format!("trapped: {}", named(TrapCode::try_from(result.code).ok().map(TrapCode::name))),
        Status::OutOfFuel => "ran out of fuel; give it more with --fuel".to_owned(),
        Status::LimitExceeded => {
            let limit = LimitCode::try_from(result.code).ok();
            let remedy = match limit {
                Some(LimitCode::MemoryPages) => "; allow more with --memory",
                Some(LimitCode::OutputBytes) => "; allow more with --output",
                _ => "",
            };
            format!("exceeded a limit: {}{remedy}", named(limit.map(LimitCode::name)))
        }
        Status::InvalidModule => {
            format!("the module is refused: {}", named(RefusalCode::try_from(result.code).ok().map(RefusalCode::name)))
        }
        Status::InvalidModel => "a model is not usable".to_owned(),
        Status::InvalidInput => "the input is not what the job says it is".to_owned(),
        Status::InvalidItem => "the model cannot take an item".to_owned(),
    }
}

/// The exit code that stands for how a job ended.
pub(crate) fn exit_code(result: &ResultCore) -> ExitCode {
    match result.status {
        Status::Success => ExitCode::SUCCESS,
        // As a process would: the low eight bits, but never 0 for a failure.
        Status::ExitCode => ExitCode::from(u8::try_from(result.code & 0xff).unwrap_or(1).max(1)),
        Status::OutOfFuel => ExitCode::from(120),
        Status::LimitExceeded => ExitCode::from(121),
        Status::InvalidModule | Status::InvalidModel | Status::InvalidInput | Status::InvalidItem => {
            ExitCode::from(122)
        }
        Status::Trap => ExitCode::from(134),
    }
}

/// A result as JSON.
pub(crate) fn result(result: &ResultCore) -> Value {
    json!({
        "job": result.job.to_string(),
        "result": result.hash().to_string(),
        "class": result.class.name(),
        "profile": result.profile.to_string(),
        "status": format!("{:?}", result.status),
        "code": result.code,
        "explanation": status(result),
        "fuel_used": result.fuel_used,
        "peak_memory_pages": result.peak_memory_pages,
        "items": result.item_count,
        "output_bytes": result.output_len,
        "input_root": result.input_root.to_string(),
        "output_root": result.output_root.to_string(),
        "items_root": result.items_root.to_string(),
        "host_calls_root": result.host_calls_root.to_string(),
        "inference_root": result.inference_root.to_string(),
        "snapshot": (result.snapshot != Hash::ZERO).then(|| result.snapshot.to_string()),
        "snapshot_fuel": result.snapshot_fuel,
    })
}

/// Bytes that a guest wrote, as JSON: text if they are.
pub(crate) fn guest_bytes(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(
        |_| json!({"hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()}),
        |text| json!({"text": text}),
    )
}

/// 12345678 as "12,345,678".
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration in the unit that suits it.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// The value below which `percent` of the sorted `values` lie.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let sorted: Vec<_> = (1..=10).map(Duration::from_secs).collect();
        let cases = [(50, 5), (90, 9), (99, 10), (100, 10), (0, 1)];
        for (percent, seconds) in cases {
            assert_eq!(percentile(&sorted, percent), Duration::from_secs(seconds));
        }
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
