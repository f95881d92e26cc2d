//! A root directory with nothing in it.

/// Makes what the kernel lists of this process's own descriptors the root: no other path has a name any more. That is for calls
/// that look at files without opening them, which Landlock leaves alone.
pub(super) fn leave() -> Result<(), String> {
    rustix::process::chroot("/proc/self/fdinfo").map_err(|error| error.to_string())?;
    rustix::process::chdir("/").map_err(|error| error.to_string())
}
