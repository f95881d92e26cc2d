// KERNELS.md in CUDA, as kernels/src/reference/single.rs has it. Every operation on floats is an intrinsic that rounds to nearest once, so
// that neither the compiler nor the assembler fuses or reorders any.

#define FUNCTION static __device__ __forceinline__

FUNCTION float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
FUNCTION float add(float a, float b) { return __fadd_rn(a, b); }
FUNCTION float sub(float a, float b) { return __fsub_rn(a, b); }
FUNCTION float mul(float a, float b) { return __fmul_rn(a, b); }
FUNCTION float div(float a, float b) { return __fdiv_rn(a, b); }
FUNCTION float root(float x) { return __fsqrt_rn(x); }

FUNCTION float bits(unsigned x) { return __uint_as_float(x); }
FUNCTION float magnitude(float x) { return bits(__float_as_uint(x) & 0x7fffffff); }
FUNCTION float negative(float x) { return bits(__float_as_uint(x) ^ 0x80000000); }
FUNCTION float with_sign(float x, float sign) {
    return bits((__float_as_uint(x) & 0x7fffffff) | (__float_as_uint(sign) & 0x80000000));
}
FUNCTION bool is_nan(float x) { return x != x; }

#define INFINITE bits(0x7f800000)
#define LOG2_E 0x3fb8aa3b
#define LN2_HIGH 0x3f317200
#define LN2_LOW 0x35bfbe8e
#define LN2 0x3f317218

// Adding this to the bits of a number multiplies it by 2.
#define TWICE 0x00800000
#define MINUS 0x80000000

static __device__ const unsigned EXP[] = {0x3efffffe, 0x3e2aaa49, 0x3d2aac48, 0x3c091a37, 0x3ab4f835};
static __device__ const unsigned EXP2[] = {0x3f317219, 0x3e75fdf3, 0x3d6356d4, 0x3c1d90bd, 0x3aafe0f3, 0x39260cbe};
static __device__ const unsigned TANH_P[] = {0x3f800000, 0x3e09058d, 0x3b651637, 0x37ace1a2, 0x32656e89};
static __device__ const unsigned TANH_Q[] = {0x3f800000, 0x3eef2d6b, 0x3cd3fbf4, 0x39ac4305, 0x3550c005};
static __device__ const unsigned ERF_SMALL[] = {0x3e0375d1, 0xbec09332, 0x3de70357, 0xbcdac1de, 0x3ba0d7f2, 0xba12a947};
static __device__ const unsigned ERF_LARGE[] = {0xba012991, 0xbfd02246, 0xbf6baf9f, 0xbe18524c,
                                                0x3d010bf9, 0xbb8b58dd, 0x398cf8f5};
static __device__ const unsigned GELU_P[] = {0x3f000000, 0x3edfdf8e, 0x3e3ad799, 0x3d255e1f, 0x3b859e05};
static __device__ const unsigned GELU_Q[] = {0x3f800000, 0x3fd610df, 0x3f998285, 0x3eef534b, 0x3dcf4586, 0x3c277659};

// Horner's rule. Coefficient i is multiplied by 2 to the power of STEP x (i + 2), and has its sign changed by ODD if i is odd.
template <int STEP = 0, unsigned ODD = 0, int COUNT>
FUNCTION float horner(float x, const unsigned (&coefficients)[COUNT]) {
    float sum = 0.0f;
#pragma unroll
    for (int i = COUNT - 1; i >= 0; i--) {
        float coefficient = bits(coefficients[i] + (unsigned)(STEP * (i + 2)) * TWICE ^ (i % 2 ? ODD : 0));
        sum = i == COUNT - 1 ? coefficient : fma(sum, x, coefficient);
    }
    return sum;
}

FUNCTION float power_of_two(int n) { return bits((unsigned)(n + 127) << 23); }

FUNCTION float scale(float value, float n) {
    int first = (int)n >> 1;
    return mul(mul(value, power_of_two(first)), power_of_two((int)n - first));
}

FUNCTION float exp_of_remainder(float r) { return fma(fma(horner(r, EXP), r, 1.0f), r, 1.0f); }

// The rounding constants of KERNELS.md: 1.5 x 2^23 plus an integer.
template <int PLUS>
FUNCTION float rounded_product(float a, float b) {
    return sub(fma(a, b, 12582912.0f + PLUS), 12582912.0f + PLUS);
}

FUNCTION float remainder_of_exp(float x, float n) { return fma(bits(LN2_LOW ^ MINUS), n, fma(bits(LN2_HIGH ^ MINUS), n, x)); }

FUNCTION float exponential(float x) {
    if (is_nan(x)) return x;
    x = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
    float n = rounded_product<254>(x, bits(LOG2_E));
    return scale(exp_of_remainder(remainder_of_exp(x, n)), n);
}

// ed of KERNELS.md.
FUNCTION float exp_of_difference(float x) {
    if (is_nan(x)) return x;
    float t = x < -88.0f ? -88.0f : x;
    float n = rounded_product<127>(t, bits(LOG2_E));
    return mul(exp_of_remainder(fma(n, bits(LN2 ^ MINUS), t)), power_of_two((int)n));
}

FUNCTION float root_of_exp(float x) {
    float n = rounded_product<127>(x, bits(LOG2_E - TWICE));
    float r = fma(n, bits(LN2_LOW + TWICE ^ MINUS), fma(n, bits(LN2_HIGH + TWICE ^ MINUS), x));
    return mul(fma(fma(horner<-1>(r, EXP), r, 0.5f), r, 1.0f), power_of_two((int)n));
}

FUNCTION float sigmoid(float x) {
    if (is_nan(x)) return x;
    float q = root_of_exp(x < -104.0f ? -104.0f : x > 20.0f ? 20.0f : x);
    float e = mul(q, q);
    return div(e, add(1.0f, e));
}

FUNCTION float hyperbolic_tangent(float x) {
    if (is_nan(x)) return x;
    float square = mul(x, x);
    float z = square > 81.0f ? 81.0f : square;
    float quotient = div(mul(x, horner(z, TANH_P)), horner(z, TANH_Q));
    return quotient < -1.0f ? -1.0f : quotient > 1.0f ? 1.0f : quotient;
}

FUNCTION float positive_part(float x) { return x < 0.0f ? -0.0f : x; }

FUNCTION float gated(float x, float t, float q) {
    float a = div(q, fma(q, q, 1.0f));
    float p = mul(t, q);
    float b = fma(t, q, negative(p));
    return sub(positive_part(x), fma(p, a, mul(b, a)));
}

FUNCTION float silu(float x) {
    if (is_nan(x)) return x;
    float t = magnitude(x) > 110.0f ? 110.0f : magnitude(x);
    return gated(x, t, root_of_exp(negative(t)));
}

FUNCTION float gelu_tanh(float x) {
    if (is_nan(x)) return x;
    float t = magnitude(x) > 11.0f ? 11.0f : magnitude(x);
    double wide = t;
    double linear = __longlong_as_double(0xbff26aec21bce759), cubic = __longlong_as_double(0xbfaa5a7cf7572a98);
    double exponent = __dmul_rn(wide, __fma_rn(__dmul_rn(wide, wide), cubic, linear));
    double n = __dsub_rn(__dadd_rn(exponent, 6755399441055744.0 + 127.0), 6755399441055744.0 + 127.0);
    float r = __double2float_rn(__dsub_rn(exponent, n));
    return gated(x, t, mul(fma(horner(r, EXP2), r, 1.0f), power_of_two((int)n)));
}

FUNCTION float gelu(float x) {
    if (is_nan(x)) return x;
    float t = magnitude(x) > 14.5f ? 14.5f : magnitude(x);
    float a = mul(t, t);
    float b = fma(t, t, negative(a));
    float n = rounded_product<254>(a, bits(LOG2_E - TWICE ^ MINUS));
    float r = add(fma(n, bits(LN2_LOW + TWICE), fma(n, bits(LN2_HIGH + TWICE), a)), b);
    float e = fma(fma(horner<-1, MINUS>(r, EXP), r, -0.5f), r, 1.0f);
    float h = div(mul(mul(t, horner(t, GELU_P)), e), horner(t, GELU_Q));
    return sub(positive_part(x), scale(h, n));
}

FUNCTION float mish(float x) {
    if (is_nan(x) || x > 20.0f) return x;
    float t = x < -110.0f ? -110.0f : x;
    float n = rounded_product<254>(t, bits(LOG2_E));
    float mantissa = exp_of_remainder(remainder_of_exp(t, n));
    float e = scale(mantissa, n);
    float s = add(e, 2.0f);
    float a = div(s, fma(e, s, 2.0f));
    float p = mul(t, mantissa);
    float b = fma(t, mantissa, negative(p));
    return scale(fma(p, a, mul(b, a)), n);
}

FUNCTION float error_function(float x) {
    float t = magnitude(x);
    float result;
    if (t > 1.0f) {
        float y = horner(t > 3.95f ? 3.95f : t, ERF_LARGE);
        float n = sub(add(y, 12582912.0f + 383.0f), 12582912.0f + 383.0f);
        float r = sub(y, n);
        result = fma(fma(horner(r, EXP2), r, 1.0f), negative(power_of_two((int)n)), 1.0f);
    } else {
        result = fma(t, horner(mul(x, x), ERF_SMALL), t);
    }
    return with_sign(result, x);
}

FUNCTION float hard_swish(float x) {
    float y = fma(x, bits(0x3e2aaaab), 0.5f);
    return mul(x, y < 0.0f ? 0.0f : y > 1.0f ? 1.0f : y);
}

FUNCTION float relu(float x) { return x < 0.0f ? 0.0f : x; }
