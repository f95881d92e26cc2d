//! What a worker cannot do. Each attempt is made from inside one, and once more without isolation, where it succeeds.

use crate::support::{JobBuilder, NOTHING, PROGRAM, Subject, control, isolated, options};
use depx_runtime::HostFault;
use depx_worker::{LaunchError, ProcessLauncher, WorkerOptions};
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::{CommandExt, ExitStatusExt};

/// Asserts that each attempt is refused inside and succeeds outside.
fn denied(subject: &mut Subject, probes: &[Vec<&str>]) {
    for probe in probes {
        let inside = subject.probe(probe);
        assert!(inside.starts_with("denied: Operation not permitted"), "{probe:?}: {inside}");
        assert_eq!(control(probe), "allowed", "{probe:?}");
    }
}

/// Each layer does its part by itself; that all together deny it shows only that one of them does.
#[test]
fn each_layer_holds_alone() {
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: some layers need root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "the node's key").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = folder.path().join("socket");
    let _unix = UnixListener::bind(&path).unwrap();
    let name = format!("depx-test-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let mut victim = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
    let (pid, tcp) = (victim.id().to_string(), tcp.local_addr().unwrap().to_string());
    let (key, folder) = (key.to_str().unwrap(), folder.path().to_str().unwrap());
    let (refused, forbidden) = ("Operation not permitted", "Permission denied");
    let cases = [
        ("Rlimits", vec!["grow"], "killed"),
        ("Network", vec!["tcp", &tcp], "Network is unreachable"),
        ("Network", vec!["abstract", &name], "Connection refused"),
        ("Root", vec!["read", "/etc/passwd"], "No such file"),
        ("Root", vec!["look", key], "No such file"),
        ("Root", vec!["list", folder], "No such file"),
        ("Root", vec!["exec"], "No such file"),
        ("Privileges", vec!["read", key], forbidden),
        ("Privileges", vec!["kill", &pid], refused),
        ("Privileges", vec!["ptrace", &pid], refused),
        ("Privileges", vec!["peek", &pid], refused),
        ("Landlock", vec!["read", "/etc/passwd"], forbidden),
        ("Landlock", vec!["read", key], forbidden),
        ("Landlock", vec!["write", key], forbidden),
        ("Landlock", vec!["list", folder], forbidden),
        ("Landlock", vec!["exec"], forbidden),
        ("Landlock", vec!["tcp", &tcp], forbidden),
        ("Landlock", vec!["abstract", &name], refused),
        ("Landlock", vec!["kill", &pid], refused),
        ("Landlock", vec!["ptrace", &pid], refused),
        ("Landlock", vec!["peek", &pid], refused),
        ("Seccomp", vec!["read", key], refused),
        ("Seccomp", vec!["tcp", &tcp], refused),
        ("Seccomp", vec!["unix", path.to_str().unwrap()], refused),
        ("Seccomp", vec!["exec"], refused),
        ("Seccomp", vec!["fork"], refused),
        ("Seccomp", vec!["kill", &pid], refused),
        ("Seccomp", vec!["ptrace", &pid], refused),
        ("Seccomp", vec!["peek", &pid], refused),
    ];
    for (layer, probe, expected) in cases {
        let output = std::process::Command::new(PROGRAM).args(["layer", layer]).args(&probe).output().unwrap();
        let inside = String::from_utf8(output.stdout).unwrap();
        if expected == "killed" {
            assert_eq!(output.status.signal(), Some(libc::SIGXFSZ), "{layer} {probe:?}: {inside}");
        } else {
            assert!(inside.starts_with(&format!("denied: {expected}")), "{layer} {probe:?}: {inside}");
        }
        assert_eq!(control(&probe), "allowed", "{probe:?}");
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[test]
fn files_cannot_be_read_nor_written() {
    let Some(launcher) = isolated(options()) else { return };
    let mut subject = Subject::of(launcher);
    let folder = tempfile::tempdir().unwrap();
    let (key, new) = (folder.path().join("key"), folder.path().join("new"));
    fs::write(&key, "the node's key").unwrap();
    let (folder, key, new) = (folder.path().to_str().unwrap(), key.to_str().unwrap(), new.to_str().unwrap());
    denied(
        &mut subject,
        &[vec!["read", "/etc/passwd"], vec!["read", key], vec!["write", key], vec!["write", new], vec!["list", folder]],
    );
}

#[test]
fn files_cannot_be_looked_at() {
    let Some(launcher) = isolated(options()) else { return };
    let mut subject = Subject::of(launcher);
    for path in ["/etc/passwd", "/etc", "/proc/1", "/../etc"] {
        let inside = subject.probe(&["look", path]);
        assert!(inside.starts_with("denied: No such file or directory"), "{path}: {inside}");
    }
    assert_eq!(control(&["look", "/etc/passwd"]), "allowed");
}

#[test]
fn sockets_cannot_be_made() {
    let Some(launcher) = isolated(options()) else { return };
    let mut subject = Subject::of(launcher);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _unix = UnixListener::bind(&path).unwrap();
    let (tcp, udp) = (tcp.local_addr().unwrap().to_string(), udp.local_addr().unwrap().to_string());
    denied(&mut subject, &[vec!["tcp", &tcp], vec!["udp", &udp], vec!["unix", path.to_str().unwrap()]]);
}

#[test]
fn no_program_is_started_and_no_process_made() {
    let Some(launcher) = isolated(options()) else { return };
    denied(&mut Subject::of(launcher), &[vec!["exec"], vec!["spawn"], vec!["fork"]]);
}

#[test]
fn threads_are_bounded() {
    let Some(launcher) = isolated(options()) else { return };
    let mut subject = Subject::of(launcher);
    let started: usize = subject.probe(&["threads"]).parse().unwrap();
    assert!((1..64).contains(&started), "{started} threads");
    assert_eq!(control(&["threads"]), "1000");
    subject.works();
}

#[test]
fn other_processes_cannot_be_touched() {
    let Some(launcher) = isolated(options()) else { return };
    let (mut subject, mut neighbour) = (Subject::of(launcher.clone()), Subject::of(launcher));
    // A victim for the attempts that succeed: being traced does not suit the tests themselves.
    let mut victim = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
    let (supervisor, neighbour, victim_pid) =
        (std::process::id().to_string(), neighbour.pid().to_string(), victim.id().to_string());
    for pid in [&supervisor, &neighbour, &victim_pid] {
        for what in ["ptrace", "kill", "peek"] {
            let inside = subject.probe(&[what, pid]);
            assert!(inside.starts_with("denied: Operation not permitted"), "{what} {pid}: {inside}");
        }
    }
    for what in ["ptrace", "kill", "peek"] {
        assert_eq!(control(&[what, &victim_pid]), "allowed", "{what}");
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[test]
fn what_other_processes_hold_cannot_be_read() {
    let Some(launcher) = isolated(options()) else { return };
    let (mut subject, mut neighbour) = (Subject::of(launcher.clone()), Subject::of(launcher));
    // The neighbour's job, and the supervisor, hold a blob in a memfd.
    let held = rustix::fs::memfd_create("held", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let (supervisor, pid) = (std::process::id(), neighbour.pid());
    let memfd = format!("/proc/{supervisor}/fd/{}", held.as_raw_fd());
    let environment = format!("/proc/{supervisor}/environ");
    let descriptors = format!("/proc/{pid}/fd");
    let maps = format!("/proc/{pid}/maps");
    denied(
        &mut subject,
        &[vec!["read", &memfd], vec!["read", &environment], vec!["list", &descriptors], vec!["read", &maps]],
    );
}

#[test]
fn calls_that_reach_the_kernel_are_refused() {
    let Some(launcher) = isolated(options()) else { return };
    let mut subject = Subject::of(launcher);
    let calls = [
        ("socket", libc::SYS_socket),
        ("socketpair", libc::SYS_socketpair),
        ("connect", libc::SYS_connect),
        ("bind", libc::SYS_bind),
        ("execve", libc::SYS_execve),
        ("execveat", libc::SYS_execveat),
        ("ptrace", libc::SYS_ptrace),
        ("openat", libc::SYS_openat),
        ("openat2", libc::SYS_openat2),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("mount", libc::SYS_mount),
        ("pivot_root", libc::SYS_pivot_root),
        ("chroot", libc::SYS_chroot),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("setuid", libc::SYS_setuid),
        ("capset", libc::SYS_capset),
        ("prctl", libc::SYS_prctl),
        ("seccomp", libc::SYS_seccomp),
        ("prlimit64", libc::SYS_prlimit64),
        ("ioctl", libc::SYS_ioctl),
        ("memfd_create", libc::SYS_memfd_create),
        ("pkey_mprotect", libc::SYS_pkey_mprotect),
        ("pidfd_open", libc::SYS_pidfd_open),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("process_vm_writev", libc::SYS_process_vm_writev),
        ("shmget", libc::SYS_shmget),
        ("init_module", libc::SYS_init_module),
        ("reboot", libc::SYS_reboot),
        ("kill", libc::SYS_kill),
    ];
    for (name, call) in calls {
        let inside = subject.probe(&["call", &call.to_string()]);
        assert!(inside.starts_with("denied: Operation not permitted"), "{name}: {inside}");
    }
    // Told to be missing, so that the C library makes threads in a way that can be looked at.
    let clone3 = subject.probe(&["call", &libc::SYS_clone3.to_string()]);
    assert!(clone3.starts_with("denied: Function not implemented"), "{clone3}");
}

#[test]
fn what_was_writable_never_becomes_executable() {
    let Some(launcher) = isolated(options()) else { return };
    let probes = ["code", "both", "turned", "file"].map(|how| vec!["map", how]);
    denied(&mut Subject::of(launcher), &probes);
}

#[test]
fn memory_ends_at_the_limit() {
    let Some(launcher) = isolated(WorkerOptions { overhead: 256 << 20, ..options() }) else { return };
    let mut subject = Subject::of(launcher);
    // The overhead, and what a job with these limits may hold.
    let within = JobBuilder::probe(&["memory", "128"]);
    assert!(subject.run(within).is_ok());
    let reason = subject.death(JobBuilder::probe(&["memory", "600"]));
    assert!(reason.starts_with("it needed more memory than the "), "{reason}");
    assert_eq!(control(&["memory", "600"]), (600 << 20).to_string());
    subject.works();
    // A job that is allowed more gets more.
    let more = JobBuilder::probe(&["memory", "600"]).limits(|limits| limits.memory_pages = 16_000);
    assert!(subject.run(more).is_ok());
}

#[test]
fn nothing_is_inherited() {
    let Some(launcher) = isolated(options()) else { return };
    let mut subject = Subject::of(launcher);
    assert_eq!(subject.probe(&["environment"]), "");
    // Standard streams, which lead nowhere, the socket, and the module's artifact.
    assert_eq!(subject.probe(&["descriptors"]), "0 1 2 3 4");
    // Nor is anything kept: a job with contents in descriptors leaves none.
    let large = vec![7; 1 << 20];
    subject.run(JobBuilder::wat(NOTHING).input(&large).file("large", &large[1..])).unwrap();
    assert_eq!(subject.probe(&["descriptors"]), "0 1 2 3 4");
    assert_ne!(control(&["environment"]), "");
}

#[test]
fn privileges_are_gone() {
    let Some(launcher) = isolated(options()) else { return };
    let mut subject = Subject::of(launcher);
    let pid = subject.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
    };
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(capabilities), "0000000000000000", "{capabilities}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2");
    if rustix::process::getuid().is_root() {
        assert_eq!(field("Uid"), "65534\t65534\t65534\t65534");
        assert_eq!(field("Gid"), "65534\t65534\t65534\t65534");
        assert_eq!(field("Groups"), "");
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
    for namespace in ["net", "ipc", "uts"] {
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}")).unwrap();
        assert_ne!(of(&pid.to_string()), of("self"), "{namespace}");
    }
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroups.contains(&format!("/depx-worker-{}-", std::process::id())), "{cgroups}");
}

#[test]
fn a_program_that_is_no_worker_does_not_become_one() {
    let start = |program: &str| match ProcessLauncher::new(WorkerOptions::new(program)) {
        Err(LaunchError::Worker(HostFault::WorkerDied { reason })) => reason,
        other => panic!("{:?}", other.map(|_| ())),
    };
    assert_eq!(start("/bin/true"), "it exited with status 0");
    assert!(start("/nowhere").starts_with("/nowhere cannot be run"));
}

/// Unprivileged users cannot make cgroups; what they get is told.
#[test]
fn without_privileges_workers_say_what_is_missing() {
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: root is needed to become somebody else");
        return;
    }
    let output =
        std::process::Command::new(PROGRAM).args(["control", "launch"]).uid(65534).gid(65534).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("workers cannot be isolated on this machine; missing is a cgroup"), "{text}");
    assert!(text.contains("Delegate=yes"), "{text}");
    assert!(text.contains("weakly it works"), "{text}");
}
