//! The proof that the contract crates are pure: they build where there is no system to call, and call none.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::process::{run, step};
use crate::toolchain::{Target, Toolchain};
use crate::workspace::Workspace;

/// Builds `depx-host-abi` and `depx-protocol` for a machine without a system, and refuses a protocol that imports.
pub(crate) fn prove(workspace: &Workspace, cache: &Cache) -> Result<()> {
    let toolchain = Toolchain::find_or_make(Target::Pure, cache)?;
    step(format!("Building the pure crates for {}", Target::Pure));
    let target = workspace.target("pure");

    let mut host_abi = toolchain.cargo(workspace, "build", &target);
    run(host_abi.args(["--package", "depx-host-abi"]).current_dir(workspace.root()))?;

    // As a module of its own, with everything in it that could be called: an unused import would else be left out.
    let mut protocol = toolchain.cargo(workspace, "rustc", &target);
    protocol.args(["--package", "depx-protocol", "--lib", "--crate-type", "cdylib"]);
    protocol.args(["--", "-Clink-dead-code", "-Clink-arg=--no-gc-sections", "-Clink-arg=--export-dynamic"]);
    run(protocol.current_dir(workspace.root()))?;
    require_no_imports(&target.join(Target::Pure.triple()).join("debug/depx_protocol.wasm"))
}

fn require_no_imports(path: &Path) -> Result<()> {
    let module = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let imports = imports(&module).with_context(|| format!("{} is no WebAssembly module", path.display()))?;
    if imports > 0 {
        bail!(
            "{} imports {imports} things from its host, so depx-protocol is not pure: \
             a dependency asks for time, randomness or a system (`cargo tree -p depx-protocol --target {}`)",
            path.display(),
            Target::Pure
        );
    }
    Ok(())
}

/// The number of imports of a module: the count that opens its import section, 0 if it has none.
fn imports(module: &[u8]) -> Option<u32> {
    const HEADER: &[u8] = b"\0asm\x01\0\0\0";
    const IMPORT_SECTION: u8 = 2;

    let mut rest = module.strip_prefix(HEADER)?;
    while let Some((&section, after)) = rest.split_first() {
        let (length, content) = leb128(after)?;
        if section == IMPORT_SECTION {
            return Some(leb128(content)?.0);
        }
        rest = content.get(usize::try_from(length).ok()?..)?;
    }
    Some(0)
}

/// An unsigned 32-bit number as WebAssembly writes it, and what follows.
fn leb128(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0;
    for (position, &byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, &bytes[position + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: [u8; 6] = [1, 4, 1, 0x60, 0, 0];
    const IMPORT: [u8; 9] = [2, 7, 1, 1, b'a', 1, b'b', 0, 0];

    fn module(sections: &[&[u8]]) -> Vec<u8> {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        sections.iter().for_each(|section| module.extend_from_slice(section));
        module
    }

    #[test]
    fn imports_are_counted_wherever_the_section_is() {
        assert_eq!(imports(&module(&[])), Some(0));
        assert_eq!(imports(&module(&[&TYPE])), Some(0));
        assert_eq!(imports(&module(&[&TYPE, &IMPORT])), Some(1));
        let long = [&[0, 0x80, 0x01][..], &[7; 128]].concat();
        assert_eq!(imports(&module(&[&long, &TYPE, &IMPORT])), Some(1));
    }

    #[test]
    fn what_is_no_module_is_not_taken_for_a_pure_one() {
        assert_eq!(imports(b""), None);
        assert_eq!(imports(b"\x7fELF...."), None);
        assert_eq!(imports(&module(&[&TYPE[..4]])), None);
        assert_eq!(imports(&module(&[&[1, 0xff, 0xff, 0xff, 0xff, 0xff]])), None);
    }

    #[test]
    fn a_module_that_imports_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("m.wasm");
        fs::write(&path, module(&[&TYPE])).unwrap();
        require_no_imports(&path).unwrap();
        fs::write(&path, module(&[&TYPE, &IMPORT])).unwrap();
        assert!(require_no_imports(&path).unwrap_err().to_string().contains("not pure"));
    }
}
