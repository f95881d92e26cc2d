//! A socket that carries bounded frames, raw bytes and descriptors.

use depx_protocol::{Canonical, DecodeError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, IoSlice, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::LazyLock;
use std::thread::available_parallelism;

/// Descriptors that go with one byte; the kernel takes at most 253.
const DESCRIPTORS: usize = 128;

/// How long a wait may last before whoever waits looks around: what a cancellation can be late by, in nanoseconds.
const GLANCE: i64 = 2_000_000;

/// How often whoever expects something looks for it before it sleeps, some tens of microseconds in all: to be woken up takes longer
/// than a small job. Where there is one processor, the other end needs it.
static LOOKS: LazyLock<u32> =
    LazyLock::new(|| if available_parallelism().is_ok_and(|count| count.get() > 1) { 64 } else { 1 });

/// Pauses of the processor between two looks.
const PAUSE: u32 = 8;

/// Bytes that are read at a time.
const BUFFER: usize = 64 << 10;

/// Why nothing can be sent or received any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The other end is gone.
    #[error("the other end closed the socket")]
    Closed,
    /// The system.
    #[error("the socket failed")]
    Socket(#[source] Errno),
    /// Longer than it may be.
    #[error("{len} bytes were announced, {max} are allowed")]
    TooLong { len: u64, max: u64 },
    /// Not a message.
    #[error("a frame holds no message")]
    Message(#[source] DecodeError),
    /// Fewer than announced.
    #[error("a descriptor that was announced did not come")]
    NoDescriptor,
}

/// One end. `Stop` is why whoever waits on it gives up.
pub(crate) struct Link {
    socket: OwnedFd,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    descriptors: VecDeque<OwnedFd>,
    takes_descriptors: bool,
}

impl Link {
    /// The supervisor's end; its socket does not block. Descriptors that a worker sends are dropped by the kernel.
    pub(crate) fn of_supervisor(socket: OwnedFd) -> Self {
        Self::new(socket, false)
    }

    /// The worker's end.
    pub(crate) fn of_worker(socket: OwnedFd) -> Self {
        Self::new(socket, true)
    }

    fn new(socket: OwnedFd, takes_descriptors: bool) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { socket, buffer, start: 0, end: 0, descriptors: VecDeque::new(), takes_descriptors }
    }

    /// Sends one frame. Where the socket does not block, `glance` is asked every few milliseconds whether to go on.
    pub(crate) fn send<T: Canonical, E: From<LinkError>>(
        &mut self,
        message: &T,
        glance: &mut impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        self.send_with(message, &[], glance)
    }

    /// Sends one frame and what follows it as raw bytes; all at once, so that the other end wakes up once, unless that is long.
    pub(crate) fn send_with<T: Canonical, E: From<LinkError>>(
        &mut self,
        message: &T,
        contents: &[&[u8]],
        glance: &mut impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let body = message.to_bytes();
        let len = u32::try_from(body.len())
            .map_err(|_| LinkError::TooLong { len: body.len() as u64, max: u32::MAX.into() })?;
        let mut bytes = [&len.to_be_bytes()[..], &body].concat();
        for content in contents {
            if bytes.len() + content.len() > BUFFER {
                self.send_bytes(&bytes, glance)?;
                bytes.clear();
            }
            if content.len() > BUFFER {
                self.send_bytes(content, glance)?;
            } else {
                bytes.extend_from_slice(content);
            }
        }
        self.send_bytes(&bytes, glance)
    }

    /// Sends raw bytes.
    pub(crate) fn send_bytes<E: From<LinkError>>(
        &mut self,
        mut bytes: &[u8],
        glance: &mut impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            match retry_on_intr(|| rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL)) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) => self.wait(error, PollFlags::OUT, glance)?,
            }
        }
        Ok(())
    }

    /// Sends descriptors, in order: one byte for every [`DESCRIPTORS`] of them.
    pub(crate) fn send_descriptors<E: From<LinkError>>(
        &mut self,
        descriptors: &[BorrowedFd<'_>],
        glance: &mut impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        for some in descriptors.chunks(DESCRIPTORS) {
            loop {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                control.push(SendAncillaryMessage::ScmRights(some));
                let sent = retry_on_intr(|| {
                    rustix::net::sendmsg(&self.socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)
                });
                match sent {
                    Ok(_) => break,
                    Err(error) => self.wait(error, PollFlags::OUT, glance)?,
                }
            }
        }
        Ok(())
    }

    /// Receives one frame of at most `max` bytes.
    pub(crate) fn receive<T: Canonical, E: From<LinkError>>(
        &mut self,
        max: usize,
        glance: &mut impl FnMut() -> Result<(), E>,
    ) -> Result<T, E> {
        let prefix = self.receive_bytes(4, 4, glance)?;
        let len = prefix.iter().fold(0, |len, byte| len << 8 | u64::from(*byte));
        let body = self.receive_bytes(len, max as u64, glance)?;
        Ok(T::from_bytes(&body).map_err(LinkError::Message)?)
    }

    /// Receives exactly `len` raw bytes, if they are at most `max`. Memory is taken as they come.
    pub(crate) fn receive_bytes<E: From<LinkError>>(
        &mut self,
        len: u64,
        max: u64,
        glance: &mut impl FnMut() -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        let too_long = LinkError::TooLong { len, max };
        let len = usize::try_from(len).ok().filter(|len| *len as u64 <= max).ok_or(too_long)?;
        let mut bytes = Vec::with_capacity(len.min(BUFFER));
        while bytes.len() < len {
            if self.start == self.end {
                self.fill(glance)?;
            }
            let take = (len - bytes.len()).min(self.end - self.start);
            bytes.extend_from_slice(&self.buffer[self.start..self.start + take]);
            self.start += take;
        }
        Ok(bytes)
    }

    /// Receives `count` descriptors.
    pub(crate) fn receive_descriptors<E: From<LinkError>>(
        &mut self,
        count: usize,
        glance: &mut impl FnMut() -> Result<(), E>,
    ) -> Result<VecDeque<OwnedFd>, E> {
        let carriers = count.div_ceil(DESCRIPTORS) as u64;
        self.receive_bytes(carriers, carriers, glance)?;
        if self.descriptors.len() != count {
            return Err(LinkError::NoDescriptor.into());
        }
        Ok(std::mem::take(&mut self.descriptors))
    }

    /// Reads what there is into the buffer, which is empty.
    fn fill<E: From<LinkError>>(&mut self, glance: &mut impl FnMut() -> Result<(), E>) -> Result<(), E> {
        let mut looks = *LOOKS;
        loop {
            looks = looks.saturating_sub(1);
            let flags = if looks > 0 { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
            let received = if self.takes_descriptors {
                self.receive_with_descriptors(flags)
            } else {
                let received = retry_on_intr(|| rustix::net::recv(&self.socket, &mut *self.buffer, flags));
                received.map(|(_, len)| len)
            };
            match received {
                Ok(0) | Err(Errno::CONNRESET) => return Err(LinkError::Closed.into()),
                Ok(len) => {
                    (self.start, self.end) = (0, len);
                    return Ok(());
                }
                Err(Errno::AGAIN) if looks > 0 => (0..PAUSE).for_each(|_| std::hint::spin_loop()),
                Err(error) => self.wait(error, PollFlags::IN, glance)?,
            }
        }
    }

    fn receive_with_descriptors(&mut self, flags: RecvFlags) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = retry_on_intr(|| {
            let mut slices = [IoSliceMut::new(&mut self.buffer)];
            rustix::net::recvmsg(&self.socket, &mut slices, &mut control, flags | RecvFlags::CMSG_CLOEXEC)
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        Ok(received.bytes)
    }

    /// After `error`: waits a little if the socket is only not ready, and fails otherwise.
    fn wait<E: From<LinkError>>(
        &self,
        error: Errno,
        ready: PollFlags,
        glance: &mut impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        match error {
            Errno::AGAIN => {}
            Errno::PIPE | Errno::CONNRESET => return Err(LinkError::Closed.into()),
            error => return Err(LinkError::Socket(error).into()),
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: GLANCE };
        match poll(&mut [PollFd::new(&self.socket, ready)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => glance(),
            Err(error) => Err(LinkError::Socket(error).into()),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed;
    use depx_protocol::wire::ControlReply;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::time::{Duration, Instant};

    fn pair() -> (Link, Link) {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        (Link::of_supervisor(ours), Link::of_worker(theirs))
    }

    fn patiently() -> Result<(), LinkError> {
        Ok(())
    }

    #[test]
    fn frames_and_descriptors_arrive_in_order() {
        let (mut ours, mut theirs) = pair();
        let sealed: Vec<_> = (0..300u32).map(|number| sealed::seal(&number.to_be_bytes()).unwrap()).collect();
        let borrowed: Vec<_> = sealed.iter().map(AsFd::as_fd).collect();
        for time_ms in 0..3 {
            ours.send(&ControlReply::Alive { time_ms }, &mut patiently).unwrap();
            ours.send_descriptors(&borrowed, &mut patiently).unwrap();
        }
        for time_ms in 0..3 {
            let message: ControlReply = theirs.receive(100, &mut patiently).unwrap();
            assert_eq!(message, ControlReply::Alive { time_ms });
            let descriptors = theirs.receive_descriptors(300, &mut patiently).unwrap();
            for (expected, descriptor) in (0u32..).zip(descriptors) {
                assert_eq!(sealed::open(descriptor, 4).unwrap(), &expected.to_be_bytes()[..]);
            }
        }
    }

    #[test]
    fn announced_lengths_are_checked_before_anything_is_read() {
        let (mut ours, mut theirs) = pair();
        theirs.send_bytes(&[255; 8], &mut patiently).unwrap();
        let error = ours.receive::<ControlReply, _>(1 << 20, &mut patiently).unwrap_err();
        assert!(matches!(error, LinkError::TooLong { len: 0xffff_ffff, .. }), "{error}");
    }

    #[test]
    fn senseless_frames_and_closed_sockets_are_told_apart() {
        let (mut ours, mut theirs) = pair();
        theirs.send_bytes(&[0, 0, 0, 2, 255, 255], &mut patiently).unwrap();
        let error = ours.receive::<ControlReply, _>(100, &mut patiently).unwrap_err();
        assert!(matches!(error, LinkError::Message(_)), "{error}");
        theirs.send_bytes(&[0, 0], &mut patiently).unwrap();
        drop(theirs);
        let error = ours.receive::<ControlReply, _>(100, &mut patiently).unwrap_err();
        assert!(matches!(error, LinkError::Closed), "{error}");
    }

    #[test]
    fn whoever_waits_looks_around() {
        let (mut ours, _theirs) = pair();
        let started = Instant::now();
        let mut glance = || if started.elapsed() < Duration::from_millis(20) { Ok(()) } else { Err(LinkError::Closed) };
        assert!(ours.receive::<ControlReply, _>(100, &mut glance).is_err());
        let mut glance = || if started.elapsed() < Duration::from_millis(40) { Ok(()) } else { Err(LinkError::Closed) };
        // More than a socket holds, and nobody reads.
        assert!(ours.send_bytes(&vec![0; 64 << 20], &mut glance).is_err());
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }

    #[test]
    fn descriptors_from_a_worker_are_dropped() {
        let (mut ours, mut theirs) = pair();
        let sealed = sealed::seal(b"x").unwrap();
        theirs.send_descriptors(&[sealed.as_fd()], &mut patiently).unwrap();
        let error = ours.receive_descriptors(1, &mut patiently).unwrap_err();
        assert!(matches!(error, LinkError::NoDescriptor), "{error}");
    }
}
