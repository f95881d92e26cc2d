//! Fingerprints of what kernels make of fixed numbers: results that change need another version.

use crate::samples::{Random, SPECIAL, hash};
use crate::*;

/// Special numbers, random bits, and numbers of the sizes that networks have.
fn numbers() -> Vec<f32> {
    let mut random = Random::new(6);
    let mut numbers = SPECIAL.to_vec();
    numbers.extend((0..1000).map(|_| f32::from_bits(random.word())));
    numbers.extend((0..3000).map(|_| random.between(-12.0, 12.0)));
    numbers
}

/// Every kernel's name and the fingerprint of its results.
fn fingerprints(isa: Isa) -> Vec<(String, u64)> {
    let numbers = numbers();
    let mut random = Random::new(7);
    let rows: Vec<f32> = (0..2 * 6 * 333).map(|_| random.between(-4.0, 4.0)).collect();
    let factors: Vec<f32> = (0..333).map(|_| random.between(0.1, 2.0)).collect();
    let factors = factors.as_slice();
    let six = &factors[..6];
    let batch_norm_parameters = BatchNorm { scale: six, bias: six, mean: six, variance: six, epsilon: 1e-5 };
    let mut all = Vec::new();
    let mut output = vec![0.0; numbers.len()];
    for (function, _) in elementwise::FUNCTIONS {
        function.apply(isa, &numbers, &mut output);
        all.push((format!("{function:?}"), hash(&output)));
    }
    let exponents: Vec<f32> = numbers.iter().rev().copied().collect();
    for function in [Binary::Pow, Binary::Add, Binary::Max, Binary::Min, Binary::Mod, Binary::PRelu] {
        output.copy_from_slice(&numbers);
        function.apply(isa, &mut output, &exponents);
        all.push((format!("elements {function:?}"), hash(&output)));
    }

    for reduction in rows::REDUCTIONS {
        let mut output = vec![0.0; 12];
        reduce(isa, reduction, &rows, 333, 1, &mut output);
        all.push((format!("{reduction:?}"), hash(&output)));
    }
    let mut output = vec![0.0; rows.len()];
    let mut add = |name: &str, kernel: &dyn Fn(&mut [f32])| {
        kernel(&mut output);
        all.push((name.to_owned(), hash(&output)));
    };
    let whole = CumulativeSum::default();
    add("softmax", &|output| softmax(isa, &rows, 333, 1, output));
    add("softmax of columns", &|output| softmax(isa, &rows, 36, 37, output));
    add("log_softmax", &|output| log_softmax(isa, &rows, 333, 1, output));
    add("layer_norm", &|output| layer_norm(isa, &rows, 333, Some(factors), Some(factors), 1e-5, output));
    add("rms_norm", &|output| rms_norm(isa, &rows, 333, Some(factors), 1e-5, output));
    add("group_norm", &|output| group_norm(isa, &rows, 3, 333, six, six, 1e-5, output));
    add("batch_norm", &|output| batch_norm(isa, &rows, 333, batch_norm_parameters, output));
    add("lp_normalize", &|output| lp_normalize(isa, 2, &rows, 333, 1, output));
    add("mean_variance_norm", &|output| mean_variance_norm(isa, &rows, 333, output));
    let response = LocalResponse { size: 5, alpha: 1.5, beta: 0.75, bias: 2.0 };
    add("local_response_norm", &|output| local_response_norm(isa, response, &rows, 6, 333, output));
    add("global_lp_pool", &|output| global_lp_pool(isa, 3, &rows, 333, &mut output[..12]));
    add("cumulative_sum", &|output| cumulative_sum(isa, whole, &rows, 333, 1, output));
    all
}

#[test]
fn results_are_those_of_this_version() {
    assert_eq!(VERSION, 2, "another version has other fingerprints");
    let expected: Vec<(&str, u64)> = include_str!("golden.txt")
        .lines()
        .map(|line| line.rsplit_once(' ').expect("a name and a fingerprint"))
        .map(|(name, bits)| (name, u64::from_str_radix(bits, 16).expect("a fingerprint")))
        .collect();
    for isa in Isa::available() {
        let fingerprints = fingerprints(isa);
        let lines: String = fingerprints.iter().map(|(name, bits)| format!("{name} {bits:016x}\n")).collect();
        let same = fingerprints.iter().map(|(name, bits)| (name.as_str(), *bits)).eq(expected.iter().copied());
        assert!(same, "{isa:?} has these fingerprints:\n{lines}");
    }
}

/// Coefficients are in `KERNELS.md` with all their bits.
#[test]
fn the_document_has_the_coefficients() {
    let document = include_str!("../KERNELS.md");
    let source = include_str!("coefficients.rs").replace('_', "");
    let words = source.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| word.len() >= 10);
    let missing: Vec<&str> = words.filter(|word| word.starts_with("0x") && !document.contains(word)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    assert!(document.starts_with(&format!("# Kernels, version {VERSION}\n")));
}
