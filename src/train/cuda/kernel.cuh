// What all kernels share: one signature, and the activation.
//
// Every kernel writes `out` and reads up to three tensors; what `n` to `t` mean is said with each.
// Tensors are binary32, `[batch, height, width, channels]`, channels last.
#pragma once

#define KERNEL(name)                                                                                \
    extern "C" __global__ void name(float *out, const float *a, const float *b, const float *c,    \
                                    unsigned n, unsigned p, unsigned q, unsigned r, unsigned s)

// Threads of every block.
#define THREADS 256

// Index of this thread among all: kernels with one thread per output start with it.
#define THREAD (blockIdx.x * THREADS + threadIdx.x)

// x * min(max(fma(x, 0.25, 0.5), 0), 1), operation by operation as on the CPU.
__device__ inline float activate(float x)
{
    float ramp = __fmaf_rn(x, 0.25f, 0.5f);
    float floor = ramp > 0.0f ? ramp : 0.0f;
    float gate = floor < 1.0f ? floor : 1.0f;
    return __fmul_rn(x, gate);
}
