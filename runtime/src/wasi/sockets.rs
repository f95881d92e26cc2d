//! There are no sockets: whatever is open is not one.

use super::abi::{Errno, Result};
use crate::host::Call;

impl Call<'_> {
    pub(super) fn sock_accept(&mut self, fd: u32, _flags: u32, _accepted: u32) -> Result<()> {
        self.not_a_socket(fd)
    }

    pub(super) fn sock_recv(
        &mut self,
        fd: u32,
        _spans: u32,
        _count: u32,
        _flags: u32,
        _received: u32,
        _received_flags: u32,
    ) -> Result<()> {
        self.not_a_socket(fd)
    }

    pub(super) fn sock_send(&mut self, fd: u32, _spans: u32, _count: u32, _flags: u32, _sent: u32) -> Result<()> {
        self.not_a_socket(fd)
    }

    pub(super) fn sock_shutdown(&mut self, fd: u32, _how: u32) -> Result<()> {
        self.not_a_socket(fd)
    }

    fn not_a_socket(&self, fd: u32) -> Result<()> {
        self.wasi.descriptors.get(fd)?;
        Err(Errno::Notsock.into())
    }
}
