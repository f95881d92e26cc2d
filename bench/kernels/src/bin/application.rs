//! An ordinary program of about a megabyte, most of it libraries. Without arguments it returns at once.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec;
use regex::Regex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn main() {
    let Some(pattern) = std::env::args().nth(1) else { return };
    let expression = Regex::new(&pattern).expect("it is an expression");
    let text = depx_bench_kernels::log(1 << 20);
    let found: Vec<Value> =
        expression.find_iter(&text).map(|found| json!({ "at": found.start(), "text": found.as_str() })).collect();
    let packed = compress_to_vec(Value::from(found).to_string().as_bytes(), 9);
    let restored: Value = serde_json::from_slice(&decompress_to_vec(&packed).expect("packed here")).expect("JSON");
    println!("{restored:#} {:?}", Sha256::digest(&packed));
}
