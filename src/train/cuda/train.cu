// Training: the elementwise operations and sums around the matrix products, and their gradients.
//
// Nothing here has to be exact; sums have a fixed order all the same, so that a run repeats.
#include "kernel.cuh"

// Channels of a block of threads in sums over pixels, and rows of it.
#define COLUMNS 32
#define ROWS (THREADS / COLUMNS)

__device__ inline float slope(float x)
{
    return x < -2.0f ? 0.0f : x > 2.0f ? 1.0f : 0.5f * x + 0.5f;
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

// `act(a + b[channel])`: `n` values, `p` channels.
KERNEL(bias_activate)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = activate(a[i] + b[i % p]);
}

// Gradient of the above: `c act'(a + b[channel])`.
KERNEL(bias_activate_gradient)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = c[i] * slope(a[i] + b[i % p]);
}

// `a + b[channel]`, and `+ c` where `q` is 1: `n` values, `p` channels.
KERNEL(add_bias)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = a[i] + b[i % p] + (q ? c[i] : 0.0f);
}

// `a + b`, or `a - b` where `p` is 1: `n` values.
KERNEL(add)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = p ? a[i] - b[i] : a[i] + b[i];
}

// Depthwise 3x3 of a batch: `n` values, `p` rows, `q` columns, `r` channels; `b` taps [9, r] and
// bias [r]. With `s` the taps are turned round and there is no bias: the gradient of the input.
KERNEL(depthwise)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const unsigned channel = i % r, x = i / r % q, y = i / r / q % p;
    const float *sample = a + (size_t)(i / r / q / p) * p * q * r;
    float sum = s ? 0.0f : b[9 * r + channel];
    for (unsigned tap = 0; tap < 9; tap++) {
        unsigned row = y + tap / 3 - 1, column = x + tap % 3 - 1;
        if (row < p && column < q)
            sum += b[(s ? 8 - tap : tap) * r + channel] *
                   sample[((size_t)row * q + column) * r + channel];
    }
    out[i] = sum;
}

// Adds up `values` of the threads of one column of the block; the sum is right in row 0.
__device__ inline float add_rows(float value)
{
    __shared__ float values[ROWS][COLUMNS];
    const unsigned column = threadIdx.x % COLUMNS, row = threadIdx.x / COLUMNS;
    __syncthreads();
    values[row][column] = value;
    __syncthreads();
    float sum = 0.0f;
    if (row == 0)
        for (unsigned i = 0; i < ROWS; i++) sum += values[i][column];
    return sum;
}

// Gradients of depthwise taps and bias over strips of rows: `a` input, `b` gradient of the
// output, `n` rows of the whole batch, `p` rows of a picture, `q` columns, `r` channels, `s` rows
// per strip; out [strips, 10, r]. Blocks: strips * ceil(r / 32).
KERNEL(depthwise_gradients)
{
    const unsigned groups = (r + COLUMNS - 1) / COLUMNS;
    const unsigned strip = blockIdx.x / groups;
    const unsigned channel = blockIdx.x % groups * COLUMNS + threadIdx.x % COLUMNS;
    const unsigned first = strip * s, last = first + s < n ? first + s : n;
    float sums[10];
    for (unsigned i = 0; i < 10; i++) sums[i] = 0.0f;
    if (channel < r)
        for (unsigned i = first * q + threadIdx.x / COLUMNS; i < last * q; i += ROWS) {
            const unsigned x = i % q, y = i / q % p;
            const float gradient = b[(size_t)i * r + channel];
            sums[9] += gradient;
            for (unsigned tap = 0; tap < 9; tap++) {
                unsigned row = y + tap / 3 - 1, column = x + tap % 3 - 1;
                if (row < p && column < q)
                    sums[tap] += gradient *
                                 a[((size_t)(i / q - y + row) * q + column) * r + channel];
            }
        }
    for (unsigned i = 0; i < 10; i++) {
        float sum = add_rows(sums[i]);
        if (threadIdx.x < COLUMNS && channel < r) out[((size_t)strip * 10 + i) * r + channel] = sum;
    }
}

// Sums of `a`, or of `a b` where `s` is 1, over strips of `r` of the `n` rows, for each of `p`
// columns; out [strips, p]. Blocks: strips * ceil(p / 32).
KERNEL(column_sums)
{
    const unsigned groups = (p + COLUMNS - 1) / COLUMNS;
    const unsigned strip = blockIdx.x / groups;
    const unsigned column = blockIdx.x % groups * COLUMNS + threadIdx.x % COLUMNS;
    const unsigned first = strip * r, last = first + r < n ? first + r : n;
    float sum = 0.0f;
    if (column < p)
        for (unsigned row = first + threadIdx.x / COLUMNS; row < last; row += ROWS) {
            size_t i = (size_t)row * p + column;
            sum += s ? a[i] * b[i] : a[i];
        }
    sum = add_rows(sum);
    if (threadIdx.x < COLUMNS && column < p) out[(size_t)strip * p + column] = sum;
}

// Sums of parts of rows: `a` [n, p], `q` parts of each row; out [n, q]. With `r` the squares are
// summed. Blocks: n * q.
KERNEL(row_sums)
{
    __shared__ float sums[THREADS];
    const unsigned row = blockIdx.x / q, part = blockIdx.x % q;
    const unsigned first = (unsigned)((size_t)p * part / q);
    const unsigned last = (unsigned)((size_t)p * (part + 1) / q);
    float sum = 0.0f;
    for (unsigned i = first + threadIdx.x; i < last; i += THREADS) {
        float value = a[(size_t)row * p + i];
        sum += r ? value * value : value;
    }
    sums[threadIdx.x] = sum;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) out[blockIdx.x] = sums[0];
}

// Squared differences of `a` and `b`.
KERNEL(squared_error)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = (a[i] - b[i]) * (a[i] - b[i]);
}

// To the nearest integer, ties to even.
KERNEL(round_even)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = rintf(a[i]);
}

// The steps of the context model: latents with `p` columns, `q` rows and `r` channels, of which
// step `s` codes one group of r / 4 at each position.

// The first channel that is coded at position `i`.
__device__ inline unsigned first_coded(unsigned i, unsigned p, unsigned q, unsigned r, unsigned step)
{
    const unsigned x = i % p, y = i / p % q;
    const unsigned phase = y % 2 ? (x % 2 ? 1 : 3) : (x % 2 ? 2 : 0);
    return (phase + 4 - step) % 4 * (r / 4);
}

// What is coded of `a`: `n` values.
KERNEL(take_step)
{
    const unsigned i = THREAD, group = r / 4;
    if (i < n) out[i] = a[i / group * r + first_coded(i / group, p, q, r, s) + i % group];
}

// `b` where it is coded, elsewhere `a`: `n` values.
KERNEL(place_step)
{
    const unsigned i = THREAD, group = r / 4;
    if (i >= n) return;
    const unsigned channel = i % r - first_coded(i / r, p, q, r, s);
    out[i] = channel < group ? b[i / r * group + channel] : a[i];
}

// The number of `b` ([batch, r]) for coded value `i`.
__device__ inline float of_channel(const float *b, unsigned i, unsigned p, unsigned q, unsigned r,
                                   unsigned step)
{
    const unsigned group = r / 4, sample = i / group / p / q;
    return b[sample * r + first_coded(i / group, p, q, r, step) + i % group];
}

// `a b[sample, channel]` of `n` coded values.
KERNEL(scale_step)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = a[i] * of_channel(b, i, p, q, r, s);
}

// `8 a + b[sample, channel]` of `n` coded values.
KERNEL(index_step)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = 8.0f * a[i] + of_channel(b, i, p, q, r, s);
}

// Sums over positions of `a b`, for each of `n` channels of all samples.
KERNEL(step_products)
{
    const unsigned i = THREAD, group = r / 4;
    if (i >= n) return;
    float sum = 0.0f;
    for (unsigned place = 0; place < p * q; place++) {
        const unsigned channel = i % r - first_coded(place, p, q, r, s);
        if (channel >= group) continue;
        const unsigned at = (i / r * p * q + place) * group + channel;
        sum += a[at] * b[at];
    }
    out[i] = sum;
}

// `round(a - b) + b`: `n` values.
KERNEL(quantize)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = rintf(a[i] - b[i]) + b[i];
}

// The rate term and its constants: see train/ops/rate.rs and format.rs.
#define MIN_PROBABILITY 1e-7f
#define SIGMA_MIN 0.12f
#define LOG_STEP 0.1142132913f
#define MAX_INDEX 63.999f
#define LOG2_E 1.442695041f
#define INV_SQRT2 0.707106781f

__device__ inline float inverse_sigma(float scale)
{
    float index = fminf(fmaxf(scale, 0.0f), MAX_INDEX) - 0.5f;
    return expf(-LOG_STEP * index) * (1.0f / SIGMA_MIN);
}

__device__ inline float probability(float v, float inv_sigma)
{
    float low = (v - 0.5f) * inv_sigma * INV_SQRT2, high = (v + 0.5f) * inv_sigma * INV_SQRT2;
    return 0.5f * (erfcf(low) - erfcf(high));
}

// Bits of residuals `a` at scale indices `b`: `n` values.
KERNEL(rate)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    float bound = probability(fabsf(a[i]), inverse_sigma(b[i]));
    out[i] = -log2f(fmaxf(bound, MIN_PROBABILITY));
}

__device__ inline float cost(float residual, float symbol, float inv_sigma, float weight)
{
    const float error = residual - symbol;
    const float chance = fmaxf(probability(fabsf(symbol), inv_sigma), MIN_PROBABILITY);
    return -log2f(chance) + weight * error * error;
}

// The symbols that an encoder chooses for residuals `a` at scale indices `b`, where an error of one step is worth `c`
// bits: `n` values.
KERNEL(rate_choices)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const float inv_sigma = inverse_sigma(b[i]), nearest = rintf(a[i]);
    const float smaller = nearest - (float)((nearest > 0.0f) - (nearest < 0.0f));
    out[i] = cost(a[i], smaller, inv_sigma, c[i]) < cost(a[i], nearest, inv_sigma, c[i]) ? smaller : nearest;
}

// Gradients of `rate` with respect to the residual, out [0..n], and the index, out [n..2n].
KERNEL(rate_gradients)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const float index = b[i], inv_sigma = inverse_sigma(index), v = fabsf(a[i]);
    const float low = (v - 0.5f) * inv_sigma, high = (v + 0.5f) * inv_sigma;
    const float chance = probability(v, inv_sigma);
    float by_residual, by_log_sigma;
    if (chance <= MIN_PROBABILITY) {
        by_residual = inv_sigma * fminf(fmaxf(low, 1.0f), 8.0f) * LOG2_E;
        by_log_sigma = -low * fminf(low, 8.0f);
    } else {
        float at_low = expf(-0.5f * low * low) * 0.3989423f;
        float at_high = expf(-0.5f * high * high) * 0.3989423f;
        by_residual = (at_low - at_high) * inv_sigma * (LOG2_E / chance);
        by_log_sigma = -(low * at_low - high * at_high) * (LOG2_E / chance);
    }
    float by_index = by_log_sigma * LOG_STEP;
    bool leaves = (index < 0.0f && by_index > 0.0f) ||
                  (index > MAX_INDEX && by_index < 0.0f);
    out[i] = copysignf(by_residual, a[i]);
    out[n + i] = leaves ? 0.0f : by_index;
}

// `a * b[sample]`: `n` values, `p` per sample.
KERNEL(scale_samples)
{
    const unsigned i = THREAD;
    if (i < n) out[i] = a[i] * b[i / p];
}
