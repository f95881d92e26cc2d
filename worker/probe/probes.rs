//! What is tried.

use bytes::Bytes;
use depx_host_abi::refusal::RefusalCode;
use depx_protocol::{Hash, HostCallLog, ItemLeaf, ItemOutput, JobOutput, Status};
use depx_runtime::{Job, JobResult, Refusal, WorkerLauncher};
use depx_worker::{Layer, ProcessLauncher, Role, WorkerOptions};
use minicbor::bytes::ByteVec;
use rustix::process::Pid;
use std::fs::File;
use std::io;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Does what `probe` says and tells how it went.
pub(crate) fn attempt(probe: &[String]) -> String {
    let words: Vec<&str> = probe.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["read", path] => File::open(path).and_then(|mut file| io::copy(&mut file, &mut io::sink())).map(drop),
        ["write", path] => File::options().append(true).create(true).open(path).map(drop),
        ["look", path] => rustix::fs::statat(rustix::fs::CWD, path, rustix::fs::AtFlags::EMPTY_PATH)
            .map(drop)
            .map_err(io::Error::from),
        ["list", path] => std::fs::read_dir(path).map(drop),
        ["tcp", address] => TcpStream::connect(address).map(drop),
        ["udp", address] => UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", address)).map(drop),
        ["unix", path] => UnixStream::connect(path).map(drop),
        ["exec"] => Err(Command::new("/bin/echo").arg("allowed").exec()),
        ["spawn"] => Command::new("/bin/true").status().map(drop),
        ["fork"] => fork(),
        ["abstract", name] => {
            let address = SocketAddr::from_abstract_name(name);
            address.and_then(|address| UnixStream::connect_addr(&address)).map(drop)
        }
        ["grow"] => grow(),
        ["kill", pid] => rustix::process::test_kill_process(process(pid)).map_err(io::Error::from),
        ["ptrace", pid] => call(libc::SYS_ptrace, [i64::from(libc::PTRACE_SEIZE), number(pid), 0, 0]).map(drop),
        ["peek", pid] => peek(number(pid)),
        ["map", how] => map(how),
        ["raise", signal] => {
            let (this, signal) = (i64::from(std::process::id()), number(signal));
            call(libc::SYS_tgkill, [this, this, signal, 0]).map(drop)
        }
        ["call", call_number] => call(number(call_number), [0; 4]).map(drop),
        ["launch"] => return launch(),
        ["hold"] => return hold(),
        ["threads"] => return threads().to_string(),
        ["memory", mib] => {
            let bytes = vec![1_u8; usize::try_from(number(mib)).unwrap() << 20];
            return std::hint::black_box(bytes).len().to_string();
        }
        ["pid"] => return std::process::id().to_string(),
        ["environment"] => return std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect(),
        ["descriptors"] => return descriptors(),
        ["spin"] => loop {
            std::hint::spin_loop();
        },
        ["abort"] => std::process::abort(),
        ["exit", status] => std::process::exit(i32::try_from(number(status)).unwrap()),
        ["panic"] => panic!("as asked"),
        ["fault"] => null(),
        ["say", hex] => say(hex),
        _ => panic!("there is no probe {words:?}"),
    };
    done.map_or_else(|error| format!("denied: {error}"), |()| "allowed".to_owned())
}

/// The same, with one layer of isolation alone.
pub(crate) fn attempt_within(layer: &str, probe: &[String]) -> String {
    let layers: Vec<Layer> = Layer::ALL.into_iter().filter(|known| format!("{known:?}") == layer).collect();
    assert_eq!(layers.len(), 1, "there is no layer {layer:?}");
    match depx_worker::isolate(&layers, Role::Execute).as_deref() {
        Ok([]) => attempt(probe),
        missing => format!("{missing:?}"),
    }
}

/// What a module that is a probe asks for.
pub(crate) fn module(wasm: &[u8]) -> Option<Vec<String>> {
    let words = std::str::from_utf8(wasm).ok()?.strip_prefix("probe ")?;
    Some(words.split(' ').map(str::to_owned).collect())
}

/// What comes of a module that is a probe: it is refused with what [`attempt`] says.
pub(crate) fn refusal(probe: &[String]) -> Refusal {
    Refusal { code: RefusalCode::Malformed, reason: attempt(probe) }
}

/// The result of a job that is a probe: what [`attempt`] says as standard output; or, for `lie`, something else.
pub(crate) fn result(job: &Job, probe: &[String]) -> JobResult {
    if let [lie, how] = probe
        && lie == "lie"
    {
        return lies(job, how);
    }
    honest(job, attempt(probe).into_bytes())
}

fn honest(job: &Job, stdout: Vec<u8>) -> JobResult {
    let leaf = ItemLeaf {
        index: 0,
        status: Status::Success,
        code: 0,
        fuel_used: 0,
        peak_memory_pages: 0,
        output: ItemOutput::output_hash(&stdout, &[]),
        output_len: stdout.len() as u64,
        log_len: 0,
        host_calls: HostCallLog::default(),
    };
    let item = ItemOutput { leaf, stdout: ByteVec::from(stdout), files: Vec::new() };
    let output = JobOutput { items: vec![item], inferences: Vec::new() };
    let core = output.result(job.id, job.spec.class, job.profile, Hash::ZERO);
    JobResult {
        core,
        output,
        logs: vec![Bytes::new()],
        host_calls: Vec::new(),
        times: vec![Duration::ZERO],
        detail: None,
    }
}

fn lies(job: &Job, how: &str) -> JobResult {
    let mut result = honest(job, b"content".to_vec());
    match how {
        "job" => result.core.job = Hash([9; 32]),
        "output" => result.output.items[0].stdout = ByteVec::from(b"else".to_vec()),
        "items" => {
            result.output.items.push(result.output.items[0].clone());
            result.core = result.output.result(job.id, job.spec.class, job.profile, Hash::ZERO);
        }
        "times" => result.times.clear(),
        "log" => result.logs[0] = Bytes::from_static(b"not counted"),
        "long log" => result.logs[0] = vec![0; 1 << 20].into(),
        "fuel" => {
            result.output.items[0].leaf.fuel_used = job.spec.limits.fuel + 1;
            result.core = result.output.result(job.id, job.spec.class, job.profile, Hash::ZERO);
        }
        "snapshot" => {
            result.core = result.core.starting_from(Hash([9; 32]), depx_host_abi::snapshot::FUEL + 1);
        }
        "flood" => return honest(job, vec![0; 64 << 20]),
        "over" => return honest(job, vec![0; usize::try_from(job.spec.limits.output_bytes).unwrap() + 1]),
        _ => panic!("there is no lie {how:?}"),
    }
    result
}

/// Starts workers with the rights of this process: first as isolated as they should be, then as far as is possible.
fn launch() -> String {
    let program = std::env::current_exe().unwrap();
    let strictly = match ProcessLauncher::new(WorkerOptions::new(&program)) {
        Ok(_) => "isolated".to_owned(),
        Err(error) => error.to_string(),
    };
    let weakly = WorkerOptions { allow_missing: true, ..WorkerOptions::new(&program) };
    match ProcessLauncher::new(weakly).map(|launcher| launcher.launch().map(drop)) {
        Ok(Ok(())) => format!("{strictly}\nweakly it works"),
        Ok(Err(fault)) => format!("{strictly}\n{fault}"),
        Err(error) => format!("{strictly}\n{error}: {:?}", std::error::Error::source(&error)),
    }
}

/// Starts workers, tells which processes they are, and waits to be killed.
fn hold() -> String {
    let options = WorkerOptions { allow_missing: true, ..WorkerOptions::new(std::env::current_exe().unwrap()) };
    let launcher = ProcessLauncher::new(options).unwrap();
    let _worker = launcher.launch().unwrap();
    let children = || -> String {
        let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        threads.map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap()).collect()
    };
    // Until the spare and the compilers are there too.
    while children().split_whitespace().count() < 4 {
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{}", children());
    loop {
        std::thread::park();
    }
}

/// Makes memory executable that can be, or could be, written to.
#[allow(unsafe_code, reason = "memory is mapped in ways that nobody is to use")]
fn map(how: &str) -> io::Result<()> {
    const PAGE: usize = 4096;
    let (anonymous, data, code) = (
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::PROT_READ | libc::PROT_EXEC,
    );
    let done = |failed: bool| if failed { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: the kernel finds a place that is free.
    let map = |protection| unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, anonymous, -1, 0) };
    match how {
        "code" => done(map(code) == libc::MAP_FAILED),
        "both" => done(map(data | libc::PROT_EXEC) == libc::MAP_FAILED),
        "turned" => {
            let page = map(data);
            // SAFETY: the page was mapped just now, for this.
            done(page == libc::MAP_FAILED || unsafe { libc::mprotect(page, PAGE, code) } != 0)
        }
        "file" => rustix::fs::memfd_create("code", rustix::fs::MemfdFlags::CLOEXEC).map(drop).map_err(io::Error::from),
        _ => panic!("there is no way {how:?}"),
    }
}

/// Makes a file in memory larger than any that a worker needs.
fn grow() -> io::Result<()> {
    let file = File::from(rustix::fs::memfd_create("large", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.set_len(2 << 30)
}

fn number(text: &str) -> i64 {
    text.parse().unwrap()
}

fn process(pid: &str) -> Pid {
    Pid::from_raw(pid.parse().unwrap()).unwrap()
}

/// As many threads as can be had, up to a thousand.
fn threads() -> usize {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let stopped = std::sync::Mutex::new(stopped);
    std::thread::scope(|scope| {
        let wait = || drop(stopped.lock().map(|stopped| stopped.recv()));
        let start = |_| std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, wait).ok();
        let started = (0..1000).map_while(start).count();
        drop(stop);
        started
    })
}

/// Descriptors that are open. Only numbers can be looked at, not what is behind them.
#[allow(unsafe_code, reason = "descriptors that nobody here owns are looked at")]
fn descriptors() -> String {
    let is_open = |number: &i32| {
        // SAFETY: asking for flags neither uses nor changes what is behind the number.
        unsafe { libc::fcntl(*number, libc::F_GETFD) >= 0 }
    };
    (0..1024).filter(is_open).map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}

#[allow(unsafe_code, reason = "the safe ways to make a process do more than that")]
fn fork() -> io::Result<()> {
    // SAFETY: the child does nothing but exit.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) }
        }
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[allow(unsafe_code, reason = "calls are made for which there is no safe way, since nobody is to make them")]
fn call(number: i64, arguments: [i64; 4]) -> io::Result<i64> {
    let [a, b, c, d] = arguments;
    // SAFETY: the numbers that tests give are of calls that reach other processes or the kernel's own state, and do nothing to
    // this one's memory with arguments of zero, or those given here.
    match unsafe { libc::syscall(number, a, b, c, d) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// Reads from another process's memory where its program usually is, or at least asks to.
#[allow(unsafe_code, reason = "another process's memory is asked for")]
fn peek(pid: i64) -> io::Result<()> {
    let mut byte = 0_u8;
    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let there = libc::iovec { iov_base: std::ptr::without_provenance_mut(8), iov_len: 1 };
    let pid = libc::pid_t::try_from(pid).unwrap();
    // SAFETY: one byte of this process is written, which is there for it.
    match unsafe { libc::process_vm_readv(pid, &raw const here, 1, &raw const there, 1, 0) } {
        -1 => match io::Error::last_os_error() {
            // Nothing is mapped there; but it was looked at.
            error if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
            error => Err(error),
        },
        _ => Ok(()),
    }
}

#[allow(unsafe_code, reason = "the process is to be killed by the fault")]
fn null() -> io::Result<()> {
    let nothing = std::hint::black_box(std::ptr::without_provenance::<u8>(8));
    // SAFETY: none; the address is not mapped, and the fault that follows is what is wanted.
    let byte = unsafe { nothing.read_volatile() };
    Err(io::Error::other(format!("read {byte}")))
}

/// Writes bytes straight to the supervisor, and waits for what comes of it.
#[allow(unsafe_code, reason = "the socket belongs to the worker, which does not lend it")]
fn say(hex: &str) -> io::Result<()> {
    /// The first descriptor that a worker opens.
    const SOCKET: i32 = 3;
    let digits: Vec<_> = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
    let bytes: Vec<_> = digits.iter().map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    // SAFETY: the worker keeps its socket open as long as it lives.
    let socket = unsafe { BorrowedFd::borrow_raw(SOCKET) };
    rustix::net::send(socket, &bytes, rustix::net::SendFlags::NOSIGNAL)?;
    loop {
        std::hint::spin_loop();
    }
}
