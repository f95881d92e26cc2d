use super::*;
use std::time::Instant;
#[test]
fn ratio() {
    let on = engine(&EngineOptions { optimize: Optimize::Speed, allocation: Allocation::OnDemand, interpreter: false })
        .unwrap();
    let mk = |hint: bool, nan: bool, fuel: bool| {
        let mut c = wasmtime::Config::new();
        c.max_wasm_stack(64 << 20);
        c.async_stack_size(68 << 20);
        c.cranelift_nan_canonicalization(nan);
        c.wasm_branch_hinting(hint);
        c.generate_address_map(false);
        c.consume_fuel(fuel);
        Engine::new(&c).unwrap()
    };
    let (nohint, nonan, nonan_hint, efuel) =
        (mk(false, true, false), mk(false, false, false), mk(true, false, false), mk(false, true, true));
    println!("kernel plain_ms  metered+nan/plain  metered/plain(no nan)  same without hints  enginefuel+nan/plain");
    let mut logs = [0.0; 4];
    let mut count = 0;
    let mut files: Vec<_> = std::fs::read_dir("/tmp/prep/k")
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "wasm"))
        .collect();
    files.sort();
    for path in files {
        let wasm = std::fs::read(&path).unwrap();
        let m = metered(&wasm);
        let cases: Vec<(&Engine, &[u8])> =
            vec![(&nonan, &wasm), (&on, &m), (&nonan_hint, &m), (&nonan, &m), (&efuel, &wasm)];
        let times = on_large_stack(|| {
            let mut best = vec![f64::MAX; cases.len()];
            let mods: Vec<_> = cases.iter().map(|(e, w)| Module::new(e, w).unwrap()).collect();
            for _ in 0..15 {
                for (i, (e, _)) in cases.iter().enumerate() {
                    let mut store = Store::new(e, ());
                    if i == 4 {
                        store.set_fuel(u64::MAX / 2).unwrap();
                    }
                    let inst = Instance::new(&mut store, &mods[i], &[]).unwrap();
                    if let Some(g) = inst.get_global(&mut store, exports::FUEL) {
                        g.set(&mut store, Val::I64(i64::MAX)).unwrap();
                    }
                    let f = inst.get_typed_func::<(), ()>(&mut store, "_start").unwrap();
                    let t = Instant::now();
                    f.call(&mut store, ()).unwrap();
                    best[i] = best[i].min(t.elapsed().as_secs_f64());
                }
            }
            best
        });
        let r: Vec<f64> = times[1..].iter().map(|t| t / times[0]).collect();
        println!(
            "{:8} {:8.2} {:.3} {:.3} {:.3} {:.3}",
            path.file_stem().unwrap().to_string_lossy(),
            times[0] * 1e3,
            r[0],
            r[1],
            r[2],
            r[3]
        );
        for (l, r) in logs.iter_mut().zip(&r) {
            *l += r.ln();
        }
        count += 1;
    }
    println!("geomean {:?}", logs.map(|l| (l / count as f64).exp()));
}

#[test]
fn throughput() {
    let files: Vec<_> = std::fs::read_dir("/tmp/wts/tests/rust/testsuite/wasm32-wasip1").unwrap().map(|f| f.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "wasm")).take(20).map(|p| std::fs::read(p).unwrap()).collect();
    for _ in 0..3 {
    let total: usize = files.iter().map(Vec::len).sum();
    let (mut v, mut i, mut out) = (0.0, 0.0, 0);
    for w in &files { let t = Instant::now(); let o = validate(w).unwrap(); v += t.elapsed().as_secs_f64(); let t = Instant::now(); out += crate::instrument::instrument(w, &o).unwrap().len(); i += t.elapsed().as_secs_f64(); }
    println!("{total} bytes -> {out}: validate {:.0} MB/s instrument {:.0} MB/s both {:.0} MB/s", total as f64 / v / 1e6, total as f64 / i / 1e6, total as f64 / (v + i) / 1e6);
    }
}
