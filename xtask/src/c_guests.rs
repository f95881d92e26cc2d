//! Ordinary C programs, compiled with Debian's clang and wasi-libc, to show that a task needs neither Rust nor the SDK.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::{Cache, Entry};
use crate::debian::{self, Apt};
use crate::process::{read, run, step};
use crate::workspace::Workspace;

/// The tests find the folder of compiled C programs through this variable; without it they skip.
pub(crate) const VARIABLE: &str = "DEPX_C_GUESTS";

/// Raised with every change of what is unpacked.
const RECIPE: u32 = 1;

/// Compiles every program in `tests/guests`, or says why that is not possible here and gives nothing.
pub(crate) fn build(workspace: &Workspace, cache: &Cache) -> Result<Option<PathBuf>> {
    let compiler = match Compiler::find_or_fetch(cache) {
        Ok(compiler) => compiler,
        Err(reason) => {
            step(format!("SKIPPED: C programs are not compiled and their tests are skipped: {reason:#}"));
            return Ok(None);
        }
    };
    step("Compiling the C programs of the tests");
    let destination = workspace.target("c-guests");
    fs::create_dir_all(&destination)?;
    let sources = workspace.path("tests/guests");
    for source in fs::read_dir(&sources).with_context(|| format!("{} cannot be read", sources.display()))? {
        let source = source?.path();
        if source.extension().is_some_and(|extension| extension == "c") {
            compiler.compile(&source, &destination)?;
        }
    }
    Ok(Some(destination))
}

/// clang with wasi-libc, unpacked in the cache.
struct Compiler {
    place: PathBuf,
    llvm: PathBuf,
    libraries: String,
}

impl Compiler {
    fn find_or_fetch(cache: &Cache) -> Result<Compiler> {
        if !debian::is_here() {
            bail!("this system is not Debian, whose clang, lld and wasi-libc are used");
        }
        let host = read(Command::new("rustc").args(["--print", "host-tuple"]))?;
        let libraries = debian::multiarch(host.trim_end())?;
        let entry =
            Entry { name: &format!("c-toolchain-{RECIPE}-{}", host.trim_end()), stamp: &format!("recipe {RECIPE}\n") };
        let place = cache.once(
            entry,
            |place| llvm(place).is_some(),
            |place| {
                let apt = Apt::open(place.join("apt"))?;
                let release = apt.release("clang")?;
                let (clang, lld) = (format!("clang-{release}"), format!("lld-{release}"));
                let builtins = format!("libclang-rt-{release}-dev-wasm32");
                apt.unpack(&[&clang, &lld, &builtins, "wasi-libc"], place)?;
                Ok(fs::remove_dir_all(place.join("apt"))?)
            },
        )?;
        let llvm = llvm(&place).context("the C compiler vanished from the cache")?;
        let libraries = format!("{}:{}", place.join("usr/lib").join(libraries).display(), llvm.join("lib").display());
        Ok(Compiler { place, llvm, libraries })
    }

    fn compile(&self, source: &Path, destination: &Path) -> Result<()> {
        let name = source.with_extension("wasm");
        let name = name.file_name().with_context(|| format!("{} has no name", source.display()))?;
        let mut sysroot = std::ffi::OsString::from("--sysroot=");
        sysroot.push(self.place.join("usr"));
        let mut clang = Command::new(self.llvm.join("bin/clang"));
        clang.args(["--target=wasm32-wasi", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]).arg(sysroot);
        clang.arg("-o").arg(destination.join(name)).arg(source);
        // Nothing but its linker on the path: clang would pass its output through a `wasm-opt` that happens to be there.
        clang.env("PATH", self.place.join("usr/bin")).env("LD_LIBRARY_PATH", &self.libraries);
        run(&mut clang)
    }
}

/// The folder of the one LLVM release that was unpacked.
pub(crate) fn llvm(place: &Path) -> Option<PathBuf> {
    let releases = fs::read_dir(place.join("usr/lib")).ok()?;
    releases.flatten().map(|release| release.path()).find(|release| release.join("bin/clang").exists())
}
