//! The system calls that executing or compiling takes, each for a reason; all others fail with `EPERM`.
//!
//! They fail rather than kill, because libraries try things and do without: the C library looks for processors in `/sys`, the
//! standard library for limits in cgroups. A refused call has no effect either way, and an honest worker stays alive.

use crate::layer::Role;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
    apply_filter_all_threads,
};
use std::collections::BTreeMap;

/// Calls that are allowed whatever their arguments.
const CALLS: &[(libc::c_long, &str)] = &[
    // The conversation with the supervisor, and contents that it passes; there is nothing else to read or write.
    (libc::SYS_recvmsg, "jobs and their descriptors"),
    (libc::SYS_sendto, "answers"),
    (libc::SYS_write, "last words of libraries, which lead nowhere: nothing that a worker holds can be written to"),
    (libc::SYS_close, "descriptors that were mapped"),
    (libc::SYS_fstat, "the length of a blob or an artifact"),
    // Memory. What may be mapped, and how, is below.
    (libc::SYS_munmap, "memories of guests, compiled code, the heap"),
    (libc::SYS_mremap, "the heap"),
    (libc::SYS_madvise, "giving memory back"),
    (libc::SYS_brk, "the heap"),
    (libc::SYS_membarrier, "compiled code, seen by all threads"),
    // Threads and traps of guests.
    (libc::SYS_futex, "locks"),
    (libc::SYS_set_robust_list, "a thread's start"),
    (libc::SYS_rseq, "a thread's start"),
    (libc::SYS_sched_yield, "locks"),
    (libc::SYS_sched_getaffinity, "the number of processors"),
    (libc::SYS_rt_sigaction, "traps of guests arrive as signals"),
    (libc::SYS_rt_sigprocmask, "the same"),
    (libc::SYS_rt_sigreturn, "the same"),
    (libc::SYS_sigaltstack, "the same"),
    (libc::SYS_getpid, "a process that aborts names itself"),
    (libc::SYS_gettid, "the same"),
    (libc::SYS_exit, "the end of a thread"),
    (libc::SYS_exit_group, "the end of the worker"),
    // Clocks and randomness; guests see neither.
    (libc::SYS_clock_gettime, "time limits, where the kernel does not map the clock"),
    (libc::SYS_gettimeofday, "the same"),
    (libc::SYS_getrandom, "hash tables"),
];

pub(super) fn install(role: Role) -> Result<(), String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let install = || -> Result<(), seccompiler::Error> {
        // First, since the other leaves no way to install a second.
        apply_filter_all_threads(&not_implemented(arch)?)?;
        apply_filter_all_threads(&allowed(arch, role)?)
    };
    install().map_err(|error| error.to_string())
}

/// `clone3` keeps its flags in memory, where no filter looks. Told that the kernel has none, the C library makes threads with
/// `clone`.
fn not_implemented(arch: TargetArch) -> Result<seccompiler::BpfProgram, seccompiler::Error> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, missing, arch)?.try_into()?)
}

fn allowed(arch: TargetArch, role: Role) -> Result<seccompiler::BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (call, _reason) in CALLS {
        rules.insert(*call, Vec::new());
    }
    // The other filter answers it.
    rules.insert(libc::SYS_clone3, Vec::new());
    // Threads, in the namespaces of this process, and no processes.
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let looked_at = u64::from((namespaces | libc::CLONE_THREAD).cast_unsigned());
    if role == Role::Execute {
        rules.insert(libc::SYS_clone, vec![only(0, SeccompCmpOp::MaskedEq(looked_at), thread)?]);
    }
    // No memory that is writable, or was, becomes executable. Code is mapped from the files of artifacts, where it is executed.
    let (write, execute) = (flag(libc::PROT_WRITE), flag(libc::PROT_EXEC));
    let data = || only(2, SeccompCmpOp::MaskedEq(execute), 0);
    rules.insert(libc::SYS_mprotect, vec![data()?]);
    let mut mappings = vec![data()?];
    if role == Role::Execute {
        let code = condition(2, SeccompCmpOp::MaskedEq(write | execute), execute)?;
        let file = condition(3, SeccompCmpOp::MaskedEq(flag(libc::MAP_ANONYMOUS)), 0)?;
        mappings.push(SeccompRule::new(vec![code, file])?);
    }
    rules.insert(libc::SYS_mmap, mappings);
    // What `fstat` is in the C and the standard library. They take a path too, and there is none to give; see `root`.
    let itself = flag(libc::AT_EMPTY_PATH);
    rules.insert(libc::SYS_newfstatat, vec![only(3, SeccompCmpOp::Eq, itself)?]);
    rules.insert(libc::SYS_statx, vec![only(2, SeccompCmpOp::Eq, itself)?]);
    // Aborting; signals to others are refused.
    let this = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![only(0, SeccompCmpOp::Eq, this)?]);
    // The seals of a blob, and copies of an artifact's descriptor; nothing that could reach another process.
    let seals = [libc::F_GET_SEALS, libc::F_DUPFD_CLOEXEC, libc::F_GETFD];
    let seals = seals.map(|command| only(1, SeccompCmpOp::Eq, u64::from(command.unsigned_abs())));
    rules.insert(libc::SYS_fcntl, seals.into_iter().collect::<Result<_, _>>()?);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    Ok(SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()?)
}

/// Allows a call whose argument number `argument` compares to `value`.
fn only(argument: u8, comparison: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::Error> {
    Ok(SeccompRule::new(vec![condition(argument, comparison, value)?])?)
}

fn condition(argument: u8, comparison: SeccompCmpOp, value: u64) -> Result<SeccompCondition, seccompiler::Error> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, comparison, value)?)
}

fn flag(flag: libc::c_int) -> u64 {
    u64::from(flag.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_call_is_listed_once_with_a_reason() {
        let calls: BTreeSet<_> = CALLS.iter().map(|(call, _)| call).collect();
        assert_eq!(calls.len(), CALLS.len());
        assert!(CALLS.iter().all(|(_, reason)| !reason.is_empty()));
    }

    #[test]
    fn what_reaches_others_is_not_listed() {
        let refused = [
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_execve,
            libc::SYS_ptrace,
            libc::SYS_openat,
            libc::SYS_kill,
            libc::SYS_process_vm_readv,
            libc::SYS_ioctl,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_pidfd_getfd,
            libc::SYS_prctl,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_memfd_create,
            libc::SYS_pkey_mprotect,
        ];
        for call in refused {
            assert!(!CALLS.iter().any(|(listed, _)| *listed == call), "{call}");
        }
    }
}
