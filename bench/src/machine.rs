//! Where the figures were measured.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

/// This machine, and the commit that was measured. What cannot be found out is `unknown`.
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) compiler: String,
    pub(crate) commit: String,
    /// Runnable processes in the minute before the first figure, on average: other programs that disturb.
    pub(crate) load: String,
}

impl Machine {
    /// The machine that this program runs on.
    pub(crate) fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let or_unknown = |found: Option<String>| found.unwrap_or_else(|| "unknown".to_owned());
        let git = |arguments: &[&str]| output(Command::new("git").args(arguments).current_dir(directory()));
        let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|list| !list.is_empty());
        let commit = git(&["rev-parse", "--short=12", "HEAD"]);
        Self {
            processor: or_unknown(field(&read("/proc/cpuinfo"), "model name")),
            cores: available_parallelism().map_or(1, usize::from),
            memory: or_unknown(field(&read("/proc/meminfo"), "MemTotal").and_then(|memory| gibibytes(&memory))),
            kernel: or_unknown(Some(read("/proc/sys/kernel/osrelease").trim_end().to_owned())),
            compiler: or_unknown(output(Command::new("rustc").arg("--version"))),
            commit: or_unknown(commit) + if changed { ", with changes" } else { "" },
            load: or_unknown(read("/proc/loadavg").split(' ').next().map(str::to_owned)),
        }
    }
}

/// The folder of this crate in the checkout.
pub(crate) fn directory() -> std::path::PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).to_owned(), Into::into)
}

/// What a command prints, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The first value of a field in a file of lines `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let value = |line: &str| Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim().to_owned());
    text.lines().find_map(value)
}

/// From `24620924 kB` to `23.5 GiB`.
fn gibibytes(memory: &str) -> Option<String> {
    let kibibytes: f64 = memory.strip_suffix(" kB")?.parse().ok()?;
    Some(format!("{:.1} GiB", kibibytes / f64::from(1 << 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_among_others() {
        let text = "model\t\t: 2\nmodel name\t: AMD EPYC\nMemTotal:       24620924 kB\n";
        assert_eq!(field(text, "model name").as_deref(), Some("AMD EPYC"));
        assert_eq!(field(text, "MemTotal").and_then(|memory| gibibytes(&memory)).as_deref(), Some("23.5 GiB"));
        assert_eq!(field(text, "vendor"), None);
        assert_eq!(gibibytes("many"), None);
    }
}
