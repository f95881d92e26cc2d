//! What all kernels must give, by the reference of `KERNELS.md`: a GPU shows it before it is used, and tests show it of the kernels' code.

use crate::{Address, Elements, Gemm, Launch, LayerNorm, TooLarge, elements, gemm, layer_norm, softmax};
use depx_kernels::{Activation, Addend, Bias, Epilogue, Unary, reference};

/// Some launches, what they work on, and what memory must hold then.
pub struct Case {
    /// What is computed.
    pub name: String,
    /// Contents of memory before.
    pub numbers: Vec<Vec<f32>>,
    /// What it must hold after these are done; they are given the addresses.
    pub launches: MakeLaunches,
    /// The contents of memory after that, as far as they are compared, in the order of `numbers`.
    pub expected: Vec<Vec<f32>>,
}

/// Makes launches of addresses.
pub type MakeLaunches = Box<dyn Fn(&[Address]) -> Result<Vec<Launch>, TooLarge>>;

/// Bits of numbers, with one NaN for all.
pub fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() }).collect()
}

/// Cases for every kernel, `effort` times as large as those that a GPU has to pass.
pub fn cases(effort: usize) -> Vec<Case> {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut cases = Vec::new();
    let numbers: Vec<f32> = SPECIAL.into_iter().chain((0..1000 * effort).map(|_| random.any())).collect();
    cases.extend(Elements::ALL.map(|function| of_elements(function, &numbers)));
    for shape in [[3, 1, 1], [2, 63, 1], [2, 64, 1], [1, 65, 3], [1, 200, 2], [3, 333, 5], [1, 4097, 1]] {
        for often in [0, 9, 300] {
            cases.push(of_softmax(&mut random, shape, often));
        }
    }
    for (rows, length) in [(3, 1), (2, 63), (2, 64), (3, 65), (2, 333), (1, 1024 * effort)] {
        for given in 0..4 {
            cases.push(of_layer_norm(&mut random, rows, length, given));
        }
    }
    for sizes in [[1, 0, 3], [1, 1, 1], [5, 16, 7], [3, 255, 5], [2, 256, 9], [4, 257, 3], [65, 40, 70]] {
        for variant in 0..VARIANTS {
            cases.push(of_gemm(&mut random, sizes, variant));
        }
    }
    cases.push(of_gemm(&mut random, [64, 600, 64 * effort], 0));
    cases
}

fn of_elements(function: Elements, numbers: &[f32]) -> Case {
    let unary = match function {
        Elements::Erf => Unary::Erf,
        Elements::Exp => Unary::Exp,
        Elements::Gelu => Unary::Gelu,
        Elements::GeluTanh => Unary::GeluTanh,
        Elements::HardSwish => Unary::HardSwish,
        Elements::Mish => Unary::Mish,
        Elements::Relu => Unary::Relu,
        Elements::Sigmoid => Unary::Sigmoid,
        Elements::Silu => Unary::Silu,
        Elements::Tanh => Unary::Tanh,
    };
    let count = numbers.len();
    Case {
        name: format!("{function:?}"),
        numbers: vec![numbers.to_vec()],
        // In place.
        launches: Box::new(move |at| Ok(vec![elements(function, at[0], at[0], count)?])),
        expected: vec![numbers.iter().map(|&x| reference::unary(unary, x)).collect()],
    }
}

fn of_softmax(random: &mut Random, shape: [usize; 3], often: usize) -> Case {
    let [outer, length, inner] = shape;
    let x = random.numbers(outer * length * inner, often);
    let mut y = vec![0.0; x.len()];
    for row in 0..outer * inner {
        let at = |index| row / inner * length * inner + index * inner + row % inner;
        let results = reference::softmax(&(0..length).map(|index| x[at(index)]).collect::<Vec<_>>());
        results.into_iter().enumerate().for_each(|(index, result)| y[at(index)] = result);
    }
    Case {
        name: format!("Softmax of {shape:?}"),
        numbers: vec![vec![f32::NAN; x.len()], x],
        launches: Box::new(move |at| Ok(vec![softmax(at[1], at[0], shape)?])),
        expected: vec![y],
    }
}

/// With a scale if `given` is odd, and a bias if it is 2 or 3.
fn of_layer_norm(random: &mut Random, rows: usize, length: usize, given: usize) -> Case {
    let x = random.numbers(rows * length, 400);
    let (scale, bias) = (random.numbers(length, 100), random.numbers(length, 100));
    let has = |bit| given & bit != 0;
    let epsilon = [1e-5, 0.0][given % 2];
    let results = x.chunks_exact(length).map(|row| {
        let factors = (has(1).then_some(&scale[..]), has(2).then_some(&bias[..]));
        reference::layer_norm(row, factors.0, factors.1, epsilon)
    });
    let (y, statistics): (Vec<_>, Vec<_>) = (
        results.flatten().collect(),
        x.chunks_exact(length).map(|row| reference::mean_and_factor(row, epsilon)).collect(),
    );
    let (means, factors) = statistics.into_iter().unzip();
    Case {
        name: format!("LayerNormalization of {rows} x {length}"),
        numbers: vec![vec![f32::NAN; x.len()], vec![f32::NAN; rows], vec![f32::NAN; rows], x, scale, bias],
        launches: Box::new(move |at| {
            let given = |bit, address| if given & bit != 0 { address } else { 0 };
            let of = LayerNorm {
                x: at[3],
                scale: given(1, at[4]),
                bias: given(2, at[5]),
                y: at[0],
                means: at[1],
                factors: at[2],
                rows,
                length,
                epsilon,
            };
            Ok(vec![layer_norm(&of)?])
        }),
        expected: vec![y, means, factors],
    }
}

const VARIANTS: usize = 6;

/// Strides, batches and epilogues of all kinds.
fn of_gemm(random: &mut Random, sizes: [usize; 3], variant: usize) -> Case {
    let [rows, depth, columns] = sizes;
    let items = 1 + variant % 3;
    let often = [0, 40][variant % 2];
    let (transposed_a, transposed_b) = (variant % 2 == 1, variant == 2 || variant == 3);
    let shared_b = variant >= 3;
    let a = random.numbers(items * rows * depth, often);
    let b = random.numbers(if shared_b { 1 } else { items } * depth * columns, often);
    let (has_bias, has_addend) = (variant != 1, variant >= 2);
    let bias = random.numbers(columns, often);
    // All rows get the same, or each another one.
    let addend_strides = if variant == 4 { [0, 1] } else { [columns, 1] };
    let addend = random.numbers(if variant == 4 { columns } else { items * rows * columns }, often);
    let (alpha, beta) = ([1.0, 0.3][variant % 2], [1.0, 1.7][variant / 2 % 2]);
    let (low, high) = [(f32::NEG_INFINITY, f32::INFINITY), (0.0, f32::INFINITY), (-0.5, 0.25)][variant % 3];
    let activation = Activation::Clip { low, high };

    let strides = |transposed: bool, rows: usize, columns: usize| if transposed { [1, rows] } else { [columns, 1] };
    let (a_strides, b_strides) = (strides(transposed_a, rows, depth), strides(transposed_b, depth, columns));
    let b_item = if shared_b { 0 } else { depth * columns };
    let epilogue = Epilogue {
        alpha,
        bias: if has_bias { Bias::Columns(&bias) } else { Bias::None },
        addend: has_addend.then_some(Addend {
            data: &addend,
            row_stride: addend_strides[0],
            column_stride: addend_strides[1],
            beta,
        }),
        activation,
    };
    let mut y = Vec::with_capacity(items * rows * columns);
    for row in 0..items * rows {
        let (item, of_item) = (row / rows, row % rows);
        for column in 0..columns {
            let sum = reference::sum_of_products(depth, |k| {
                let left = a[item * rows * depth + of_item * a_strides[0] + k * a_strides[1]];
                (left, b[item * b_item + k * b_strides[0] + column * b_strides[1]])
            });
            y.push(reference::epilogue(sum, &epilogue, row, column));
        }
    }
    Case {
        name: format!("Gemm of {items} x {sizes:?}"),
        numbers: vec![vec![f32::NAN; y.len()], a, b, bias, addend],
        launches: Box::new(move |at| {
            let signed = |[row, column]: [usize; 2], item: usize| [row, column, item].map(|stride| stride as i64);
            gemm(&Gemm {
                a: at[1],
                a_strides: signed(a_strides, rows * depth),
                b: at[2],
                b_strides: signed(b_strides, b_item),
                y: at[0],
                bias: if has_bias { at[3] } else { 0 },
                addend: if has_addend { at[4] } else { 0 },
                addend_strides: addend_strides.map(|stride| stride as i64),
                alpha,
                beta,
                low,
                high,
                items,
                sizes,
            })
        }),
        expected: vec![y],
    }
}

/// Zeros, infinities, NaNs, subnormal numbers, the largest, and bounds within kernels.
const SPECIAL: [f32; 30] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::from_bits(0x7f80_0001),
    f32::from_bits(0xffc0_1234),
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-45,
    -1e-45,
    1e-42,
    -3e-40,
    f32::MAX,
    f32::MIN,
    1e30,
    -1e-30,
    9.0,
    -9.000_001,
    -3.95,
    -104.000_01,
    -11.0,
    14.5,
    20.000_002,
    -87.7,
    88.8,
];

/// A fixed sequence (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Any bits, or a number of the size that networks have.
    fn any(&mut self) -> f32 {
        let bits = self.next();
        if bits.is_multiple_of(4) { f32::from_bits((bits >> 32) as u32) } else { 12.0 * self.value() }
    }

    /// Between -1 and 1.
    fn value(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// Numbers of which one in `often` is special, or none if that is 0.
    fn numbers(&mut self, len: usize, often: usize) -> Vec<f32> {
        let number = |_| match often > 0 && ((self.next() >> 33) as usize).is_multiple_of(often) {
            true => SPECIAL[(self.next() >> 33) as usize % SPECIAL.len()],
            false => 4.0 * self.value(),
        };
        (0..len).map(number).collect()
    }
}
