//! Another architecture on this machine: compilers for aarch64 Linux and an emulator of its programs, from Debian.
//!
//! 1. Debian's `rustc-web` with the standard libraries of both architectures, clang, its linker, and the emulator.
//! 2. Beside them, in `target`, what programs of the other architecture are linked with and run on: its C library and the
//!    compiler's own.
//! 3. Two scripts, `bin/rustc` and `bin/cc`, which find all this from wherever the folder is moved to.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{field, standard_library};
use crate::c_guests::llvm;
use crate::cache::{Cache, Entry};
use crate::debian::{self, Apt};
use crate::process::{cargo, read, step};
use crate::workspace::Workspace;

/// Raised with every change of the recipe that changes what it makes.
const RECIPE: u32 = 2;
const HOST: &str = "x86_64-unknown-linux-gnu";
const TRIPLE: &str = "aarch64-unknown-linux-gnu";
const ARCHITECTURES: &[&str] = &["amd64", "arm64"];
const EMULATOR: &str = "usr/bin/qemu-aarch64";

/// aarch64 Linux.
pub(crate) struct Platform {
    place: PathBuf,
}

impl Platform {
    /// The platform, fetched if it is not in the cache.
    pub(crate) fn find_or_fetch(cache: &Cache) -> Result<Platform> {
        if (ARCH, OS) != ("x86_64", "linux") || !debian::is_here() {
            bail!("aarch64 is compared with x86-64, on Debian, whose compilers and emulator are used");
        }
        let name = format!("aarch64-toolchain-{RECIPE}-{HOST}");
        let entry = Entry { name: &name, stamp: &format!("recipe {RECIPE}\n") };
        let whole = |place: &Path| ["bin/rustc", "bin/cc", EMULATOR].iter().all(|file| place.join(file).exists());
        Ok(Platform { place: cache.once(entry, whole, fetch)? })
    }

    /// `cargo <subcommand>` for it, in a target folder of its own.
    pub(crate) fn cargo(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let (mut command, compiler) = (cargo(), self.place.join("bin/cc"));
        command.args([subcommand, "--target", TRIPLE, "--target-dir"]).arg(workspace.target("aarch64"));
        command.env("RUSTC", self.place.join("bin/rustc")).env_remove("RUSTFLAGS").env_remove("RUSTC_WRAPPER");
        command.env("CC_aarch64_unknown_linux_gnu", &compiler);
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", compiler).current_dir(workspace.root());
        command
    }

    /// A program of it, emulated.
    pub(crate) fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(self.place.join(EMULATOR));
        command.arg("-L").arg(self.place.join("target")).arg(program);
        command
    }
}

fn fetch(place: &Path) -> Result<()> {
    let target = place.join("target");
    fs::create_dir_all(&target)?;
    let apt = Apt::open_for(place.join("apt"), ARCHITECTURES)?;
    let clang = apt.release("clang")?;
    let (compiler, linker) = (format!("clang-{clang}"), format!("lld-{clang}"));
    apt.unpack(&["rustc-web", "libstd-rust-web-dev", &compiler, &linker], place)?;
    fetch_emulator(&apt, place)?;
    step("Fetching libraries for aarch64 from Debian");
    apt.unpack_alone(&["libstd-rust-web-dev:arm64"], place)?;
    let libgcc = format!("libgcc-{}-dev:arm64", apt.release("gcc")?);
    let libraries = ["libc6:arm64", "libc6-dev:arm64", "linux-libc-dev:arm64", "libgcc-s1:arm64", &libgcc];
    apt.unpack_alone(&libraries, &target)?;
    fs::remove_dir_all(place.join("apt"))?;

    let rustc = standard_library::write_compiler_script(place, HOST)?;
    let verbose = read(Command::new(rustc).args(["--version", "--verbose"]))?;
    standard_library::check_release(&field(&verbose, "release")?)?;
    write_c_compiler_script(place)
}

/// Debian 12's QEMU 7.2 keeps a record of each page that a program ever reserved. The engine reserves 4 GiB for a memory, so twelve
/// tests took 5 GiB under it; under QEMU 10, of its backports and of later releases, they take 50 MiB. That one needs no library.
fn fetch_emulator(apt: &Apt, place: &Path) -> Result<()> {
    const PACKAGE: &[&str] = &["qemu-user"];
    match debian::codename().as_str() {
        release @ "bookworm" => apt.open_backports(release)?.unpack_alone(PACKAGE, place),
        _ => apt.unpack_alone(PACKAGE, place),
    }
}

fn write_c_compiler_script(place: &Path) -> Result<()> {
    let llvm = llvm(place).context("Debian's clang holds no compiler")?;
    let llvm = llvm.strip_prefix(place)?.display();
    let libraries = debian::multiarch(HOST)?;
    let script = place.join("bin/cc");
    fs::write(
        &script,
        format!(
            "#!/bin/sh\n\
             place=$(dirname \"$(dirname \"$(readlink -f \"$0\")\")\")\n\
             LD_LIBRARY_PATH=\"$place/usr/lib/{libraries}:$place/{llvm}/lib\" exec \"$place/{llvm}/bin/clang\" \
             --target=aarch64-linux-gnu --sysroot=\"$place/target\" -fuse-ld=lld \"$@\"\n"
        ),
    )?;
    Ok(fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?)
}
