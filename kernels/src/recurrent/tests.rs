use super::*;
use crate::parallel::tests::Threads;
use crate::samples::{Random, bits, hash, isas};
use crate::{Unary, reference};

const CELLS: [Cell; 5] = [
    Cell::Rnn { f: Unary::Tanh },
    Cell::Gru { f: Unary::Sigmoid, g: Unary::Tanh, linear_before_reset: false },
    Cell::Gru { f: Unary::Sigmoid, g: Unary::Tanh, linear_before_reset: true },
    Cell::Lstm { f: Unary::Sigmoid, g: Unary::Tanh, h: Unary::Tanh },
    Cell::Lstm { f: Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }, g: Unary::Softsign, h: Unary::Relu },
];

/// All sequences in all instruction sets; the fingerprint of states.
fn check(random: &mut Random, cell: Cell, [time, batch, features, hidden]: [usize; 4], kind: usize) -> u64 {
    let width = cell.gates() * hidden;
    let (weights, states) = (random.values(width * features), random.values(width * hidden));
    let (bias, peepholes) = (random.values(2 * width), random.values(3 * hidden));
    let is_lstm = matches!(cell, Cell::Lstm { .. });
    let recurrence = Recurrence {
        bias: if kind & 1 == 0 { &[] } else { &bias },
        peepholes: if kind & 2 == 0 || !is_lstm { &[] } else { &peepholes },
        clip: (kind & 4 != 0).then_some(0.6),
        reversed: kind & 8 != 0,
    };
    let x = random.extremes(time * batch * features, 200);
    let initial = [random.values(batch * hidden), random.values(if is_lstm { batch * hidden } else { 0 })];
    let lengths: Vec<usize> = (0..batch).map(|row| if row % 2 == 0 { time } else { random.below(time + 1) }).collect();

    let mut expected = [vec![0.0; time * batch * hidden], Vec::new(), Vec::new()];
    for (row, &length) in lengths.iter().enumerate() {
        let sequence: Vec<&[f32]> = (0..length).map(|time| &x[(time * batch + row) * features..][..features]).collect();
        let of_row = |states: &[f32]| states.iter().skip(row * hidden).take(hidden).copied().collect::<Vec<_>>();
        let [h, c] = &initial;
        let (y, [h, c]) =
            reference::recurrent(cell, [&weights, &states], recurrence, &sequence, [of_row(h), of_row(c)]);
        for (time, y) in y.iter().enumerate() {
            expected[0][(time * batch + row) * hidden..][..hidden].copy_from_slice(y);
        }
        expected[1].extend(h);
        expected[2].extend(c);
    }
    for isa in isas() {
        let layer = PackedRecurrent::new(isa, cell, [features, hidden], &weights, &states);
        let ([mut h, mut c], mut y) = (initial.clone(), vec![7.0; time * batch * hidden]);
        recurrent(&Threads(1 + kind % 3), &layer, recurrence, &x, &lengths, [&mut h, &mut c], &mut y);
        for (found, expected) in [y, h, c].iter().zip(&expected) {
            assert_eq!(bits(found), bits(expected), "{isa:?} {cell:?} {time} {batch} {features} {hidden} {kind}");
        }
    }
    expected.iter().fold(0, |all, part| all ^ hash(part))
}

#[test]
fn layers_are_the_reference() {
    let mut random = Random::new(1);
    for turn in 0..48 {
        for cell in CELLS {
            let shape = [1 + random.below(5), 1 + random.below(4), random.below(40), 1 + random.below(30)];
            check(&mut random, cell, shape, turn);
        }
    }
    // More rows than are multiplied at a time.
    check(&mut random, CELLS[3], [20, 30, 3, 5], 8);
    check(&mut random, CELLS[1], [300, 1, 3, 5], 0);
}

#[test]
fn golden() {
    let mut random = Random::new(2);
    let hashes = CELLS.map(|cell| check(&mut random, cell, [4, 3, 33, 20], 11));
    let expected = [0x9f13940c33710289, 0x5da1165a91545352, 0x491938ea78878b74, 0xcd62d7f9a6df7cb6, 0x40ecbb09419b054f];
    assert_eq!(hashes, expected, "{hashes:#x?}");
}
