//! What costs less for many than for one after the other.

use depx_protocol::{SecretKey, Sign};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Questions that are answered at once: statements under one signature, records in one write. Large enough that what they share costs
/// nothing, and small enough for the first of them not to wait noticeably.
const BATCH: usize = 256;

/// Answers together what several tasks ask at about the same time.
pub struct Together<Q, A>(Arc<Shared<Q, A>>);

struct Shared<Q, A> {
    waiting: Mutex<Vec<(Q, oneshot::Sender<A>)>>,
    answer: Box<dyn Fn(Vec<Q>) -> Vec<A> + Send + Sync>,
}

impl<Q: Send + 'static, A: Send + 'static> Together<Q, A> {
    /// Answers with `answer`, which gets up to 256 questions and answers them in order; where it gives fewer answers, the others have
    /// none. It can be called by several threads at once, and should not wait for long.
    pub fn new(answer: impl Fn(Vec<Q>) -> Vec<A> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { waiting: Mutex::default(), answer: Box::new(answer) }))
    }

    /// The answer to a question, or `None` if there was none. The question is asked also if nobody waits for the answer.
    pub fn ask(&self, question: Q) -> impl Future<Output = Option<A>> + Send + use<Q, A> {
        let (reply, answer) = oneshot::channel();
        if self.0.enqueue(question, reply) {
            let shared = self.0.clone();
            // Not part of this task, which could be given up while others wait.
            tokio::spawn(async move {
                // Whoever is about to ask does so first. Nobody is if this program has nothing else to do.
                tokio::task::yield_now().await;
                shared.answer_all();
            });
        }
        async { answer.await.ok() }
    }
}

impl<Q, A> Shared<Q, A> {
    /// Whether it is the first one that waits.
    fn enqueue(&self, question: Q, reply: oneshot::Sender<A>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((question, reply));
        waiting.len() == 1
    }

    fn answer_all(&self) {
        let mut waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner)).into_iter();
        while !waiting.as_slice().is_empty() {
            let (questions, replies): (Vec<_>, Vec<_>) = waiting.by_ref().take(BATCH).unzip();
            for (reply, answer) in replies.into_iter().zip((self.answer)(questions)) {
                // Whoever asked may have gone.
                let _ = reply.send(answer);
            }
        }
    }
}

/// Signs with `key` what several tasks have to say at about the same time, under one signature.
pub fn signer<T: Sign<Signed: Send> + Send + 'static>(key: SecretKey) -> Together<T, T::Signed> {
    Together::new(move |statements| T::sign_all(statements, &key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn questions_of_tasks_that_are_ready_are_answered_together() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let doubled = Arc::new(Together::new(move |questions: Vec<usize>| {
            assert!(questions.len() <= BATCH);
            counted.fetch_add(1, Ordering::Relaxed);
            questions.into_iter().map(|question| 2 * question).collect()
        }));
        let tasks: Vec<_> = (0..1000)
            .map(|question| {
                let doubled = doubled.clone();
                tokio::spawn(async move { doubled.ask(question).await })
            })
            .collect();
        for (question, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), Some(2 * question));
        }
        assert!(calls.load(Ordering::Relaxed) < 20, "{calls:?} calls");
        assert_eq!(doubled.ask(7).await, Some(14), "one alone");
    }

    #[tokio::test]
    async fn those_without_an_answer_hear_so() {
        let none = Together::new(|_: Vec<u8>| Vec::<u8>::new());
        assert_eq!(none.ask(1).await, None);
        let panics = Together::new(|_: Vec<u8>| -> Vec<u8> { panic!("as a test") });
        assert_eq!(panics.ask(1).await, None);
        assert_eq!(panics.ask(2).await, None, "also the next one hears something");
    }

    #[tokio::test]
    async fn others_are_answered_though_the_first_gives_up() {
        let same = Arc::new(Together::new(|questions: Vec<u8>| questions));
        let gives_up = {
            let same = same.clone();
            tokio::spawn(async move {
                let mut asking = std::pin::pin!(same.ask(1));
                std::future::poll_fn(|context| {
                    assert!(asking.as_mut().poll(context).is_pending());
                    std::task::Poll::Ready(())
                })
                .await;
            })
        };
        gives_up.await.unwrap();
        assert_eq!(same.ask(2).await, Some(2));
    }
}
