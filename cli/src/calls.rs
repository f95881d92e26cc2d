//! The log of host calls, for people.

use depx_host_abi::Import;
use depx_protocol::{HostCallLeaf, HostCallLog};
use std::io::{self, Write};

/// Calls of each item that are written, the first ones: about 20 MB of them while an item runs.
pub(crate) const KEPT: usize = 100_000;

/// One line for each call that was kept, and one that says how many were not.
pub(crate) fn write(out: &mut impl Write, item: u64, log: &HostCallLog, kept: &[HostCallLeaf]) -> io::Result<()> {
    for call in kept {
        writeln!(out, "{}", line(item, call))?;
    }
    match log.count - kept.len() as u64 {
        0 => Ok(()),
        more => writeln!(out, "{item} and {more} more calls, which were not kept"),
    }
}

/// Item, number, function with its arguments, result, fuel left before and after, digest of the memory that was touched.
fn line(item: u64, call: &HostCallLeaf) -> String {
    let name = Import::numbered(call.function).map_or("?", |(_, import)| import.name);
    let arguments: Vec<String> = call.arguments.iter().map(u64::to_string).collect();
    let result = call.result.map_or_else(|| "the end".to_owned(), |code| code.to_string());
    let memory = call.memory.map_or_else(|| "-".to_owned(), |digest| digest.to_string());
    let (index, before, after) = (call.index, call.fuel_before, call.fuel_after);
    format!("{item} {index} {name}({}) = {result}, fuel {before} {after}, memory {memory}", arguments.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use depx_protocol::Hash;

    #[test]
    fn a_call_is_a_line() {
        let call = |index, function, arguments: &[u64], result, memory| HostCallLeaf {
            index,
            function,
            arguments: arguments.to_vec(),
            result,
            fuel_before: 1000,
            fuel_after: 744,
            memory,
        };
        let kept = [
            call(0, 21, &[0, 8, 1, 4], Some(0), Some(Hash([0xab; 32]))),
            call(1, 42, &[], Some(0), None),
            call(2, 39, &[7], None, None),
            call(3, 60_000, &[u64::MAX], Some(28), None),
        ];
        let mut out = Vec::new();
        write(&mut out, 5, &HostCallLog { count: 6, ..HostCallLog::default() }, &kept).unwrap();
        let expected = [
            format!("5 0 fd_read(0, 8, 1, 4) = 0, fuel 1000 744, memory {}", "ab".repeat(32)),
            "5 1 sched_yield() = 0, fuel 1000 744, memory -".into(),
            "5 2 proc_exit(7) = the end, fuel 1000 744, memory -".into(),
            format!("5 3 ?({}) = 28, fuel 1000 744, memory -", u64::MAX),
            "5 and 2 more calls, which were not kept".into(),
        ];
        assert_eq!(String::from_utf8_lossy(&out).lines().collect::<Vec<_>>(), expected);
    }
}
