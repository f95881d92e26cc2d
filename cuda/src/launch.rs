//! Runs of kernels as data.

/// Where something is in a device's memory; 0 is nowhere.
pub type Address = u64;

/// One run of a kernel.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The kernel's name in [`PTX`](crate::PTX).
    pub kernel: &'static str,
    /// How many blocks of threads, along three axes.
    pub grid: [u32; 3],
    /// Threads in a block.
    pub threads: u32,
    /// The kernel's parameters, each aligned to its size.
    pub parameters: Vec<u8>,
}

/// Something has more elements than a launch can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a tensor is too large for the GPU's kernels")]
pub struct TooLarge;

/// Blocks along the first axis of a grid; along the others there may be 65,535.
const MAX_BLOCKS: usize = i32::MAX as usize;
const MAX_ITEMS: usize = 65_535;

/// Functions of single elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "they are named as in `KERNELS.md`")]
pub enum Elements {
    Erf,
    Exp,
    Gelu,
    GeluTanh,
    HardSwish,
    Mish,
    Relu,
    Sigmoid,
    Silu,
    Tanh,
}

impl Elements {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Erf,
        Self::Exp,
        Self::Gelu,
        Self::GeluTanh,
        Self::HardSwish,
        Self::Mish,
        Self::Relu,
        Self::Sigmoid,
        Self::Silu,
        Self::Tanh,
    ];

    fn kernel(self) -> &'static str {
        match self {
            Self::Erf => "depx_erf",
            Self::Exp => "depx_exp",
            Self::Gelu => "depx_gelu",
            Self::GeluTanh => "depx_gelu_tanh",
            Self::HardSwish => "depx_hard_swish",
            Self::Mish => "depx_mish",
            Self::Relu => "depx_relu",
            Self::Sigmoid => "depx_sigmoid",
            Self::Silu => "depx_silu",
            Self::Tanh => "depx_tanh",
        }
    }
}

/// A function of `count` elements, which may be replaced by their results.
pub fn elements(function: Elements, x: Address, y: Address, count: usize) -> Result<Launch, TooLarge> {
    let blocks = along_first_axis(count.div_ceil(256))?;
    let parameters = Parameters::default().long(x).long(y).long(count as u64);
    Ok(parameters.launch(function.kernel(), [blocks, 1, 1], 256))
}

/// The softmax of `x`, of shape `[outer, length, inner]`, along its second axis.
pub fn softmax(x: Address, y: Address, [outer, length, inner]: [usize; 3]) -> Result<Launch, TooLarge> {
    let blocks = along_first_axis(outer.checked_mul(inner).ok_or(TooLarge)?)?;
    let parameters = Parameters::default().long(x).long(y).int(size(length)?).int(size(inner)?);
    Ok(parameters.launch("depx_softmax", [blocks, 1, 1], 64))
}

/// Layer normalisation of rows that follow each other.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayerNorm {
    /// The rows.
    pub x: Address,
    /// An element for each of a row, or nowhere.
    pub scale: Address,
    /// An element for each of a row, or nowhere.
    pub bias: Address,
    /// Where results go.
    pub y: Address,
    /// Where the mean of each row goes, or nowhere.
    pub means: Address,
    /// Where one over the root of each row's variance and epsilon goes, or nowhere.
    pub factors: Address,
    /// How many rows.
    pub rows: usize,
    /// Elements of a row.
    pub length: usize,
    /// What is added to the variance.
    pub epsilon: f32,
}

/// See [`LayerNorm`].
pub fn layer_norm(of: &LayerNorm) -> Result<Launch, TooLarge> {
    let addresses = [of.x, of.scale, of.bias, of.y, of.means, of.factors];
    let parameters = addresses.into_iter().fold(Parameters::default(), Parameters::long);
    let parameters = parameters.int(size(of.length)?).float(of.epsilon);
    Ok(parameters.launch("depx_layer_norm", [along_first_axis(of.rows)?, 1, 1], 64))
}

/// `y = epilogue(a × b)` for each of a batch. Strides are in elements, from one row, column or item to the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gemm {
    /// The left operand, rows × depth.
    pub a: Address,
    /// Its strides.
    pub a_strides: [i64; 3],
    /// The right operand, depth × columns.
    pub b: Address,
    /// Its strides.
    pub b_strides: [i64; 3],
    /// The result, row after row and item after item.
    pub y: Address,
    /// An element for each column, or nowhere.
    pub bias: Address,
    /// What is added then, or nowhere. The rows of an item follow those of the one before.
    pub addend: Address,
    /// The strides of its rows and columns.
    pub addend_strides: [i64; 2],
    /// What a sum is multiplied by.
    pub alpha: f32,
    /// What an element of the addend is multiplied by.
    pub beta: f32,
    /// The least result.
    pub low: f32,
    /// The greatest result.
    pub high: f32,
    /// How many products.
    pub items: usize,
    /// Rows, depth and columns of each.
    pub sizes: [usize; 3],
}

/// One launch for every 65,535 items.
pub fn gemm(of: &Gemm) -> Result<Vec<Launch>, TooLarge> {
    const TILE: usize = 64;
    let [rows, depth, columns] = of.sizes;
    let (tall, wide) = (along_first_axis(rows.div_ceil(TILE))?, columns.div_ceil(TILE));
    if wide > MAX_ITEMS || of.items > MAX_BLOCKS {
        return Err(TooLarge);
    }
    let sizes = [size(rows)?, size(depth)?, size(columns)?];
    let launches = (0..of.items).step_by(MAX_ITEMS).map(|first| {
        let addresses = [of.a, of.b, of.y, of.bias, of.addend];
        let parameters = addresses.into_iter().fold(Parameters::default(), Parameters::long);
        let parameters = sizes.into_iter().fold(parameters, Parameters::int);
        let parameters = [of.alpha, of.beta, of.low, of.high].into_iter().fold(parameters, Parameters::float);
        let strides = of.a_strides.into_iter().chain(of.b_strides).chain(of.addend_strides);
        let parameters = strides.fold(parameters.int(first as u32), |all, stride| all.long(stride.cast_unsigned()));
        let items = (of.items - first).min(MAX_ITEMS);
        parameters.launch("depx_gemm", [tall, wide as u32, items as u32], 256)
    });
    Ok(launches.collect())
}

fn along_first_axis(blocks: usize) -> Result<u32, TooLarge> {
    if blocks <= MAX_BLOCKS { Ok(blocks as u32) } else { Err(TooLarge) }
}

/// Kernels count elements in 32 bits, and go past the last one by less than 256.
fn size(elements: usize) -> Result<u32, TooLarge> {
    along_first_axis(elements)
}

#[derive(Default)]
struct Parameters(Vec<u8>);

impl Parameters {
    fn long(mut self, value: u64) -> Self {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn int(mut self, value: u32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn float(self, value: f32) -> Self {
        self.int(value.to_bits())
    }

    fn launch(self, kernel: &'static str, grid: [u32; 3], threads: u32) -> Launch {
        Launch { kernel, grid, threads, parameters: self.0 }
    }
}
