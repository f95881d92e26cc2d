// Products of matrices and their epilogue. A block of 16 x 16 threads computes 64 x 64 elements, 4 x 4 in each thread. Operands come to
// shared memory 16 products at a time; of 256 products, one fused multiply-add follows another.

// Strides are in elements. Items are the products of a batch, each in blocks of its own.
struct Gemm {
    const float* a;
    const float* b;
    float* y;
    const float* bias;
    const float* addend;
    unsigned rows, depth, columns;
    float alpha, beta, low, high;
    unsigned first_item;
    long long a_row, a_column, a_item;
    long long b_row, b_column, b_item;
    long long addend_row, addend_column;
};

#define TILE 64
#define STEP 16
#define BLOCK 256

FUNCTION float epilogue(const Gemm& p, float sum, unsigned long long row, unsigned column) {
    float y = mul(p.alpha, sum);
    if (p.bias) y = add(y, p.bias[column]);
    if (p.addend) y = add(y, mul(p.beta, p.addend[row * p.addend_row + column * p.addend_column]));
    y = p.low > y ? p.low : y;
    return p.high < y ? p.high : y;
}

extern "C" __global__ void __launch_bounds__(256) depx_gemm(const Gemm p) {
    // One more element in a row, so that threads that write a column use different banks.
    __shared__ float left[STEP][TILE + 1], right[STEP][TILE];
    unsigned x = threadIdx.x % 16, y = threadIdx.x / 16, item = p.first_item + blockIdx.z;
    unsigned first_row = blockIdx.x * TILE, first_column = blockIdx.y * TILE;
    const float* a = p.a + item * p.a_item;
    const float* b = p.b + item * p.b_item;
    float total[4][4] = {};
    for (unsigned block = 0; block < p.depth; block += BLOCK) {
        unsigned end = p.depth - block < BLOCK ? p.depth : block + BLOCK;
        float sum[4][4] = {};
        for (unsigned first = block; first < end; first += STEP) {
            unsigned count = end - first < STEP ? end - first : STEP;
            __syncthreads();
#pragma unroll 1
            for (unsigned i = threadIdx.x; i < STEP * TILE; i += 256) {
                unsigned k = i % STEP, row = i / STEP;
                bool within = k < count && first_row + row < p.rows;
                left[k][row] = within ? a[(first_row + row) * p.a_row + (first + k) * p.a_column] : 0.0f;
            }
#pragma unroll 1
            for (unsigned i = threadIdx.x; i < STEP * TILE; i += 256) {
                unsigned k = i / TILE, column = i % TILE;
                bool within = k < count && first_column + column < p.columns;
                right[k][column] = within ? b[(first + k) * p.b_row + (first_column + column) * p.b_column] : 0.0f;
            }
            __syncthreads();
            // What is beyond the last product is not multiplied: it could turn -0 into +0.
#pragma unroll 2
            for (unsigned k = 0; k < count; k++) {
                float columns[4];
#pragma unroll
                for (unsigned j = 0; j < 4; j++) columns[j] = right[k][x + 16 * j];
#pragma unroll
                for (unsigned i = 0; i < 4; i++) {
                    float row = left[k][y + 16 * i];
#pragma unroll
                    for (unsigned j = 0; j < 4; j++) sum[i][j] = fma(row, columns[j], sum[i][j]);
                }
            }
        }
#pragma unroll
        for (unsigned i = 0; i < 4; i++) {
#pragma unroll
            for (unsigned j = 0; j < 4; j++) total[i][j] = block == 0 ? sum[i][j] : add(total[i][j], sum[i][j]);
        }
    }
#pragma unroll
    for (unsigned i = 0; i < 4; i++) {
#pragma unroll
        for (unsigned j = 0; j < 4; j++) {
            unsigned row = first_row + y + 16 * i, column = first_column + x + 16 * j;
            if (row < p.rows && column < p.columns) {
                unsigned long long of_all = (unsigned long long)item * p.rows + row;
                p.y[of_all * p.columns + column] = epilogue(p, total[i][j], of_all, column);
            }
        }
    }
}
