//! What autoencoders are good for: eight small experiments on handwritten digits.
//!
//! An autoencoder squeezes its input through a short code and learns to rebuild it from there.
//! Compression is one use of that; the code also serves to denoise, to find what is unusual,
//! to describe and to generate. README.md beside this file says what each experiment shows
//! and which numbers it reaches. Read in this order: `networks` (what is trained), `training` (how),
//! `uses` (what for); `digits` and `pictures` are input and output.
//!
//! Run `cargo run --release --example autoencoders -- dense --data mnist --out target/dense`.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // samples are rounded to bytes

mod digits;
mod networks;
mod pictures;
mod training;
mod uses;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use clap::builder::PossibleValue;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use digits::Digits;
use training::Lab;
use uses::Figures;

/// Every operation on tensors allocates its result; an allocator that keeps large buffers
/// triples the speed of training on a CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The name of an experiment, what it is, and what runs it.
type Kind = (&'static str, &'static str, fn(&mut Lab) -> Result<Figures>);

const KINDS: [Kind; 8] = [
    ("dense", "784-400-20-400-784", uses::dense),
    ("small", "784-32-784", uses::small),
    ("convolutional", "convolutions", uses::convolutional),
    ("denoising", "noise in, none out", uses::denoising),
    ("sparse", "few active units", uses::sparse),
    ("variational", "new digits", uses::variational),
    ("anomaly", "digits never seen", uses::anomaly),
    ("features", "codes as features", uses::features),
];

/// Trains one kind of autoencoder on digits and shows what it is good for
#[derive(Debug, Parser)]
struct Args {
    #[arg(value_parser = KINDS.map(|(name, help, _)| PossibleValue::new(name).help(help)))]
    kind: String,
    /// Folder with the four MNIST files in idx format, gzipped or not
    #[arg(long)]
    data: PathBuf,
    /// Folder for loss.svg and the pictures
    #[arg(long)]
    out: PathBuf,
    /// Passes over the training pictures, instead of the experiment's own number
    #[arg(long)]
    epochs: Option<usize>,
    /// Pictures per step, likewise
    #[arg(long)]
    batch: Option<usize>,
    /// Of the weights, the order and the noise
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    for (name, value) in run(Args::parse())? {
        println!("{name}: {value:.4}");
    }
    Ok(())
}

/// Runs one experiment and returns its figures by name.
fn run(args: Args) -> Result<Figures> {
    aec::unstable::kernels::memory::keep_freed_memory();
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create '{}'", args.out.display()))?;
    let mut lab = Lab {
        train: Digits::read(&args.data, "train")?,
        test: Digits::read(&args.data, "t10k")?,
        out: args.out,
        epochs: args.epochs,
        batch: args.batch,
        random: ChaCha8Rng::seed_from_u64(args.seed),
    };
    let kind = KINDS.iter().find(|(name, ..)| *name == args.kind);
    let (_, _, experiment) = kind.context("there is no such kind")?;
    experiment(&mut lab)
}
