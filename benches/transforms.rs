//! The transforms alone, as the codec runs them: analysis, hyper-analysis, hyper-synthesis, one step of
//! the context model, synthesis; on one thread and on all.
//!
//! All work on the same 1024 x 1024 pixels, one tile, and throughput is in these pixels (criterion prints
//! `Melem/s`: read megapixels per second). Decoding runs the context step four times per tile.
//! `cargo bench --bench transforms`; one of them: `cargo bench --bench transforms -- synthesis/1`.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // benchmarks know their numbers

mod common;

use std::hint::black_box;
use std::ops::Range;

use aec::unstable::Model;
use aec::unstable::format::PATCH8;
use aec::unstable::kernels::pixels_to_patches;
use aec::unstable::network::{Features, Grid, QualityModel};
use aec::unstable::{Quality, Result};
use common::{picture, pool, thread_counts};
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main, measurement::WallTime,
};

/// Side of the picture in pixels.
const SIDE: u32 = 1024;

/// The step of the context model that is measured; all four have the same layers.
const STEP: usize = 3;

/// What each transform reads: the outputs of the ones before it, so that the values are usual ones.
struct Inputs {
    patches: Grid,
    latent: Grid,
    hyper_latent: Grid,
    features: Features,
}

impl Inputs {
    fn new(model: &QualityModel) -> Result<Self> {
        let side = SIDE as usize;
        let mut patches = Grid::zeros(side / 8, side / 8, PATCH8);
        pixels_to_patches(&picture(SIDE, SIDE).rgb, side, side, &mut patches.values);
        let latent = analysis(model, &patches)?;
        let hyper_latent = model.hyper_analysis(&latent)?;
        let features = model.hyper_synthesis(&hyper_latent);
        Ok(Self {
            patches,
            latent,
            hyper_latent,
            features,
        })
    }
}

/// The latent of a picture's patches.
fn analysis(model: &QualityModel, patches: &Grid) -> Result<Grid> {
    let (height, width) = (patches.height / 2, patches.width / 2);
    let mut latent = Grid::zeros(height, width, model.config().latent_channels);
    let read = |rows: Range<usize>, to: &mut [f32]| to.copy_from_slice(patches.rows(rows));
    model.analysis((height, width), &read, &mut |rows, values| {
        latent.rows_mut(rows).copy_from_slice(values);
        Ok(())
    })?;
    Ok(latent)
}

/// The synthesis transform; its patches are looked at and dropped.
fn synthesis(model: &QualityModel, latent: &Grid) -> Result<()> {
    model.synthesis(latent, &mut |_, patches| {
        black_box(patches);
        Ok(())
    })
}

/// Measures a transform of `input` on every number of threads.
fn transform<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    input: &Grid,
    run: impl Fn(Grid) -> Result<T> + Sync,
) where
    T: Send,
{
    for threads in thread_counts() {
        let pool = pool(threads);
        group.bench_function(BenchmarkId::new(name, threads), |bencher| {
            // Transforms consume their input; its copy is made outside of the measured time.
            bencher.iter_batched(
                || input.clone(),
                |input| pool.install(|| run(black_box(input)).expect("computes")),
                BatchSize::LargeInput,
            );
        });
    }
}

fn transforms(criterion: &mut Criterion) {
    aec::unstable::kernels::memory::keep_freed_memory();
    let model = Model::embedded().expect("the built-in model loads");
    let quality = Quality::from_percent(50.0).expect("in range");
    let model = model.at_quality(quality.raw());
    let inputs = Inputs::new(&model).expect("computes");
    let mut group = criterion.benchmark_group("transforms");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .throughput(Throughput::Elements(u64::from(SIDE).pow(2)));
    transform(&mut group, "analysis", &inputs.patches, |grid| {
        analysis(&model, &grid)
    });
    transform(&mut group, "hyper-analysis", &inputs.latent, |grid| {
        model.hyper_analysis(&grid)
    });
    transform(
        &mut group,
        "hyper-synthesis",
        &inputs.hyper_latent,
        |grid| Ok(model.hyper_synthesis(&grid)),
    );
    transform(&mut group, "context-step", &inputs.latent, |grid| {
        Ok(model.context_step(STEP, &inputs.features, &grid, &mut None))
    });
    transform(&mut group, "synthesis", &inputs.latent, |grid| {
        synthesis(&model, &grid)
    });
    group.finish();
}

criterion_group!(benches, transforms);
criterion_main!(benches);
