//! Crate identities that do not depend on where the checkout is.
//!
//! cargo hashes the absolute path of a crate outside the built workspace's own folder into its `-C metadata`, and the
//! compiler hashes that into symbols and their order. Guests and the SDK are such a pair, so the same sources would give
//! other bytes in another folder. For guests cargo therefore calls the compiler through this program, which replaces
//! that one argument for the crates of this checkout. It also names the linked module, which else carries cargo's hash.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use sha2::{Digest, Sha256};

/// Set where this program stands between cargo and the compiler; its value is the root of the checkout.
const ROOT: &str = "DEPX_STABLE_CRATES";

/// Makes a cargo command call the compiler through this program.
pub(crate) fn wrap(command: &mut Command, root: &Path) {
    if let Ok(program) = env::current_exe() {
        command.env("RUSTC_WRAPPER", program).env(ROOT, root);
    }
}

/// Runs the compiler if cargo called this program as its wrapper: gives what to exit with then.
pub(crate) fn stand_in() -> Option<ExitCode> {
    let root = env::var_os(ROOT)?;
    let mut arguments = env::args_os().skip(1);
    let compiler = arguments.next()?;
    let mut arguments: Vec<_> = arguments.collect();
    if let Some(manifest) = env::var_os("CARGO_MANIFEST_DIR")
        && let Ok(inside) = Path::new(&manifest).strip_prefix(&root)
    {
        settle(&mut arguments, inside);
    }
    Some(match Command::new(&compiler).args(arguments).env_remove(ROOT).status() {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("{} could not be started: {error}", compiler.to_string_lossy());
            ExitCode::FAILURE
        }
    })
}

/// Replaces `-C metadata=…` by what tells this crate from the others of the checkout: its folder, name, kinds, features.
fn settle(arguments: &mut Vec<OsString>, inside: &Path) {
    let mut hash = Sha256::new();
    hash.update(inside.as_os_str().as_encoded_bytes());
    for pair in arguments.windows(2) {
        if ["--crate-name", "--crate-type", "--cfg", "--target"].iter().any(|option| pair[0] == *option) {
            for word in pair {
                hash.update([0]);
                hash.update(word.as_encoded_bytes());
            }
        }
    }
    for argument in arguments.iter_mut() {
        if argument.as_encoded_bytes().starts_with(b"metadata=") {
            *argument = format!("metadata={}", hex::encode(&hash.clone().finalize()[..8])).into();
        }
    }

    let value =
        |option: &str| arguments.windows(2).find_map(|pair| (pair[0] == option).then(|| pair[1].to_string_lossy()));
    let for_wasm = value("--target").is_some_and(|target| target.starts_with("wasm32-"));
    if let (true, Some("bin"), Some(name)) = (for_wasm, value("--crate-type").as_deref(), value("--crate-name")) {
        let name = format!("-Clink-arg=--soname={name}.wasm");
        arguments.push(name.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(text: &str, inside: &str) -> Vec<OsString> {
        let mut arguments: Vec<_> = text.split(' ').map(OsString::from).collect();
        settle(&mut arguments, Path::new(inside));
        arguments
    }

    #[test]
    fn only_the_metadata_changes_and_it_follows_the_crate_not_cargo() {
        let text = |metadata: &str| format!("--crate-name sdk --crate-type lib -C metadata={metadata} -C lto");
        let here = settled(&text("aaaa"), "guest-sdk");
        assert_eq!(here, settled(&text("bbbb"), "guest-sdk"));
        assert_eq!(here[..5], settled(&text("aaaa"), "host-abi")[..5]);
        assert_ne!(here[5], settled(&text("aaaa"), "host-abi")[5]);
        assert_eq!(here[6..], ["-C", "lto"]);
    }

    #[test]
    fn programs_for_wasm_are_named_after_their_crate() {
        let of = |text: &str| settled(text, "guest-sdk/examples/digits").pop().unwrap();
        let guest = of("--crate-name digits --crate-type bin --target wasm32-wasip1 -C metadata=a");
        assert_eq!(guest, "-Clink-arg=--soname=digits.wasm");
        let host = of("--crate-name build_script_build --crate-type bin -C metadata=a");
        assert!(host.to_string_lossy().starts_with("metadata="));
    }

    #[test]
    fn kinds_and_features_of_one_crate_stay_apart() {
        let of = |text: &str| settled(text, "guest-sdk").pop();
        let plain = of("--crate-name sdk --crate-type lib -C metadata=a");
        assert_ne!(plain, of("--crate-name sdk --crate-type bin -C metadata=a"));
        assert_ne!(plain, of("--crate-name sdk --crate-type lib --cfg feature=\"x\" -C metadata=a"));
    }
}
