//! Memory aligned to cache lines, so that no vector crosses one.

use std::cell::RefCell;

const LINE: usize = 16;

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([f32; LINE]);

/// Zeros at first.
#[derive(Default)]
pub(crate) struct Aligned(Vec<Line>);

impl Aligned {
    pub(crate) fn new(len: usize) -> Self {
        Self(vec![Line([0.0; LINE]); len.div_ceil(LINE)])
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: a line is an array of this many elements, without padding.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * LINE) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * LINE) }
    }
}

thread_local! {
    static BUFFERS: RefCell<Vec<Aligned>> = const { RefCell::new(Vec::new()) };
}

/// Calls `use_it` with `len` elements of any value. The memory is kept for the next call on this thread, because to have the
/// operating system hand out its pages anew takes longer than a small convolution.
pub(crate) fn with_scratch<T>(len: usize, use_it: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.0.len() * LINE < len {
        buffer = Aligned::new(len);
    }
    let result = use_it(&mut buffer.as_mut_slice()[..len]);
    BUFFERS.with_borrow_mut(|buffers| buffers.push(buffer));
    result
}
