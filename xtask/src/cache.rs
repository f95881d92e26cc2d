//! What is fetched or built once per machine, outside the checkout.
//!
//! An entry is a folder. It is made in a folder beside its place, under a lock, and renamed when it is complete, so an
//! interrupted making is never used and two makers do not meet.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::process::step;

const STAMP: &str = "stamp";

/// The folder of all entries: `DEPX_CACHE`, else `~/.cache/depx`.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
}

/// One entry: its name, and the stamp that says what it was made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a str,
    /// Whatever changes this makes the entry anew.
    pub(crate) stamp: &'a str,
}

impl Cache {
    /// The cache of this user.
    pub(crate) fn open() -> Result<Cache> {
        if let Some(directory) = env::var_os("DEPX_CACHE").filter(|directory| !directory.is_empty()) {
            return Ok(Cache::at(std::path::absolute(directory)?));
        }
        let home = env::home_dir().filter(|home| home.is_absolute());
        let home = home.context("no home folder is known: set DEPX_CACHE to a folder that may be written")?;
        Ok(Cache::at(home.join(".cache/depx")))
    }

    /// A cache in a folder of the caller's choice.
    pub(crate) fn at(directory: PathBuf) -> Cache {
        Cache { directory }
    }

    /// Gives the folder of an entry, made by `make` if it is absent, of another stamp, or not `whole`.
    ///
    /// `make` is given an empty folder that will be moved, so nothing in it may name its own path.
    pub(crate) fn once(
        &self,
        entry: Entry<'_>,
        whole: impl Fn(&Path) -> bool,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(place) = self.find(entry, &whole) {
            return Ok(place);
        }

        let _lock = self.lock(entry.name)?;
        if let Some(place) = self.find(entry, &whole) {
            return Ok(place);
        }
        let place = self.directory.join(entry.name);
        let partial = self.directory.join(format!("{}.partial", entry.name));
        remove(&partial)?;
        fs::create_dir_all(&partial).with_context(|| format!("{} cannot be created", partial.display()))?;
        make(&partial)?;
        if !whole(&partial) {
            bail!("{} was made, but is not whole; what was left is in {}", entry.name, partial.display());
        }
        fs::write(partial.join(STAMP), entry.stamp)?;
        remove(&place)?;
        fs::rename(&partial, &place)
            .with_context(|| format!("{} cannot be renamed to {}", partial.display(), place.display()))?;
        Ok(place)
    }

    /// The folder of an entry, if it was made with this stamp and is `whole`.
    pub(crate) fn find(&self, entry: Entry<'_>, whole: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        let place = self.directory.join(entry.name);
        let is_stamped = fs::read_to_string(place.join(STAMP)).is_ok_and(|stamp| stamp == entry.stamp);
        (is_stamped && whole(&place)).then_some(place)
    }

    /// Held until it is dropped; another process that wants the same entry waits.
    fn lock(&self, name: &str) -> Result<File> {
        fs::create_dir_all(&self.directory).with_context(|| {
            format!("{} cannot be created: set DEPX_CACHE to another folder", self.directory.display())
        })?;
        let path = self.directory.join(format!("{name}.lock"));
        let file = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
        if file.try_lock().is_err() {
            step(format!("Waiting for another process that makes {name}"));
            file.lock().with_context(|| format!("{} cannot be locked", path.display()))?;
        }
        Ok(file)
    }
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk).with_context(|| format!("{} cannot be read", path.display()))? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&chunk[..read]),
        }
    }
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    const ENTRY: Entry<'_> = Entry { name: "thing", stamp: "1" };

    fn whole(directory: &Path) -> bool {
        directory.join("part").exists()
    }

    fn make(directory: &Path) -> Result<()> {
        Ok(fs::write(directory.join("part"), "x")?)
    }

    #[test]
    fn an_entry_is_made_once_and_again_when_its_stamp_changes_or_it_is_damaged() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path().join("deep/cache"));
        let made = AtomicU32::new(0);
        let get = |entry| {
            cache
                .once(entry, whole, |directory| {
                    made.fetch_add(1, Ordering::Relaxed);
                    make(directory)
                })
                .unwrap()
        };
        assert_eq!(cache.find(ENTRY, whole), None);
        let place = get(ENTRY);
        assert_eq!(cache.find(ENTRY, whole).as_ref(), Some(&place));
        assert_eq!(cache.find(Entry { stamp: "2", ..ENTRY }, whole), None);
        assert_eq!((get(ENTRY), made.load(Ordering::Relaxed)), (place.clone(), 1));
        get(Entry { stamp: "2", ..ENTRY });
        assert_eq!(made.load(Ordering::Relaxed), 2);
        fs::remove_file(place.join("part")).unwrap();
        get(Entry { stamp: "2", ..ENTRY });
        assert_eq!(made.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn what_a_failed_making_left_is_never_used() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path().into());
        let failed = cache.once(ENTRY, whole, |directory| {
            make(directory)?;
            fs::write(directory.join("litter"), "x")?;
            bail!("power cut")
        });
        assert_eq!(failed.unwrap_err().to_string(), "power cut");
        assert!(!home.path().join("thing").exists());
        let unfinished = cache.once(ENTRY, whole, |_| Ok(())).unwrap_err().to_string();
        assert!(unfinished.contains("not whole"), "{unfinished}");
        let place = cache.once(ENTRY, whole, make).unwrap();
        assert!(!place.join("litter").exists());
    }

    #[test]
    fn concurrent_makers_take_turns_and_only_one_makes() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path().into());
        let made = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    cache.once(ENTRY, whole, |directory| {
                        made.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(20));
                        make(directory)
                    })
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn sha256_is_that_of_the_standard() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("abc");
        fs::write(&path, "abc").unwrap();
        assert_eq!(sha256(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(sha256(&home.path().join("none")).unwrap_err().to_string().contains("cannot be read"));
    }
}
