//! What is done to each sum of a product before it is stored.

use crate::lanes::Lanes;

/// A function of one element that ends a kernel.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// `0 > y ? 0 : y`, so that a NaN and −0.0 stay what they are.
    Relu,
    /// `low > y ? low : y`, then `high < y ? high : y`: a NaN stays one.
    Clip {
        /// The least result.
        low: f32,
        /// The greatest result.
        high: f32,
    },
}

impl Activation {
    /// Those that are bounds, which need nothing but two instructions, are applied in registers.
    pub(crate) fn bounds(self) -> Option<(f32, f32)> {
        match self {
            Activation::Identity => Some((f32::NEG_INFINITY, f32::INFINITY)),
            Activation::Relu => Some((0.0, f32::INFINITY)),
            Activation::Clip { low, high } => Some((low, high)),
        }
    }

    /// # Safety
    ///
    /// As for all [`Lanes`].
    #[inline(always)]
    pub(crate) unsafe fn apply<L: Lanes>(self, y: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            match self {
                Activation::Identity => y,
                Activation::Relu => L::splat(0.0).max(y),
                Activation::Clip { low, high } => L::splat(high).min(L::splat(low).max(y)),
            }
        }
    }
}

/// A bias, one for each row or each column of a result.
#[derive(Clone, Copy, Debug, Default)]
pub enum Bias<'a> {
    /// None: nothing is added, not even a zero.
    #[default]
    None,
    /// One for each row.
    Rows(&'a [f32]),
    /// One for each column.
    Columns(&'a [f32]),
}

/// A matrix that is added to a result: the `C` of ONNX's Gemm, or the other branch of a residual block.
#[derive(Clone, Copy, Debug)]
pub struct Addend<'a> {
    /// Its elements.
    pub data: &'a [f32],
    /// From one row to the next; 0 where all rows are the same.
    pub row_stride: usize,
    /// From one column to the next: 1, or 0 where all columns are the same.
    pub column_stride: usize,
    /// What each is multiplied by, rounded, before it is added.
    pub beta: f32,
}

/// What becomes of each sum, in this order:
///
/// 1. `y = alpha × sum`,
/// 2. `y = y + bias`, if there is one,
/// 3. `y = y + (beta × addend)`, if there is one; the product is rounded,
/// 4. `y = activation(y)`.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// What the sum is multiplied by. Multiplying by 1 changes nothing.
    pub alpha: f32,
    /// What is added first.
    pub bias: Bias<'a>,
    /// What is added then.
    pub addend: Option<Addend<'a>>,
    /// What ends it.
    pub activation: Activation,
}

impl<'a> Addend<'a> {
    /// What begins at this row.
    pub(crate) fn starting_at(self, row: usize) -> Self {
        Self { data: &self.data[row * self.row_stride..], ..self }
    }

    /// Whether columns follow each other, and are added as they are: multiplying by 1 changes nothing.
    pub(crate) fn is_plain(&self) -> bool {
        self.column_stride == 1 && self.beta == 1.0
    }
}

impl Default for Epilogue<'_> {
    fn default() -> Self {
        Self { alpha: 1.0, bias: Bias::None, addend: None, activation: Activation::Identity }
    }
}

impl Epilogue<'_> {
    /// # Panics
    ///
    /// If the bias or the addend is too short for so many rows and columns.
    pub(crate) fn check(&self, rows: usize, columns: usize) {
        match self.bias {
            Bias::None => {}
            Bias::Rows(bias) => assert_eq!(bias.len(), rows, "a bias for each row"),
            Bias::Columns(bias) => assert_eq!(bias.len(), columns, "a bias for each column"),
        }
        if let (Some(addend), true) = (self.addend, rows > 0 && columns > 0) {
            assert!(addend.column_stride <= 1, "columns of the addend follow each other or are the same");
            let last = (rows - 1) * addend.row_stride + (columns - 1) * addend.column_stride;
            assert!(last < addend.data.len(), "an addend for each element");
        }
    }

    /// That of a part of a result whose first element is at this row and column of the whole.
    pub(crate) fn part(&self, row: usize, column: usize) -> Self {
        let bias = match self.bias {
            Bias::None => Bias::None,
            Bias::Rows(bias) => Bias::Rows(&bias[row..]),
            Bias::Columns(bias) => Bias::Columns(&bias[column..]),
        };
        let addend = self.addend.map(|addend| {
            let start = row * addend.row_stride + column * addend.column_stride;
            Addend { data: &addend.data[start..], ..addend }
        });
        Self { bias, addend, ..*self }
    }

    /// Whether it is a bias and bounds, which are applied in registers.
    pub(crate) fn bounds(&self) -> Option<(f32, f32)> {
        if self.alpha == 1.0 && self.addend.is_none() { self.activation.bounds() } else { None }
    }

    /// Applies it to a row of sums in memory.
    ///
    /// # Safety
    ///
    /// `sums` is valid for `columns` elements, and the processor has these [`Lanes`].
    #[inline(always)]
    pub(crate) unsafe fn apply_to_row<L: Lanes>(&self, row: usize, columns: usize, sums: *mut f32) {
        const MAX_LANES: usize = 16;
        let mut column = 0;
        while column < columns {
            let width = L::LANES.min(columns - column);
            // What is left at the end is computed in a buffer, so that it is the same code.
            let mut edge = [[0.0f32; MAX_LANES]; 3];
            // SAFETY: what is read and written is within `columns`, and `check` has compared them with the bias and the addend.
            unsafe {
                let at = sums.add(column);
                let whole = width == L::LANES;
                let read = |from: *const f32, edge: &mut [f32; MAX_LANES]| {
                    if whole {
                        from
                    } else {
                        std::ptr::copy_nonoverlapping(from, edge.as_mut_ptr(), width);
                        edge.as_ptr()
                    }
                };
                let mut y = L::load(read(at, &mut edge[0])).mul(L::splat(self.alpha));
                match self.bias {
                    Bias::None => {}
                    Bias::Rows(bias) => y = y.add(L::splat(bias[row])),
                    Bias::Columns(bias) => y = y.add(L::load(read(bias.as_ptr().add(column), &mut edge[1]))),
                }
                if let Some(addend) = self.addend {
                    let from = addend.data.as_ptr().add(row * addend.row_stride + column * addend.column_stride);
                    let addends =
                        if addend.column_stride == 0 { L::splat(*from) } else { L::load(read(from, &mut edge[2])) };
                    y = y.add(L::splat(addend.beta).mul(addends));
                }
                y = self.activation.apply(y);
                if whole {
                    y.store(at);
                } else {
                    y.store(edge[0].as_mut_ptr());
                    std::ptr::copy_nonoverlapping(edge[0].as_ptr(), at, width);
                }
            }
            column += L::LANES;
        }
    }
}
