//! Checked access to the guest's linear memory, of which a record is kept.

use crate::calls::Accesses;
use std::ops::Range;

/// A range that does not lie within the guest's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OutOfBounds;

/// The guest's memory during one host call. Addresses and lengths come from the guest; all values are little-endian and
/// need no alignment. Every byte that is read or written goes into the digest of the call, so it must have been paid for.
pub(crate) struct GuestMemory<'a> {
    bytes: &'a mut [u8],
    accesses: &'a mut Accesses,
}

/// A range of the guest's memory that was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) at: u32,
    pub(crate) len: u32,
}

impl<'a> GuestMemory<'a> {
    pub(crate) fn new(bytes: &'a mut [u8], accesses: &'a mut Accesses) -> Self {
        Self { bytes, accesses }
    }

    /// Whether there is such a range. Looks at none of its bytes.
    pub(crate) fn check(&self, at: u32, len: u32) -> Result<(), OutOfBounds> {
        self.bytes.get(range(at, len)).map(|_| ()).ok_or(OutOfBounds)
    }

    pub(crate) fn read(&mut self, at: u32, len: u32) -> Result<&[u8], OutOfBounds> {
        let bytes = self.bytes.get(range(at, len)).ok_or(OutOfBounds)?;
        self.accesses.read(at, bytes);
        Ok(bytes)
    }

    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let start = at as usize;
        let target =
            start.checked_add(bytes.len()).and_then(|end| self.bytes.get_mut(start..end)).ok_or(OutOfBounds)?;
        target.copy_from_slice(bytes);
        self.accesses.written(at, bytes);
        Ok(())
    }

    /// Has a range written by `fill`, all of it.
    pub(crate) fn fill<R>(&mut self, at: u32, len: u32, fill: impl FnOnce(&mut [u8]) -> R) -> Result<R, OutOfBounds> {
        let target = self.bytes.get_mut(range(at, len)).ok_or(OutOfBounds)?;
        let filled = fill(target);
        self.accesses.written(at, target);
        Ok(filled)
    }

    pub(crate) fn write_u32(&mut self, at: u32, value: u32) -> Result<(), OutOfBounds> {
        self.write(at, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, at: u32, value: u64) -> Result<(), OutOfBounds> {
        self.write(at, &value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, at: u32) -> Result<u32, OutOfBounds> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// `N` bytes at `at`.
    pub(crate) fn array<const N: usize>(&mut self, at: u32) -> Result<[u8; N], OutOfBounds> {
        let array = self.bytes.get(at as usize..).and_then(<[u8]>::first_chunk).copied().ok_or(OutOfBounds)?;
        self.accesses.read(at, &array);
        Ok(array)
    }

    /// An array of `count` (address, length) pairs, each of which was checked to lie within memory.
    pub(crate) fn spans(&mut self, at: u32, count: u32) -> Result<Vec<Span>, OutOfBounds> {
        let pairs = self.read(at, count.checked_mul(8).ok_or(OutOfBounds)?)?.chunks_exact(8);
        let spans = pairs.map(|pair| {
            let word = |from: usize| u32::from_le_bytes([pair[from], pair[from + 1], pair[from + 2], pair[from + 3]]);
            Span { at: word(0), len: word(4) }
        });
        let spans: Vec<Span> = spans.collect();
        spans.iter().try_for_each(|span| self.check(span.at, span.len))?;
        Ok(spans)
    }
}

/// Two 32-bit numbers from the guest as a range that cannot overflow.
fn range(at: u32, len: u32) -> Range<usize> {
    let start = at as usize;
    start..start + len as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_where_memory_ends() {
        let mut bytes = *b"0123456789";
        let mut accesses = Accesses::default();
        let mut memory = GuestMemory::new(&mut bytes, &mut accesses);
        assert_eq!(memory.read(8, 2), Ok(&b"89"[..]));
        assert_eq!(memory.read(10, 0), Ok(&b""[..]));
        for (at, len) in [(8, 3), (11, 0), (u32::MAX, 1), (0, u32::MAX), (u32::MAX, u32::MAX)] {
            assert_eq!(memory.read(at, len), Err(OutOfBounds), "{at} {len}");
            assert_eq!(memory.check(at, len), Err(OutOfBounds), "{at} {len}");
            assert_eq!(memory.fill(at, len, |target| target.fill(1)), Err(OutOfBounds), "{at} {len}");
        }
        assert_eq!(memory.write(7, b"abcd"), Err(OutOfBounds));
        assert_eq!(memory.array::<4>(7), Err(OutOfBounds));
        assert_eq!(memory.u32(6), Ok(u32::from_le_bytes(*b"6789")));
        assert_eq!(memory.write_u32(6, 0), Ok(()));
        assert_eq!(bytes, *b"012345\0\0\0\0");
    }

    #[test]
    fn spans_are_checked_one_by_one() {
        let mut bytes = [0; 24];
        bytes[0..4].copy_from_slice(&16u32.to_le_bytes());
        bytes[4..8].copy_from_slice(&8u32.to_le_bytes());
        bytes[8..12].copy_from_slice(&16u32.to_le_bytes());
        bytes[12..16].copy_from_slice(&9u32.to_le_bytes());
        let mut accesses = Accesses::default();
        let mut memory = GuestMemory::new(&mut bytes, &mut accesses);
        assert_eq!(memory.spans(0, 1), Ok(vec![Span { at: 16, len: 8 }]));
        assert_eq!(memory.spans(0, 2), Err(OutOfBounds));
        assert_eq!(memory.spans(0, 1 << 29), Err(OutOfBounds));
    }
}
