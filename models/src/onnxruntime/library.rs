//! Finds, checks and loads the shared library, once for the process.

use super::guarded;
use crate::text::{MAX_REASON, bounded};
use ort::environment::Environment;
use ort::logging::LogLevel;
use sha2::{Digest, Sha256};
use std::ffi::{CStr, OsString, c_char};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The version of ONNX Runtime whose results nodes agree on. Another version may sum in another order.
pub const ONNX_RUNTIME_VERSION: &str = "1.31.1";

/// Names the library, before any other place is looked at.
const PATH_VARIABLE: &str = "ORT_DYLIB_PATH";

/// What the library's file name starts with.
const FILE_NAME: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_os = "macos") {
    "libonnxruntime."
} else {
    "libonnxruntime.so"
};

/// A loaded library.
#[derive(Clone)]
pub(super) struct Library {
    pub(super) path: Arc<Path>,
    pub(super) environment: Environment,
    /// The version and the hash of the file.
    pub(super) build: Arc<str>,
}

/// Why ONNX Runtime cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is in none of the places where it is looked for.
    #[error(
        "ONNX Runtime {ONNX_RUNTIME_VERSION} was not found in {searched}; run `cargo xtask ort`, or set ORT_DYLIB_PATH to \
         the libonnxruntime.so of onnxruntime {ONNX_RUNTIME_VERSION}"
    )]
    NotFound {
        /// The folders that were searched.
        searched: String,
    },
    /// The environment variable names no file.
    #[error(
        "ORT_DYLIB_PATH names {path}, which is not a file; set it to the libonnxruntime.so of onnxruntime \
         {ONNX_RUNTIME_VERSION}, or unset it and run `cargo xtask ort`"
    )]
    NoFile {
        /// What it names.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system's loader refuses the file.
    #[error(
        "{path} cannot be loaded; it may be damaged or made for another system: run `cargo xtask ort`, or set \
         ORT_DYLIB_PATH to the libonnxruntime.so of onnxruntime {ONNX_RUNTIME_VERSION}"
    )]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: libloading::Error,
    },
    /// Another version, whose results may differ in bits.
    #[error(
        "{path} is ONNX Runtime {found}, and results are agreed on for {ONNX_RUNTIME_VERSION} alone; run `cargo xtask ort`, \
         or set ORT_DYLIB_PATH to that version's libonnxruntime.so"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// The library was loaded and does not start.
    #[error("ONNX Runtime does not start: {reason}")]
    Start {
        /// What it says, bounded.
        reason: String,
    },
}

/// The library of this process, loaded by the first call that succeeds: the binding allows one environment per process.
pub(super) fn open(data_dir: Option<&Path>) -> Result<Library, OpenError> {
    static OPENED: Mutex<Option<Library>> = Mutex::new(None);

    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = &*opened {
        return Ok(library.clone());
    }
    let executable = std::env::current_exe().ok();
    let beside = executable.as_deref().and_then(Path::parent);
    let path = find(std::env::var_os(PATH_VARIABLE), &[beside, data_dir])?;
    let library = load(&path)?;
    tracing::debug!(path = %path.display(), build = &*library.build, "ONNX Runtime loaded");
    Ok(opened.insert(library).clone())
}

/// The library's file: the one that the variable names, else the first in `folders`.
fn find(variable: Option<OsString>, folders: &[Option<&Path>]) -> Result<PathBuf, OpenError> {
    if let Some(path) = variable.filter(|path| !path.is_empty()).map(PathBuf::from) {
        return if path.is_file() { Ok(path) } else { Err(OpenError::NoFile { path }) };
    }
    let folders = folders.iter().copied().flatten().collect::<Vec<_>>();
    folders.iter().find_map(|folder| in_folder(folder)).ok_or_else(|| OpenError::NotFound {
        searched: folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" and "),
    })
}

/// The library in one folder: of several, the one that has the wanted version in its name, else the last by name.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let is_library = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(FILE_NAME))
            && path.is_file()
    };
    let entries = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    entries.filter(is_library).max_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name.contains(ONNX_RUNTIME_VERSION), name)
    })
}

fn load(path: &Path) -> Result<Library, OpenError> {
    // The binding takes a relative path to be beside the executable; the user means the current folder.
    let path = fs::canonicalize(path).map_err(|source| OpenError::Read { path: path.to_owned(), source })?;
    // Held until the binding has opened it too, so that the system loads it once.
    let (_library, found) = version(&path)?;
    if found != ONNX_RUNTIME_VERSION {
        return Err(OpenError::Version { path, found: bounded(&found, 32) });
    }
    let build = hash(&path).map_err(|source| OpenError::Read { path: path.clone(), source })?;
    let environment = start(&path)?;
    let build = format!("onnxruntime {ONNX_RUNTIME_VERSION} {build}");
    Ok(Library { path: path.into(), environment, build: build.into() })
}

/// The SHA-256 of the file, in hexadecimal: two builds of one version differ in bits as two versions do.
pub(super) fn hash(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// Starts the binding, whose log goes where this program's goes.
fn start(path: &Path) -> Result<Environment, OpenError> {
    let log = |level, _: &str, _: &str, _: &str, message: &str| {
        // The library quotes names from models.
        let message = bounded(message, MAX_REASON);
        match level {
            LogLevel::Error | LogLevel::Fatal => tracing::warn!(target: "onnxruntime", "{message}"),
            _ => tracing::debug!(target: "onnxruntime", "{message}"),
        }
    };
    guarded(|| {
        let builder = ort::init_from(path).map_err(|error| ort::Error::new(error.to_string()))?;
        let environment = builder.with_name("depx").with_telemetry(false).with_logger(Arc::new(log)).build()?;
        environment.set_log_level(LogLevel::Warning);
        Ok(environment)
    })
    .map_err(|failure| OpenError::Start { reason: failure.reason })
}

/// The start of `OrtApiBase`, the table that every version of the library has.
#[repr(C)]
struct ApiBase {
    _get_api: extern "system" fn(u32) -> *const std::ffi::c_void,
    get_version_string: extern "system" fn() -> *const c_char,
}

/// The version of the library at `path`, asked of the library itself: the binding accepts any that is new enough, and must not
/// see one that is not wanted, since it never lets go of the first.
#[allow(unsafe_code, reason = "a shared library is loaded and two functions of its C interface are called")]
fn version(path: &Path) -> Result<(libloading::Library, String), OpenError> {
    let load = |source| OpenError::Load { path: path.to_owned(), source };
    // SAFETY: loading runs the file's initialisers; it is the file that the operator chose to run as ONNX Runtime.
    let library = unsafe { libloading::Library::new(path) }.map_err(load)?;
    // SAFETY: since its first release the library exports this function with this signature.
    let base = unsafe { library.get::<extern "system" fn() -> *const ApiBase>(b"OrtGetApiBase") }.map_err(load)?();
    // SAFETY: the function gives null or a table that lives as long as the library, which is open until the end of this one.
    let text = unsafe { base.as_ref() }.map_or(std::ptr::null(), |base| (base.get_version_string)());
    if text.is_null() {
        return Ok((library, "of no version".to_owned()));
    }
    // SAFETY: the function gives a string constant of the library, which is still open.
    let version = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    Ok((library, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, "not a library").unwrap();
        path
    }

    #[test]
    fn the_variable_comes_before_the_folders() {
        let folder = tempfile::tempdir().unwrap();
        let there = touch(folder.path(), &format!("{FILE_NAME}.1"));
        let named = touch(folder.path(), "another-name");
        let folders = [Some(folder.path())];
        assert_eq!(find(Some(named.clone().into()), &folders).unwrap(), named);
        assert_eq!(find(Some(OsString::new()), &folders).unwrap(), there);
        assert_eq!(find(None, &folders).unwrap(), there);
    }

    #[test]
    fn a_variable_that_names_no_file_is_an_error_and_not_skipped() {
        let folder = tempfile::tempdir().unwrap();
        touch(folder.path(), FILE_NAME);
        let error = find(Some("/nowhere/libonnxruntime.so".into()), &[Some(folder.path())]).unwrap_err().to_string();
        assert!(error.contains("/nowhere/libonnxruntime.so") && error.contains("cargo xtask ort"), "{error}");
    }

    #[test]
    fn folders_are_searched_in_order_and_the_wanted_version_wins() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = [Some(first.path()), None, Some(second.path())];
        let error = find(None, &folders).unwrap_err().to_string();
        for part in [first.path(), second.path()] {
            assert!(error.contains(&part.display().to_string()), "{error}");
        }
        assert!(error.contains("cargo xtask ort") && error.contains("ORT_DYLIB_PATH"), "{error}");

        let wanted = touch(second.path(), &format!("{FILE_NAME}.{ONNX_RUNTIME_VERSION}"));
        touch(second.path(), &format!("{FILE_NAME}.9.99.9"));
        touch(second.path(), "unrelated.so");
        assert_eq!(find(None, &folders).unwrap(), wanted);
        let nearer = touch(first.path(), FILE_NAME);
        assert_eq!(find(None, &folders).unwrap(), nearer);
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = touch(folder.path(), FILE_NAME);
        assert!(matches!(load(&path), Err(OpenError::Load { .. })));
        assert!(matches!(load(&folder.path().join("absent")), Err(OpenError::Read { .. })));
    }

    /// Compiles a library of another version.
    fn library_of_version(version: &str, folder: &Path) -> PathBuf {
        let source = format!(
            r#"#[repr(C)] pub struct Base(extern "system" fn(u32) -> usize, extern "system" fn() -> *const u8);
            extern "system" fn api(_: u32) -> usize {{ 0 }}
            extern "system" fn version() -> *const u8 {{ "{version}\0".as_ptr() }}
            #[unsafe(no_mangle)] pub extern "system" fn OrtGetApiBase() -> &'static Base {{ &Base(api, version) }}"#
        );
        let (input, output) = (folder.join("library.rs"), folder.join("library.so"));
        fs::write(&input, source).unwrap();
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut compile = std::process::Command::new(rustc);
        compile.args(["--edition", "2024", "--crate-type", "cdylib", "-o"]).arg(&output).arg(&input);
        assert!(compile.status().unwrap().success());
        output
    }

    #[test]
    fn another_version_is_refused_and_both_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = library_of_version("1.30.0", folder.path());
        let error = load(&path).map(|_| ()).unwrap_err();
        assert!(matches!(&error, OpenError::Version { found, .. } if found == "1.30.0"), "{error}");
        let error = error.to_string();
        assert!(error.contains("1.30.0") && error.contains(ONNX_RUNTIME_VERSION), "{error}");
    }
}
