//! Whether the clock is right. Coordinators do not tell the time, so the kernel is asked, which knows whether anybody sets it.

use super::Check;
use std::time::Duration;

/// Leases are dated and specs expire; a node whose clock is off by more refuses what is valid.
const MAX_ERROR: Duration = Duration::from_secs(1);

pub(super) fn clock() -> Check {
    const NAME: &str = "clock";
    let remedy = "have it set from the network, for instance by systemd-timesyncd or chrony: a node whose clock is wrong refuses \
                  valid jobs";
    match kept() {
        Some(error) if error <= MAX_ERROR => {
            Check::ok(NAME, format!("set from outside, wrong by {} ms at the most", error.as_millis()))
        }
        Some(error) => {
            Check::warning(NAME, format!("set from outside, and may be wrong by {} s", error.as_secs()), remedy)
        }
        None => Check::warning(NAME, "nobody sets it, so that it may be wrong", remedy),
    }
}

/// By how much the clock may be wrong in the kernel's estimate, if somebody keeps it in time.
#[allow(unsafe_code, reason = "there is no safe interface to what the kernel knows of its clock")]
fn kept() -> Option<Duration> {
    // SAFETY: the structure is made of integers, for which zeros are values; `modes` of 0 changes nothing.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a structure of this function, which the kernel fills.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    let is_kept = answer >= 0 && answer != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0;
    is_kept.then(|| Duration::from_micros(u64::try_from(state.maxerror).unwrap_or(u64::MAX)))
}
