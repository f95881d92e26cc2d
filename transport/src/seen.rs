//! What was seen before and must not be taken again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Names that are remembered until they expire; later they are refused for that.
pub struct Seen<K> {
    state: Mutex<State<K>>,
}

struct State<K> {
    /// With their expiry in Unix milliseconds.
    names: HashMap<K, u64>,
    /// With so many, those that have expired are forgotten.
    forget_at: usize,
}

impl<K: Eq + Hash> Seen<K> {
    /// Fewer than these are not worth looking through.
    const FEW: usize = 4096;

    /// Remembers a name. Returns false if it was remembered before.
    pub fn note(&self, name: K, expires_ms: u64, now_ms: u64) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.names.len() >= state.forget_at {
            state.names.retain(|_, expires_ms| *expires_ms > now_ms);
            // Looking through all of them is paid for by as many new ones.
            state.forget_at = (2 * state.names.len()).max(Self::FEW);
        }
        state.names.insert(name, expires_ms).is_none()
    }

    /// A name is as good as new.
    pub fn forget(&self, name: &K) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).names.remove(name);
    }
}

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Self { state: Mutex::new(State { names: HashMap::new(), forget_at: 0 }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_new_once_until_they_expire() {
        let seen = Seen::default();
        assert!(seen.note("a", 100, 0));
        assert!(!seen.note("a", 100, 50));
        seen.forget(&"a");
        assert!(seen.note("a", 100, 50));
        assert!(seen.note("b", 100, 50));
    }

    #[test]
    fn what_has_expired_takes_no_room() {
        let seen = Seen::default();
        for number in 0..100_000u64 {
            assert!(seen.note(number, number + 1000, number));
            assert!(seen.state.lock().unwrap().names.len() <= Seen::<u64>::FEW);
        }
        assert!(!seen.note(99_500, 100_500, 100_000), "what has not is remembered");
    }

    #[test]
    fn looking_through_them_is_rare() {
        let seen = Seen::default();
        let mut times = 0;
        let mut forget_at = 0;
        for number in 0..200_000u64 {
            seen.note(number, u64::MAX, 0);
            let now = seen.state.lock().unwrap().forget_at;
            times += u32::from(now != forget_at);
            forget_at = now;
        }
        assert!(times < 10, "{times} times");
    }
}
