// Runs the CUDA kernels on the CPU, for the tests: the same sources, compiled as C++.
//
// Blocks run one after another, and so do a block's threads, except in kernels where they meet:
// those get a C++ thread for each. Reads requests from
// standard input until its end: the kernel's name (32 bytes, padded with zeros), the number of
// blocks, the arrays (count, then bytes and content of each) and the numbers (count, then 8 bytes
// each); writes the arrays' contents back.
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

using std::isfinite;

struct Index {
    unsigned x;
};
static thread_local Index blockIdx, threadIdx;
static std::barrier<> *threads_meet;

#define __global__
#define __device__ static
// Blocks run one after another, so that one copy serves them all.
#define __shared__ static
#define __syncthreads() threads_meet->arrive_and_wait()

static inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }

#include "all.cu"

typedef void (*Kernel)(float *, const float *, const float *, const float *, unsigned, unsigned,
                       unsigned, unsigned, unsigned);

static const struct {
    const char *name;
    Kernel kernel;
    bool meets;
} KERNELS[] = {
#define ENTRY(name) {#name, name, false}
#define MEETING(name) {#name, name, true}
    ENTRY(scale_channels),
    ENTRY(space_to_depth),
    ENTRY(depth_to_space),
    ENTRY(bias_activate),
    ENTRY(bias_activate_gradient),
    ENTRY(add_bias),
    ENTRY(depthwise),
    MEETING(depthwise_gradients),
    MEETING(column_sums),
    MEETING(row_sums),
    ENTRY(squared_error),
    ENTRY(round_even),
    ENTRY(take_step),
    ENTRY(place_step),
    ENTRY(scale_step),
    ENTRY(index_step),
    ENTRY(step_products),
    ENTRY(quantize),
    ENTRY(add),
    ENTRY(rate),
    ENTRY(rate_choices),
    ENTRY(rate_gradients),
    ENTRY(scale_samples),
    ENTRY(visual_light),
    ENTRY(visual_light_gradient),
    ENTRY(visual_halved),
    ENTRY(visual_opponent),
    ENTRY(visual_opponent_gradient),
    ENTRY(visual_moments_across),
    ENTRY(visual_window),
    ENTRY(visual_maps),
    ENTRY(visual_errors),
    ENTRY(visual_map_slopes),
    ENTRY(visual_plane_gradient),
};

struct Request {
    std::string name;
    unsigned blocks;
    std::vector<std::vector<char>> arrays;
    std::vector<uint64_t> numbers;

    template <typename T> T *array(size_t i)
    {
        return i < arrays.size() ? (T *)arrays[i].data() : nullptr;
    }
    float *floats(size_t i) { return array<float>(i); }
    unsigned integer(size_t i) { return (unsigned)numbers[i]; }
    // Numbers carry the bits of a float in their lower half.
    float real(size_t i)
    {
        uint32_t bits = (uint32_t)numbers[i];
        float value;
        memcpy(&value, &bits, 4);
        return value;
    }
};

static void run_thread(Request &r)
{
    if (r.name == "moments")
        return moments(r.floats(0), r.floats(1), r.floats(2), r.floats(3), r.floats(4),
                       r.floats(5), r.floats(6), r.floats(7), r.integer(0), r.real(1), r.real(2),
                       r.real(3), r.real(4), r.real(5), r.real(6));
    if (r.name == "move_matrix")
        return move_matrix(r.floats(0), r.floats(1), r.floats(2), r.floats(3), r.integer(0),
                           r.real(1), r.real(2), r.real(3));
    if (r.name == "cut_patches")
        return cut_patches(r.floats(0), (unsigned char *)r.arrays[1].data(),
                           (long long *)r.arrays[2].data(), r.integer(0), r.integer(1));
    if (r.name == "uniform_noise") return uniform_noise(r.floats(0), r.integer(0), r.numbers[1]);
    for (auto &entry : KERNELS)
        if (r.name == entry.name)
            return entry.kernel(r.floats(0), r.floats(1), r.floats(2), r.floats(3), r.integer(0),
                                r.integer(1), r.integer(2), r.integer(3), r.integer(4));
    fprintf(stderr, "no kernel %s\n", r.name.c_str());
    exit(1);
}

static void run(Request &request)
{
    bool meets = false;
    for (auto &entry : KERNELS) meets |= entry.meets && request.name == entry.name;
    if (!meets) {
        for (blockIdx.x = 0; blockIdx.x < request.blocks; blockIdx.x++)
            for (threadIdx.x = 0; threadIdx.x < THREADS; threadIdx.x++) run_thread(request);
        return;
    }
    std::barrier<> meet(THREADS);
    threads_meet = &meet;
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < THREADS; i++)
        threads.emplace_back([&, i] {
            threadIdx.x = i;
            for (blockIdx.x = 0; blockIdx.x < request.blocks; blockIdx.x++) {
                run_thread(request);
                meet.arrive_and_wait();
            }
        });
    for (auto &thread : threads) thread.join();
}

template <typename T> static bool get(T *values, size_t count)
{
    return fread(values, sizeof(T), count, stdin) == count;
}

int main()
{
    char name[33] = {0};
    while (get(name, 32)) {
        Request request;
        uint32_t arrays, numbers;
        request.name = name;
        if (!get(&request.blocks, 1) || !get(&arrays, 1)) return 1;
        for (uint32_t i = 0; i < arrays; i++) {
            uint32_t bytes;
            if (!get(&bytes, 1)) return 1;
            request.arrays.emplace_back(bytes);
            if (!get(request.arrays[i].data(), bytes)) return 1;
        }
        if (!get(&numbers, 1)) return 1;
        request.numbers.resize(numbers);
        if (!get(request.numbers.data(), numbers)) return 1;
        run(request);
        for (auto &array : request.arrays) fwrite(array.data(), 1, array.size(), stdout);
        fflush(stdout);
    }
    return 0;
}
