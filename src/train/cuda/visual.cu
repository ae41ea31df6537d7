// The visual error (metrics/visual.rs) and its gradient: light of sRGB samples, opponent planes, the maps that compare
// two planes, and the way back.
//
// Planes are [height, width] of one picture; those of a batch lie one after another, and a pair holds those of the
// original pictures before those of the decoded ones. Sides are multiples of 16.
#include "kernel.cuh"

// Taps of the window to each side of the middle one.
#define REACH 5
// The constant of the structural similarity.
#define C2 0.0009f
// Added to what receptors take in, and its cube root.
#define BIAS 0.0037930733f
#define BIAS_ROOT 0.1559542f

__device__ const float TAPS[REACH + 1] = {0.26601173f,  0.21300554f,  0.10936069f,
                                          0.036000773f, 0.007598758f, 0.0010283801f};

// Light that the receptors of long, middle and short waves take in, by red, green and blue.
__device__ const float ABSORBANCE[3][3] = {{0.3f, 0.622f, 0.078f},
                                           {0.23f, 0.692f, 0.078f},
                                           {0.24342269f, 0.20476744f, 0.55180987f}};

// Where a sample of a picture [`p` rows, `q` columns] lies in its 8x8 patches.
__device__ inline size_t in_patches(unsigned picture, unsigned y, unsigned x, unsigned channel,
                                    unsigned p, unsigned q)
{
    const size_t patch = ((size_t)picture * (p / 8) + y / 8) * (q / 8) + x / 8;
    return patch * 192 + (y % 8 * 8 + x % 8) * 3 + channel;
}

// Light of patches `a` of pictures of `p` rows and `q` columns, in planes: `n` values [3, pictures, p, q].
KERNEL(visual_light)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const unsigned pictures = n / 3 / p / q, x = i % q, y = i / q % p, plane = i / q / p;
    const float sample = a[in_patches(plane % pictures, y, x, plane / pictures, p, q)] + 0.5f;
    const float inside = fminf(fmaxf(sample, 0.0f), 1.0f);
    out[i] = inside <= 0.04045f ? inside / 12.92f : powf((inside + 0.055f) / 1.055f, 2.4f);
}

// The gradient with respect to patches `a` from that with respect to their light, planes `b` [3, pictures, p, q];
// samples that are clipped have none. `n` values.
KERNEL(visual_light_gradient)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const unsigned pictures = n / 3 / p / q, x = i % q, y = i / q % p, plane = i / q / p;
    const size_t at = in_patches(plane % pictures, y, x, plane / pictures, p, q);
    const float sample = a[at] + 0.5f;
    const bool is_clipped = sample < 0.0f || sample > 1.0f;
    const float base = powf((fmaxf(sample, 0.0f) + 0.055f) / 1.055f, 1.4f);
    const float slope = sample <= 0.04045f ? 1.0f / 12.92f : 2.4f / 1.055f * base;
    out[at] = is_clipped ? 0.0f : b[i] * slope;
}

// Planes `a`, `p` columns wide, at half the size: `n` values, each the mean of four.
KERNEL(visual_halved)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const float *top = a + (size_t)(i / (p / 2)) * 2 * p + i % (p / 2) * 2;
    out[i] = ((top[0] + top[1]) + (top[p] + top[p + 1])) * 0.25f;
}

// What the receptors `waves` (0 to 2) make of light.
__device__ inline float receptor(unsigned waves, float red, float green, float blue)
{
    const float *mix = ABSORBANCE[waves];
    return cbrtf(mix[0] * red + mix[1] * green + mix[2] * blue + BIAS);
}

// The opponent planes X, Y and B of planes of light `a`: three times `n` values.
KERNEL(visual_opponent)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const float red = a[i], green = a[i + n], blue = a[i + 2 * (size_t)n];
    const float tall = receptor(0, red, green, blue) - BIAS_ROOT;
    const float middle = receptor(1, red, green, blue) - BIAS_ROOT;
    const float bright = 0.5f * (tall + middle);
    out[i] = 7.0f * (tall - middle) + 0.42f;
    out[i + n] = bright + 0.01f;
    out[i + 2 * (size_t)n] = receptor(2, red, green, blue) - BIAS_ROOT - bright + 0.55f;
}

// The gradient with respect to the light of `n` decoded pixels. `a` is the light of pairs [3, 2, n], `b` the gradient
// with respect to `p` of the opponent planes (1: Y; 2: X, Y; 3: all), `c`, if there is one, that with respect to the
// light [3, n / 4] at half the size. `q` columns.
KERNEL(visual_opponent_gradient)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const size_t m = n;
    const float red = a[m + i], green = a[3 * m + i], blue = a[5 * m + i];
    const float of_x = p == 1 ? 0.0f : b[i];
    const float of_y = p == 1 ? b[i] : b[m + i];
    const float of_b = p == 3 ? b[2 * m + i] : 0.0f;
    const float bright = 0.5f * (of_y - of_b);
    const float of_roots[3] = {bright + 7.0f * of_x, bright - 7.0f * of_x, of_b};
    float sums[3] = {0.0f, 0.0f, 0.0f};
    for (unsigned waves = 0; waves < 3; waves++) {
        const float root = receptor(waves, red, green, blue);
        const float slope = of_roots[waves] / (3.0f * root * root);
        for (unsigned color = 0; color < 3; color++) sums[color] += ABSORBANCE[waves][color] * slope;
    }
    const size_t coarse = (size_t)(i / q / 2) * (q / 2) + i % q / 2;
    for (unsigned color = 0; color < 3; color++)
        out[color * m + i] = sums[color] + (c ? 0.25f * c[color * (m / 4) + coarse] : 0.0f);
}

// The window's means of a, b, a^2 + b^2 and ab across, of a pair of planes `a`, `p` columns wide: four times `n` values.
KERNEL(visual_moments_across)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const int x = (int)(i % p), width = (int)p;
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int offset = -REACH; offset <= REACH; offset++) {
        if (x + offset < 0 || x + offset >= width) continue;
        const float tap = TAPS[offset < 0 ? -offset : offset];
        const float original = a[(long long)i + offset], decoded = a[(long long)i + n + offset];
        sums[0] += tap * original;
        sums[1] += tap * decoded;
        sums[2] += tap * (original * original + decoded * decoded);
        sums[3] += tap * (original * decoded);
    }
    for (unsigned moment = 0; moment < 4; moment++) out[moment * (size_t)n + i] = sums[moment];
}

// The window along columns (`s` is 0) or rows (1) of planes `a` of `p` rows and `q` columns: `n` values.
KERNEL(visual_window)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const int place = (int)(s ? i % q : i / q % p), end = (int)(s ? q : p);
    const long long stride = s ? 1 : q;
    float sum = 0.0f;
    for (int offset = -REACH; offset <= REACH; offset++) {
        if (place + offset < 0 || place + offset >= end) continue;
        sum += TAPS[offset < 0 ? -offset : offset] * a[(long long)i + offset * stride];
    }
    out[i] = sum;
}

// One minus the structural similarity of moments.
struct Similarity {
    float value, of_mean, of_squares, of_cross;
};

__device__ inline Similarity dissimilarity(float mean_a, float mean_b, float squares, float cross)
{
    const float difference = mean_a - mean_b, closeness = 1.0f - difference * difference;
    const float shared = 2.0f * (cross - mean_a * mean_b) + C2;
    const float variances = squares - (mean_a * mean_a + mean_b * mean_b);
    const float below = fmaxf(variances, 0.0f) + C2;
    const float structure = shared / below;
    Similarity of;
    of.value = fmaxf(1.0f - closeness * structure, 0.0f);
    of.of_mean = 2.0f * closeness * (mean_a - mean_b * structure) / below -
                 2.0f * difference * structure;
    of.of_squares = closeness * structure / below;
    of.of_cross = -2.0f * closeness / below;
    return of;
}

// How much stronger an edge is in the decoded picture.
__device__ inline float edge_change(float edge_a, float edge_b)
{
    return (1.0f + fabsf(edge_b)) / (1.0f + fabsf(edge_a)) - 1.0f;
}

// The values of the three maps and their fourth powers, [3, 2, n], of a pair of planes `a` and their moments `b`.
KERNEL(visual_maps)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const size_t m = n;
    const float mean_a = b[i], mean_b = b[m + i];
    const float change = edge_change(a[i] - mean_a, a[m + i] - mean_b);
    const float values[3] = {dissimilarity(mean_a, mean_b, b[2 * m + i], b[3 * m + i]).value,
                             fmaxf(change, 0.0f), fmaxf(-change, 0.0f)};
    for (unsigned map = 0; map < 3; map++) {
        const float square = values[map] * values[map];
        out[2 * map * m + i] = values[map];
        out[(2 * map + 1) * m + i] = square * square;
    }
}

// Errors of `n` pictures and what a map's values and their cubes count in their gradients, [7, n], from the sums `a`
// [3, 2, n] over the `p` positions of each. The weights of the mean and of the fourth-power mean of each map are the six
// of `b` at `q`.
KERNEL(visual_errors)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const float positions = (float)p;
    const float *weights = b + q;
    float error = 0.0f;
    for (unsigned map = 0; map < 3; map++) {
        const float mean = a[2 * map * n + i] / positions;
        // Where all is next to nothing the slope of the root would be out of all bounds.
        const float root = fmaxf(sqrtf(sqrtf(a[(2 * map + 1) * n + i] / positions)), 1e-6f);
        error += weights[2 * map] * mean + weights[2 * map + 1] * root;
        out[(2 * map + 1) * n + i] = weights[2 * map] / positions;
        out[(2 * map + 2) * n + i] = weights[2 * map + 1] / (positions * root * root * root);
    }
    out[i] = error;
}

// What a map's value counts in the gradient; nothing where it is 0, for it is clipped there.
__device__ inline float counted(float of_value, float of_cube, float value)
{
    return value > 0.0f ? of_value + of_cube * value * value * value : 0.0f;
}

// Slopes with respect to the means of b, of a^2 + b^2 and of ab, and to b itself: [4, n], of a pair of planes `a`, their
// moments `b` and what errors say of the maps of `p` positions a picture, `c` [6, pictures].
KERNEL(visual_map_slopes)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const size_t m = n;
    const unsigned pictures = n / p;
    const float *of = c + i / p;
    const float mean_a = b[i], mean_b = b[m + i];
    const float edge_a = a[i] - mean_a, edge_b = a[m + i] - mean_b;
    const Similarity similarity = dissimilarity(mean_a, mean_b, b[2 * m + i], b[3 * m + i]);
    const float factor = counted(of[0], of[pictures], similarity.value);
    const float change = edge_change(edge_a, edge_b);
    const float more = counted(of[2 * pictures], of[3 * pictures], fmaxf(change, 0.0f));
    const float less = counted(of[4 * pictures], of[5 * pictures], fmaxf(-change, 0.0f));
    const float sign = (edge_b > 0.0f ? 1.0f : 0.0f) - (edge_b < 0.0f ? 1.0f : 0.0f);
    const float of_edge = (more - less) * (sign / (1.0f + fabsf(edge_a)));
    out[i] = factor * similarity.of_mean - of_edge;
    out[m + i] = factor * similarity.of_squares;
    out[2 * m + i] = factor * similarity.of_cross;
    out[3 * m + i] = of_edge;
}

// The gradient with respect to the decoded plane of a pair `a`: `b` are the windowed slopes of its moments [3, n], `c` those
// with respect to its samples themselves.
KERNEL(visual_plane_gradient)
{
    const unsigned i = THREAD;
    if (i >= n) return;
    const size_t m = n;
    out[i] = c[i] + b[i] + 2.0f * a[m + i] * b[m + i] + a[i] * b[2 * m + i];
}
