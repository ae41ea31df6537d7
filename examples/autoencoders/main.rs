//! What autoencoders are good for: eight small experiments on handwritten digits.
//!
//! An autoencoder squeezes its input through a short code and learns to rebuild it from there.
//! Compression is one use of that; the code also serves to denoise, to find what is unusual,
//! to describe and to generate. README.md beside this file says what each experiment shows
//! and which numbers it reaches. Read in this order: `networks` (what is trained), `training` (how),
//! `uses` (what for); `digits` and `pictures` are input and output.
//!
//! Run `cargo run --release --example autoencoders -- dense --data mnist --out dense`.

mod digits;
mod features;
mod networks;
mod pictures;
mod training;
mod uses;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use digits::Digits;
use uses::{Figures, Lab};

/// Every operation on tensors allocates its result; an allocator that keeps large buffers
/// triples the speed of training on a CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// 784-400-20-400-784, the reference
    Dense,
    /// 784-32-784, the smallest that works
    Small,
    /// Strided convolutions: fewer parameters, lower loss
    Convolutional,
    /// Noisy digits in, clean ones out
    Denoising,
    /// A wide code of which few units are active
    Sparse,
    /// A code to draw from: new digits
    Variational,
    /// Digits never seen are rebuilt badly
    Anomaly,
    /// 20 codes against 20 principal components
    Features,
}

/// Trains one kind of autoencoder on digits and shows what it is good for
#[derive(Debug, Parser)]
struct Args {
    kind: Kind,
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
    aec::kernels::memory::keep_freed_memory();
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
    match args.kind {
        Kind::Dense => uses::compression(&mut lab, networks::dense),
        Kind::Small => uses::small(&mut lab),
        Kind::Convolutional => uses::compression(&mut lab, networks::convolutional),
        Kind::Denoising => uses::denoising(&mut lab),
        Kind::Sparse => uses::sparse(&mut lab),
        Kind::Variational => uses::variational(&mut lab),
        Kind::Anomaly => uses::anomaly(&mut lab),
        Kind::Features => uses::features(&mut lab),
    }
}
