//! A document of about 1.2 MB, parsed into a tree, changed, and written again, three times.

use depx_bench_kernels::{Random, digest};
use serde_json::{Value, json};

fn document() -> String {
    let mut random = Random::new(11);
    let entry = |index: u32| {
        json!({
            "id": index,
            "name": format!("node \u{2116} {index}"),
            "position": [random.unit() * 180.0 - 90.0, random.unit() * 360.0 - 180.0],
            "tags": ["gpu", "eu-west", null, true],
            "load": random.below(1000),
        })
    };
    Value::Array((0..9_000).map(entry).collect()).to_string()
}

fn main() {
    let mut text = document();
    for round in 0..3u64 {
        let mut tree: Value = serde_json::from_str(&text).expect("it is JSON");
        for entry in tree.as_array_mut().expect("it is an array") {
            entry["load"] = json!(entry["load"].as_u64().expect("a number") + round);
        }
        text = tree.to_string();
    }
    println!("{:016x}", digest(text.as_bytes()));
}
