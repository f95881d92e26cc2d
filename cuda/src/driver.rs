//! The driver's interface: those of its functions that are needed, found in its library by name.

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};

/// The library that comes with the driver.
const LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

/// Why a GPU cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// The driver's library cannot be loaded.
    #[error("there is no NVIDIA driver: {library} cannot be loaded; install the driver, or run without CUDA")]
    NoDriver {
        /// Its name.
        library: String,
        /// Why.
        #[source]
        source: libloading::Error,
    },
    /// A library that lacks a function.
    #[error("the NVIDIA driver has no function {function}; it is too old")]
    OldDriver {
        /// What it lacks.
        function: &'static str,
    },
    /// A driver and no GPU.
    #[error("the NVIDIA driver finds no GPU")]
    NoDevice,
    /// No GPU of this number.
    #[error("there is no GPU {ordinal}: the NVIDIA driver finds {count}, numbered from 0")]
    NoSuchDevice {
        /// What was asked for.
        ordinal: u32,
        /// How many there are.
        count: u32,
    },
    /// A GPU before Turing.
    #[error("{name} has compute capability {}.{}, and 7.5 is needed", capability.0, capability.1)]
    OldDevice {
        /// The GPU.
        name: String,
        /// Its compute capability.
        capability: (u32, u32),
    },
    /// A call into the driver failed.
    #[error("{function} failed: {reason}")]
    Call {
        /// What was called.
        function: &'static str,
        /// What the driver calls the failure.
        reason: String,
    },
    /// Something has more elements than kernels can name.
    #[error(transparent)]
    TooLarge(#[from] crate::TooLarge),
    /// A kernel does not give the bits that it must.
    #[error("{device} computes other bits than a processor in {kernel}; it is not used")]
    OtherBits {
        /// The GPU.
        device: String,
        /// What it computed.
        kernel: String,
    },
}

pub(crate) type Status = c_int;
pub(crate) type Context = *mut c_void;
pub(crate) type Module = *mut c_void;
pub(crate) type Function = *mut c_void;
pub(crate) type Stream = *mut c_void;

const NO_DEVICE: Status = 100;

/// Declares the table of functions, and how it is filled.
macro_rules! functions {
    ($($field:ident = $name:literal ($($argument:ty),*);)*) => {
        pub(crate) struct Driver {
            $(pub(crate) $field: unsafe extern "system" fn($($argument),*) -> Status,)*
            // Dropped last: the functions are in it.
            _library: libloading::Library,
        }

        impl Driver {
            fn of(library: libloading::Library) -> Result<Self, CudaError> {
                $(
                    // SAFETY: the driver exports the function with this signature since CUDA 11.
                    let $field = *unsafe { library.get(concat!($name, "\0").as_bytes()) }
                        .map_err(|_| CudaError::OldDriver { function: $name })?;
                )*
                Ok(Self { $($field,)* _library: library })
            }
        }
    };
}

functions! {
    init = "cuInit" (c_uint);
    error_name = "cuGetErrorName" (Status, *mut *const c_char);
    driver_version = "cuDriverGetVersion" (*mut c_int);
    device_count = "cuDeviceGetCount" (*mut c_int);
    device = "cuDeviceGet" (*mut c_int, c_int);
    device_name = "cuDeviceGetName" (*mut c_char, c_int, c_int);
    device_attribute = "cuDeviceGetAttribute" (*mut c_int, c_int, c_int);
    retain_context = "cuDevicePrimaryCtxRetain" (*mut Context, c_int);
    release_context = "cuDevicePrimaryCtxRelease_v2" (c_int);
    push_context = "cuCtxPushCurrent_v2" (Context);
    pop_context = "cuCtxPopCurrent_v2" (*mut Context);
    synchronize = "cuCtxSynchronize" ();
    load_module = "cuModuleLoadData" (*mut Module, *const c_void);
    unload_module = "cuModuleUnload" (Module);
    function = "cuModuleGetFunction" (*mut Function, Module, *const c_char);
    launch = "cuLaunchKernel" (Function, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Stream, *mut *mut c_void, *mut *mut c_void);
    allocate = "cuMemAlloc_v2" (*mut u64, usize);
    free = "cuMemFree_v2" (u64);
    copy_to_device = "cuMemcpyHtoD_v2" (u64, *const c_void, usize);
    copy_from_device = "cuMemcpyDtoH_v2" (*mut c_void, u64, usize);
}

impl Driver {
    /// Loads and starts the driver.
    pub(crate) fn load() -> Result<Self, CudaError> {
        Self::load_from(LIBRARY.as_ref())
    }

    pub(crate) fn load_from(library: &OsStr) -> Result<Self, CudaError> {
        // SAFETY: loading runs the initialisers of the driver that the operator installed.
        let loaded = unsafe { libloading::Library::new(library) }
            .map_err(|source| CudaError::NoDriver { library: library.to_string_lossy().into_owned(), source })?;
        let driver = Self::of(loaded)?;
        // SAFETY: the function takes no flags.
        driver.check("cuInit", unsafe { (driver.init)(0) })?;
        Ok(driver)
    }

    pub(crate) fn check(&self, function: &'static str, status: Status) -> Result<(), CudaError> {
        if status == 0 {
            return Ok(());
        }
        if status == NO_DEVICE {
            return Err(CudaError::NoDevice);
        }
        let mut name = std::ptr::null();
        // SAFETY: the function writes a pointer to a constant string, or to nothing.
        unsafe { (self.error_name)(status, &raw mut name) };
        let name = if name.is_null() {
            "an unknown error".to_owned()
        } else {
            // SAFETY: a string constant of the driver's library, which is open.
            unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
        };
        Err(CudaError::Call { function, reason: format!("{name} ({status})") })
    }
}
