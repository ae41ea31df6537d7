// The optimizer's steps (train/optimizer.rs) and what a training step reads: crops and noise.
#include "kernel.cuh"

#define BETA1 0.9f
#define BETA2 0.999f
#define EPSILON 1e-8f
#define MATRIX_BETA 0.95f

// Moves a parameter by `step` and its running average after it.
__device__ inline void move(float *parameter, float *average, float step, float decay, float keep)
{
    float moved = *parameter - (step + decay * *parameter);
    *parameter = moved;
    *average = keep * *average + (1.0f - keep) * moved;
}

// AdamW for the parameters whose `kinds` is 0. For those of matrices only the momentum moves, and
// Nesterov's direction goes to `directions`, to be orthogonalized. Nothing at all happens when the
// gradients' squared norm is not finite. One thread for each of `n` parameters.
extern "C" __global__ void moments(float *parameters, float *first, float *second, float *averages,
                                   float *directions, const float *gradients, const float *kinds,
                                   const float *squared_norm, unsigned n, float clip_norm,
                                   float rate, float decay, float correction1, float correction2,
                                   float keep)
{
    const unsigned i = THREAD;
    const float squared = squared_norm[0];
    if (i >= n || !isfinite(squared)) return;
    const float gradient = gradients[i] * (clip_norm / fmaxf(sqrtf(squared), clip_norm));
    if (kinds[i] != 0.0f) {
        first[i] = MATRIX_BETA * first[i] + (1.0f - MATRIX_BETA) * gradient;
        directions[i] = MATRIX_BETA * first[i] + (1.0f - MATRIX_BETA) * gradient;
        return;
    }
    first[i] = BETA1 * first[i] + (1.0f - BETA1) * gradient;
    second[i] = BETA2 * second[i] + (1.0f - BETA2) * gradient * gradient;
    float step = first[i] * correction1 / (sqrtf(second[i] * correction2) + EPSILON);
    move(&parameters[i], &averages[i], rate * step, decay, keep);
}

// Moves a matrix of `n` parameters along its orthogonalized direction.
extern "C" __global__ void move_matrix(float *parameters, float *averages, const float *directions,
                                       const float *squared_norm, unsigned n, float rate,
                                       float decay, float keep)
{
    const unsigned i = THREAD;
    if (i < n && isfinite(squared_norm[0]))
        move(&parameters[i], &averages[i], rate * directions[i], decay, keep);
}

// How much of `start..start + length` lies in pixel `i`, where a pixel is `unit` long.
__device__ inline unsigned long long covered(unsigned long long start, unsigned long long length,
                                             unsigned unit, unsigned long long i)
{
    const unsigned long long first = i * unit, last = first + unit, end = start + length;
    return (end < last ? end : last) - (start > first ? start : first);
}

// Cuts crops of `side` x `side` pixels out of pictures in memory as bytes, as patches of 8 x 8
// pixels in -0.5..0.5: out [batch, side / 8, side / 8, 192]. `crops` has for each sample the first
// byte, the bytes per row of the picture, the side of the square that is scaled down, and the turn
// (train/crop.rs: the mean of the area, exact in integers, rounded to a byte). `n` values.
extern "C" __global__ void cut_patches(float *out, const unsigned char *pictures,
                                       const long long *crops, unsigned n, unsigned side)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const unsigned channel = i % 3, x_in = i / 3 % 8, y_in = i / 24 % 8, patch = i / 192;
    const unsigned width = side / 8;
    const unsigned sample = patch / (width * width);
    const unsigned y = patch / width % width * 8 + y_in, x = patch % width * 8 + x_in;
    const long long *crop = crops + 4 * sample;
    const unsigned long long source = crop[2];
    const unsigned turn = crop[3];
    unsigned row = turn & 2 ? side - 1 - y : y, column = turn & 1 ? side - 1 - x : x;
    if (turn & 4) {
        const unsigned kept = row;
        row = column;
        column = kept;
    }
    const unsigned long long top = row * source, left = column * source;
    unsigned long long sum = 0;
    for (unsigned long long v = top / side; v * side < top + source; v++) {
        const unsigned long long height = covered(top, source, side, v);
        for (unsigned long long u = left / side; u * side < left + source; u++)
            sum += height * covered(left, source, side, u)
                * pictures[crop[0] + v * crop[1] + u * 3 + channel];
    }
    const unsigned byte = (sum + source * source / 2) / (source * source);
    out[i] = __fadd_rn(__fmul_rn((float)byte, 1.0f / 255.0f), -0.5f);
}

// Uniform noise in -0.5..0.5, the same as train/noise.rs makes: value `i` of the stream `seed`.
extern "C" __global__ void uniform_noise(float *out, unsigned n, unsigned long long seed)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    unsigned long long z = seed + (i + 1ull) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    out[i] = __fmaf_rn((float)(unsigned)(z >> 40), 1.0f / 16777216.0f, -0.5f);
}
