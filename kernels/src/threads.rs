//! Threads that wait for kernels to share their work with.

use crate::{Parallel, with_ieee_floats};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::JoinHandle;

/// How often a thread looks for work, or for others to be done, before it sleeps: some tens of microseconds, which is as long as the system
/// needs to wake one, and longer than kernels of one model let it wait.
const LOOKS: usize = 20_000;

/// A few threads that one caller at a time has help from. Another that calls meanwhile does its work alone.
pub struct Threads {
    shared: Arc<Shared>,
    threads: usize,
    helpers: OnceLock<Vec<JoinHandle<()>>>,
    caller: Mutex<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// How often there was something new for helpers.
    runs: AtomicUsize,
    /// How many helpers are at work, changed with the state.
    working: AtomicUsize,
}

#[derive(Default)]
struct State {
    work: Option<Work>,
    ended: bool,
}

/// What the caller shares, on its stack.
struct Shares<'a> {
    task: &'a (dyn Fn(usize) + Sync),
    tasks: usize,
    next: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Where it is.
#[derive(Clone, Copy)]
struct Work(*const Shares<'static>);

// SAFETY: what it points to may be used by several threads, and `Threads::run` does not return before all are done with it.
unsafe impl Send for Work {}

impl Threads {
    /// So many threads, the caller's own included. The others start when there is work for them, so that they are subject to whatever
    /// the process has given up until then.
    pub fn new(threads: usize) -> Self {
        Self { shared: Arc::default(), threads, helpers: OnceLock::new(), caller: Mutex::new(()) }
    }

    fn start(&self) -> Vec<JoinHandle<()>> {
        let start = |_| {
            let shared = self.shared.clone();
            // Without a thread that the system does not give, results are the same.
            std::thread::Builder::new()
                .name("depx-kernels".to_owned())
                .spawn(move || with_ieee_floats(|| shared.help()))
                .ok()
        };
        (1..self.threads).map_while(start).collect()
    }
}

impl Parallel for Threads {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let turn = match self.caller.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return (0..tasks).for_each(task),
        };
        if tasks < 2 || self.helpers.get_or_init(|| self.start()).is_empty() {
            drop(turn);
            return (0..tasks).for_each(task);
        }
        let shares = Shares { task, tasks, next: AtomicUsize::new(0), panic: Mutex::new(None) };
        self.shared.change(|state| state.work = Some(Work((&raw const shares).cast())));
        shares.work();
        self.shared.withdraw();
        drop(turn);
        let panic = shares.panic.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.change(|state| state.ended = true);
        for helper in self.helpers.take().unwrap_or_default() {
            // Panics of tasks are caught; there is nothing else that a helper could fail with.
            let _ = helper.join();
        }
    }
}

impl Shares<'_> {
    /// Does tasks until there are none.
    fn work(&self) {
        let done = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let index = self.next.fetch_add(1, Ordering::Relaxed);
                if index >= self.tasks {
                    return;
                }
                (self.task)(index);
            }
        }));
        if let Err(panic) = done {
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what helpers look at. The number of runs is changed while the state is locked, so that none begins to sleep meanwhile.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        self.runs.fetch_add(1, Ordering::Release);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until no helper works any more.
    fn withdraw(&self) {
        self.state().work = None;
        look(|| self.working.load(Ordering::Acquire) == 0);
        let mut state = self.state();
        while self.working.load(Ordering::Acquire) > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The life of a helper.
    fn help(&self) {
        let mut seen = 0;
        loop {
            look(|| self.runs.load(Ordering::Acquire) != seen);
            let mut state = self.state();
            while self.runs.load(Ordering::Acquire) == seen && !state.ended {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            seen = self.runs.load(Ordering::Acquire);
            if state.ended {
                return;
            }
            let Some(work) = state.work else { continue };
            self.working.fetch_add(1, Ordering::Relaxed);
            drop(state);
            // SAFETY: the caller takes the work away and then waits for all that were counted while it was there.
            unsafe { &*work.0 }.work();
            let state = self.state();
            self.working.fetch_sub(1, Ordering::Release);
            drop(state);
            self.changed.notify_all();
        }
    }
}

/// Waits a little.
fn look(ready: impl Fn() -> bool) {
    for _ in 0..LOOKS {
        if ready() {
            return;
        }
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(threads: &Threads, tasks: usize) -> Vec<usize> {
        let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        threads.run(tasks, &|task| {
            counts[task].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_task_is_done_once_and_before_the_run_ends() {
        for count in 1..5 {
            let threads = Threads::new(count);
            assert_eq!(threads.threads(), count);
            for turn in 0..500 {
                assert!(counts(&threads, turn % 20).iter().all(|count| *count == 1));
            }
        }
    }

    #[test]
    fn callers_at_the_same_time_do_their_work_alone() {
        let threads = Threads::new(3);
        threads.run(4, &|_| assert_eq!(counts(&threads, 5), [1; 5]));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..200).for_each(|_| assert_eq!(counts(&threads, 9), [1; 9])));
            }
        });
    }

    #[test]
    fn helpers_start_when_there_is_work() {
        let threads = Threads::new(3);
        assert!(threads.helpers.get().is_none());
        threads.run(1, &|_| ());
        assert!(threads.helpers.get().is_none(), "one task is the caller's");
        threads.run(2, &|_| ());
        assert_eq!(threads.helpers.get().map(Vec::len), Some(2));
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_threads_stay() {
        let threads = Threads::new(3);
        for wrong in 0..6 {
            let run = || threads.run(6, &|task| assert_ne!(task, wrong, "task {wrong}"));
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
            assert_eq!(counts(&threads, 7), [1; 7]);
        }
    }
}
