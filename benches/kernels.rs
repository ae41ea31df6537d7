//! The exact kernels beside candle's matrix product and the fused
//! multiply-adds that one core can do, all on one thread.
//!
//! `cargo bench --bench kernels`; throughput is floating-point operations
//! (criterion prints `Gelem/s`: read GFLOP/s), and bytes for the depthwise
//! convolution. `peak` is a loop on registers alone; compare medians. Memory comes
//! from the allocator of the program, which asks the system for large pages: with
//! small ones, address translation costs a quarter of the speed.

use aec::kernels::{
    PackedBlock, PackedDepthwise, PackedPointwise, block, depthwise3x3, dispatch, fma_peak,
    pointwise,
};
use candle_core::{Device, Tensor};
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

fn packed(inputs: usize, outputs: usize) -> PackedPointwise {
    PackedPointwise::new(
        inputs,
        outputs,
        &values(inputs * outputs, 0.05),
        &values(outputs, 0.5),
    )
}

fn packed_depthwise(channels: usize) -> PackedDepthwise {
    PackedDepthwise::new(channels, &values(9 * channels, 0.3), &values(channels, 0.5))
}

fn bench_peak(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (operations, _) = fma_peak(PEAK_ROUNDS);
    group.throughput(Throughput::Elements(operations));
    group.bench_function(BenchmarkId::new("peak", dispatch::active()), |bencher| {
        bencher.iter(|| fma_peak(black_box(PEAK_ROUNDS)));
    });
}

/// Ours, candle's and the peak, side by side.
fn bench_pointwise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pointwise");
    bench_peak(&mut group);
    for channels in CHANNELS {
        for (height, width) in SIZES {
            let pixels = height * width;
            let name = format!("{channels}x{channels}x{pixels}");
            group.throughput(Throughput::Elements(
                (2 * pixels * channels * channels) as u64,
            ));
            let x = values(pixels * channels, 1.0);
            let weights = packed(channels, channels);
            let mut out = vec![0.0; pixels * channels];
            group.bench_function(BenchmarkId::new("ours", &name), |bencher| {
                bencher.iter(|| pointwise(black_box(&x), &weights, false, None, &mut out));
            });
            let x = Tensor::from_vec(x, (pixels, channels), &Device::Cpu);
            let x = x.expect("the shape has the number of values");
            let square = Tensor::from_vec(
                values(channels * channels, 0.05),
                (channels, channels),
                &Device::Cpu,
            );
            let square = square.expect("the shape has the number of values");
            group.bench_function(BenchmarkId::new("candle", &name), |bencher| {
                bencher.iter(|| black_box(&x).matmul(&square).expect("the shapes agree"));
            });
        }
    }
    group.finish();
}

fn bench_block(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block");
    bench_peak(&mut group);
    for channels in [160, 192, 256, 384] {
        let weights = PackedBlock {
            w1: packed(channels, channels),
            dw: packed_depthwise(channels),
            w2: packed(channels, channels),
            w3: packed(channels, 2 * channels),
            w4: packed(2 * channels, channels),
        };
        for (height, width) in SIZES {
            let x = values(height * width * channels, 1.0);
            let mut out = vec![0.0; x.len()];
            let operations = height * width * (12 * channels * channels + 18 * channels);
            group.throughput(Throughput::Elements(operations as u64));
            let name = format!("{channels}x{height}x{width}");
            group.bench_function(BenchmarkId::new("ours", name), |bencher| {
                bencher.iter(|| block(black_box(&x), height, width, &weights, &mut out));
            });
        }
    }
    group.finish();
}

fn bench_depthwise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("depthwise");
    for channels in CHANNELS {
        let (height, width) = SIZES[0];
        let weights = packed_depthwise(channels);
        let x = values(height * width * channels, 1.0);
        let mut out = vec![0.0; x.len()];
        group.throughput(Throughput::Bytes(8 * x.len() as u64));
        group.bench_function(BenchmarkId::new("ours", channels), |bencher| {
            bencher.iter(|| depthwise3x3(black_box(&x), height, width, &weights, &mut out));
        });
    }
    group.finish();
}

fn main() {
    aec::kernels::memory::keep_freed_memory();
    // One thread for all columns: candle's matrix product uses the same pool.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build_global();
    pool.expect("nothing has started the thread pool yet");
    let mut criterion = Criterion::default().sample_size(30).configure_from_args();
    bench_pointwise(&mut criterion);
    bench_block(&mut criterion);
    bench_depthwise(&mut criterion);
    criterion.final_summary();
}
