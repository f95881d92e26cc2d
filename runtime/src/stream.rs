//! The items of a job, from a source that is read as they are needed, run on all threads, to a sink that gets them in order.
//!
//! What is held at a time depends on the number of threads and on what an item may use, not on the length of the batch.

use crate::execute::{Executable, NamedModel};
use crate::inference::infer;
use crate::runtime::on_threads;
use crate::watch::Watch;
use crate::{HostFault, Job, Setting, Task, prove};
use bytes::Bytes;
use depx_protocol::merkle::TreeBuilder;
use depx_protocol::{
    Hash, HostCallLeaf, InferenceLeaf, InputHasher, ItemOutput, JobInput, JobSpec, ResultBuilder, ResultCore,
};
use std::collections::VecDeque;
use std::io;
use std::iter::Fuse;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Items per thread that may be started beyond the next one to be delivered: as many short ones are done while a long one runs.
const AHEAD: u64 = 16;

/// Bytes of finished items that wait for an earlier one, beyond which no further item is started.
const MAX_WAITING: u64 = 64 << 20;

/// One item of a job, done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// What it produced.
    pub output: ItemOutput,
    /// Its calls of models, in order.
    pub inferences: Vec<InferenceLeaf>,
    /// What it wrote to standard error, cut at the job's limit.
    pub log: Bytes,
    /// Its first host calls, as many as [`crate::RuntimeOptions::kept_host_calls`] says.
    pub host_calls: Vec<HostCallLeaf>,
    /// How long it took on this machine. Not part of the result.
    pub time: Duration,
}

/// What a job came to whose items went to a sink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Streamed {
    /// The vote.
    pub core: ResultCore,
    /// For people, as in [`crate::JobResult::detail`].
    pub detail: Option<String>,
}

/// Why a streamed job has no result.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// This machine's own failure.
    #[error(transparent)]
    Fault(#[from] HostFault),
    /// The items could not be read, or are not those of the job.
    #[error("the items of the batch cannot be read")]
    Items(#[source] io::Error),
    /// The sink would not have an item.
    #[error("what the items gave cannot be written")]
    Sink(#[source] io::Error),
}

/// Where items come from, and what is derived of them on the way.
pub(crate) struct Feed<I> {
    items: Fuse<I>,
    expected: u64,
    taken: u64,
    root: TreeBuilder,
    /// `None` where it was checked before that these are the job's items.
    hasher: Option<InputHasher>,
}

impl<I: Iterator<Item = io::Result<Bytes>>> Feed<I> {
    /// Items that are known to be those that `input` names.
    pub(crate) fn checked(input: &JobInput, items: I) -> Self {
        Self { items: items.fuse(), expected: input.items(), taken: 0, root: TreeBuilder::new(), hasher: None }
    }

    /// Items that remain to be compared with what `input` names.
    pub(crate) fn unchecked(input: &JobInput, items: I) -> Self {
        Self { hasher: Some(InputHasher::new(input)), ..Self::checked(input, items) }
    }

    fn next(&mut self) -> Result<Option<(u64, Bytes)>, StreamError> {
        let Some(item) = self.items.next().transpose().map_err(StreamError::Items)? else { return Ok(None) };
        if self.taken == self.expected {
            return Err(self.mismatch());
        }
        self.root.push(&item);
        if let Some(hasher) = &mut self.hasher {
            hasher.push(&item);
        }
        self.taken += 1;
        Ok(Some((self.taken - 1, item)))
    }

    /// Reads whatever is left, and gives the root over all items if they are those of `input`.
    pub(crate) fn finish(mut self, input: &JobInput) -> Result<Hash, StreamError> {
        while self.next()?.is_some() {}
        let same = self.hasher.take().is_none_or(|hasher| hasher.finish() == *input.blob());
        if same && self.taken == self.expected { Ok(self.root.root()) } else { Err(self.mismatch()) }
    }

    fn mismatch(&self) -> StreamError {
        let reason = format!("they are not the {} items that the job names", self.expected);
        StreamError::Items(io::Error::new(io::ErrorKind::InvalidData, reason))
    }
}

/// What runs, once per item.
pub(crate) enum Ready {
    Command(Executable, Arc<Setting>),
    Model(NamedModel),
}

/// How the items of one job are run.
pub(crate) struct Run<'a> {
    pub(crate) ready: &'a Ready,
    pub(crate) job: &'a Job,
    pub(crate) watch: &'a Watch,
    pub(crate) kept_host_calls: usize,
}

impl Run<'_> {
    /// Runs all items of `feed` on so many threads, and hands them to `sink` in order.
    pub(crate) fn all<I, S>(&self, threads: usize, feed: &mut Feed<I>, sink: S) -> Result<Delivered, StreamError>
    where
        I: Iterator<Item = io::Result<Bytes>> + Send,
        S: FnMut(Finished) -> Result<(), StreamError> + Send,
    {
        let line = Line {
            run: self,
            ahead: AHEAD * threads as u64,
            feed: feed.into(),
            window: Window::new(sink).into(),
            room: Condvar::new(),
        };
        on_threads(threads, || line.work())?;
        let window = line.window.into_inner().unwrap_or_else(PoisonError::into_inner);
        match window.failure {
            None => Ok(window.delivered),
            Some(failure) => Err(failure),
        }
    }

    fn one(&self, index: u64, input: Bytes) -> Result<Finished, HostFault> {
        let started = Instant::now();
        let outcome = match self.ready {
            Ready::Command(executable, setting) => {
                let seed = JobSpec::seed(&self.job.id, index);
                let task = Task { setting: setting.clone(), input, seed };
                executable.run(&task, self.watch, self.kept_host_calls)?
            }
            Ready::Model(model) => infer(model, &self.job.spec.limits, &input, self.watch)?,
        };
        Ok(prove::finished(index, outcome, started.elapsed()))
    }
}

/// What threads that run the items of one job share. Locked in the order of the fields.
struct Line<'a, I, S> {
    run: &'a Run<'a>,
    ahead: u64,
    feed: Mutex<&'a mut Feed<I>>,
    window: Mutex<Window<S>>,
    /// Told when items were delivered while somebody waits for that, and when all is over.
    room: Condvar,
}

/// Finished items on their way to the sink.
struct Window<S> {
    /// From the next one to be delivered on; `None` for those that still run.
    waiting: VecDeque<Option<Finished>>,
    /// Bytes of all that waits.
    held: u64,
    /// The number of the next item to be delivered.
    next: u64,
    delivered: Delivered,
    sink: S,
    /// Threads that wait for room.
    sleeping: usize,
    /// No further item is started or delivered.
    over: bool,
    failure: Option<StreamError>,
}

/// What is derived from the items that were delivered.
#[derive(Default)]
pub(crate) struct Delivered {
    pub(crate) result: ResultBuilder,
    pub(crate) detail: Option<String>,
}

impl<I, S> Line<'_, I, S>
where
    I: Iterator<Item = io::Result<Bytes>>,
    S: FnMut(Finished) -> Result<(), StreamError>,
{
    /// What one thread does.
    fn work(&self) {
        let _panic = EndOnPanic(self);
        if let Err(error) = self.work_through() {
            self.end(Some(error));
        }
    }

    fn work_through(&self) -> Result<(), StreamError> {
        while let Some((index, input)) = self.take()? {
            let finished = self.run.one(index, input)?;
            self.deliver(index, finished)?;
        }
        Ok(())
    }

    /// The next item, once there is room for what it comes to.
    fn take(&self) -> Result<Option<(u64, Bytes)>, StreamError> {
        let mut feed = lock(&self.feed);
        let mut window = lock(&self.window);
        // When nothing is under way nothing waits either, so that there is room.
        while !window.over && (feed.taken >= window.next + self.ahead || window.held > MAX_WAITING) {
            window.sleeping += 1;
            window = self.room.wait(window).unwrap_or_else(PoisonError::into_inner);
            window.sleeping -= 1;
        }
        let over = window.over;
        drop(window);
        if over { Ok(None) } else { feed.next() }
    }

    /// Hands a finished item to the sink, with all that waited for it, or lets it wait for its turn.
    fn deliver(&self, index: u64, finished: Finished) -> Result<(), StreamError> {
        let mut window = lock(&self.window);
        let place = (index - window.next) as usize;
        if window.waiting.len() <= place {
            window.waiting.resize_with(place + 1, || None);
        }
        window.held += held_len(&finished);
        window.waiting[place] = Some(finished);
        while !window.over && window.waiting.front().is_some_and(Option::is_some) {
            if let Some(finished) = window.waiting.pop_front().flatten() {
                window.pass_on(finished)?;
            }
        }
        if window.sleeping > 0 {
            self.room.notify_all();
        }
        Ok(())
    }

    /// Ends all that is under way, on all threads.
    fn end(&self, failure: Option<StreamError>) {
        let mut window = lock(&self.window);
        window.over = true;
        // What other threads fail with from now on follows from this.
        if window.failure.is_none() {
            window.failure = failure;
        }
        self.run.watch.stop();
        self.room.notify_all();
    }
}

impl<S: FnMut(Finished) -> Result<(), StreamError>> Window<S> {
    fn new(sink: S) -> Self {
        let (waiting, delivered) = (VecDeque::new(), Delivered::default());
        Self { waiting, held: 0, next: 0, delivered, sink, sleeping: 0, over: false, failure: None }
    }

    fn pass_on(&mut self, finished: Finished) -> Result<(), StreamError> {
        self.next += 1;
        self.held -= held_len(&finished);
        let Delivered { result, detail } = &mut self.delivered;
        result.push(&finished.output.leaf);
        finished.inferences.iter().for_each(|inference| result.push_inference(inference));
        if detail.is_none() {
            *detail = prove::describe(&finished.output.leaf);
        }
        (self.sink)(finished)
    }
}

/// A thread that panics takes the others with it: they would wait for its item.
struct EndOnPanic<'l, 'a, I, S>(&'l Line<'a, I, S>)
where
    I: Iterator<Item = io::Result<Bytes>>,
    S: FnMut(Finished) -> Result<(), StreamError>;

impl<I, S> Drop for EndOnPanic<'_, '_, I, S>
where
    I: Iterator<Item = io::Result<Bytes>>,
    S: FnMut(Finished) -> Result<(), StreamError>,
{
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end(None);
        }
    }
}

/// A thread that panics with a lock is told of by its end.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of memory that a finished item takes, about.
pub(crate) fn held_len(finished: &Finished) -> u64 {
    let Finished { output, inferences, log, host_calls, .. } = finished;
    let files = output.files.iter().map(|file| file.path.len() + file.content.len()).sum::<usize>();
    let lists = size_of_val(&inferences[..]) + size_of_val(&host_calls[..]);
    (size_of::<Finished>() + output.stdout.len() + log.len() + files + lists) as u64
}
