//! Processor and memory, by the files of Linux's `/proc`.

use crate::{Machine, ProbeError};
use std::num::NonZero;
use std::path::Path;

pub(crate) fn machine(proc: &Path) -> Result<Machine, ProbeError> {
    let path = proc.join("meminfo");
    let memory = std::fs::read_to_string(&path).unwrap_or_default();
    let bytes = |name| kibibytes(&memory, name).ok_or_else(|| ProbeError::Memory { path: path.clone() });
    let processors = std::fs::read_to_string(proc.join("cpuinfo")).unwrap_or_default();
    Ok(Machine {
        // Arm's processors do not say.
        processor: field(&processors, "model name").unwrap_or_default().to_owned(),
        threads: std::thread::available_parallelism().map_or(1, NonZero::get),
        memory: bytes("MemTotal")?,
        memory_available: bytes("MemAvailable")?,
    })
}

/// What follows the first `name:`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.trim() == name).map(|(_, value)| value.trim())
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_and_memory_are_read_or_missing_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = machine(folder.path()).unwrap_err().to_string();
        assert!(error.contains("meminfo"), "{error}");
        let memory = "MemTotal:       24689320 kB\nMemFree:  100 kB\nMemAvailable:   2048 kB\n";
        std::fs::write(folder.path().join("meminfo"), memory).unwrap();
        assert_eq!(machine(folder.path()).unwrap().processor, "");
        let processor = "processor\t: 0\nmodel name\t: Test CPU\nprocessor\t: 1\nmodel name\t: Other\n";
        std::fs::write(folder.path().join("cpuinfo"), processor).unwrap();
        let found = machine(folder.path()).unwrap();
        assert_eq!((found.processor.as_str(), found.memory), ("Test CPU", 24_689_320 * 1024));
        assert_eq!(found.memory_available, 2 << 20);
    }
}
