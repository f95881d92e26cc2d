// Operators on rows: a block of 64 threads for each, so that thread j is accumulator j of KERNELS.md.

struct Sum {
    static __device__ float merge(float s, float other) { return add(s, other); }
};

struct LargestNumber {
    static __device__ float merge(float s, float other) { return other > s ? other : s; }
};

// What all accumulators come to, for every thread. Between one use and the next there must be a barrier.
template <class Fold>
FUNCTION float merged(float* accumulators, float mine) {
    unsigned j = threadIdx.x;
    accumulators[j] = mine;
#pragma unroll 1
    for (unsigned h = 32; h > 0; h /= 2) {
        __syncthreads();
        if (j < h) accumulators[j] = Fold::merge(accumulators[j], accumulators[j + h]);
    }
    __syncthreads();
    return accumulators[0];
}

// x and y are [outer, length, inner]; a row is along the middle.
extern "C" __global__ void __launch_bounds__(64) depx_softmax(const float* x, float* y, unsigned length, unsigned inner) {
    __shared__ float accumulators[64];
    unsigned long long row = blockIdx.x, start = row / inner * length * inner + row % inner;
    x += start;
    y += start;
    float largest = negative(INFINITE);
    for (unsigned i = threadIdx.x; i < length; i += 64) {
        float element = x[(unsigned long long)i * inner];
        largest = element > largest ? element : largest;
    }
    largest = merged<LargestNumber>(accumulators, largest);
    __syncthreads();
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < length; i += 64) {
        float e = exp_of_difference(sub(x[(unsigned long long)i * inner], largest));
        y[(unsigned long long)i * inner] = e;
        sum = add(sum, e);
    }
    float factor = div(1.0f, merged<Sum>(accumulators, sum));
    for (unsigned i = threadIdx.x; i < length; i += 64) {
        y[(unsigned long long)i * inner] = mul(y[(unsigned long long)i * inner], factor);
    }
}

// Rows follow each other. Scale, bias, and where means and factors of rows go may be null.
extern "C" __global__ void __launch_bounds__(64)
    depx_layer_norm(const float* x, const float* scale, const float* bias, float* y, float* means, float* factors,
                    unsigned length, float epsilon) {
    __shared__ float accumulators[64];
    unsigned long long start = (unsigned long long)blockIdx.x * length;
    x += start;
    y += start;
    float count = __uint2float_rn(length);
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < length; i += 64) sum = add(sum, x[i]);
    float mean = div(merged<Sum>(accumulators, sum), count);
    __syncthreads();
    sum = 0.0f;
    for (unsigned i = threadIdx.x; i < length; i += 64) {
        float deviation = sub(x[i], mean);
        sum = fma(deviation, deviation, sum);
    }
    float variance = div(merged<Sum>(accumulators, sum), count);
    float factor = div(1.0f, root(add(variance, epsilon)));
    if (threadIdx.x == 0 && means) means[blockIdx.x] = mean;
    if (threadIdx.x == 0 && factors) factors[blockIdx.x] = factor;
    for (unsigned i = threadIdx.x; i < length; i += 64) {
        float normal = mul(sub(x[i], mean), factor);
        if (scale && bias) {
            normal = fma(normal, scale[i], bias[i]);
        } else if (scale) {
            normal = mul(normal, scale[i]);
        } else if (bias) {
            normal = add(normal, bias[i]);
        }
        y[i] = normal;
    }
}
