//! A cgroup per worker, on either version of the interface.
//!
//! Plain files are all there is to it. The crate `cgroups-rs` would bring a D-Bus client and an asynchronous executor with it.

use rustix::process::Pid;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Tasks, threads included, that a worker may have: one per core of a large machine, and a few for libraries.
pub(crate) const MAX_TASKS: u32 = 64;

/// The period over which processor time is counted, in microseconds: the kernel's default.
const PERIOD_US: u64 = 100_000;

/// What workers' cgroups are called; the supervisor's process and a number follow.
const PREFIX: &str = "depx-worker-";

/// Where cgroups for workers are made: below the one that this process is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Hierarchy {
    /// A directory for each controller.
    V1 { memory: PathBuf, pids: PathBuf, cpu: PathBuf },
    /// One directory for all.
    V2(PathBuf),
}

/// Why there can be no cgroup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    #[error("no mounted hierarchy has the controllers memory, pids and cpu")]
    NoController,
    #[error("{path} cannot be written: {source}")]
    Write { path: PathBuf, source: io::Error },
}

impl Hierarchy {
    /// Finds where this process is.
    pub(crate) fn find() -> Result<Self, CgroupError> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let places = Places::parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        let hierarchy = places.hierarchy().ok_or(CgroupError::NoController)?;
        if let Self::V2(directory) = &hierarchy {
            delegate(directory)?;
        }
        hierarchy.sweep();
        Ok(hierarchy)
    }

    /// A cgroup for one worker on `cores` processors that holds at most `memory` bytes.
    pub(crate) fn create(&self, memory: u64, cores: u32) -> Result<Cgroup, CgroupError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let quota = u64::from(cores) * PERIOD_US;
        let cgroup = match self {
            Self::V1 { memory, pids, cpu } => {
                let [memory, pids, cpu] = [memory, pids, cpu].map(|parent| parent.join(&name));
                Cgroup { memory, others: vec![pids, cpu], v2: false }
            }
            Self::V2(parent) => Cgroup { memory: parent.join(&name), others: Vec::new(), v2: true },
        };
        for directory in cgroup.directories() {
            match fs::create_dir(directory) {
                // Controllers may share one directory.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(|source| CgroupError::Write { path: directory.clone(), source })?,
            }
        }
        match &cgroup.others[..] {
            [pids, cpu] => {
                write(&pids.join("pids.max"), &MAX_TASKS.to_string())?;
                write(&cpu.join("cpu.cfs_period_us"), &PERIOD_US.to_string())?;
                write(&cpu.join("cpu.cfs_quota_us"), &quota.to_string())?;
                // Memory that is swapped out does not count.
                write(&cgroup.memory.join("memory.swappiness"), "0")?;
            }
            _ => {
                write(&cgroup.memory.join("pids.max"), &MAX_TASKS.to_string())?;
                write(&cgroup.memory.join("cpu.max"), &format!("{quota} {PERIOD_US}"))?;
                // Absent where the kernel has no swap.
                if cgroup.memory.join("memory.swap.max").exists() {
                    write(&cgroup.memory.join("memory.swap.max"), "0")?;
                }
            }
        }
        cgroup.limit_memory(memory)?;
        Ok(cgroup)
    }

    fn parents(&self) -> Vec<&PathBuf> {
        match self {
            Self::V1 { memory, pids, cpu } => vec![memory, pids, cpu],
            Self::V2(directory) => vec![directory],
        }
    }

    /// Removes what supervisors that are gone have left behind.
    fn sweep(&self) {
        for parent in self.parents() {
            for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let owner =
                    name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
                if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
                    // One that is still in use stays.
                    let _ = fs::remove_dir(entry.path());
                }
            }
        }
    }
}

/// Makes the controllers available below `directory`. Version 2 allows that only where no process is in the directory itself,
/// so this one moves into a leaf; the root is exempt.
fn delegate(directory: &Path) -> Result<(), CgroupError> {
    let control = directory.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control).unwrap_or_default();
    if ["memory", "pids", "cpu"].iter().all(|wanted| enabled.split_whitespace().any(|there| there == *wanted)) {
        return Ok(());
    }
    let enable = || write(&control, "+memory +pids +cpu");
    if enable().is_ok() {
        return Ok(());
    }
    let this = std::process::id().to_string();
    let leaf = directory.join(format!("depx-supervisor-{this}"));
    fs::create_dir(&leaf).map_err(|source| CgroupError::Write { path: leaf.clone(), source })?;
    let moved = write(&leaf.join("cgroup.procs"), &this).and_then(|()| enable());
    moved.inspect_err(|_| {
        // As it was.
        let _ = write(&directory.join("cgroup.procs"), &this);
        let _ = fs::remove_dir(&leaf);
    })
}

/// The cgroup of one worker. Removed when dropped, by when its process must be gone.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// The directory with the memory controller; on version 2 it has them all.
    memory: PathBuf,
    others: Vec<PathBuf>,
    v2: bool,
}

impl Cgroup {
    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.memory).chain(&self.others)
    }

    /// Moves a process in.
    pub(crate) fn place(&self, process: Pid) -> Result<(), CgroupError> {
        let process = process.as_raw_nonzero().to_string();
        self.directories().try_for_each(|directory| write(&directory.join("cgroup.procs"), &process))
    }

    /// Changes how many bytes its processes may hold together.
    pub(crate) fn limit_memory(&self, bytes: u64) -> Result<(), CgroupError> {
        let file = if self.v2 { "memory.max" } else { "memory.limit_in_bytes" };
        write(&self.memory.join(file), &bytes.to_string())
    }

    /// Whether a process of it was killed for want of memory.
    pub(crate) fn was_out_of_memory(&self) -> bool {
        let file = if self.v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.memory.join(file)).unwrap_or_default();
        text.lines().filter_map(|line| line.split_once(' ')).any(|(name, count)| name == "oom_kill" && count != "0")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in self.directories() {
            if let Err(error) = fs::remove_dir(directory)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::debug!(path = %directory.display(), %error, "a worker's cgroup stays behind");
            }
        }
    }
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    fs::write(path, value).map_err(|source| CgroupError::Write { path: path.to_owned(), source })
}

/// Where hierarchies are mounted and where in them this process is.
struct Places {
    /// (controllers, directory); version 2 has none in its name.
    v1: Vec<(Vec<String>, PathBuf)>,
    v2: Option<PathBuf>,
}

impl Places {
    /// From the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.
    fn parse(mounts: &str, cgroups: &str) -> Self {
        // Lines such as `4:cpu,cpuacct:/path` and `0::/path`.
        let memberships: Vec<(Vec<String>, &str)> = cgroups
            .lines()
            .filter_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                Some((controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(), path))
            })
            .collect();
        let mut places = Self { v1: Vec::new(), v2: None };
        for line in mounts.lines() {
            // Lines such as `36 35 98:0 /root /mount/point rw - cgroup cgroup rw,memory`.
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let mut before = before.split(' ').skip(3);
            let (Some(root), Some(point)) = (before.next(), before.next()) else { continue };
            let mut after = after.split(' ');
            let (kind, options) = (after.next().unwrap_or_default(), after.nth(1).unwrap_or_default());
            let below = |path: &str| {
                let inside = path.strip_prefix(root.trim_end_matches('/')).unwrap_or(path);
                Path::new(point).join(inside.trim_start_matches('/'))
            };
            match kind {
                "cgroup" => {
                    for (controllers, path) in &memberships {
                        if !controllers.is_empty()
                            && controllers.iter().all(|name| options.split(',').any(|option| option == name))
                        {
                            places.v1.push((controllers.clone(), below(path)));
                        }
                    }
                }
                "cgroup2" => {
                    let path =
                        memberships.iter().find(|(controllers, _)| controllers.is_empty()).map(|(_, path)| *path);
                    places.v2 = path.map(below);
                }
                _ => {}
            }
        }
        places
    }

    fn hierarchy(&self) -> Option<Hierarchy> {
        let v1 = |wanted: &str| {
            let found = self.v1.iter().find(|(controllers, _)| controllers.iter().any(|name| name == wanted));
            found.map(|(_, directory)| directory.clone())
        };
        if let (Some(memory), Some(pids), Some(cpu)) = (v1("memory"), v1("pids"), v1("cpu")) {
            return Some(Hierarchy::V1 { memory, pids, cpu });
        }
        let directory = self.v2.clone()?;
        let available = fs::read_to_string(directory.join("cgroup.controllers")).ok()?;
        let all = ["memory", "pids", "cpu"].iter().all(|name| available.split_whitespace().any(|there| there == *name));
        all.then_some(Hierarchy::V2(directory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_MOUNTS: &str = "\
        29 24 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n\
        31 24 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n\
        32 24 0:29 /docker/1 /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        33 24 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";

    #[test]
    fn version_1_is_found_controller_by_controller() {
        let cgroups = "4:memory:/user/a\n3:cpu,cpuacct:/docker/1/b\n2:pids:/\n1:name=systemd:/\n0::/\n";
        let expected = Hierarchy::V1 {
            memory: "/sys/fs/cgroup/memory/user/a".into(),
            pids: "/sys/fs/cgroup/pids/".into(),
            cpu: "/sys/fs/cgroup/cpu,cpuacct/b".into(),
        };
        assert_eq!(Places::parse(V1_MOUNTS, cgroups).hierarchy(), Some(expected));
        assert_eq!(Places::parse("", cgroups).hierarchy(), None);
        assert_eq!(Places::parse(V1_MOUNTS, "4:memory:/user/a\n").hierarchy(), None);
    }

    /// A directory that looks like version 2, as far as files go.
    fn v2() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("node.service");
        fs::create_dir(&inside).unwrap();
        fs::write(inside.join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        (root, inside)
    }

    #[test]
    fn version_2_is_found_if_its_controllers_are_there() {
        let (root, inside) = v2();
        let mounts = format!("29 24 0:26 / {} rw - cgroup2 cgroup2 rw,nsdelegate\n", root.path().display());
        let places = Places::parse(&mounts, "0::/node.service\n");
        assert_eq!(places.hierarchy(), Some(Hierarchy::V2(inside.clone())));
        fs::write(inside.join("cgroup.controllers"), "cpu pids\n").unwrap();
        assert_eq!(places.hierarchy(), None);
    }

    #[test]
    fn version_2_gets_every_limit() {
        let (_root, inside) = v2();
        delegate(&inside).unwrap();
        assert_eq!(fs::read_to_string(inside.join("cgroup.subtree_control")).unwrap(), "+memory +pids +cpu");
        let cgroup = Hierarchy::V2(inside).create(1000, 2).unwrap();
        let read = |name: &str| fs::read_to_string(cgroup.memory.join(name)).unwrap();
        assert_eq!(read("memory.max"), "1000");
        assert_eq!(read("pids.max"), MAX_TASKS.to_string());
        assert_eq!(read("cpu.max"), "200000 100000");
        cgroup.limit_memory(2000).unwrap();
        assert_eq!(read("memory.max"), "2000");
        assert!(!cgroup.was_out_of_memory());
        fs::write(cgroup.memory.join("memory.events"), "low 0\noom 1\noom_kill 1\noom_group_kill 0\n").unwrap();
        assert!(cgroup.was_out_of_memory());
        fs::remove_dir_all(&cgroup.memory).unwrap();
    }

    #[test]
    fn what_dead_supervisors_left_is_swept_and_the_rest_stays() {
        let (_root, inside) = v2();
        let dead = inside.join(format!("{PREFIX}{}-0", u32::MAX));
        let alive = inside.join(format!("{PREFIX}{}-0", std::process::id()));
        let other = inside.join("other");
        for directory in [&dead, &alive, &other] {
            fs::create_dir(directory).unwrap();
        }
        Hierarchy::V2(inside).sweep();
        assert_eq!([dead.exists(), alive.exists(), other.exists()], [false, true, true]);
    }
}
