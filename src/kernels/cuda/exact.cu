// The codec's exact arithmetic (codec-spec.md, Arithmetic): the bits of the CPU's kernels.
//
// Every output is one chain of fused multiply-adds in the specified order; threads share out
// outputs, never the terms of a sum. Intrinsics with explicit rounding keep the compiler from
// contracting or reordering anything.
#include "kernel.cuh"

// Outputs per panel of packed weights (pointwise.rs).
#define PANEL 32

// Pointwise convolution of `n` pixels, `p` inputs to `q` outputs; `a` [n, p]; `b` the packed
// weights, panels [ceil(q / 32), p, 32] and then the bias, padded to whole panels; `c` [n, q] is
// added where `s` is 1; `r` is 1 to activate. Blocks: ceil(n / 64) * ceil(q / 64).
KERNEL(exact_pointwise)
{
    __shared__ float inputs[STAGE][TILE + 1];
    __shared__ float weights[STAGE][TILE];
    const unsigned columns = (q + TILE - 1) / TILE;
    const unsigned first_pixel = blockIdx.x / columns * TILE;
    const unsigned first_output = blockIdx.x % columns * TILE;
    const unsigned padded = (q + PANEL - 1) / PANEL * PANEL;
    const unsigned row = threadIdx.x / 16 * EACH, column = threadIdx.x % 16 * EACH;
    const float *bias = b + (size_t)padded * p;
    float sums[EACH][EACH];
    for (unsigned i = 0; i < EACH; i++)
        for (unsigned j = 0; j < EACH; j++) {
            unsigned output = first_output + column + j;
            sums[i][j] = output < padded ? bias[output] : 0.0f;
        }
    for (unsigned start = 0; start < p; start += STAGE) {
        const unsigned depth = p - start < STAGE ? p - start : STAGE;
        for (unsigned i = threadIdx.x; i < STAGE * TILE; i += THREADS) {
            unsigned pixel = first_pixel + i / STAGE, k = i % STAGE;
            if (pixel < n && k < depth) inputs[k][i / STAGE] = a[(size_t)pixel * p + start + k];
        }
        for (unsigned i = threadIdx.x; i < STAGE * TILE; i += THREADS) {
            unsigned output = first_output + i % TILE, k = i / TILE;
            if (output < padded && k < depth)
                weights[k][i % TILE] =
                    b[((size_t)(output / PANEL) * p + start + k) * PANEL + output % PANEL];
        }
        __syncthreads();
        for (unsigned k = 0; k < depth; k++)
            for (unsigned i = 0; i < EACH; i++)
                for (unsigned j = 0; j < EACH; j++)
                    sums[i][j] =
                        __fmaf_rn(weights[k][column + j], inputs[k][row + i], sums[i][j]);
        __syncthreads();
    }
    for (unsigned i = 0; i < EACH; i++)
        for (unsigned j = 0; j < EACH; j++) {
            unsigned pixel = first_pixel + row + i, output = first_output + column + j;
            if (pixel >= n || output >= q) continue;
            size_t at = (size_t)pixel * q + output;
            float value = r ? activate(sums[i][j]) : sums[i][j];
            out[at] = s ? __fadd_rn(value, c[at]) : value;
        }
}

// Depthwise 3x3 convolution of one picture, `n` values: `p` rows, `q` columns, `r` channels;
// `b` [9, r] taps and then the bias [r]. Outside the picture is +0. One thread per output.
KERNEL(exact_depthwise)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const unsigned channel = i % r, x = i / r % q, y = i / r / q;
    float sum = b[9 * r + channel];
    for (unsigned tap = 0; tap < 9; tap++) {
        // Unsigned: a row or column -1 is larger than any.
        unsigned row = y + tap / 3 - 1, column = x + tap % 3 - 1;
        bool inside = row < p && column < q;
        float value = inside ? a[((size_t)row * q + column) * r + channel] : 0.0f;
        sum = __fmaf_rn(b[tap * r + channel], value, sum);
    }
    out[i] = sum;
}

// `out[i] = a[i] * b[sample, channel]`: `n` values, `p` per sample, `q` channels.
KERNEL(scale_channels)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = __fmul_rn(a[i], b[i / p * q + i % q]);
}

// Where value `i` of a picture [batch, s rows, p columns, q channels] goes in its cells of `r` x `r`
// pixels, [batch, s / r, p / r, r, r, q].
__device__ inline size_t in_cells(unsigned i, unsigned p, unsigned q, unsigned r, unsigned s)
{
    const unsigned channel = i % q, x = i / q % p, row = i / q / p;
    const unsigned y = row % s, sample = row / s;
    const unsigned cell = (sample * (s / r) + y / r) * (p / r) + x / r;
    return ((size_t)cell * r * r + y % r * r + x % r) * q + channel;
}

// Space to depth by `r`: `a` [batch, `s` rows, `p` columns, `q` channels], `n` values.
KERNEL(space_to_depth)
{
    const unsigned i = THREAD;
    if (i < n) out[in_cells(i, p, q, r, s)] = a[i];
}

// Depth to space by `r`: as above, with the sizes of the result.
KERNEL(depth_to_space)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = a[in_cells(i, p, q, r, s)];
}

// The positions of one phase of the 2 x 2 pattern: `n` values of the result, `p` columns and
// `q` channels of `a`, phase `r` (row) and `s` (column).
KERNEL(gather_phase)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const unsigned channel = i % q, x = i / q % (p / 2), y = i / q / (p / 2);
    out[i] = a[((size_t)(2 * y + r) * p + 2 * x + s) * q + channel];
}
