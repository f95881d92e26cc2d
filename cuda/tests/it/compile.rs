//! `kernels.ptx` is what the compiler makes of the sources.

use depx_cuda::PTX;
use sha2::{Digest, Sha256};
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;

/// One after the other they are one source.
const SOURCES: [&str; 4] = ["math.cu", "elements.cu", "rows.cu", "gemm.cu"];

/// Names the library of NVRTC, NVIDIA's compiler, of version 12.9; it needs no GPU.
const NVRTC: &str = "DEPX_NVRTC";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

fn source() -> String {
    SOURCES.iter().map(|name| std::fs::read_to_string(folder().join(name)).unwrap()).collect()
}

fn heading(source: &str) -> String {
    let hash = hex::encode(Sha256::digest(source));
    format!("// NVRTC's output for the sources with the SHA-256 {hash}; see `tests/it/compile.rs`.\n")
}

#[test]
fn the_code_belongs_to_the_sources() {
    let heading = heading(&source());
    assert!(
        PTX.starts_with(&heading),
        "kernels.ptx is of other sources; compile them: {NVRTC}=…/libnvrtc.so.12 UPDATE_EXPECT=1 cargo test -p depx-cuda --test it"
    );
}

#[test]
fn the_compiler_gives_this_code() {
    let Some(library) = std::env::var_os(NVRTC) else {
        eprintln!("skipped: {NVRTC} does not name libnvrtc.so.12");
        return;
    };
    let source = source();
    let compiled = heading(&source) + &compile(&library, &source);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(folder().join("kernels.ptx"), compiled).unwrap();
    } else {
        assert!(compiled == PTX, "compile again with UPDATE_EXPECT=1");
    }
}

#[allow(unsafe_code, reason = "a compiler is called through its C interface")]
fn compile(library: &std::ffi::OsStr, source: &str) -> String {
    type Handle = *mut c_void;
    type Create = unsafe extern "C" fn(
        *mut Handle,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int;
    type Compile = unsafe extern "C" fn(Handle, c_int, *const *const c_char) -> c_int;
    type Size = unsafe extern "C" fn(Handle, *mut usize) -> c_int;
    type Text = unsafe extern "C" fn(Handle, *mut c_char) -> c_int;
    // What is in no intrinsic function is not fused either.
    let options = [c"--gpu-architecture=compute_75", c"--std=c++17", c"--fmad=false"].map(|option| option.as_ptr());
    let (text, name) = (CString::new(source).unwrap(), c"kernels.cu");
    let mut program: Handle = ptr::null_mut();
    // SAFETY: the functions have these signatures in every release of the library, texts end with a zero, and buffers are as large as the
    // library says.
    unsafe {
        let library = libloading::Library::new(library).unwrap();
        let read = |program: Handle, size: &str, text: &str| {
            let mut len = 0;
            assert_eq!(library.get::<Size>(size).unwrap()(program, &raw mut len), 0);
            let mut bytes = vec![0u8; len];
            assert_eq!(library.get::<Text>(text).unwrap()(program, bytes.as_mut_ptr().cast()), 0);
            bytes.truncate(len.saturating_sub(1));
            String::from_utf8(bytes).unwrap()
        };
        let create = library.get::<Create>("nvrtcCreateProgram").unwrap();
        assert_eq!(create(&raw mut program, text.as_ptr(), name.as_ptr(), 0, ptr::null(), ptr::null()), 0);
        let compile = library.get::<Compile>("nvrtcCompileProgram").unwrap();
        let status = compile(program, options.len() as c_int, options.as_ptr());
        let log = read(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
        assert!(status == 0 && log.trim().is_empty(), "{log}");
        read(program, "nvrtcGetPTXSize", "nvrtcGetPTX")
    }
}
