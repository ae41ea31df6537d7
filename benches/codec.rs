//! Whole encode and decode by picture size and number of threads.
//!
//! Throughput is in pixels: the cost of a pixel should not depend on the picture's size.
//! `cargo bench --bench codec`; the largest size alone: `cargo bench --bench codec -- 24mp`.

use std::hint::black_box;
use std::time::Duration;

use aec::{DecodeOptions, EncodeOptions, Image, Model, NoProgress, Quality};
use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};

/// Pictures of 0.4, 2, 8 and 24 megapixels.
const SIZES: [(&str, u32, u32); 4] = [
    ("0.4mp", 768, 512),
    ("2mp", 1728, 1152),
    ("8mp", 3456, 2304),
    ("24mp", 6000, 4000),
];

/// Soft shapes with texture: neither flat nor noise, repeatable.
fn picture(width: u32, height: u32) -> Image {
    let mut rgb = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f32 / 90.0, y as f32 / 70.0);
            let shape = (u.sin() + (v + 0.3 * u).cos()) * 45.0;
            let texture = (x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77))
                .wrapping_mul(0x27D4_EB2F)
                >> 28;
            let base = 128.0 + shape + texture as f32;
            rgb.extend(
                [base, base * 0.9 + 10.0, 230.0 - base * 0.7]
                    .map(|sample| sample.clamp(0.0, 255.0) as u8),
            );
        }
    }
    Image::new(width, height, rgb).expect("sizes agree")
}

fn options() -> EncodeOptions {
    EncodeOptions {
        quality: Quality::from_percent(50.0).expect("in range"),
        ..EncodeOptions::default()
    }
}

/// One thread, then two, then four and so on up to all cores.
fn thread_counts() -> Vec<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts: Vec<usize> = (0..8)
        .map(|power| 1 << power)
        .take_while(|&count| count < cores)
        .collect();
    counts.push(cores);
    counts
}

fn by_size(criterion: &mut Criterion) {
    let model = Model::embedded().expect("the built-in model loads");
    for (name, width, height) in SIZES {
        let image = picture(width, height);
        let file = aec::encode(&image, &model, &options(), &NoProgress).expect("encodes");
        let mut group = criterion.benchmark_group("codec");
        group
            .sampling_mode(SamplingMode::Flat)
            .sample_size(10)
            .measurement_time(Duration::from_secs(10));
        group.throughput(Throughput::Elements(u64::from(width) * u64::from(height)));
        group.bench_function(BenchmarkId::new("encode", name), |bencher| {
            bencher.iter(|| {
                aec::encode(black_box(&image), &model, &options(), &NoProgress).expect("encodes")
            });
        });
        group.bench_function(BenchmarkId::new("decode", name), |bencher| {
            bencher.iter(|| {
                aec::decode(
                    black_box(&file),
                    &model,
                    &DecodeOptions::default(),
                    &NoProgress,
                )
                .expect("decodes")
            });
        });
        group.finish();
    }
}

fn by_threads(criterion: &mut Criterion) {
    let model = Model::embedded().expect("the built-in model loads");
    let (width, height) = (1728, 1152);
    let image = picture(width, height);
    let file = aec::encode(&image, &model, &options(), &NoProgress).expect("encodes");
    let mut group = criterion.benchmark_group("threads");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.throughput(Throughput::Elements(u64::from(width) * u64::from(height)));
    for threads in thread_counts() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads start");
        group.bench_function(BenchmarkId::new("encode", threads), |bencher| {
            bencher.iter(|| {
                pool.install(|| {
                    aec::encode(black_box(&image), &model, &options(), &NoProgress)
                        .expect("encodes")
                })
            });
        });
        group.bench_function(BenchmarkId::new("decode", threads), |bencher| {
            let options = DecodeOptions::default();
            bencher.iter(|| {
                pool.install(|| {
                    aec::decode(black_box(&file), &model, &options, &NoProgress).expect("decodes")
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, by_size, by_threads);
criterion_main!(benches);
