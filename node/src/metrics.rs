//! What a node counts and times for its operator. Counting is adding to atomic numbers; names and labels are made once, text when asked for.

use crate::lease::Abandoned;
use depx_protocol::wire::RefuseReason;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

type Label = [(&'static str, &'static str); 1];
type Ratio = Gauge<f64, AtomicU64>;

/// Counters and times since the node was started.
pub(crate) struct Metrics {
    registry: Registry,
    completed: Counter,
    failed: Counter,
    cancelled: Counter,
    lost: Counter,
    refused: Counter,
    refused_for: [Counter; REASONS.len()],
    phases: [Seconds; PHASES.len()],
    pub(crate) fuel: Counter,
    pub(crate) receipts: Counter,
    pub(crate) reconnects: Counter,
    pub(crate) blobs_found: Counter,
    pub(crate) blobs_fetched: Counter,
    pub(crate) blobs_fetched_bytes: Counter,
    now: Gauges,
}

/// What is so at the moment, set when somebody asks.
struct Gauges {
    slots: Gauge,
    slots_busy: Gauge,
    queued: Gauge,
    coordinators: Gauge,
    coordinators_connected: Gauge,
    blobs: Gauge,
    blobs_quota: Gauge,
    load: Ratio,
    memory: Gauge,
    draining: Gauge,
}

/// Where the time of a lease goes.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// Until everything is here that the job needs.
    Blobs,
    /// Until a slot is free.
    Queue,
    /// In the slot.
    Execution,
    /// Until the receipt is signed and in the journal.
    Proof,
    /// Until the coordinator has it.
    Acknowledgement,
}

/// Their names, in order.
const PHASES: [&str; 5] = ["blobs", "queue", "execution", "proof", "acknowledgement"];
/// The names of reasons for a refusal, in the order of their numbers.
const REASONS: [&str; 6] = ["busy", "invalid", "replayed", "over_limit", "unsupported", "draining"];

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("depx_node");
        let all = &mut registry;
        let leases = Family::<Label, Counter>::default();
        all.register("leases", "Offers of leases that ended, by outcome", leases.clone());
        let refusals = Family::<Label, Counter>::default();
        all.register("leases_refused", "Offers that were refused, by reason", refusals.clone());
        let phases = Family::<Label, Seconds>::default();
        let help = "Time of leases, by what they waited for";
        all.register_with_unit("lease_phase", help, Unit::Seconds, phases.clone());
        let outcome = |name| leases.get_or_create(&[("outcome", name)]).clone();
        Self {
            completed: outcome("completed"),
            failed: outcome("failed"),
            cancelled: outcome("cancelled"),
            lost: outcome("lost"),
            refused: outcome("refused"),
            refused_for: REASONS.map(|name| refusals.get_or_create(&[("reason", name)]).clone()),
            phases: PHASES.map(|name| phases.get_or_create(&[("phase", name)]).clone()),
            fuel: counter(all, "fuel", "Units of fuel that executed jobs used"),
            receipts: counter(all, "receipts_signed", "Receipts signed"),
            reconnects: counter(all, "reconnects", "Connections to coordinators after the first to each"),
            blobs_found: counter(all, "blobs_found", "Blobs that jobs needed and that were here"),
            blobs_fetched: counter(all, "blobs_fetched", "Blobs that were fetched from a coordinator"),
            blobs_fetched_bytes: counter(all, "blobs_fetched_bytes", "Bytes of blobs that were fetched"),
            now: Gauges {
                slots: gauge(all, "slots", "Jobs that can be executed at a time"),
                slots_busy: gauge(all, "slots_busy", "Jobs that are being executed"),
                queued: gauge(all, "queued", "Jobs that wait for a slot"),
                coordinators: gauge(all, "coordinators", "Coordinators that the node serves"),
                coordinators_connected: gauge(all, "coordinators_connected", "Coordinators that it is connected to"),
                blobs: gauge(all, "blobs_bytes", "Bytes that blobs take on the disk"),
                blobs_quota: gauge(all, "blobs_quota_bytes", "Bytes that blobs may take on the disk"),
                load: gauge(all, "processor_load_ratio", "How busy the machine's processors are, from 0 to 1"),
                memory: gauge(all, "memory_available_bytes", "Bytes of memory that programs can have"),
                draining: gauge(all, "draining", "1 if the node takes no new leases, else 0"),
            },
            registry,
        }
    }

    /// A lease ended without a receipt.
    pub(crate) fn abandoned(&self, how: &Abandoned) {
        let counter = match how {
            Abandoned::Refused(_) => &self.refused,
            Abandoned::Cancelled => &self.cancelled,
            Abandoned::Failed(_) => &self.failed,
            Abandoned::Frame(_) | Abandoned::Lost => &self.lost,
        };
        counter.inc();
    }

    /// The coordinator has the receipt of a lease.
    pub(crate) fn completed(&self) {
        self.completed.inc();
    }

    /// An offer was not taken.
    pub(crate) fn refused(&self, reason: RefuseReason) {
        if let Some(counter) = self.refused_for.get(reason as usize) {
            counter.inc();
        }
    }

    /// A phase of a lease is over that began then.
    pub(crate) fn took(&self, phase: Phase, began: Instant) {
        self.phases[phase as usize].observe(began);
    }

    /// Receipts signed since the node was started.
    pub(crate) fn receipts(&self) -> u64 {
        self.receipts.get()
    }

    /// All figures in the text format of OpenMetrics.
    pub(crate) fn text(&self, status: &crate::NodeStatus) -> String {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let now = &self.now;
        now.slots.set(status.slots.into());
        now.slots_busy.set(status.active.into());
        now.queued.set(status.queued.into());
        now.coordinators.set(whole(status.coordinators.len() as u64));
        now.coordinators_connected.set(whole(status.connected() as u64));
        now.blobs.set(whole(status.blobs));
        now.blobs_quota.set(whole(status.blob_quota));
        now.load.set(f64::from(status.load) / 1000.0);
        now.memory.set(whole(status.memory));
        now.draining.set(status.draining.into());
        let mut text = String::new();
        // A string takes whatever is written to it.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge<G: prometheus_client::registry::Metric + Clone + Default>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> G {
    let gauge = G::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// A histogram of durations. That of the library has a lock.
#[derive(Clone, Default, Debug)]
struct Seconds(Arc<Buckets>);

#[derive(Default, Debug)]
struct Buckets {
    counts: [AtomicU64; BOUNDS.len()],
    microseconds: AtomicU64,
}

/// The upper bounds of its buckets, in seconds: from what a signature takes to a job of an hour.
const BOUNDS: [f64; 15] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0, 3600.0, f64::INFINITY];

impl Seconds {
    fn observe(&self, began: Instant) {
        let took = began.elapsed();
        let bucket = BOUNDS.partition_point(|bound| *bound < took.as_secs_f64()).min(BOUNDS.len() - 1);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }
}

impl TypedMetric for Seconds {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Seconds {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.0.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let mut buckets = [(0.0, 0); BOUNDS.len()];
        buckets.iter_mut().zip(BOUNDS.into_iter().zip(counts)).for_each(|(bucket, counted)| *bucket = counted);
        let sum = self.0.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
