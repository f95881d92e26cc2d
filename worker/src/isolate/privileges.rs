//! Privileges, and ways to gain them.

use rustix::process::{DumpableBehavior, Gid, Signal, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The user and the group that own nothing.
const NOBODY: u32 = 65534;

pub(super) fn drop_all() -> Result<(), String> {
    let at = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
    if rustix::process::getuid().is_root() {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        rustix::thread::set_thread_groups(&[]).map_err(at("groups"))?;
        rustix::thread::set_thread_res_gid(group, group, group).map_err(at("group"))?;
        rustix::thread::set_thread_res_uid(user, user, user).map_err(at("user"))?;
    }
    // Whoever makes a user namespace has all capabilities in it.
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(at("capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(at("no_new_privs"))?;
    // Other processes of the user can neither trace this one nor read what it holds.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(at("dumpable"))?;
    // Not before, since a change of user resets it. A worker does not outlive the thread that started it, and that thread ends
    // after the last of its workers or with the supervisor.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(at("death signal"))
}
