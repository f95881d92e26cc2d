//! What a store has, what of it was used last, and what is in use.

use super::partial::Partial;
use bytes::Bytes;
use depx_protocol::Blob;
use lru::LruCache;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes that are kept in memory beside the directory.
pub(super) const MEMORY: usize = 256 << 20;

pub(super) struct Index {
    /// The last used first.
    entries: LruCache<Blob, Entry>,
    /// How often each blob is in use, whether or not it is here.
    pins: HashMap<Blob, usize>,
    /// On the disk, of all entries.
    bytes: u64,
    memory: LruCache<Blob, Bytes>,
    memory_bytes: usize,
}

struct Entry {
    bytes: u64,
    state: State,
}

#[derive(Clone)]
pub(super) enum State {
    Whole,
    /// Not opened since the start, or open.
    Partial(Option<Arc<Partial>>),
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            entries: LruCache::unbounded(),
            pins: HashMap::new(),
            bytes: 0,
            memory: LruCache::unbounded(),
            memory_bytes: 0,
        }
    }

    pub(super) fn state(&self, blob: &Blob) -> Option<State> {
        self.entries.peek(blob).map(|entry| entry.state.clone())
    }

    /// Notes a use.
    pub(super) fn touch(&mut self, blob: &Blob) {
        self.entries.promote(blob);
    }

    pub(super) fn insert(&mut self, blob: Blob, state: State, bytes: u64) {
        let replaced = self.entries.push(blob, Entry { bytes, state });
        self.bytes = self.bytes + bytes - replaced.map_or(0, |(_, entry)| entry.bytes);
    }

    /// Notes that a blob has become longer on the disk.
    pub(super) fn grow(&mut self, blob: &Blob, bytes: u64) {
        if let Some(entry) = self.entries.peek_mut(blob) {
            entry.bytes += bytes;
            self.bytes += bytes;
        }
    }

    pub(super) fn remove(&mut self, blob: &Blob) {
        self.bytes -= self.entries.pop(blob).map_or(0, |entry| entry.bytes);
        self.forget(blob);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What was used the longest ago and is not in use.
    pub(super) fn oldest(&self) -> Option<(Blob, State)> {
        let free = self.entries.iter().rev().find(|(blob, _)| !self.pins.contains_key(blob));
        free.map(|(blob, entry)| (*blob, entry.state.clone()))
    }

    pub(super) fn pin(&mut self, blob: Blob) {
        *self.pins.entry(blob).or_default() += 1;
    }

    pub(super) fn unpin(&mut self, blob: &Blob) {
        if let Some(count) = self.pins.get_mut(blob) {
            *count -= 1;
            if *count == 0 {
                self.pins.remove(blob);
            }
        }
    }

    /// The content if it is in memory.
    pub(super) fn recall(&mut self, blob: &Blob) -> Option<Bytes> {
        self.memory.get(blob).cloned()
    }

    /// Keeps content in memory, unless it is so large that little else could be.
    pub(super) fn remember(&mut self, blob: Blob, content: Bytes) {
        if content.len() > MEMORY / 4 {
            return;
        }
        self.memory_bytes += content.len();
        if let Some((_, replaced)) = self.memory.push(blob, content) {
            self.memory_bytes -= replaced.len();
        }
        while self.memory_bytes > MEMORY {
            let Some((_, oldest)) = self.memory.pop_lru() else { break };
            self.memory_bytes -= oldest.len();
        }
    }

    pub(super) fn forget(&mut self, blob: &Blob) {
        self.memory_bytes -= self.memory.pop(blob).map_or(0, |content| content.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use depx_protocol::Hash;

    #[test]
    fn memory_is_bounded() {
        let mut index = Index::new();
        let large = Bytes::from(vec![0; MEMORY / 4]);
        let blob = |number| Blob { hash: Hash([number; 32]), len: large.len() as u64 };
        for number in 0..6 {
            index.remember(blob(number), large.clone());
        }
        assert!(index.memory_bytes <= MEMORY && index.memory.len() == 4, "{} bytes", index.memory_bytes);
        assert!(index.recall(&blob(5)).is_some() && index.recall(&blob(0)).is_none());
    }
}
