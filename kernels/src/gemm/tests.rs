use super::*;
use crate::parallel::tests::Threads;
use crate::samples::{Random, bits, hash, isas};
use crate::{Sequential, reference};

/// A product and what ends it, in memory with gaps.
struct Case {
    shape: [usize; 3],
    a: Vec<f32>,
    b: Vec<f32>,
    rows_bias: Vec<f32>,
    columns_bias: Vec<f32>,
    addend: Vec<f32>,
}

impl Case {
    fn new(random: &mut Random, shape: [usize; 3], often: usize) -> Self {
        let [rows, depth, columns] = shape;
        Self {
            shape,
            a: random.extremes(rows * depth, often),
            b: random.extremes(depth * columns, often),
            rows_bias: random.values(rows),
            columns_bias: random.values(columns),
            addend: random.values(rows * columns + 1),
        }
    }

    fn epilogue(&self, kind: usize) -> Epilogue<'_> {
        let addend =
            |row_stride, column_stride| Some(Addend { data: &self.addend, row_stride, column_stride, beta: -0.7 });
        let columns = self.shape[2];
        match kind % 7 {
            0 => Epilogue::default(),
            1 => Epilogue { bias: Bias::Rows(&self.rows_bias), activation: Activation::Relu, ..Default::default() },
            2 => Epilogue {
                bias: Bias::Columns(&self.columns_bias),
                activation: Activation::Clip { low: -0.25, high: 1.5 },
                ..Default::default()
            },
            3 => Epilogue { alpha: 0.3, addend: addend(columns, 1), ..Default::default() },
            4 => Epilogue {
                bias: Bias::Columns(&self.columns_bias),
                addend: addend(0, 1),
                activation: Activation::Relu,
                ..Default::default()
            },
            5 => {
                Epilogue { alpha: -2.0, bias: Bias::Rows(&self.rows_bias), addend: addend(1, 0), ..Default::default() }
            }
            _ => Epilogue {
                bias: Bias::Columns(&self.columns_bias),
                addend: addend(columns, 1).map(|addend| Addend { beta: 1.0, ..addend }),
                activation: Activation::Relu,
                ..Default::default()
            },
        }
    }

    fn check(&self, parallel: &dyn Parallel, kind: usize) {
        let [rows, depth, columns] = self.shape;
        let epilogue = self.epilogue(kind);
        let expected = bits(&reference::gemm(self.shape, &self.a, &self.b, &epilogue));
        let mut transposed = vec![0.0; rows * depth];
        for row in 0..rows {
            for k in 0..depth {
                transposed[k * rows + row] = self.a[row * depth + k];
            }
        }
        for isa in isas() {
            let packed = PackedMatrix::new(isa, Matrix::new(&self.b, depth, columns));
            for a in [Matrix::new(&self.a, rows, depth), Matrix::new(&transposed, depth, rows).transposed()] {
                let row_stride = columns + kind % 3;
                let mut output = vec![f32::NAN; rows * row_stride];
                gemm(parallel, a, &packed, &mut output, row_stride, &epilogue);
                let output: Vec<f32> =
                    output.chunks(row_stride.max(1)).flat_map(|row| &row[..columns]).copied().collect();
                assert!(bits(&output) == expected, "{isa:?} {:?} {kind}", self.shape);
            }
        }
    }
}

#[test]
fn small_shapes_are_the_reference() {
    let mut random = Random::new(1);
    for turn in 0..400 {
        let shape = [random.below(41), random.below(41), random.below(41)];
        let often = [3, 10, 1000][turn % 3];
        Case::new(&mut random, shape, often).check(&Sequential, turn);
    }
}

#[test]
fn shapes_around_blocks_are_the_reference() {
    let mut random = Random::new(2);
    let shapes = [
        [1, 255, 130],
        [1, 256, 64],
        [2, 257, 131],
        [3, 511, 33],
        [13, 512, 31],
        [241, 513, 17],
        [97, 769, 101],
        [7, 1031, 65],
        [500, 3, 5],
        [5, 0, 7],
        [0, 5, 7],
        [7, 5, 0],
    ];
    for (turn, shape) in shapes.into_iter().enumerate() {
        Case::new(&mut random, shape, 1000).check(&Sequential, turn);
        Case::new(&mut random, shape, 50).check(&Sequential, turn + 1);
    }
}

#[test]
fn few_columns_after_whole_panels_are_the_reference() {
    let mut random = Random::new(6);
    for shape in [[110, 300, 33], [111, 257, 34], [100, 9, 36]] {
        for kind in 0..7 {
            Case::new(&mut random, shape, 100).check(&Sequential, kind);
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let mut random = Random::new(3);
    for (turn, shape) in [[1, 300, 500], [70, 300, 90], [300, 40, 20], [20, 20, 3]].into_iter().enumerate() {
        let case = Case::new(&mut random, shape, 100);
        for threads in [2, 3, 7] {
            case.check(&Threads(threads), turn + threads);
        }
    }
}

#[test]
fn batches_are_the_reference() {
    let mut random = Random::new(5);
    for (turn, [rows, depth, columns]) in [[5, 64, 40], [33, 300, 7], [1, 70, 100], [9, 0, 3]].into_iter().enumerate() {
        let a = random.extremes(3 * rows * depth, 100);
        let b = random.extremes(2 * depth * columns, 100);
        let bias = random.values(columns);
        let addend = random.values(6 * rows * columns);
        let epilogue = Epilogue {
            bias: Bias::Columns(&bias),
            addend: Some(Addend { data: &addend, row_stride: columns, column_stride: 1, beta: 0.5 }),
            ..Default::default()
        };
        // As if of the shapes [3, 1] and [1, 2]; the right operand is transposed in memory.
        let starts: Vec<_> = (0..6).map(|item| [item / 2 * rows * depth, item % 2 * depth * columns]).collect();
        let mut expected = Vec::new();
        for (item, [a_start, b_start]) in starts.iter().enumerate() {
            let b: Vec<f32> = (0..depth * columns).map(|k| b[b_start + k % columns * depth + k / columns]).collect();
            let addend = epilogue.addend.map(|addend| addend.starting_at(item * rows));
            let epilogue = Epilogue { addend, ..epilogue };
            expected.extend(reference::gemm([rows, depth, columns], &a[*a_start..], &b, &epilogue));
        }
        for isa in isas() {
            let mut output = vec![f32::NAN; 6 * rows * columns];
            let operands = [Matrix::new(&a, rows, depth), Matrix::new(&b, columns, depth).transposed()];
            batched_gemm(&Threads(1 + 3 * turn), isa, &starts, operands, &mut output, &epilogue);
            assert!(bits(&output) == bits(&expected), "{isa:?} {turn}");
        }
    }
}

#[test]
fn golden() {
    let mut random = Random::new(4);
    let case = Case::new(&mut random, [37, 700, 53], 1000);
    let expected = [
        0x302b343f77b0fd9d,
        0xc7c3e317efebb5ea,
        0x308e784191f50363,
        0x02bba2c71b352148,
        0xc2c6b28e8ca785d8,
        0x6fc7398e82edd851,
    ];
    for isa in isas() {
        let packed = PackedMatrix::new(isa, Matrix::new(&case.b, 700, 53));
        let hashes = std::array::from_fn(|kind| {
            let mut output = vec![0.0; 37 * 53];
            gemm(&Sequential, Matrix::new(&case.a, 37, 700), &packed, &mut output, 53, &case.epilogue(kind));
            hash(&output)
        });
        assert_eq!(hashes, expected, "{isa:?} {hashes:x?}");
    }
}
