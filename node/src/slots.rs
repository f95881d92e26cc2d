//! Threads that execute jobs, one for each slot. They take the next job without sleeping while there is one, from each coordinator's queue
//! in turn.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::sync::oneshot;

type Task = Box<dyn FnOnce() + Send>;

/// Ended when dropped, after what they were given.
pub(crate) struct Slots(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    busy: AtomicU32,
}

struct Waiting {
    /// One queue for each coordinator.
    queues: Vec<VecDeque<Task>>,
    /// Whose turn it is.
    next: usize,
    ended: bool,
}

impl Slots {
    /// Starts so many threads, which serve so many queues.
    pub(crate) fn start(slots: u32, queues: usize) -> io::Result<Self> {
        let queues = (0..queues).map(|_| VecDeque::new()).collect();
        let waiting = Mutex::new(Waiting { queues, next: 0, ended: false });
        let shared = Arc::new(Shared { waiting, changed: Condvar::new(), busy: AtomicU32::new(0) });
        let started = Self(shared.clone());
        for _ in 0..slots {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name("depx-slot".into()).stack_size(depx_runtime::THREAD_STACK);
            thread.spawn(move || shared.work())?;
        }
        Ok(started)
    }

    /// How many are at work.
    pub(crate) fn busy(&self) -> u32 {
        self.0.busy.load(Ordering::Relaxed)
    }

    /// How many tasks wait.
    pub(crate) fn queued(&self) -> u32 {
        let queued = self.0.waiting().queues.iter().map(VecDeque::len).sum::<usize>();
        u32::try_from(queued).unwrap_or(u32::MAX)
    }

    /// What `task` comes to, executed when a slot is free and it is `queue`'s turn; `None` if it panicked. It is not begun if nobody waits
    /// for it any more, but it goes on once it was.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        queue: usize,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, outcome) = oneshot::channel();
        let task = move || {
            if !done.is_closed() {
                // Whoever asked may have gone meanwhile.
                let _ = done.send(task());
            }
        };
        self.0.waiting().queues[queue].push_back(Box::new(task));
        self.0.changed.notify_one();
        outcome.await.ok()
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.0.waiting().ended = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(task) = self.next() {
            self.busy.fetch_add(1, Ordering::Relaxed);
            // Whoever waits for it hears that nothing came of it.
            let _ = catch_unwind(AssertUnwindSafe(task));
            self.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn next(&self) -> Option<Task> {
        let mut waiting = self.waiting();
        loop {
            if let Some(task) = waiting.next() {
                return Some(task);
            }
            if waiting.ended {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn next(&mut self) -> Option<Task> {
        let count = self.queues.len();
        let turn =
            (0..count).map(|offset| (self.next + offset) % count).find(|queue| !self.queues[*queue].is_empty())?;
        self.next = (turn + 1) % count;
        self.queues[turn].pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[tokio::test]
    async fn as_many_tasks_run_at_a_time_as_there_are_slots() {
        let slots = Arc::new(Slots::start(3, 1).unwrap());
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
                    slots.run(0, task).await
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), Some(number));
        }
        assert_eq!(most.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn queues_take_turns_however_long_they_are() {
        let slots = Arc::new(Slots::start(1, 3).unwrap());
        let gate = Arc::new(Barrier::new(2));
        let (first, held) = (slots.clone(), gate.clone());
        let running = tokio::spawn(async move { first.run(2, move || held.wait().is_leader()).await });
        while slots.busy() == 0 {
            tokio::task::yield_now().await;
        }
        let order = Arc::new(Mutex::new(Vec::new()));
        // The first coordinator has six jobs before the second and the third have two each.
        let queues = [0, 0, 0, 0, 0, 0, 1, 1, 2, 2];
        let tasks: Vec<_> = queues
            .into_iter()
            .map(|queue| {
                let (slots, order) = (slots.clone(), order.clone());
                Box::pin(async move { slots.run(queue, move || order.lock().unwrap().push(queue)).await })
            })
            .collect();
        let all = tokio::spawn(async move {
            let mut waiting = tokio::task::JoinSet::new();
            tasks.into_iter().for_each(|task| drop(waiting.spawn(task)));
            waiting.join_all().await
        });
        while slots.queued() < 10 {
            tokio::task::yield_now().await;
        }
        gate.wait();
        assert!(running.await.unwrap().is_some());
        assert!(all.await.unwrap().iter().all(Option::is_some));
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 0, 1, 2, 0, 0, 0, 0]);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun() {
        let slots = Arc::new(Slots::start(1, 1).unwrap());
        let barrier = Arc::new(Barrier::new(2));
        let (first, held) = (slots.clone(), barrier.clone());
        let running = tokio::spawn(async move { first.run(0, move || held.wait().is_leader()).await });
        let begun = Arc::new(AtomicU32::new(0));
        {
            let counted = begun.clone();
            let mut given_up = std::pin::pin!(slots.run(0, move || counted.fetch_add(1, Ordering::Relaxed)));
            let once = std::future::poll_fn(|context| std::task::Poll::Ready(given_up.as_mut().poll(context)));
            while slots.busy() == 0 {
                tokio::task::yield_now().await;
            }
            assert!(once.await.is_pending());
        }
        barrier.wait();
        assert!(running.await.unwrap().is_some());
        assert_eq!(slots.run(0, || 7).await, Some(7), "the one after it");
        assert_eq!(begun.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_panic_costs_one_task() {
        let slots = Slots::start(1, 1).unwrap();
        assert_eq!(slots.run(0, || -> u8 { panic!("as a test") }).await, None);
        assert_eq!(slots.run(0, || 7).await, Some(7));
    }
}
