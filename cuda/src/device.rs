//! A GPU with all kernels loaded.

use crate::driver::{Context, CudaError, Driver, Function, Module};
use crate::verify::{bits, cases};
use crate::{Address, Kernels, Launch, PTX};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr;

/// A GPU. Its context is the one that the CUDA runtime, hence ONNX Runtime, uses in this process, too.
pub struct Device {
    driver: Driver,
    ordinal: c_int,
    context: Context,
    module: Module,
    functions: HashMap<&'static str, Function>,
    name: String,
    capability: (u32, u32),
    cuda: (u32, u32),
}

// SAFETY: the driver's functions may be called from any thread, and its handles belong to no thread.
unsafe impl Send for Device {}
// SAFETY: as above; nothing here changes after the device was opened.
unsafe impl Sync for Device {}

const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;

/// What all kernels are called.
fn kernels() -> impl Iterator<Item = &'static str> {
    PTX.lines().filter_map(|line| line.strip_prefix(".visible .entry ")).map(|name| name.trim_end_matches('('))
}

impl Device {
    /// Loads the driver and the kernels, and makes sure that this GPU computes the same bits as this processor.
    pub fn open(ordinal: u32) -> Result<Self, CudaError> {
        Self::with_driver(Driver::load()?, ordinal)
    }

    fn with_driver(driver: Driver, ordinal: u32) -> Result<Self, CudaError> {
        let (mut count, mut version, mut handle) = (0, 0, 0);
        // SAFETY: each function writes one number.
        unsafe {
            driver.check("cuDeviceGetCount", (driver.device_count)(&raw mut count))?;
            driver.check("cuDriverGetVersion", (driver.driver_version)(&raw mut version))?;
        }
        let count = u32::try_from(count).unwrap_or(0);
        if count == 0 {
            return Err(CudaError::NoDevice);
        }
        let Some(number) = c_int::try_from(ordinal).ok().filter(|_| ordinal < count) else {
            return Err(CudaError::NoSuchDevice { ordinal, count });
        };
        let mut name = [0; 256];
        let mut capability = [0; 2];
        let [major, minor] = &mut capability;
        // SAFETY: the functions write one number each, and at most 256 characters with a zero at their end.
        unsafe {
            driver.check("cuDeviceGet", (driver.device)(&raw mut handle, number))?;
            driver.check("cuDeviceGetName", (driver.device_name)(name.as_mut_ptr(), 256, handle))?;
            let attribute = driver.device_attribute;
            driver.check("cuDeviceGetAttribute", attribute(major, CAPABILITY_MAJOR, handle))?;
            driver.check("cuDeviceGetAttribute", attribute(minor, CAPABILITY_MINOR, handle))?;
        }
        // SAFETY: the array was zeros, and the driver ends the name with one.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
        let [major, minor] = capability.map(|number| u32::try_from(number).unwrap_or(0));
        if (major, minor) < (7, 5) {
            return Err(CudaError::OldDevice { name, capability: (major, minor) });
        }
        let version = u32::try_from(version).unwrap_or(0);
        let mut context = ptr::null_mut();
        // SAFETY: the function writes a handle, which is given back when the device is dropped.
        driver.check("cuDevicePrimaryCtxRetain", unsafe { (driver.retain_context)(&raw mut context, handle) })?;
        let mut device = Self {
            driver,
            ordinal: handle,
            context,
            module: ptr::null_mut(),
            functions: HashMap::new(),
            name,
            capability: (major, minor),
            cuda: (version / 1000, version % 1000 / 10),
        };
        device.load()?;
        device.verify()?;
        Ok(device)
    }

    fn load(&mut self) -> Result<(), CudaError> {
        let mut ptx = PTX.as_bytes().to_vec();
        ptx.push(0);
        let (mut module, mut functions) = (ptr::null_mut(), HashMap::new());
        self.within(|driver| {
            // SAFETY: the text ends with a zero and is only read during the call.
            let status = unsafe { (driver.load_module)(&raw mut module, ptx.as_ptr().cast()) };
            driver.check("cuModuleLoadData", status)?;
            for kernel in kernels() {
                let mut function = ptr::null_mut();
                let name = CString::new(kernel).unwrap_or_default();
                // SAFETY: the module is loaded, and the name ends with a zero.
                let status = unsafe { (driver.function)(&raw mut function, module, name.as_ptr()) };
                driver.check("cuModuleGetFunction", status)?;
                functions.insert(kernel, function);
            }
            Ok(())
        })?;
        (self.module, self.functions) = (module, functions);
        Ok(())
    }

    /// Calls the driver with this device's context, and leaves the thread with the one it had.
    fn within<T>(&self, call: impl FnOnce(&Driver) -> Result<T, CudaError>) -> Result<T, CudaError> {
        // SAFETY: the context is held until the device is dropped.
        self.driver.check("cuCtxPushCurrent", unsafe { (self.driver.push_context)(self.context) })?;
        let result = call(&self.driver);
        let mut popped = ptr::null_mut();
        // SAFETY: what was pushed above is on top.
        self.driver.check("cuCtxPopCurrent", unsafe { (self.driver.pop_context)(&raw mut popped) })?;
        result
    }

    /// What the GPU is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its compute capability.
    pub fn capability(&self) -> (u32, u32) {
        self.capability
    }

    /// The version of CUDA that the driver has.
    pub fn cuda(&self) -> (u32, u32) {
        self.cuda
    }

    /// Waits for all that was started on this device.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        // SAFETY: the function takes nothing.
        self.within(|driver| driver.check("cuCtxSynchronize", unsafe { (driver.synchronize)() }))
    }

    /// Memory of the device with these numbers in it.
    pub fn memory(&self, numbers: &[f32]) -> Result<Memory<'_>, CudaError> {
        let (mut address, size) = (0, size_of_val(numbers));
        // SAFETY: the function writes an address.
        self.within(|driver| driver.check("cuMemAlloc", unsafe { (driver.allocate)(&raw mut address, size.max(1)) }))?;
        let memory = Memory { device: self, address, len: numbers.len() };
        self.within(|driver| {
            // SAFETY: there are as many bytes on both sides.
            let status = unsafe { (driver.copy_to_device)(address, numbers.as_ptr().cast(), size) };
            driver.check("cuMemcpyHtoD", status)
        })?;
        Ok(memory)
    }

    /// Whether all kernels give the bits that a processor gives.
    fn verify(&self) -> Result<(), CudaError> {
        for case in cases(1) {
            let memory = case.numbers.iter().map(|numbers| self.memory(numbers)).collect::<Result<Vec<_>, _>>()?;
            let addresses = memory.iter().map(Memory::address).collect::<Vec<_>>();
            for launch in (case.launches)(&addresses)? {
                // SAFETY: the addresses are those of the memory that the case asks for, which is read back below.
                unsafe { self.launch(&launch, ptr::null_mut()) }?;
            }
            for (memory, expected) in memory.iter().zip(&case.expected) {
                if bits(&memory.read()?) != bits(expected) {
                    return Err(CudaError::OtherBits { device: self.name.clone(), kernel: case.name });
                }
            }
        }
        Ok(())
    }
}

impl Kernels for Device {
    unsafe fn launch(&self, launch: &Launch, stream: *mut c_void) -> Result<(), CudaError> {
        let Some(function) = self.functions.get(launch.kernel) else {
            return Err(CudaError::Call { function: "cuModuleGetFunction", reason: format!("no {}", launch.kernel) });
        };
        let [x, y, z] = launch.grid;
        if x == 0 || y == 0 || z == 0 {
            return Ok(());
        }
        let mut size = launch.parameters.len();
        // Markers of the driver: a buffer with all parameters, its size, the end.
        let mut extra = [
            ptr::without_provenance_mut(1),
            launch.parameters.as_ptr().cast_mut().cast(),
            ptr::without_provenance_mut(2),
            (&raw mut size).cast(),
            ptr::null_mut(),
        ];
        self.within(|driver| {
            // SAFETY: the parameters are copied during the call; the rest is the caller's.
            let status = unsafe {
                let none = ptr::null_mut();
                (driver.launch)(*function, x, y, z, launch.threads, 1, 1, 0, stream, none, extra.as_mut_ptr())
            };
            driver.check("cuLaunchKernel", status)
        })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let module = self.module;
        if !module.is_null() {
            // SAFETY: it was loaded in this context, and nobody can launch its kernels any more.
            let _ = self.within(|driver| driver.check("cuModuleUnload", unsafe { (driver.unload_module)(module) }));
        }
        // SAFETY: it was retained once.
        let _ = unsafe { (self.driver.release_context)(self.ordinal) };
    }
}

/// Numbers in a device's memory, freed when this is dropped.
pub struct Memory<'a> {
    device: &'a Device,
    address: Address,
    len: usize,
}

impl Memory<'_> {
    /// Where they are.
    pub fn address(&self) -> Address {
        self.address
    }

    /// A copy of them, after all kernels before have ended.
    pub fn read(&self) -> Result<Vec<f32>, CudaError> {
        self.device.synchronize()?;
        let mut numbers = vec![0.0f32; self.len];
        self.device.within(|driver| {
            // SAFETY: there are as many on both sides, and every pattern of bits is a number.
            let status = unsafe { (driver.copy_from_device)(numbers.as_mut_ptr().cast(), self.address, 4 * self.len) };
            driver.check("cuMemcpyDtoH", status)
        })?;
        Ok(numbers)
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        // SAFETY: it was allocated once, and kernels that use it are waited for by this function.
        let _ = self.device.within(|driver| driver.check("cuMemFree", unsafe { (driver.free)(self.address) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpreter::Interpreted;
    use std::ffi::c_char;
    use std::path::Path;
    use std::process::Command;
    use std::sync::LazyLock;

    type Interpret = unsafe extern "C" fn(*const c_char, &[u32; 3], u32, *const u8, usize) -> c_int;

    /// Compiles a driver that has `count` GPUs of a compute capability, whose kernels do nothing.
    fn driver(folder: &Path, count: u32, [major, minor]: [u32; 2], without: &str) -> Driver {
        let load = load(folder, count, [major, minor], without);
        load.unwrap_or_else(|error| panic!("{error}"))
    }

    fn load(folder: &Path, count: u32, [major, minor]: [u32; 2], without: &str) -> Result<Driver, CudaError> {
        let source = include_str!("../tests/data/driver.rs");
        let source = source.replace("COUNT", &count.to_string()).replace("MAJOR", &major.to_string());
        let source = source.replace("MINOR", &minor.to_string()).replace(without, "somethingElse");
        let (input, output) = (folder.join("driver.rs"), folder.join("libcuda.so"));
        std::fs::write(&input, source).unwrap();
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut compile = Command::new(rustc);
        compile.args(["--edition", "2024", "--crate-type", "cdylib", "-o"]).arg(&output).arg(&input);
        assert!(compile.status().unwrap().success());
        Driver::load_from(output.as_os_str())
    }

    #[test]
    fn a_driver_that_is_missing_or_too_old_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Driver::load_from(folder.path().join("libcuda.so.1").as_os_str()).map(|_| ()).unwrap_err();
        assert!(matches!(&error, CudaError::NoDriver { .. }) && error.to_string().contains("libcuda.so.1"), "{error}");
        let error = load(folder.path(), 1, [9, 0], "cuMemFree_v2").map(|_| ()).unwrap_err();
        assert!(matches!(error, CudaError::OldDriver { function: "cuMemFree_v2" }), "{error}");
    }

    static INTERPRETED: LazyLock<Interpreted> = LazyLock::new(|| Interpreted::new().unwrap());

    unsafe extern "C" fn interpret(
        name: *const c_char,
        grid: &[u32; 3],
        threads: u32,
        parameters: *const u8,
        size: usize,
    ) -> c_int {
        // SAFETY: the test's driver hands on what it was given.
        let (name, parameters) = unsafe { (CStr::from_ptr(name), std::slice::from_raw_parts(parameters, size)) };
        let kernel = kernels().find(|kernel| kernel.as_bytes() == name.to_bytes()).unwrap();
        let launch = Launch { kernel, grid: *grid, threads, parameters: parameters.to_vec() };
        // SAFETY: addresses are those of the test's driver, hence of this process.
        let done = unsafe { INTERPRETED.launch(&launch, ptr::null_mut()) };
        c_int::from(done.is_err())
    }

    /// The driver gets what kernels need: where it interprets them, their bits are right.
    #[test]
    fn a_gpu_that_computes_the_right_bits_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let driver = driver(folder.path(), 1, [12, 0], "nothing");
        // SAFETY: the library is loaded already, and its function takes this one.
        unsafe {
            let library = libloading::Library::new(folder.path().join("libcuda.so")).unwrap();
            library.get::<unsafe extern "C" fn(Interpret)>("setLaunch").unwrap()(interpret);
        }
        let device = Device::with_driver(driver, 0).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((device.name(), device.capability(), device.cuda()), ("Test GPU", (12, 0), (13, 1)));
    }

    #[test]
    fn gpus_that_cannot_be_used_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let open = |count, capability, ordinal| {
            let folder = tempfile::tempdir_in(folder.path()).unwrap();
            Device::with_driver(driver(folder.path(), count, capability, "nothing"), ordinal).map(|_| ()).unwrap_err()
        };
        assert!(matches!(open(0, [9, 0], 0), CudaError::NoDevice));
        assert!(matches!(open(2, [9, 0], 2), CudaError::NoSuchDevice { ordinal: 2, count: 2 }));
        let error = open(1, [7, 0], 0).to_string();
        assert_eq!(error, "Test GPU has compute capability 7.0, and 7.5 is needed");
        let error = open(1, [7, 5], 0).to_string();
        assert_eq!(error, "Test GPU computes other bits than a processor in Erf; it is not used");
    }
}
