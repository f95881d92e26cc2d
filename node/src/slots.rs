//! Threads that execute jobs, one for each slot. They take the next job without sleeping while there is one.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::sync::oneshot;

type Task = Box<dyn FnOnce() + Send>;

/// Ended when dropped, after what they were given.
pub(crate) struct Slots {
    queue: mpsc::Sender<Task>,
    busy: Arc<AtomicU32>,
}

impl Slots {
    /// Starts so many threads.
    pub(crate) fn start(slots: u32) -> io::Result<Self> {
        let (queue, tasks) = mpsc::channel::<Task>();
        let (tasks, busy) = (Arc::new(Mutex::new(tasks)), Arc::new(AtomicU32::new(0)));
        for _ in 0..slots {
            let (tasks, busy) = (tasks.clone(), busy.clone());
            let work = move || {
                loop {
                    let next = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(task) = next else { return };
                    busy.fetch_add(1, Ordering::Relaxed);
                    // Whoever waits for it hears that nothing came of it.
                    let _ = catch_unwind(AssertUnwindSafe(task));
                    busy.fetch_sub(1, Ordering::Relaxed);
                }
            };
            let thread = std::thread::Builder::new().name("depx-slot".into()).stack_size(depx_runtime::THREAD_STACK);
            thread.spawn(work)?;
        }
        Ok(Self { queue, busy })
    }

    /// How many are at work.
    pub(crate) fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    /// What `task` comes to, executed when a slot is free; `None` if it panicked. It is not begun if nobody waits for it any more, but it
    /// goes on once it was.
    pub(crate) async fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, outcome) = oneshot::channel();
        let task = move || {
            if !done.is_closed() {
                // Whoever asked may have gone meanwhile.
                let _ = done.send(task());
            }
        };
        self.queue.send(Box::new(task)).ok()?;
        outcome.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[tokio::test]
    async fn as_many_tasks_run_at_a_time_as_there_are_slots() {
        let slots = Arc::new(Slots::start(3).unwrap());
        let (barrier, most) = (Arc::new(Barrier::new(3)), Arc::new(AtomicU32::new(0)));
        let tasks: Vec<_> = (0..9)
            .map(|number| {
                let (slots, counted) = (slots.clone(), slots.clone());
                let (barrier, most) = (barrier.clone(), most.clone());
                tokio::spawn(async move {
                    let task = move || {
                        // Passed by three at a time, or never.
                        barrier.wait();
                        most.fetch_max(counted.busy(), Ordering::Relaxed);
                        number
                    };
                    slots.run(task).await
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), Some(number));
        }
        assert_eq!(most.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun() {
        let slots = Arc::new(Slots::start(1).unwrap());
        let barrier = Arc::new(Barrier::new(2));
        let (first, held) = (slots.clone(), barrier.clone());
        let running = tokio::spawn(async move { first.run(move || held.wait().is_leader()).await });
        let begun = Arc::new(AtomicU32::new(0));
        {
            let counted = begun.clone();
            let mut given_up = std::pin::pin!(slots.run(move || counted.fetch_add(1, Ordering::Relaxed)));
            let once = std::future::poll_fn(|context| std::task::Poll::Ready(given_up.as_mut().poll(context)));
            while slots.busy() == 0 {
                tokio::task::yield_now().await;
            }
            assert!(once.await.is_pending());
        }
        barrier.wait();
        assert!(running.await.unwrap().is_some());
        assert_eq!(slots.run(|| 7).await, Some(7), "the one after it");
        assert_eq!(begun.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_panic_costs_one_task() {
        let slots = Slots::start(1).unwrap();
        assert_eq!(slots.run(|| -> u8 { panic!("as a test") }).await, None);
        assert_eq!(slots.run(|| 7).await, Some(7));
    }
}
