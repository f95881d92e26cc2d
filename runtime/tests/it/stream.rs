//! Batches whose items come one by one and go one by one.

use crate::support::{JobBuilder, RUNTIME, wat};
use bytes::Bytes;
use depx_host_abi::refusal::RefusalCode;
use depx_protocol::{Blob, Canonical, InputHasher, ItemPack, JobInput, Status, merkle};
use depx_runtime::{
    Allocation, Cancel, EngineOptions, Finished, HostFault, Job, Runtime, RuntimeOptions, StreamError, Streamed,
};
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};

/// Spins for as long as the number in its first four bytes of input says, then copies its input to standard output.
const SPIN: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start") (local $left i32)
      (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 1024))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
      (local.set $left (i32.load (i32.const 1024)))
      (block $done (loop $more
        (br_if $done (i32.eqz (local.get $left)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $more)))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

fn runtime(threads: usize) -> Runtime {
    let parallelism = NonZeroUsize::new(threads).unwrap();
    Runtime::new(RuntimeOptions { parallelism, ..RuntimeOptions::default() }).unwrap()
}

/// A job of these items, without the blob that holds them.
fn job(runtime: &Runtime, items: &[Vec<u8>]) -> Job {
    let mut job = JobBuilder::new(&wat(SPIN)).batch(items.to_vec()).build(runtime);
    job.blobs.remove(&job.spec.input.blob().hash);
    job
}

fn source(items: &[Vec<u8>]) -> impl Iterator<Item = io::Result<Bytes>> + Send {
    items.iter().map(|item| Ok(Bytes::copy_from_slice(item)))
}

/// Items that take between nothing and a few milliseconds, in no order.
fn uneven(count: u64) -> Vec<Vec<u8>> {
    let mut random = 1u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as u32
    };
    (0..count).map(|_| (next() % 4).pow(6).wrapping_mul(1000).to_le_bytes().to_vec()).collect()
}

#[test]
fn streams_have_the_results_of_jobs_on_any_number_of_threads() {
    let items = uneven(120);
    let expected = {
        let whole = JobBuilder::new(&wat(SPIN)).batch(items.clone()).build(&RUNTIME);
        RUNTIME.run_job(&whole, &Cancel::default()).unwrap()
    };
    assert_eq!(expected.core.status, Status::Success);
    for threads in [1, 2, 5] {
        let runtime = runtime(threads);
        let job = job(&runtime, &items);
        let mut delivered = Vec::new();
        let sink = |finished: Finished| {
            delivered.push(finished.output);
            Ok(())
        };
        let streamed = runtime.run_stream(&job, source(&items), sink, &Cancel::default()).unwrap();
        assert_eq!(streamed, Streamed { core: expected.core.clone(), detail: None }, "{threads}");
        assert_eq!(delivered, expected.output.items, "{threads}");
    }
}

#[test]
fn a_sink_that_fails_ends_the_job_at_once() {
    let items = vec![0u32.to_le_bytes().to_vec(); 500];
    for threads in [1, 3] {
        let runtime = runtime(threads);
        let (read, mut delivered) = (AtomicU64::new(0), 0);
        let items_read = source(&items).inspect(|_| {
            read.fetch_add(1, Ordering::Relaxed);
        });
        let sink = |finished: Finished| {
            delivered += 1;
            if finished.output.leaf.index == 3 { Err(io::Error::other("enough")) } else { Ok(()) }
        };
        let ended = runtime.run_stream(&job(&runtime, &items), items_read, sink, &Cancel::default());
        assert!(matches!(&ended, Err(StreamError::Sink(error)) if error.to_string() == "enough"), "{ended:?}");
        assert_eq!(delivered, 4, "nothing comes after the failure");
        assert!(read.into_inner() <= 4 + 16 * threads as u64, "{threads}");
    }
}

#[test]
fn a_cancelled_stream_delivers_nothing_more() {
    let items = uneven(200);
    for threads in [1, 3] {
        let runtime = runtime(threads);
        let (cancel, mut delivered) = (Cancel::default(), 0);
        let sink = |_| {
            delivered += 1;
            if delivered == 5 {
                cancel.cancel();
            }
            Ok(())
        };
        let ended = runtime.run_stream(&job(&runtime, &items), source(&items), sink, &cancel);
        assert!(matches!(ended, Err(StreamError::Fault(HostFault::Cancelled))), "{ended:?}");
        assert!(delivered < 200, "{threads}");
    }
}

#[test]
fn items_that_are_not_those_of_the_job_give_no_result() {
    let items = uneven(20);
    let runtime = runtime(2);
    let job = job(&runtime, &items);
    let run = |items: &[Vec<u8>]| runtime.run_stream(&job, source(items), |_| Ok(()), &Cancel::default());
    let mut other = items.clone();
    other[19].push(1);
    let more = [&items[..], &items[..1]].concat();
    let mut swapped = items.clone();
    let unequal = (1..20).find(|&index| items[index] != items[0]).unwrap();
    swapped.swap(0, unequal);
    for (what, wrong) in [("other", &other[..]), ("more", &more), ("fewer", &items[..19]), ("swapped", &swapped)] {
        let ended = run(wrong);
        assert!(
            matches!(&ended, Err(StreamError::Items(error)) if error.kind() == io::ErrorKind::InvalidData),
            "{what}: {ended:?}"
        );
    }
    assert!(run(&items).is_ok());
    let broken = source(&items).take(7).chain([Err(io::Error::other("unplugged"))]);
    let ended = runtime.run_stream(&job, broken, |_| Ok(()), &Cancel::default());
    assert!(matches!(&ended, Err(StreamError::Items(error)) if error.to_string() == "unplugged"), "{ended:?}");
}

#[test]
fn a_stream_of_a_refused_job_still_names_its_inputs() {
    let items = uneven(20);
    let mut job = JobBuilder::new(b"not wasm").batch(items.clone()).build(&RUNTIME);
    job.blobs.remove(&job.spec.input.blob().hash);
    let mut delivered = 0;
    let sink = |_| {
        delivered += 1;
        Ok(())
    };
    let Streamed { core, detail } = RUNTIME.run_stream(&job, source(&items), sink, &Cancel::default()).unwrap();
    assert_eq!((core.status, core.code), (Status::InvalidModule, RefusalCode::Malformed.number()));
    assert_eq!((core.input_root, core.item_count, delivered), (merkle::root(&items), 0, 0));
    assert!(detail.is_some());
}

#[test]
fn no_more_is_read_than_a_few_items_for_each_thread() {
    // The first takes far longer than all others together.
    let mut items = vec![0u32.to_le_bytes().to_vec(); 300];
    items[0] = 30_000_000u32.to_le_bytes().to_vec();
    let threads = 2;
    let runtime = runtime(threads);
    let (read, mut read_by_the_first) = (AtomicU64::new(0), None);
    let items_read = source(&items).inspect(|_| {
        read.fetch_add(1, Ordering::Relaxed);
    });
    let sink = |_| {
        read_by_the_first.get_or_insert(read.load(Ordering::Relaxed));
        Ok(())
    };
    runtime.run_stream(&job(&runtime, &items), items_read, sink, &Cancel::default()).unwrap();
    assert_eq!(read.load(Ordering::Relaxed), 300);
    assert!(read_by_the_first.is_some_and(|read| read <= 16 * threads as u64), "{read_by_the_first:?}");
}

#[test]
fn a_sink_that_panics_takes_no_thread_with_it_for_ever() {
    let items = uneven(100);
    let runtime = runtime(3);
    let ended =
        runtime.run_stream(&job(&runtime, &items), source(&items), |_| panic!("on purpose"), &Cancel::default());
    assert!(matches!(ended, Err(StreamError::Fault(HostFault::WorkerDied { .. }))), "{ended:?}");
}

#[test]
fn inputs_are_hashed_as_they_are_packed() {
    for count in [1, 23, 24, 300] {
        let items: Vec<_> = (0..count).map(|index| vec![index as u8; index]).collect();
        let mut hasher = InputHasher::pack(count as u64);
        items.iter().for_each(|item| hasher.push(item));
        assert_eq!(hasher.finish(), Blob::of(&ItemPack::new(items).to_bytes()));
    }
}

/// A million items, and the memory of a few: what is held does not grow with the batch.
#[test]
fn a_million_items_take_the_memory_of_a_few() {
    const ITEMS: u64 = 1_000_000;
    let item = |index: u64| index.to_le_bytes();
    let engine = EngineOptions { allocation: Allocation::Pooling { slots: 2 }, ..EngineOptions::default() };
    let runtime = Runtime::new(RuntimeOptions { engine, ..RuntimeOptions::default() }).unwrap();
    let mut hasher = InputHasher::pack(ITEMS);
    (0..ITEMS).for_each(|index| hasher.push(&item(index)));
    let pack = hasher.finish();
    let noop = wat(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    let job = JobBuilder::new(&noop).spec(|spec| {
        spec.input = JobInput::Batch { pack, items: ITEMS };
        spec.limits.wall_ms = 3_600_000;
    });
    let job = job.build(&runtime);
    let mut delivered = 0;
    let mut done = None;
    let taken = allocation_counter::measure(|| {
        let items = (0..ITEMS).map(|index| Ok(Bytes::copy_from_slice(&item(index))));
        let sink = |finished: Finished| {
            assert_eq!(finished.output.leaf.index, delivered);
            delivered += 1;
            Ok(())
        };
        done = Some(runtime.run_stream(&job, items, sink, &Cancel::default()).unwrap());
    });
    assert_eq!((delivered, done.map(|done| done.core.item_count)), (ITEMS, Some(ITEMS)));
    assert!(taken.bytes_max < 16 << 20, "{} bytes at a time", taken.bytes_max);
}
