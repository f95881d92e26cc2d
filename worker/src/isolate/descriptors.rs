//! What is open.

use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Closes everything but standard input, the socket to the supervisor, and takes that.
pub(crate) fn claim_socket() -> io::Result<OwnedFd> {
    close_inherited()?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(nothing()?)?;
    Ok(socket)
}

/// From now on nothing is printed: what a worker has to say goes to its supervisor.
pub(crate) fn silence() -> io::Result<()> {
    let nothing = nothing()?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    Ok(())
}

fn nothing() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

#[allow(unsafe_code, reason = "descriptors are closed that no value of this program owns")]
fn close_inherited() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: this is the first thing that the process does; it has opened nothing, so no owner loses its descriptor.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
