//! The kernels' code gives the bits of the reference, instruction by instruction.

use depx_cuda::PTX;
use depx_cuda::interpreter::{Arrays, Program};
use depx_cuda::verify::{Case, bits, cases};
use std::collections::BTreeSet;

fn run(program: &Program, case: &Case) -> Result<(), String> {
    let mut memory = Arrays::default();
    let addresses: Vec<_> = case.numbers.iter().map(|numbers| memory.give(numbers)).collect();
    for launch in (case.launches)(&addresses).map_err(|error| error.to_string())? {
        program.run(&launch, &mut memory)?;
    }
    for (address, expected) in addresses.into_iter().zip(&case.expected) {
        let (found, expected) = (bits(&memory.take(address, expected.len())), bits(expected));
        if let Some(at) = (0..expected.len()).find(|&at| found[at] != expected[at]) {
            return Err(format!("{:#010x} instead of {:#010x} at {at}", found[at], expected[at]));
        }
    }
    Ok(())
}

#[test]
fn every_kernel_gives_the_bits_of_the_reference() {
    let program = Program::parse(PTX).unwrap();
    let mut launched = BTreeSet::new();
    for case in cases(3) {
        if let Err(reason) = run(&program, &case) {
            panic!("{}: {reason}", case.name);
        }
        let addresses = vec![0; case.numbers.len()];
        launched.extend((case.launches)(&addresses).unwrap().into_iter().map(|launch| launch.kernel));
    }
    assert_eq!(launched.into_iter().collect::<Vec<_>>(), program.kernels(), "each is tested");
}

#[test]
fn instructions_that_do_not_round_once_to_nearest_are_not_known() {
    for (known, other) in [
        ("fma.rn.f32", "fma.rn.ftz.f32"),
        ("fma.rn.f32", "fma.rz.f32"),
        ("add.rn.f32", "add.f32"),
        ("mul.rn.f32", "mul.f32"),
        ("div.rn.f32", "div.full.f32"),
        ("sqrt.rn.f32", "sqrt.approx.f32"),
        ("fma.rn.f32", "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"),
    ] {
        let changed = PTX.replacen(known, other, 1);
        assert_ne!(changed, PTX);
        let reason = Program::parse(&changed).map(|_| ()).unwrap_err();
        assert!(reason.contains("not known") && reason.contains(other), "{reason}");
    }
}

/// A barrier left out makes a race, whichever it is.
#[test]
fn barriers_that_are_missing_are_noticed() {
    const BARRIER: &str = "\tbar.sync \t0;\n";
    let all = PTX.matches(BARRIER).count();
    assert!(all >= 10, "{all}");
    let cases = cases(1);
    for left_out in 0..all {
        let (at, _) = PTX.match_indices(BARRIER).nth(left_out).unwrap();
        let changed = format!("{}{}", &PTX[..at], &PTX[at + BARRIER.len()..]);
        let kernel = changed[..at].rsplit(".entry ").next().unwrap().split('(').next().unwrap();
        let program = Program::parse(&changed).unwrap();
        let noticed = cases.iter().any(|case| {
            let addresses = vec![0; case.numbers.len()];
            let launches = (case.launches)(&addresses).unwrap();
            launches.iter().any(|launch| launch.kernel == kernel) && run(&program, case).is_err()
        });
        assert!(noticed, "barrier {left_out}, in {kernel}");
    }
}
