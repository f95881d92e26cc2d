//! What a node keeps: its configuration, its key, and the disk that they are on.

use super::{Check, causes};
use crate::node::{Place, Settings};
use crate::{Global, identity, show};
use anyhow::{Result, bail};
use depx_devices::{DeviceProbe, ThisMachine};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes below which a node cannot keep what a few jobs need.
const LEAST_SPACE: u64 = 1 << 30;
/// A receipt is synced to the disk before it is sent; this many in a second would be all.
const SLOW_SYNC: Duration = Duration::from_millis(100);

/// What the configuration says; what holds without one if it cannot be used.
pub(super) fn configuration(place: &Place, global: &Global) -> Result<(Check, Settings)> {
    const NAME: &str = "configuration";
    let path = place.config_path(global);
    let read = place.config(global).and_then(|config| Settings::of_file(&config));
    match read {
        Ok(settings) if path.exists() => Ok((Check::ok(NAME, path.display().to_string()), settings)),
        Ok(settings) => {
            let remedy = "`depx node init` makes one that says what can be set";
            Ok((Check::warning(NAME, format!("there is none at {}", path.display()), remedy), settings))
        }
        Err(error) => {
            let check = Check::failed(NAME, causes(&error), "mend the file; what follows is looked at without it");
            Ok((check, Settings::unset()?))
        }
    }
}

/// The node's key. It is not opened.
pub(super) fn key(data: &Path) -> Option<Check> {
    const NAME: &str = "key";
    let path = data.join("key");
    let at = path.display();
    let metadata = std::fs::metadata(&path).ok()?;
    Some(match identity::has_passphrase(&path) {
        Err(error) => Check::failed(NAME, causes(&error), "let the user read it as whom the node runs"),
        Ok(_) if metadata.permissions().mode() & 0o077 != 0 => {
            Check::failed(NAME, format!("others can read {at}"), format!("chmod 600 {at}"))
        }
        Ok(true) => Check::ok(NAME, format!("{at}, with a passphrase")),
        Ok(false) => match identity::load(&path, || bail!("it was encrypted just now")) {
            Ok(key) => Check::ok(NAME, format!("{at}, without a passphrase, of address {}", key.address())),
            Err(error) => {
                Check::failed(NAME, causes(&error), "put a copy of the key in its place, or remove it for a new one")
            }
        },
    })
}

/// The data directory and the disk.
pub(super) fn data(data: &Path, settings: &Settings) -> Vec<Check> {
    const NAME: &str = "data directory";
    let at = data.display();
    if !data.is_dir() {
        return vec![Check::failed(
            NAME,
            format!("{at} is not there"),
            "`depx node init` makes it; --data names another",
        )];
    }
    let written = match sync(data) {
        Err(error) => {
            let remedy = "make it a directory on a disk that the user as whom the node runs can write";
            Check::failed(NAME, format!("{at} cannot be written and synced: {error}"), remedy)
        }
        Ok(time) if time > SLOW_SYNC => Check::warning(
            NAME,
            format!("syncing {at} takes {}", show::duration(time)),
            "use another disk: a receipt is synced before it is sent",
        ),
        Ok(time) => Check::ok(NAME, format!("{at} can be written, and synced in {}", show::duration(time))),
    };
    vec![written, space(data, settings)]
}

/// How long it takes until what was written is on the disk: the median of some.
fn sync(data: &Path) -> std::io::Result<Duration> {
    let mut file = tempfile::NamedTempFile::new_in(data)?;
    let mut times = Vec::new();
    for _ in 0..5 {
        file.write_all(&[0; 4096])?;
        let started = Instant::now();
        file.as_file().sync_all()?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

fn space(data: &Path, settings: &Settings) -> Check {
    const NAME: &str = "disk";
    let disk = match ThisMachine.disk(data) {
        Ok(disk) => disk,
        Err(error) => return Check::failed(NAME, causes(&error.into()), "see whether the disk is mounted and well"),
    };
    let blobs = std::fs::read_dir(data.join("blobs")).into_iter().flatten().flatten();
    let used: u64 = blobs.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
    let wanted = (settings.blob_quota << 30).saturating_sub(used);
    let gibibytes = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1u32 << 30));
    let found = format!("{} free; blobs may come to take {} more", gibibytes(disk.available), gibibytes(wanted));
    match disk.available {
        ..LEAST_SPACE => Check::failed(NAME, found, "make room"),
        free if free < wanted => {
            Check::warning(NAME, found, "make room, or lower blob_quota in the configuration file")
        }
        _ => Check::ok(NAME, found),
    }
}
