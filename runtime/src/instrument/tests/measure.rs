use super::*;
use std::time::Instant;
use wasmtime::Linker;

fn once(engine: &Engine, module: &Module) -> f64 {
    on_large_stack(|| {
        let mut store = Store::new(engine, ());
        let mut linker = Linker::new(engine);
        linker.define_unknown_imports_as_default_values(&mut store, module).unwrap();
        let instance = linker.instantiate(&mut store, module).unwrap();
        if let Some(left) = instance.get_global(&mut store, exports::FUEL) {
            left.set(&mut store, Val::I64(i64::MAX)).unwrap();
        }
        let f = instance.get_func(&mut store, exports::START).unwrap();
        let t = Instant::now();
        let _ = f.call(&mut store, &[], &mut []);
        t.elapsed().as_secs_f64()
    })
}

#[test]
fn measure() {
    let Ok(files) = std::env::var("MEASURE") else { return };
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(7);
    let options = EngineOptions::default();
    let (off, on) = (engine(&options).unwrap(), reference_engine(&options));
    let no_sites = |body: &FunctionBody<'_>| Ok(Plan { floats: false, ..Plan::of(body)? });
    println!("{:14} {:>9} {:>9} {:>9} {:>9}", "kernel", "plain ms", "metered", "lazy", "engine");
    let mut logs = [0.0; 3];
    let mut n = 0;
    for file in files.split(',') {
        let wasm = std::fs::read(file).unwrap();
        let outline = validate(&wasm).unwrap();
        let with = |plan: &dyn Fn(&FunctionBody<'_>) -> Result<Plan, wasmparser::Error>| {
            instrument_with(&wasm, &outline, plan).unwrap()
        };
        let lazy = with(&Plan::of);
        std::fs::write("/tmp/prep/lazy.wasm", &lazy).unwrap();
        let modules = [
            (&off, Module::new(&off, &wasm).unwrap()),
            (&off, Module::new(&off, with(&no_sites)).unwrap()),
            (&off, Module::new(&off, &lazy).unwrap()),
            (&on, Module::new(&on, with(&no_sites)).unwrap()),
        ];
        let mut best = [f64::MAX; 4];
        for _ in 0..rounds {
            for (best, (engine, module)) in best.iter_mut().zip(&modules) {
                *best = best.min(once(engine, module));
            }
        }
        let name = file.rsplit('/').next().unwrap();
        println!(
            "{name:14} {:9.2} {:9.3} {:9.3} {:9.3}",
            best[0] * 1e3,
            best[1] / best[0],
            best[2] / best[0],
            best[3] / best[0]
        );
        for i in 0..3 {
            logs[i] += (best[i + 1] / best[0]).ln();
        }
        n += 1;
    }
    println!("geomean {:?}", logs.map(|l| (l / n as f64).exp()));
}

#[test]
fn speed() {
    let Ok(files) = std::env::var("MEASURE") else { return };
    for file in files.split(',') {
        let wasm = std::fs::read(file).unwrap();
        let mut best = [f64::MAX; 3];
        for _ in 0..9 {
            let t = Instant::now();
            let outline = validate(&wasm).unwrap();
            best[0] = best[0].min(t.elapsed().as_secs_f64());
            let t = Instant::now();
            let _ = instrument_with(&wasm, &outline, |body| Ok(Plan { floats: false, ..Plan::of(body)? })).unwrap();
            best[1] = best[1].min(t.elapsed().as_secs_f64());
            let t = Instant::now();
            let _ = instrument_with(&wasm, &outline, Plan::of).unwrap();
            best[2] = best[2].min(t.elapsed().as_secs_f64());
        }
        println!(
            "{file} {} bytes, MB/s validate {:.0} metering {:.0} lazy {:.0}",
            wasm.len(),
            wasm.len() as f64 / best[0] / 1e6,
            wasm.len() as f64 / best[1] / 1e6,
            wasm.len() as f64 / best[2] / 1e6
        );
    }
}

#[test]
fn dump() {
    let Ok(file) = std::env::var("DUMP") else { return };
    let wasm = wat::parse_file(file).unwrap();
    let off = engine(&EngineOptions::default()).unwrap();
    std::fs::write("/tmp/prep/text.bin", Module::new(&off, metered(&wasm)).unwrap().text()).unwrap();
    let on = reference_engine(&EngineOptions::default());
    std::fs::write("/tmp/prep/texton.bin", Module::new(&on, wasm).unwrap().text()).unwrap();
}
