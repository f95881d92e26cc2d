//! How kernels use several threads: the caller lends its own.

use std::marker::PhantomData;

/// Threads that a kernel may use. Which of them runs a task, and when, changes no bit of a result.
pub trait Parallel: Sync {
    /// How many tasks run side by side.
    fn threads(&self) -> usize;

    /// Calls `task` once with every number below `tasks`, in any order, and returns when all calls have.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// The calling thread alone.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sequential;

impl Parallel for Sequential {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// A slice whose parts are written by several tasks.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    pointer: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut [T]`, whose parts are lent by `slice`, which says what its callers promise.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { pointer: slice.as_mut_ptr(), len: slice.len(), lifetime: PhantomData }
    }

    /// A part of it.
    ///
    /// # Safety
    ///
    /// While it is used nobody else uses an element of it.
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start, "{start} and {len} of {}", self.len);
        // SAFETY: within the slice, as was just checked, and the caller's alone.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), len) }
    }

    /// Where an element is, which may also be the one after the last.
    pub(crate) fn pointer(&self, index: usize) -> *mut T {
        assert!(index <= self.len, "{index} of {}", self.len);
        // SAFETY: within the slice, as was just checked.
        unsafe { self.pointer.add(index) }
    }
}

/// The `index`th of `parts` nearly equal parts of `0..len` that begin at multiples of `unit`.
pub(crate) fn part(len: usize, unit: usize, index: usize, parts: usize) -> std::ops::Range<usize> {
    let units = len.div_ceil(unit);
    let bound = |index: usize| (units * index / parts * unit).min(len);
    bound(index)..bound(index + 1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// New threads for each run.
    pub(crate) struct Threads(pub(crate) usize);

    impl Parallel for Threads {
        fn threads(&self) -> usize {
            self.0
        }

        fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
            let next = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..self.0.min(tasks) {
                    scope.spawn(|| {
                        loop {
                            let index = next.fetch_add(1, Ordering::Relaxed);
                            if index >= tasks {
                                return;
                            }
                            task(index);
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn parts_cover_everything_once() {
        for (len, unit, parts) in [(0, 4, 3), (1, 4, 3), (100, 16, 3), (96, 6, 5), (7, 1, 7)] {
            let mut end = 0;
            for index in 0..parts {
                let part = part(len, unit, index, parts);
                assert_eq!(part.start, end);
                assert!(part.start.is_multiple_of(unit) || part.start == len);
                end = part.end;
            }
            assert_eq!(end, len);
        }
    }
}
