//! Which groups of a blob are meant.

use depx_protocol::wire::{GroupRange, MAX_RANGES, WINDOW};

/// A set of groups of one blob.
#[derive(Clone)]
pub(crate) struct Groups {
    words: Vec<u64>,
    /// Groups of the blob.
    total: u64,
    /// Groups in the set.
    count: u64,
}

impl Groups {
    pub(crate) fn none(total: u64) -> Self {
        let words = usize::try_from(total.div_ceil(64)).unwrap_or(usize::MAX);
        Self { words: vec![0; words], total, count: 0 }
    }

    pub(crate) fn contains(&self, group: u64) -> bool {
        self.word(group).is_some_and(|word| word & 1 << (group % 64) != 0)
    }

    pub(crate) fn insert(&mut self, group: u64) {
        if let Some(word) = usize::try_from(group / 64).ok().and_then(|word| self.words.get_mut(word)) {
            let bit = 1 << (group % 64);
            self.count += u64::from(*word & bit == 0);
            *word |= bit;
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count == self.total
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// What is not in the set: the first [`MAX_RANGES`] ranges of it.
    pub(crate) fn missing(&self) -> Vec<GroupRange> {
        let mut ranges = Vec::<GroupRange>::new();
        let mut group = 0;
        while group < self.total {
            if group % 64 == 0 && self.word(group) == Some(u64::MAX) {
                group += 64;
                continue;
            }
            if !self.contains(group) {
                let full = ranges.len() == MAX_RANGES;
                match ranges.last_mut() {
                    Some(last) if last.first + last.count == group => last.count += 1,
                    _ if full => break,
                    _ => ranges.push(GroupRange { first: group, count: 1 }),
                }
            }
            group += 1;
        }
        ranges
    }

    fn word(&self, group: u64) -> Option<u64> {
        self.words.get(usize::try_from(group / 64).ok()?).copied()
    }
}

/// Cuts ranges into windows; each item is what lies in one of them.
pub(crate) struct Windows {
    ranges: std::iter::Peekable<std::vec::IntoIter<GroupRange>>,
}

impl Windows {
    pub(crate) fn new(ranges: Vec<GroupRange>) -> Self {
        Self { ranges: ranges.into_iter().peekable() }
    }
}

impl Iterator for Windows {
    type Item = Vec<GroupRange>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = (self.ranges.peek()?.first / WINDOW + 1) * WINDOW;
        let mut pieces = Vec::new();
        while let Some(range) = self.ranges.peek_mut().filter(|range| range.first < end) {
            let count = range.count.min(end - range.first);
            pieces.push(GroupRange { first: range.first, count });
            if count == range.count {
                self.ranges.next();
            } else {
                *range = GroupRange { first: end, count: range.count - count };
            }
        }
        Some(pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, count: u64) -> GroupRange {
        GroupRange { first, count }
    }

    #[test]
    fn what_is_missing_is_what_was_not_inserted() {
        let mut groups = Groups::none(200);
        assert_eq!(groups.missing(), [range(0, 200)]);
        for group in (0..130).filter(|group| *group != 70) {
            groups.insert(group);
            assert!(groups.contains(group));
        }
        groups.insert(5);
        assert_eq!(groups.missing(), [range(70, 1), range(130, 70)]);
        groups.insert(70);
        (130..200).for_each(|group| groups.insert(group));
        assert!(groups.is_full() && groups.missing().is_empty() && groups.count() == 200);
    }

    #[test]
    fn holes_are_asked_for_in_portions() {
        let mut groups = Groups::none(1 << 16);
        (0..1 << 16).step_by(2).for_each(|group| groups.insert(group));
        let missing = groups.missing();
        assert_eq!((missing.len(), missing[MAX_RANGES - 1]), (MAX_RANGES, range(2 * MAX_RANGES as u64 - 1, 1)));
    }

    #[test]
    fn windows_cut_ranges_at_their_bounds() {
        let windows: Vec<_> = Windows::new(vec![range(3, 2), range(7, 30), range(47, 2)]).collect();
        let expected =
            [vec![range(3, 2), range(7, 9)], vec![range(16, 16)], vec![range(32, 5), range(47, 1)], vec![range(48, 1)]];
        assert_eq!(windows, expected);
    }
}
