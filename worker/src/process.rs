//! One worker process, as its supervisor sees it.

use crate::WorkerOptions;
use crate::cgroup::{Cgroup, Hierarchy};
use crate::layer::{Layer, Missing, Role, bounded};
use crate::link::{Link, LinkError};
use crate::message::{Answer, MAX_GREETING, Start};
use depx_protocol::{DeterminismClass, Hash};
use depx_runtime::{Allocation, HostFault, Optimize};
use lru::LruCache;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A worker that is not ready by then never is: loading ONNX Runtime takes a tenth of a second, on a busy machine some.
const START: Duration = Duration::from_secs(30);

/// How long a process whose socket is closed may take to be gone.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The unit in which Linux tells processor time, on every architecture.
const TICKS_PER_SECOND: u64 = 100;

/// Modules that an executing worker knows at a time. What it takes to run one is usually below 1 MiB beside the shared code.
const MAX_KNOWN: usize = 64;

/// A worker process. Dropping it kills it.
pub(crate) struct Process {
    /// `None` once it is being buried.
    child: Option<Child>,
    cgroup: Option<Cgroup>,
    pub(crate) link: Link,
    greeting: Greeting,
    /// Jobs that it has done.
    pub(crate) jobs: u32,
    /// Modules that it knows, the one used last first.
    known: LruCache<Hash, ()>,
    memory: u64,
}

/// What a worker said about itself.
#[derive(Clone, Default, Debug)]
pub(crate) struct Greeting {
    pub(crate) missing: Vec<Missing>,
    pub(crate) profiles: Vec<(DeterminismClass, Hash)>,
    pub(crate) no_models: Option<String>,
    pub(crate) compatibility: Hash,
}

/// Why a conversation with a worker ended early.
pub(crate) enum Stop {
    Fault(HostFault),
    Link(LinkError),
}

impl From<HostFault> for Stop {
    fn from(fault: HostFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<LinkError> for Stop {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl Process {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(
        options: &WorkerOptions,
        role: Role,
        hierarchy: &Result<Hierarchy, String>,
    ) -> Result<Self, HostFault> {
        let failed = |what: &str, error: &dyn std::fmt::Display| HostFault::WorkerDied {
            reason: bounded(&format!("{what}: {error}")),
        };
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|error| failed("no socket for it", &error))?;
        rustix::io::ioctl_fionbio(&ours, true).map_err(|error| failed("no socket for it", &error))?;
        let mut command = Command::new(&options.program);
        // What it prints before it is isolated goes where the supervisor's goes; then it prints nothing.
        command.args(&options.arguments).env_clear().current_dir("/").stdin(theirs).stdout(Stdio::null());
        // An interrupt from the terminal is for the supervisor, which lets its workers finish.
        command.process_group(0);
        let models = options.models && role == Role::Execute;
        if models {
            // The library would keep a thread and a database to report to its maker.
            command.env("ORT_DISABLE_TELEMETRY", "1");
            // The worker has another working directory.
            let library = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
            command.envs(library.and_then(|path| Some(("ORT_DYLIB_PATH", std::path::absolute(path).ok()?))));
        }
        let child =
            command.spawn().map_err(|error| failed(&format!("{} cannot be run", options.program.display()), &error))?;
        // The command holds the worker's end, which must not outlive the worker.
        drop(command);
        let mut process = Self {
            child: Some(child),
            cgroup: None,
            link: Link::of_supervisor(ours),
            greeting: Greeting::default(),
            jobs: 0,
            known: LruCache::unbounded(),
            memory: if role == Role::Execute { options.overhead } else { options.compile_memory },
        };
        // Compiling has one thread.
        let cores = if role == Role::Execute { options.threads.get() } else { 1 };
        // Before it is told anything, so that everything it does is counted.
        let unplaced = process.place(cores, hierarchy).err();
        process.greet(options, models, role)?;
        process.greeting.missing.extend(unplaced.map(|reason| Missing::new(Layer::Cgroup, reason)));
        Ok(process)
    }

    fn place(&mut self, cores: u32, hierarchy: &Result<Hierarchy, String>) -> Result<(), String> {
        let hierarchy = hierarchy.as_ref().map_err(Clone::clone)?;
        let cgroup = hierarchy.create(self.memory, cores).map_err(|error| error.to_string())?;
        let pid = self.pid().ok_or("the worker is gone")?;
        cgroup.place(pid).map_err(|error| error.to_string())?;
        self.cgroup = Some(cgroup);
        Ok(())
    }

    fn greet(&mut self, options: &WorkerOptions, models: bool, role: Role) -> Result<(), HostFault> {
        let start = Start {
            models,
            library_folder: options.library_folder.as_ref().map(|path| path.to_string_lossy().into_owned()),
            optimize: options.engine.optimize == Optimize::Speed,
            pool_slots: match options.engine.allocation {
                Allocation::Pooling { slots } => Some(slots),
                Allocation::OnDemand => None,
            },
            interpreter: options.engine.interpreter,
            threads: options.threads.get(),
            max_job_output: options.max_job_output,
            role,
        };
        let deadline = Instant::now() + START;
        let mut glance = || match Instant::now() < deadline {
            true => Ok(()),
            false => {
                let reason = format!("it was not ready within {} s", START.as_secs());
                Err(Stop::Fault(HostFault::WorkerDied { reason }))
            }
        };
        let greeting = self
            .link
            .send(&start, &mut glance)
            .and_then(|()| self.link.receive::<Answer, Stop>(MAX_GREETING, &mut glance));
        match greeting.map_err(|stop| self.fault(stop))? {
            Answer::Ready { missing, profiles, no_models, compatibility } => {
                let missing = missing.iter().map(|missing| Missing::new(missing.layer, &missing.reason)).collect();
                let no_models = no_models.map(|reason| bounded(&reason));
                self.greeting = Greeting { missing, profiles, no_models, compatibility };
                Ok(())
            }
            Answer::NotReady(reason) => Err(HostFault::WorkerDied { reason: bounded(&reason) }),
            _ => Err(HostFault::WorkerDied { reason: unasked() }),
        }
    }

    pub(crate) fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Whether it knows what `module` is, without being told again.
    pub(crate) fn knows(&self, module: &Hash) -> bool {
        self.known.contains(module)
    }

    /// From now on it knows `module`; gives the one that it is to forget.
    pub(crate) fn learn(&mut self, module: Hash) -> Option<Hash> {
        self.known.put(module, ());
        if self.known.len() > MAX_KNOWN { self.known.pop_lru().map(|(forgotten, ())| forgotten) } else { None }
    }

    fn pid(&self) -> Option<Pid> {
        self.child.as_ref().and_then(|child| Pid::from_raw(child.id().cast_signed()))
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Lets its cgroup hold `bytes`.
    pub(crate) fn limit_memory(&mut self, bytes: u64) -> Result<(), HostFault> {
        if let Some(cgroup) = &self.cgroup
            && bytes != self.memory
        {
            cgroup.limit_memory(bytes).map_err(|error| HostFault::WorkerDied {
                reason: bounded(&format!("its memory cannot be limited: {error}")),
            })?;
        }
        self.memory = bytes;
        Ok(())
    }

    /// What counts the processor time that it uses.
    pub(crate) fn clock(&self) -> Clock {
        Clock(self.pid())
    }

    /// What happened, if the conversation ended early.
    pub(crate) fn fault(&mut self, stop: Stop) -> HostFault {
        let reason = match stop {
            Stop::Fault(fault) => return fault,
            Stop::Link(LinkError::Closed) => self.death(),
            Stop::Link(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                format!("it broke the protocol: {error}{cause}")
            }
        };
        HostFault::WorkerDied { reason: bounded(&reason) }
    }

    /// How it died, for people.
    fn death(&mut self) -> String {
        let Some(child) = &mut self.child else { return "it is gone".to_owned() };
        let started = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(None) if started.elapsed() < LAST_WORDS => std::thread::sleep(Duration::from_millis(1)),
                Ok(status) => break status,
                Err(_) => break None,
            }
        };
        if self.cgroup.as_ref().is_some_and(Cgroup::was_out_of_memory) {
            return format!("it needed more memory than the {} MiB that it was allowed", self.memory >> 20);
        }
        status.map_or_else(|| "it closed its socket".to_owned(), describe)
    }

    /// Kills it and waits until nothing of it is left.
    pub(crate) fn end(mut self) {
        self.kill();
        if let Some(child) = self.child.take() {
            bury(child, self.cgroup.take());
        }
    }

    fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            // One that is dead already is fine.
            let _ = child.kill();
        }
    }
}

/// Counts the processor time of a process.
pub(crate) struct Clock(Option<Pid>);

impl Clock {
    /// Used so far, all threads together; nothing if the process is gone.
    pub(crate) fn used(&self) -> Duration {
        let stat = self.0.and_then(|pid| std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok());
        // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field behind it.
        let ticks = stat.as_deref().and_then(|stat| stat.rsplit_once(')')).map(|(_, fields)| {
            fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
        });
        Duration::from_millis(ticks.unwrap_or(0) * 1000 / TICKS_PER_SECOND)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let Some(child) = self.child.take() else { return };
        let cgroup = self.cgroup.take();
        // Taking down a few gigabytes of memory takes the kernel a while; whoever waits for a job's end does not wait for that.
        let bury = move || bury(child, cgroup);
        if let Err(error) = std::thread::Builder::new().name("depx-burial".into()).spawn(bury) {
            tracing::warn!(%error, "a dead worker is not waited for, since no thread can be started");
        }
    }
}

fn bury(mut child: Child, cgroup: Option<Cgroup>) {
    let _ = child.wait();
    drop(cgroup);
}

pub(crate) fn unasked() -> String {
    "it broke the protocol: it answered what it was not asked".to_owned()
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it exited with status {code}"),
        (None, Some(signal)) => {
            let named = [
                (libc::SIGKILL, "SIGKILL"),
                (libc::SIGSEGV, "SIGSEGV"),
                (libc::SIGABRT, "SIGABRT"),
                (libc::SIGBUS, "SIGBUS"),
                (libc::SIGILL, "SIGILL"),
                (libc::SIGSYS, "SIGSYS"),
                (libc::SIGXFSZ, "SIGXFSZ"),
                (libc::SIGXCPU, "SIGXCPU"),
            ];
            let name = named.into_iter().find(|(number, _)| *number == signal).map_or("a signal", |(_, name)| name);
            format!("it was killed by {name} ({signal})")
        }
        (None, None) => "it ended".to_owned(),
    }
}
