//! ONNX Runtime: the pinned shared library, out of the wheel that PyPI serves.
//!
//! pip fetches it, so an index or a proxy that the user has configured for pip is used here too. Nothing is installed:
//! the wheel is checked against the hash pinned here, and one file of it is kept.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::{Cache, Entry, sha256};
use crate::process::{is_there, run, step};

/// The release. Inference results of the pinned class are those of exactly this build.
const VERSION: &str = "1.31.1";
/// Cargo and the tests find the library through this variable; where a user has set it, nothing is fetched.
pub(crate) const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Set to 1 it keeps the library from sending telemetry, which it otherwise does. `depx` sets it by itself.
pub(crate) const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

/// The wheel of one platform, for one release of Python: only the library in it matters.
#[derive(Debug)]
struct Wheel {
    /// As in `std::env::consts`.
    system: (&'static str, &'static str),
    platform: &'static str,
    /// SHA-256 of the wheel as PyPI serves it.
    wheel: &'static str,
    /// SHA-256 of the library in it.
    library: &'static str,
}

const PYTHON: &str = "311";

const WHEELS: [Wheel; 2] = [
    Wheel {
        system: ("linux", "x86_64"),
        platform: "manylinux_2_28_x86_64",
        wheel: "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
        library: "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
    },
    Wheel {
        system: ("linux", "aarch64"),
        platform: "manylinux_2_28_aarch64",
        wheel: "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
        library: "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
    },
];

/// The library: the user's own if `ORT_DYLIB_PATH` names one, else the pinned one, fetched if it is not in the cache.
pub(crate) fn find_or_fetch(cache: &Cache) -> Result<PathBuf> {
    match env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => existing(PathBuf::from(path)),
        None => fetch(cache),
    }
}

/// The pinned library in the cache, fetched if it is absent or damaged.
pub(crate) fn fetch(cache: &Cache) -> Result<PathBuf> {
    let wheel = Wheel::of((env::consts::OS, env::consts::ARCH))?;
    let library = library_name();
    let entry = Entry { name: &format!("onnxruntime-{VERSION}"), stamp: wheel.wheel };
    let is_whole = |place: &Path| sha256(&place.join(&library)).is_ok_and(|hash| hash == wheel.library);
    let place = cache.once(entry, is_whole, |place| {
        step(format!("Fetching ONNX Runtime {VERSION} from PyPI"));
        let archive = wheel.download(&place.join("download"))?;
        require_hash(&archive, wheel.wheel)?;
        unpack(&archive, &library, &place.join(&library))?;
        Ok(fs::remove_dir_all(place.join("download"))?)
    })?;
    Ok(place.join(library))
}

impl Wheel {
    fn of(system: (&str, &str)) -> Result<&'static Wheel> {
        let Some(wheel) = WHEELS.iter().find(|wheel| wheel.system == system) else {
            let (os, architecture) = system;
            bail!(
                "no ONNX Runtime is pinned for {os} on {architecture}: \
                 install release {VERSION} and set {VARIABLE} to its shared library"
            );
        };
        Ok(wheel)
    }

    /// Downloads the wheel into `directory` and gives its path. It is the same file whatever Python runs pip.
    fn download(&self, directory: &Path) -> Result<PathBuf> {
        let mut pip = pip()?;
        pip.args(["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
        pip.args(["--platform", self.platform, "--implementation", "cp"]);
        pip.args(["--python-version", PYTHON, "--abi", &format!("cp{PYTHON}")]).arg("--dest").arg(directory);
        run(pip.arg(format!("onnxruntime=={VERSION}"))).context(
            "pip could not fetch ONNX Runtime: check its index, or set ORT_DYLIB_PATH to a copy of the library",
        )?;
        let archive = directory.join(format!("onnxruntime-{VERSION}-cp{PYTHON}-cp{PYTHON}-{}.whl", self.platform));
        if !archive.exists() {
            bail!("pip succeeded, but did not fetch {}", archive.display());
        }
        Ok(archive)
    }
}

fn library_name() -> String {
    format!("libonnxruntime.so.{VERSION}")
}

fn existing(path: PathBuf) -> Result<PathBuf> {
    if !path.is_file() {
        bail!(
            "{VARIABLE} is {}, which is no file: correct it, or unset it to have the library fetched",
            path.display()
        );
    }
    Ok(path)
}

fn pip() -> Result<Command> {
    if is_there("python3", &["-m", "pip"]) {
        let mut python = Command::new("python3");
        python.args(["-m", "pip"]);
        return Ok(python);
    }
    if is_there("pip3", &[]) {
        return Ok(Command::new("pip3"));
    }
    bail!(
        "pip is needed to fetch ONNX Runtime: install it (on Debian `apt install python3-pip`), \
         or set {VARIABLE} to libonnxruntime.so.{VERSION}"
    )
}

fn require_hash(file: &Path, expected: &str) -> Result<()> {
    let found = sha256(file)?;
    if found != expected {
        bail!(
            "{} is not the pinned file and was not used: its SHA-256 is {found}, {expected} is expected; \
             check which package index pip is configured to use",
            file.display()
        );
    }
    Ok(())
}

fn unpack(archive: &Path, library: &str, destination: &Path) -> Result<()> {
    let file = File::open(archive).with_context(|| format!("{} cannot be read", archive.display()))?;
    let mut wheel = zip::ZipArchive::new(file).with_context(|| format!("{} is no wheel", archive.display()))?;
    let inside = format!("onnxruntime/capi/{library}");
    let mut member = wheel.by_name(&inside).with_context(|| format!("{} lacks {inside}", archive.display()))?;
    let mut copy = File::create(destination).with_context(|| format!("{} cannot be written", destination.display()))?;
    io::copy(&mut member, &mut copy).with_context(|| format!("{inside} cannot be unpacked"))?;
    copy.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn every_pin_is_a_sha256_of_its_own() {
        let mut hashes: Vec<_> = WHEELS.iter().flat_map(|wheel| [wheel.wheel, wheel.library]).collect();
        assert!(hashes.iter().all(|hash| hex::decode(hash).is_ok_and(|bytes| bytes.len() == 32)));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 2 * WHEELS.len());
    }

    #[test]
    fn a_wrong_hash_is_refused_with_both_hashes() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("wheel");
        fs::write(&file, "abc").unwrap();
        let found = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        require_hash(&file, found).unwrap();
        let error = require_hash(&file, WHEELS[0].wheel).unwrap_err().to_string();
        assert!(error.contains(found) && error.contains(WHEELS[0].wheel), "{error}");
    }

    #[test]
    fn unknown_platforms_are_told_what_to_do() {
        let error = Wheel::of(("plan9", "mips")).unwrap_err().to_string();
        assert!(error.contains("plan9") && error.contains(VARIABLE), "{error}");
        assert!(Wheel::of(("linux", "aarch64")).unwrap().platform.ends_with("aarch64"));
    }

    #[test]
    fn only_the_library_is_unpacked() {
        let home = tempfile::tempdir().unwrap();
        let archive = home.path().join("a.whl");
        let mut wheel = zip::ZipWriter::new(File::create(&archive).unwrap());
        for (name, content) in [("onnxruntime/capi/lib.so", "library"), ("onnxruntime/other", "no")] {
            wheel.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            wheel.write_all(content.as_bytes()).unwrap();
        }
        wheel.finish().unwrap();
        let destination = home.path().join("lib.so");
        unpack(&archive, "lib.so", &destination).unwrap();
        assert_eq!(fs::read_to_string(&destination).unwrap(), "library");
        let error = unpack(&archive, "absent.so", &destination).unwrap_err().to_string();
        assert!(error.contains("absent.so"), "{error}");
    }

    #[test]
    fn a_library_that_is_not_there_is_refused() {
        let error = existing(PathBuf::from("/no/such.so")).unwrap_err().to_string();
        assert!(error.contains("/no/such.so") && error.contains("unset"), "{error}");
    }
}
