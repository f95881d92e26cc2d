//! The standard libraries of the wasm targets, built once from Debian's `rust-web-src` with Debian's `rustc-web`.
//!
//! 1. The compiler, its sources, the linker of its own LLVM release and wasi-libc are unpacked into the cache.
//! 2. cargo builds the library for both targets, as the compiler's own release does.
//! 3. The libraries, and for WASI the C library's start files and archive, go where the compiler looks for them.
//! 4. What the library needs and Debian's wasi-libc lacks is added to the copied archive.
//!
//! The result needs no unstable flag: it is used as any compiler is, through the script `bin/rustc`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Target, field, is_standard_library};
use crate::cache::{Cache, Entry};
use crate::debian::{self, Apt};
use crate::process::{cargo, read, run, step};

/// Raised with every change of the recipe that changes what it makes.
const RECIPE: u32 = 1;
/// The oldest compiler that builds this project.
const OLDEST: (u32, u32) = (1, 95);

/// A compiler that was made here.
pub(super) struct Made {
    pub(super) rustc: PathBuf,
    pub(super) builder: String,
}

/// Gives the compiler, made if it is not in the cache. `host` is the Rust name of this machine, `cargo` the release of the
/// cargo that builds.
pub(super) fn find_or_make(cache: &Cache, host: &str, cargo: &str) -> Result<Made> {
    let name = format!("guest-toolchain-{RECIPE}-{host}");
    let stamp = format!("recipe {RECIPE}, {cargo}\n");
    let place = cache.once(Entry { name: &name, stamp: &stamp }, is_whole, |place| {
        step("Building the standard library for guests, once (about two minutes)");
        make(place, host, cargo).context(
            "the guest toolchain could not be made from Debian's packages; \
             `rustup target add wasm32-wasip1 wasm32-unknown-unknown` is the other way",
        )
    })?;
    Ok(Made { rustc: place.join("bin/rustc"), builder: fs::read_to_string(place.join("builder"))? })
}

fn is_whole(place: &Path) -> bool {
    place.join("bin/rustc").exists() && place.join("builder").exists()
}

fn make(place: &Path, host: &str, cargo: &str) -> Result<()> {
    let work = place.join("work");
    let sysroot = place.join("usr");

    let apt = Apt::open(work.join("apt"))?;
    let packages = apt.unpack(&["rustc-web", "libstd-rust-web-dev", "rust-web-src", "wasi-libc"], place)?;
    let rustc = write_compiler_script(place, host)?;
    let verbose = read(Command::new(&rustc).args(["--version", "--verbose"]))?;
    let release = field(&verbose, "release")?;
    check_release(&release)?;
    let linker = format!("lld-{}", major(&field(&verbose, "LLVM version")?));
    apt.unpack(&[&linker], place)?;
    link_linker(&sysroot, host, &linker)?;

    let sources = sysroot.join("src").join(format!("rustc-{release}"));
    let commit = field(&verbose, "commit-hash")?;
    build(&rustc, &sources.join("library"), &work.join("build"), &commit)?;
    for target in [Target::Guest, Target::Pure] {
        place_libraries(&work.join("build"), &sysroot, target)?;
    }
    place_c_library(&rustc, &sysroot, &work)?;

    fs::write(place.join("builder"), builder(&verbose, &packages, cargo, host))?;
    fs::remove_dir_all(&work)?;
    fs::remove_dir_all(sysroot.join("src"))?;
    Ok(())
}

/// The compiler finds its own libraries through this script, from wherever the folder is moved to.
pub(super) fn write_compiler_script(place: &Path, host: &str) -> Result<PathBuf> {
    let libraries = debian::multiarch(host)?;
    let script = place.join("bin/rustc");
    fs::create_dir_all(place.join("bin"))?;
    fs::write(
        &script,
        format!(
            "#!/bin/sh\n\
             place=$(dirname \"$(dirname \"$(readlink -f \"$0\")\")\")\n\
             LD_LIBRARY_PATH=\"$place/usr/lib/{libraries}:$place/lib/{libraries}\" exec \"$place/usr/bin/rustc\" \"$@\"\n"
        ),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

pub(super) fn check_release(release: &str) -> Result<()> {
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if version < OLDEST {
        let (major, minor) = OLDEST;
        bail!(
            "Debian's package sources offer rustc-web {release}, and {major}.{minor} or newer is needed: \
             add Debian's security archive to the system's package sources"
        );
    }
    Ok(())
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or_default()
}

/// The compiler calls its linker `rust-lld`.
fn link_linker(sysroot: &Path, host: &str, package: &str) -> Result<()> {
    let llvm = package.replace("lld", "llvm");
    let directory = sysroot.join("lib/rustlib").join(host).join("bin");
    fs::create_dir_all(&directory)?;
    symlink(Path::new("../../..").join(llvm).join("bin/lld"), directory.join("rust-lld"))?;
    fs::metadata(directory.join("rust-lld")).with_context(|| format!("{package} does not hold the linker"))?;
    Ok(())
}

fn build(rustc: &Path, library: &Path, target_directory: &Path, commit: &str) -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--locked", "--release"]);
    command.args(["--features", "panic-unwind,backtrace,compiler-builtins-mem"]);
    for target in [Target::Guest, Target::Pure] {
        command.args(["--target", target.triple()]);
    }
    command.arg("--target-dir").arg(target_directory).current_dir(library.join("sysroot"));
    let registry = super::registry();
    let commit = format!("/rustc/{commit}/library");
    // Paths in panic messages are those of the official release.
    let mut flags = super::remap(&[(library, &commit), (&registry, "/cargo")]);
    // Crates outside may not use the library's internals; link-time optimisation needs its bitcode.
    flags.push("\u{1f}-Zforce-unstable-if-unmarked\u{1f}-Cembed-bitcode=yes");
    command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", flags);
    command.env("__CARGO_DEFAULT_LIB_METADATA", "depx-guest").env("RUSTC_WRAPPER", "").env_remove("RUSTFLAGS");
    run(&mut command)
}

fn place_libraries(build: &Path, sysroot: &Path, target: Target) -> Result<()> {
    let built = build.join(target.triple()).join("release/deps");
    let libraries = sysroot.join("lib/rustlib").join(target.triple()).join("lib");
    fs::create_dir_all(&libraries)?;
    let mut has_standard_library = false;
    for file in fs::read_dir(&built).with_context(|| format!("nothing was built for {target}"))? {
        let name = file?.file_name();
        let text = name.to_string_lossy();
        has_standard_library |= is_standard_library(&text);
        if text.ends_with(".rlib") {
            fs::copy(built.join(&name), libraries.join(&name))?;
        }
    }
    if !has_standard_library {
        bail!("no standard library was built for {target}");
    }
    Ok(())
}

fn place_c_library(rustc: &Path, sysroot: &Path, work: &Path) -> Result<()> {
    let debian = sysroot.join("lib/wasm32-wasi");
    let own = sysroot.join("lib/rustlib").join(Target::Guest.triple()).join("lib/self-contained");
    fs::create_dir_all(&own)?;
    for file in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
        fs::copy(debian.join(file), own.join(file)).with_context(|| format!("Debian's wasi-libc lacks {file}"))?;
    }

    let source = work.join("wasi_stubs.rs");
    let object = work.join("wasi_stubs.o");
    fs::write(&source, include_str!("../../recipes/wasi_stubs.rs"))?;
    let mut compile = Command::new(rustc);
    compile.args(["--edition=2024", "--crate-type=lib", "--emit=obj", "-Copt-level=2", "-Ccodegen-units=1"]);
    compile.args(["-Cpanic=abort", "--target", Target::Guest.triple(), "-o"]).arg(&object).arg(&source);
    run(compile.env("RUSTC_BOOTSTRAP", "1"))?;
    run(Command::new("ar").arg("rcD").arg(own.join("libc.a")).arg(&object))
        .context("`ar` is needed to complete the C library: install binutils")
}

/// Everything that decides the bytes of a guest: the compiler, the packages that end up in it, the recipe, cargo, the host.
fn builder(verbose: &str, packages: &[String], cargo: &str, host: &str) -> String {
    let version = verbose.lines().next().unwrap_or_default();
    let of = |name: &str| packages.iter().find(|package| package.split('=').next() == Some(name));
    let parts = ["rust-web-src", "wasi-libc"].into_iter().filter_map(of).map(String::as_str);
    format!("{version}, {}, recipe {RECIPE}, {cargo}, {host}", parts.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_older_than_the_project_are_refused() {
        for enough in ["1.95.0", "1.96.0", "2.0.0"] {
            check_release(enough).unwrap();
        }
        for old in ["1.94.9", "1.85.0", "nonsense"] {
            let error = check_release(old).unwrap_err().to_string();
            assert!(error.contains(old) && error.contains("security archive"), "{error}");
        }
    }

    #[test]
    fn the_linker_is_that_of_the_compilers_llvm() {
        assert_eq!(major("22.1.8"), "22");
    }

    #[test]
    fn a_builder_names_what_decides_bytes() {
        let packages = ["lld-22=1", "rust-web-src=1.96.0-1", "wasi-libc=0.1"].map(str::to_owned);
        let line = builder("rustc 1.96.0 (ac68faa20)\nhost: h\n", &packages, "cargo 1.95.0", "h");
        let packages = "rust-web-src=1.96.0-1, wasi-libc=0.1";
        assert_eq!(line, format!("rustc 1.96.0 (ac68faa20), {packages}, recipe {RECIPE}, cargo 1.95.0, h"));
    }
}
