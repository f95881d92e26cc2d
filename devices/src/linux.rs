//! Processor and memory, by the files of Linux's `/proc`.

use crate::{Machine, ProbeError, ProcessorTime};
use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::Path;

pub(crate) fn machine(proc: &Path) -> Result<Machine, ProbeError> {
    let path = proc.join("meminfo");
    let memory = std::fs::read_to_string(&path).unwrap_or_default();
    let bytes = |name| kibibytes(&memory, name).ok_or_else(|| ProbeError::Memory { path: path.clone() });
    let processors = std::fs::read_to_string(proc.join("cpuinfo")).unwrap_or_default();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    Ok(Machine {
        // Arm's processors do not say.
        processor: field(&processors, "model name").unwrap_or_default().to_owned(),
        cores: cores(&processors).clamp(1, threads),
        threads,
        features: features(&processors),
        memory: bytes("MemTotal")?,
        memory_available: bytes("MemAvailable")?,
    })
}

pub(crate) fn processors(proc: &Path) -> Result<ProcessorTime, ProbeError> {
    let path = proc.join("stat");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    // User, nice, system, idle, waiting for disks, interrupts of two kinds, and what the hypervisor took.
    let times = text.strip_prefix("cpu ").and_then(|rest| rest.lines().next());
    let times: Vec<u64> =
        times.unwrap_or_default().split_whitespace().take(8).map_while(|time| time.parse().ok()).collect();
    if times.len() < 5 {
        return Err(ProbeError::Processors { path });
    }
    let total = times.iter().sum::<u64>();
    Ok(ProcessorTime { busy: total - times[3] - times[4], total })
}

/// What follows the first `name:`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.trim() == name).map(|(_, value)| value.trim())
}

/// How many there are, by the numbers of socket and core that each thread says it runs on. Where none says so, each is a core.
fn cores(processors: &str) -> usize {
    let blocks = processors.split("\n\n").filter(|block| field(block, "processor").is_some());
    let places: Vec<_> = blocks.map(|block| (field(block, "physical id"), field(block, "core id"))).collect();
    match places.iter().all(|(_, core)| core.is_some()) {
        true => places.into_iter().collect::<BTreeSet<_>>().len(),
        false => places.len(),
    }
}

/// What kernels make use of, as Linux names it: on x86 and on Arm.
const FEATURES: [&str; 9] =
    ["avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "sha_ni", "asimd", "asimddp"];

fn features(processors: &str) -> Vec<String> {
    let all = field(processors, "flags").or_else(|| field(processors, "Features")).unwrap_or_default();
    let has = |feature: &&str| all.split_whitespace().any(|there| there == *feature);
    FEATURES.iter().filter(|feature| has(feature)).map(|feature| (*feature).to_owned()).collect()
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_busy_for_part_of_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            std::fs::write(folder.path().join("stat"), text).unwrap();
            processors(folder.path())
        };
        let before = read("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(before, ProcessorTime { busy: 150, total: 1000 });
        let after = read("cpu  175 0 50 820 55 0 0 0 0 0\n").unwrap();
        assert_eq!((after.load_since(before), before.load_since(after), before.load_since(before)), (750, 0, 0));
        for text in ["", "cpu  1 2", "cpu  a b c d e", "intr 1 2 3 4 5"] {
            assert!(read(text).unwrap_err().to_string().contains("stat"), "{text}");
        }
    }

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

    #[test]
    fn cores_are_counted_once_for_all_their_threads() {
        let thread = |socket: u32, core: u32| format!("processor\t: 0\nphysical id\t: {socket}\ncore id\t: {core}\n\n");
        let text: String = [(0, 0), (0, 1), (0, 0), (0, 1), (1, 0)].map(|(socket, core)| thread(socket, core)).concat();
        assert_eq!(cores(&text), 3);
        // Arm's processors do not say.
        assert_eq!(cores("processor\t: 0\n\nprocessor\t: 1\n\nHardware\t: Test\n"), 2);
        assert_eq!(cores(""), 0);
    }

    #[test]
    fn features_are_those_that_kernels_use() {
        assert_eq!(features("flags\t\t: fpu sse2 avx2 avx512f\n"), ["avx2", "avx512f"]);
        assert_eq!(features("Features\t: fp asimd\n"), ["asimd"]);
        assert!(features("").is_empty());
    }
}
