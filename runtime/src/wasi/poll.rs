//! Waiting, which takes no time: files are always ready, and sleeping moves the virtual clock.

use super::abi::{Errno, Result, Rights};
use super::clock::{MONOTONIC, REALTIME};
use super::descriptors::Kind;
use crate::host::Call;
use depx_host_abi::fuel::HostWork;

/// Most subscriptions of one call, as many as there can be descriptors.
const MAX_SUBSCRIPTIONS: u32 = 1024;
/// Bytes of a `subscription`.
const SUBSCRIPTION: u32 = 48;
/// Bytes of an `event`.
const EVENT: u32 = 32;

/// `eventtype`.
const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;

/// `subclockflags`: the timeout is a time, not a duration.
const ABSOLUTE: u16 = 1;
/// `eventrwflags`: nothing more will come.
const HANGUP: u16 = 1;

/// What one subscription waits for.
struct Subscription {
    userdata: [u8; 8],
    event: u8,
    /// Nanoseconds from now for a clock; what can be read or written at once for a descriptor.
    state: std::result::Result<u64, Errno>,
    hangup: bool,
}

impl Call<'_> {
    pub(super) fn poll_oneoff(&mut self, subscriptions: u32, events: u32, count: u32, happened: u32) -> Result<()> {
        if count == 0 || count > MAX_SUBSCRIPTIONS {
            return Err(Errno::Inval.into());
        }
        self.memory.check(subscriptions, count * SUBSCRIPTION)?;
        self.memory.check(events, count * EVENT)?;
        self.memory.check(happened, 4)?;
        self.meter.charge_for(HostWork::Entry, u64::from(count))?;
        let waiting: Vec<_> =
            (0..count).map(|index| self.subscription(subscriptions + index * SUBSCRIPTION)).collect::<Result<_>>()?;
        // Whatever is ready at once ends the wait; else the earliest clock does.
        let wait = |subscription: &Subscription| match (subscription.event, subscription.state) {
            (CLOCK, Ok(nanoseconds)) => nanoseconds,
            _ => 0,
        };
        let slept = waiting.iter().map(wait).min().unwrap_or(0);
        self.wasi.clock.sleep(slept);
        let mut written = 0;
        for subscription in waiting.iter().filter(|subscription| wait(subscription) <= slept) {
            self.memory.write(events + written * EVENT, &subscription.event())?;
            written += 1;
        }
        self.memory.write_u32(happened, written)?;
        Ok(())
    }

    fn subscription(&mut self, at: u32) -> Result<Subscription> {
        let userdata = self.memory.array(at)?;
        let [event] = self.memory.array(at + 8)?;
        let (state, hangup) = match event {
            CLOCK => (self.clock_wait(at + 16)?, false),
            FD_READ | FD_WRITE => {
                let fd = self.memory.u32(at + 16)?;
                match self.ready(fd, event) {
                    Ok((bytes, hangup)) => (Ok(bytes), hangup),
                    Err(errno) => (Err(errno), false),
                }
            }
            _ => return Err(Errno::Inval.into()),
        };
        Ok(Subscription { userdata, event, state, hangup })
    }

    /// How long until a clock subscription happens.
    fn clock_wait(&mut self, at: u32) -> Result<std::result::Result<u64, Errno>> {
        let id = self.memory.u32(at)?;
        let timeout = u64::from_le_bytes(self.memory.array(at + 8)?);
        let flags = u16::from_le_bytes(self.memory.array(at + 24)?);
        if !matches!(id, REALTIME | MONOTONIC) {
            return Ok(Err(Errno::Inval));
        }
        let now = self.wasi.clock.read(id, self.meter.used())?;
        Ok(Ok(if flags & ABSOLUTE != 0 { timeout.saturating_sub(now) } else { timeout }))
    }

    /// How many bytes a descriptor can give or take at once, and whether that is all that there will be.
    fn ready(&self, fd: u32, event: u8) -> std::result::Result<(u64, bool), Errno> {
        let descriptor = self.wasi.descriptors.check(fd, Rights::POLL_FD_READWRITE)?;
        let needed = if event == FD_READ { Rights::FD_READ } else { Rights::FD_WRITE };
        if !descriptor.rights.contain(needed) {
            return Err(Errno::Badf);
        }
        match (&descriptor.kind, event) {
            (Kind::Stdin, FD_READ) => {
                let left = (self.wasi.input.len() - self.wasi.input_position) as u64;
                Ok((left, left == 0))
            }
            (Kind::File { ino, position }, FD_READ) => {
                let len = self.wasi.files.tree().file(*ino).map_or(0, |file| file.content.len());
                Ok((len.saturating_sub(*position), false))
            }
            // As much as fits one page of a pipe.
            _ => Ok((4096, false)),
        }
    }
}

impl Subscription {
    /// The `event` that says it happened.
    fn event(&self) -> [u8; EVENT as usize] {
        let mut bytes = [0; EVENT as usize];
        bytes[..8].copy_from_slice(&self.userdata);
        bytes[10] = self.event;
        match self.state {
            Ok(ready) if self.event != CLOCK => {
                bytes[16..24].copy_from_slice(&ready.to_le_bytes());
                bytes[24..26].copy_from_slice(&(if self.hangup { HANGUP } else { 0 }).to_le_bytes());
            }
            Ok(_) => {}
            Err(errno) => bytes[8..10].copy_from_slice(&(errno as u16).to_le_bytes()),
        }
        bytes
    }
}
