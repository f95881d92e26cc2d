//! A network namespace with nothing in it, and namespaces of its own for System V objects and host names.

use rustix::io::Errno;
use rustix::thread::UnshareFlags;

pub(super) fn leave() -> Result<(), String> {
    let wanted = UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    match unshare(wanted) {
        // Without privileges it takes a user namespace, in which there are no users.
        Err(Errno::PERM) => unshare(wanted | UnshareFlags::NEWUSER).map_err(|error| error.to_string()),
        left => left.map_err(|error| error.to_string()),
    }
}

#[allow(unsafe_code, reason = "unsharing descriptors would be unsafe; namespaces are not")]
fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: none of the flags that are passed here separates tables of descriptors, on which owned descriptors rely.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}
