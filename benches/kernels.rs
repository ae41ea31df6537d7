//! The exact kernels, and the products that one core can do, all on one thread.
//!
//! `cargo bench --bench kernels`; throughput is operations, two per product
//! (criterion prints `Gelem/s`: read GFLOP/s or GOP/s), and bytes for the
//! depthwise convolution. `peak` is a loop on registers alone; the share of it that
//! each path reaches is printed at the end.
//! Compare medians. Memory comes from the allocator of the program, which asks the
//! system for large pages: with small ones, address translation costs a quarter of
//! the speed.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // benchmarks know their numbers

use aec::unstable::kernels::dispatch;
use aec::unstable::kernels::integer::{self, Output, Rescale, Residual, Scale};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Channels of the layers measured.
const CHANNELS: [usize; 3] = [192, 256, 384];

/// Pixels of the pictures measured, as (height, width).
const SIZES: [(usize, usize); 2] = [(64, 64), (128, 128)];

/// Rounds of the peak loop: about a millisecond.
const PEAK_ROUNDS: u32 = 200_000;

/// Repeatable values between -`scale` and `scale`.
fn values(count: usize, scale: f32) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / 8_388_608.0 - 1.0) * scale
    };
    (0..count).map(|_| next()).collect()
}

/// Weights and inputs of any size.
fn integers(count: usize) -> Vec<i16> {
    let values = values(count, 32_768.0).into_iter();
    values.map(|value| value as i16).collect()
}

fn weights(count: usize) -> Vec<i8> {
    let values = integers(count).into_iter();
    values.map(|value| (value >> 10) as i8).collect()
}

/// Multipliers that bring sums into the range of the steps of [`scale`].
fn rescale(inputs: usize, outputs: usize) -> Rescale {
    let multiplier = values(outputs, 2e-6 / (inputs as f32).sqrt());
    Rescale::new(&multiplier, &values(outputs, 0.5)).expect("small numbers")
}

fn scale() -> Scale {
    Scale::from_exponent(-12).expect("a small exponent")
}

fn integer_layer(inputs: usize, outputs: usize) -> integer::Pointwise {
    let (weights, rescale) = (weights(inputs * outputs), rescale(inputs, outputs));
    integer::Pointwise::new(inputs, weights, rescale).expect("small sums")
}

fn integer_depthwise(channels: usize) -> integer::Depthwise {
    let taps = weights(9 * channels);
    integer::Depthwise::new(&taps, rescale(9, channels)).expect("the sizes agree")
}

fn integer_block(channels: usize) -> integer::Block {
    integer::Block {
        w1: integer_layer(channels, channels),
        dw: integer_depthwise(channels),
        w2: integer_layer(channels, channels),
        w3: integer_layer(channels, 2 * channels),
        w4: integer_layer(2 * channels, channels),
        input: scale(),
        first: scale(),
        depthwise: scale(),
        middle: scale(),
        hidden: scale(),
        output: scale(),
    }
}

/// Prints operations per second of a pointwise layer and of a block on every
/// path, and their shares of the path's peak: the best of a few runs each.
fn print_shares() {
    let (height, width, channels) = (64, 64, 256);
    let pixels = height * width;
    let (layer, block) = (integer_layer(channels, channels), integer_block(channels));
    let (x, mut out) = (integers(pixels * channels), vec![0; pixels * channels]);
    let usual = dispatch::active();
    for path in dispatch::available() {
        dispatch::force(path).expect("it is available");
        let peak = best(|| integer::peak(PEAK_ROUNDS / 10).0);
        let of_layer = best(|| {
            let out = Output::Integer(&mut out, scale());
            integer::pointwise(&x, &layer, true, None, out);
            (2 * pixels * channels * channels) as u64
        });
        let of_block = best(|| {
            integer::block(&x, (height, width), &block, None, &mut out);
            block_operations(height, width, channels)
        });
        let share = |speed: f64| 100.0 * speed / peak;
        println!(
            "{path}: peak {peak:.0} GOP/s, pointwise {of_layer:.0} ({:.0} %), block {of_block:.0} ({:.0} %)",
            share(of_layer),
            share(of_block),
        );
    }
    dispatch::force(usual).expect("it was in use");
}

/// Billions of operations per second, the best of a few runs of `work`, which
/// returns the number of operations.
fn best(mut work: impl FnMut() -> u64) -> f64 {
    let mut run = || {
        let start = std::time::Instant::now();
        let operations = work();
        operations as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..10).map(|_| run()).fold(0.0, f64::max)
}

fn block_operations(height: usize, width: usize, channels: usize) -> u64 {
    (height * width * (12 * channels * channels + 18 * channels)) as u64
}

fn bench_peak(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (operations, _) = integer::peak(PEAK_ROUNDS);
    group.throughput(Throughput::Elements(operations));
    group.bench_function(BenchmarkId::new("peak", dispatch::active()), |bencher| {
        bencher.iter(|| integer::peak(black_box(PEAK_ROUNDS)));
    });
}

fn bench_pointwise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pointwise");
    bench_peak(&mut group);
    for channels in CHANNELS {
        for (height, width) in SIZES {
            bench_layer(&mut group, height * width, channels);
        }
    }
    group.finish();
}

fn bench_layer(group: &mut BenchmarkGroup<'_, WallTime>, pixels: usize, channels: usize) {
    let name = format!("{channels}x{channels}x{pixels}");
    let operations = 2 * pixels * channels * channels;
    group.throughput(Throughput::Elements(operations as u64));
    let layer = integer_layer(channels, channels);
    let (x, values) = (integers(pixels * channels), integers(pixels * channels));
    let residual = Residual {
        values: &values,
        scale: scale(),
    };
    let mut out = vec![0; pixels * channels];
    for (kind, activate, residual) in [
        ("with activation", true, None),
        ("with residual", false, Some(residual)),
    ] {
        group.bench_function(BenchmarkId::new(kind, &name), |bencher| {
            bencher.iter(|| {
                let out = Output::Integer(&mut out, scale());
                integer::pointwise(black_box(&x), &layer, activate, residual, out);
            });
        });
    }
}

fn bench_block(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block");
    bench_peak(&mut group);
    for channels in [160, 192, 256, 384] {
        let weights = integer_block(channels);
        for (height, width) in SIZES {
            let x = integers(height * width * channels);
            let mut out = vec![0; x.len()];
            let operations = block_operations(height, width, channels);
            group.throughput(Throughput::Elements(operations));
            let name = format!("{channels}x{height}x{width}");
            group.bench_function(BenchmarkId::new("block", &name), |bencher| {
                bencher.iter(|| {
                    let (x, size) = (black_box(&x), (height, width));
                    integer::block(x, size, &weights, None, &mut out);
                });
            });
        }
    }
    group.finish();
}

fn bench_depthwise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("depthwise");
    for channels in CHANNELS {
        let (height, width) = SIZES[0];
        let layer = integer_depthwise(channels);
        let x = integers(height * width * channels);
        let mut out = vec![0; x.len()];
        group.throughput(Throughput::Bytes(4 * x.len() as u64));
        group.bench_function(BenchmarkId::new("depthwise", channels), |bencher| {
            bencher.iter(|| {
                let (x, out) = (black_box(&x), &mut out);
                integer::depthwise3x3(x, (height, width), &layer, out, scale());
            });
        });
    }
    group.finish();
}

fn main() {
    aec::unstable::kernels::memory::keep_freed_memory();
    // One thread for all columns.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build_global();
    pool.expect("nothing has started the thread pool yet");
    let mut criterion = Criterion::default().sample_size(30).configure_from_args();
    bench_pointwise(&mut criterion);
    bench_block(&mut criterion);
    bench_depthwise(&mut criterion);
    criterion.final_summary();
    print_shares();
}
