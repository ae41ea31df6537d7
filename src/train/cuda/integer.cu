// The codec's exact arithmetic on integers (codec-spec.md, Arithmetic): the bits of the CPU's kernels.
//
// Sums of products are int32, exact in any order. What follows a sum is binary32, every operation
// rounded once: the intrinsics keep the compiler from contracting anything.
#include "kernel.cuh"

// What a layer does, in its flags.
#define ACTIVATE 1
#define RESIDUAL 2
// Binary32 output, not int16.
#define REAL 4
// Weights of 16 bits: high parts, and then as many low ones.
#define WIDE 8

// The int16 of a value in steps: rounded half to even and saturated.
__device__ inline short to_integer(float value)
{
    value = value < 32767.0f ? value : 32767.0f;
    value = value > -32768.0f ? value : -32768.0f;
    return (short)__float2int_rn(value);
}

// value * min(max(value * 0.25 + 0.5, 0), 1)
__device__ inline float gated(float value)
{
    float ramp = __fadd_rn(__fmul_rn(value, 0.25f), 0.5f);
    float floor = ramp > 0.0f ? ramp : 0.0f;
    return __fmul_rn(value, floor < 1.0f ? floor : 1.0f);
}

// The sums of this thread's 4 pixels x 4 outputs; all threads of the block take part.
__device__ inline void integer_sums(int sums[EACH][EACH], const short *x,
                                    const signed char *weights, unsigned pixels, unsigned inputs,
                                    unsigned outputs, unsigned first_pixel, unsigned first_output)
{
    __shared__ short stage_x[STAGE][TILE + 2];
    __shared__ short stage_weights[STAGE][TILE + 2];
    const unsigned row = threadIdx.x / 16 * EACH, column = threadIdx.x % 16 * EACH;
    for (unsigned i = 0; i < EACH; i++)
        for (unsigned j = 0; j < EACH; j++) sums[i][j] = 0;
    for (unsigned start = 0; start < inputs; start += STAGE) {
        for (unsigned i = threadIdx.x; i < STAGE * TILE; i += THREADS) {
            const unsigned k = start + i % STAGE, at = i / STAGE;
            const bool has_x = k < inputs && first_pixel + at < pixels;
            const bool has_weight = k < inputs && first_output + at < outputs;
            stage_x[i % STAGE][at] = has_x ? x[(size_t)(first_pixel + at) * inputs + k] : 0;
            stage_weights[i % STAGE][at] =
                has_weight ? weights[(size_t)(first_output + at) * inputs + k] : 0;
        }
        __syncthreads();
        for (unsigned k = 0; k < STAGE; k++)
            for (unsigned i = 0; i < EACH; i++)
                for (unsigned j = 0; j < EACH; j++)
                    sums[i][j] += (int)stage_x[k][row + i] * (int)stage_weights[k][column + j];
        __syncthreads();
    }
}

// Pointwise convolution of `n` pixels, `p` inputs to `q` outputs: `x` [n, p], `weights` [q, p],
// `rescale` multipliers [q] and then biases [q], `residual` [n, q] with the value `step` of its
// steps; `inverse` steps of an int16 output per unit. Blocks: ceil(n / 64) * ceil(q / 64).
extern "C" __global__ void integer_pointwise(void *out, const short *x, const signed char *weights,
                                             const float *rescale, const short *residual,
                                             unsigned n, unsigned p, unsigned q, unsigned flags,
                                             float inverse, float step)
{
    const unsigned columns = (q + TILE - 1) / TILE;
    const unsigned first_pixel = blockIdx.x / columns * TILE;
    const unsigned first_output = blockIdx.x % columns * TILE;
    int high[EACH][EACH], low[EACH][EACH];
    integer_sums(high, x, weights, n, p, q, first_pixel, first_output);
    if (flags & WIDE)
        integer_sums(low, x, weights + (size_t)p * q, n, p, q, first_pixel, first_output);
    for (unsigned i = 0; i < EACH; i++)
        for (unsigned j = 0; j < EACH; j++) {
            const unsigned pixel = first_pixel + threadIdx.x / 16 * EACH + i;
            const unsigned output = first_output + threadIdx.x % 16 * EACH + j;
            if (pixel >= n || output >= q) continue;
            const size_t at = (size_t)pixel * q + output;
            float multiplier = rescale[output], addend = rescale[q + output];
            if (flags & WIDE) {
                addend = __fadd_rn(__fmul_rn(__int2float_rn(low[i][j]), multiplier), addend);
                multiplier = __fmul_rn(multiplier, 256.0f);
            }
            float value = __fadd_rn(__fmul_rn(__int2float_rn(high[i][j]), multiplier), addend);
            if (flags & ACTIVATE) value = gated(value);
            if (flags & RESIDUAL)
                value = __fadd_rn(value, __fmul_rn(__int2float_rn(residual[at]), step));
            if (flags & REAL)
                ((float *)out)[at] = value;
            else
                ((short *)out)[at] = to_integer(__fmul_rn(value, inverse));
        }
}

// Depthwise 3x3 convolution of one picture, `n` values: `p` rows, `q` columns, `r` channels; `taps`
// [9, r], `rescale` multipliers [r] and then biases [r], `inverse` steps of the output per unit.
// Outside the picture is zero. One thread per output.
extern "C" __global__ void integer_depthwise(short *out, const short *x, const signed char *taps,
                                             const float *rescale, unsigned n, unsigned p,
                                             unsigned q, unsigned r, float inverse)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const unsigned channel = i % r, column = i / r % q, row = i / r / q;
    int sum = 0;
    for (unsigned tap = 0; tap < 9; tap++) {
        // Unsigned: a row or column -1 is larger than any.
        const unsigned y = row + tap / 3 - 1, at = column + tap % 3 - 1;
        if (y < p && at < q)
            sum += (int)x[((size_t)y * q + at) * r + channel] * (int)taps[tap * r + channel];
    }
    float value = __fmul_rn(__int2float_rn(sum), rescale[channel]);
    value = __fadd_rn(value, rescale[r + channel]);
    out[i] = to_integer(__fmul_rn(value, inverse));
}

// Values to int16, `n` of them, with `inverse` steps per unit. One thread per value.
extern "C" __global__ void integer_quantize(short *out, const float *x, unsigned n, float inverse)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = to_integer(__fmul_rn(x[i], inverse));
}
