use crate::support::*;
use bytes::Bytes;
use depx_protocol::Status;
use depx_runtime::Volume;
#[test]
fn wts() {
    let mut bad = vec![];
    let mut ok = 0;
    for suite in ["rust", "c", "assemblyscript"] {
        let dir = format!("/tmp/wts/tests/{suite}/testsuite/wasm32-wasip1");
        let mut names: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "wasm"))
            .collect();
        names.sort();
        for p in names {
            let spec = std::fs::read_to_string(p.with_extension("spec")).unwrap();
            let f: Vec<&str> = spec.split('\u{2}').collect();
            let mut g = Guest::of(&std::fs::read(&p).unwrap());
            g.setting.args = f[0].split('\u{1}').filter(|s| !s.is_empty()).map(String::from).collect();
            g.setting.env = f[1]
                .split('\u{1}')
                .filter(|s| !s.is_empty())
                .map(|s| {
                    let (a, b) = s.split_once('=').unwrap();
                    (a.into(), b.into())
                })
                .collect();
            if !f[3].is_empty() {
                let root = std::path::Path::new(&dir).join("fs-tests.dir");
                let mut files = vec![];
                let mut st = vec![root.clone()];
                while let Some(d) = st.pop() {
                    for e in std::fs::read_dir(d).into_iter().flatten() {
                        let q = e.unwrap().path();
                        if q.is_dir() {
                            st.push(q)
                        } else {
                            files.push((
                                q.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
                                Bytes::from(std::fs::read(&q).unwrap()),
                            ))
                        }
                    }
                }
                g.setting.files = Volume::new(files).unwrap();
            }
            let want: u32 = f[2].parse().unwrap();
            let o = g.run();
            let good =
                if want == 0 { o.status == Status::Success } else { o.status == Status::ExitCode && o.code == want };
            let good = good && (f[4].is_empty() || f[4].as_bytes() == o.stdout);
            if good {
                ok += 1
            } else {
                bad.push(format!("{} {:?} {} \n{}", p.display(), o.status, o.code, String::from_utf8_lossy(&o.log)));
            }
        }
    }
    println!("ok {ok}, bad {}\n{}", bad.len(), bad.join("\n---\n"));
    assert!(bad.is_empty());
}
#[test]
fn tmp_perf() {
    use depx_runtime::*;
    use std::time::Instant;
    for (name, text) in [("noop", r#"(module (memory (export "memory") 1) (func (export "_start")))"#), ("exit", r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $e (param i32))) (memory (export "memory") 1) (func (export "_start") (call $e (i32.const 0))))"#), ("yield1000", r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func $e (result i32))) (memory (export "memory") 1) (func (export "_start") (local $i i32) (loop $l (drop (call $e)) (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))))"#)] {
        for alloc in [Allocation::OnDemand, Allocation::Pooling { slots: 8 }] {
            let rt = Runtime::new(RuntimeOptions { engine: EngineOptions { allocation: alloc, ..Default::default() }, ..Default::default() }).unwrap();
            let g = Guest::new(text);
            let e = rt.prepare(&wat(text)).unwrap();
            let t = Instant::now(); for _ in 0..200 { rt.prepare(&wat(text)).unwrap(); } println!("  prepare cached {:?}", t.elapsed() / 200);
            let task = g.task(); let c = Cancel::default();
            with_execution_stack(|| { for _ in 0..1000 { rt.execute(&e, &task, &c).unwrap(); } let n = 20000; let t = Instant::now(); for _ in 0..n { rt.execute(&e, &task, &c).unwrap(); } println!("{name} {alloc:?}: {:?} per run", t.elapsed() / n); });
            let t = Instant::now(); for _ in 0..200 { rt.execute(&e, &task, &c).unwrap(); } println!("   without a stack of its own {:?}", t.elapsed() / 200);
            if name == "noop" { for th in [1, 2] {
                let rt = Runtime::new(RuntimeOptions { engine: EngineOptions { allocation: alloc, ..Default::default() }, parallelism: std::num::NonZeroUsize::new(th).unwrap(), ..Default::default() }).unwrap();
                let job = JobBuilder::new(&wat(text)).batch(vec![""; 100000]).build(&rt);
                rt.run_job(&job, &c).unwrap();
                let t = Instant::now(); rt.run_job(&job, &c).unwrap(); println!("   batch {th} threads: {:.0} items/s", 1e5 / t.elapsed().as_secs_f64());
                let job = JobBuilder::new(&wat(text)).build(&rt); rt.run_job(&job, &c).unwrap();
                let t = Instant::now(); for _ in 0..1000 { rt.run_job(&job, &c).unwrap(); } println!("   one-item job {:?}", t.elapsed() / 1000);
            } }
        }
    }
}
