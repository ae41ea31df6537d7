//! Whole encode and decode by picture size and number of threads.
//!
//! Throughput is in pixels (criterion prints `Melem/s`: read megapixels per second), since the cost
//! of a pixel should not depend on the picture's size.
//! `cargo bench --bench codec`; the largest size alone: `cargo bench --bench codec -- 24mp`.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // benchmarks know their numbers

mod common;

use std::cell::OnceCell;
use std::hint::black_box;
use std::time::Duration;

use aec::unstable::{DecodeOptions, EncodeOptions, Image, Model, NoProgress, Quality};
use common::{picture, pool, thread_counts};
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main, measurement::WallTime,
};

/// Pictures of 0.4, 2, 8 and 24 megapixels.
const SIZES: [(&str, u32, u32); 4] = [
    ("0.4mp", 768, 512),
    ("2mp", 1728, 1152),
    ("8mp", 3456, 2304),
    ("24mp", 6000, 4000),
];

/// A picture, and its file once a measurement asks for it: a filtered run makes only what it needs.
struct Subject {
    size: (u32, u32),
    image: OnceCell<Image>,
    file: OnceCell<Vec<u8>>,
}

impl Subject {
    fn new(width: u32, height: u32) -> Self {
        Self {
            size: (width, height),
            image: OnceCell::new(),
            file: OnceCell::new(),
        }
    }

    fn pixels(&self) -> u64 {
        u64::from(self.size.0) * u64::from(self.size.1)
    }

    fn image(&self) -> &Image {
        self.image.get_or_init(|| picture(self.size.0, self.size.1))
    }

    fn file(&self, model: &Model) -> &[u8] {
        self.file.get_or_init(|| encode(self.image(), model))
    }
}

fn encode(image: &Image, model: &Model) -> Vec<u8> {
    let options = EncodeOptions {
        quality: Quality::from_percent(50.0).expect("in range"),
        ..EncodeOptions::default()
    };
    aec::unstable::encode(image, model, &options, &NoProgress).expect("encodes")
}

fn decode(file: &[u8], model: &Model) -> Image {
    aec::unstable::decode(file, model, &DecodeOptions::default(), &NoProgress).expect("decodes")
}

/// Encoding and decoding of `subject` on `threads` threads, called `name`.
fn bench_both(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    subject: &Subject,
    model: &Model,
    threads: usize,
) {
    let pool = pool(threads);
    group.throughput(Throughput::Elements(subject.pixels()));
    group.bench_function(BenchmarkId::new("encode", name), |bencher| {
        let image = subject.image();
        bencher.iter(|| pool.install(|| encode(black_box(image), model)));
    });
    group.bench_function(BenchmarkId::new("decode", name), |bencher| {
        let file = subject.file(model);
        bencher.iter(|| pool.install(|| decode(black_box(file), model)));
    });
}

/// Every size, on all cores.
fn by_size(criterion: &mut Criterion) {
    aec::unstable::kernels::memory::keep_freed_memory();
    let model = Model::embedded().expect("the built-in model loads");
    let mut group = criterion.benchmark_group("codec");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .measurement_time(Duration::from_secs(10));
    let cores = thread_counts().into_iter().max().unwrap_or(1);
    for (name, width, height) in SIZES {
        let subject = Subject::new(width, height);
        bench_both(&mut group, name, &subject, &model, cores);
    }
    group.finish();
}

/// Every number of threads, on the picture of 2 megapixels.
fn by_threads(criterion: &mut Criterion) {
    let model = Model::embedded().expect("the built-in model loads");
    let mut group = criterion.benchmark_group("threads");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    let (_, width, height) = SIZES[1];
    let subject = Subject::new(width, height);
    for threads in thread_counts() {
        bench_both(&mut group, &threads.to_string(), &subject, &model, threads);
    }
    group.finish();
}

criterion_group!(benches, by_size, by_threads);
criterion_main!(benches);
