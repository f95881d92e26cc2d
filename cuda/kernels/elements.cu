// Functions of single elements: a thread for each, in blocks of 256. Input and output may be the same.

#define ELEMENTS(NAME, OF)                                                                                   \
    extern "C" __global__ void __launch_bounds__(256) NAME(const float* x, float* y, unsigned long long count) { \
        unsigned long long i = blockIdx.x * 256ull + threadIdx.x;                                            \
        if (i < count) y[i] = OF(x[i]);                                                                      \
    }

ELEMENTS(depx_erf, error_function)
ELEMENTS(depx_exp, exponential)
ELEMENTS(depx_gelu, gelu)
ELEMENTS(depx_gelu_tanh, gelu_tanh)
ELEMENTS(depx_hard_swish, hard_swish)
ELEMENTS(depx_mish, mish)
ELEMENTS(depx_relu, relu)
ELEMENTS(depx_sigmoid, sigmoid)
ELEMENTS(depx_silu, silu)
ELEMENTS(depx_tanh, hyperbolic_tangent)
