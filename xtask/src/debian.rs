//! Debian packages, fetched and unpacked beside the system and never installed into it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{read, run, step};

/// What Debian's archive is signed with.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Whether this system is Debian with the two programs that are used here.
pub(crate) fn is_here() -> bool {
    names_debian(&release())
        && ["/usr/bin/apt-get", "/usr/bin/dpkg-deb"].iter().all(|program| Path::new(program).exists())
}

/// The name of this release of Debian, `bookworm` for one; empty where there is none.
pub(crate) fn codename() -> String {
    named(&release()).unwrap_or_default().to_owned()
}

fn release() -> String {
    fs::read_to_string("/etc/os-release").unwrap_or_default()
}

/// The multiarch name of a Rust host, which is the folder of its shared libraries.
pub(crate) fn multiarch(host: &str) -> Result<&'static str> {
    match host {
        "x86_64-unknown-linux-gnu" => Ok("x86_64-linux-gnu"),
        "aarch64-unknown-linux-gnu" => Ok("aarch64-linux-gnu"),
        _ => bail!("Debian's packages are not known to work on {host}"),
    }
}

/// apt with lists, cache and lock files of its own; sources, keys, proxies and what is installed are the system's.
pub(crate) struct Apt {
    state: PathBuf,
    /// Debian's names of the architectures whose packages are wanted, this machine's first; none: as the system is set up.
    architectures: &'static [&'static str],
    /// A file of sources that stand for the system's.
    sources: Option<PathBuf>,
}

impl Apt {
    /// Fetches current package lists into `state`. A list that cannot be had matters only if a package is then missing.
    pub(crate) fn open(state: PathBuf) -> Result<Apt> {
        Self::open_for(state, &[])
    }

    /// As [`Self::open`], for packages of several architectures.
    pub(crate) fn open_for(state: PathBuf, architectures: &'static [&'static str]) -> Result<Apt> {
        Apt { state, architectures, sources: None }.update()
    }

    /// Offers only what Debian's release `codename` got from later ones, from where the system has that release from.
    pub(crate) fn open_backports(&self, codename: &str) -> Result<Apt> {
        let mut targets = self.command("apt-get");
        targets.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]);
        let servers = read(targets.arg(format!("Codename: {codename}")))?;
        let server = servers.lines().next().with_context(|| format!("no source of packages offers {codename}"))?;
        let state = self.state.join("backports");
        let sources = state.join("sources.list");
        fs::create_dir_all(&state).with_context(|| format!("{} cannot be created", state.display()))?;
        fs::write(&sources, format!("deb [signed-by={KEYS}] {server} {codename}-backports main\n"))?;
        Apt { state, architectures: self.architectures, sources: Some(sources) }.update()
    }

    fn update(self) -> Result<Apt> {
        for directory in ["lists/partial", "cache/archives/partial", "archives"] {
            let directory = self.state.join(directory);
            fs::create_dir_all(&directory).with_context(|| format!("{} cannot be created", directory.display()))?;
        }
        step("Fetching Debian's package lists");
        if let Err(error) = read(self.command("apt-get").arg("update")) {
            eprintln!("warning: not every package list could be fetched: {error:#}");
        }
        Ok(self)
    }

    /// Unpacks packages into `destination`, with all that they depend on and the system lacks. Gives what was unpacked,
    /// each as `name=version`.
    pub(crate) fn unpack(&self, packages: &[&str], destination: &Path) -> Result<Vec<String>> {
        step(format!("Fetching {} from Debian", packages.join(" ")));
        let plan = read(self.command("apt-get").args(INSTALL).arg("--simulate").args(packages))
            .context("Debian does not offer what is needed: check the system's package sources")?;
        let planned = planned(&plan);
        self.unpack_alone(&planned, destination)?;
        Ok(planned)
    }

    /// Unpacks packages into `destination` without what they depend on.
    pub(crate) fn unpack_alone(&self, packages: &[impl AsRef<OsStr>], destination: &Path) -> Result<()> {
        let archives = self.state.join("archives");
        let mut download = self.command("apt-get");
        run(download.args(["--quiet=2", "download"]).args(packages).current_dir(&archives))?;
        for archive in fs::read_dir(&archives)? {
            let archive = archive?.path();
            run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(destination))?;
            fs::remove_file(archive)?;
        }
        Ok(())
    }

    /// Names of the packages that a package depends on directly.
    fn depends(&self, package: &str) -> Result<Vec<String>> {
        let depends = read(self.command("apt-cache").args(["depends", "--important", package]))?;
        Ok(dependencies(&depends))
    }

    /// The release that a package without one in its name stands for: `14`, if `clang` depends on `clang-14`.
    pub(crate) fn release(&self, package: &str) -> Result<String> {
        let depends = self.depends(package)?;
        let release = depends.iter().find_map(|name| name.strip_prefix(package)?.strip_prefix('-'));
        Ok(release.with_context(|| format!("Debian's {package} depends on no release of it"))?.to_owned())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let option = |name: &str, inside: &str| format!("{name}={}", self.state.join(inside).display());
        command.env("LC_ALL", "C").args(["-o", &option("Dir::State", ""), "-o", &option("Dir::Cache", "cache")]);
        // What is installed is read from the system. Files go to a folder that apt's own user may not enter.
        command.args(["-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "APT::Sandbox::User=root"]);
        command.args(["-o", "Acquire::Languages=none", "-o", "Acquire::Retries=3"]);
        for architecture in self.architectures {
            command.args(["-o", &format!("APT::Architectures::={architecture}")]);
        }
        if let Some(sources) = &self.sources {
            command.args([
                "-o",
                &format!("Dir::Etc::sourcelist={}", sources.display()),
                "-o",
                "Dir::Etc::sourceparts=-",
            ]);
        }
        command
    }
}

/// Only planned, never done. `--reinstall`: what is asked for is fetched even where the system has it.
const INSTALL: [&str; 3] = ["install", "--no-install-recommends", "--reinstall"];

/// The packages in the plan that `apt-get --simulate` prints, with their versions: `name=version`.
fn planned(plan: &str) -> Vec<String> {
    let mut packages: Vec<_> = plan
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("Inst ")?.split_whitespace();
            let name = words.next()?;
            // An upgrade names the installed version first, in brackets; the new one is in parentheses.
            let version = words.find_map(|word| word.strip_prefix('('))?;
            Some(format!("{name}={version}"))
        })
        .collect();
    packages.dedup();
    packages
}

fn dependencies(depends: &str) -> Vec<String> {
    depends.lines().filter_map(|line| line.trim_start().strip_prefix("Depends: ")).map(str::to_owned).collect()
}

fn named(release: &str) -> Option<&str> {
    release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).map(|name| name.trim_matches('"'))
}

fn names_debian(release: &str) -> bool {
    release.lines().any(|line| line.trim_matches('"') == "ID=debian" || line == "ID=\"debian\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read() {
        let plan = "Reading package lists...\n\
            Inst libllvm22 (1:22.1.8-1~deb12u1 Debian-Security:12/oldstable-security [amd64])\n\
            Inst gcc [4:12.2.0-2] (4:12.2.0-3 Debian:12.15/oldstable [amd64]) []\n\
            Conf libllvm22 (1:22.1.8-1~deb12u1 Debian-Security:12/oldstable-security [amd64])\n";
        assert_eq!(planned(plan), ["libllvm22=1:22.1.8-1~deb12u1", "gcc=4:12.2.0-3"]);
    }

    #[test]
    fn dependencies_are_read() {
        let depends = "clang\n  Depends: clang-14\n |Depends: libc6\n  Suggests: clang-14-doc\n  Depends: libjs\n";
        assert_eq!(dependencies(depends), ["clang-14", "libjs"]);
    }

    #[test]
    fn only_debian_itself_is_taken_for_debian() {
        assert!(names_debian("NAME=\"Debian GNU/Linux\"\nID=debian\n"));
        assert!(names_debian("ID=\"debian\"\n"));
        assert!(!names_debian("ID=ubuntu\nID_LIKE=debian\n"));
    }

    #[test]
    fn a_release_is_known_by_its_name() {
        assert_eq!(named("VERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n"), Some("bookworm"));
        assert_eq!(named("VERSION_CODENAME=\"trixie\""), Some("trixie"));
        assert_eq!(named("PRETTY_NAME=\"Debian GNU/Linux forky/sid\"\nID=debian\n"), None);
    }
}
