//! Principal components and nearest neighbors, to judge codes by.

use anyhow::Result;
use candle_core::{D, Tensor};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::training::noise;

/// Mean `[1, 784]` and the first `count` principal components `[784, count]` of pictures, by
/// orthogonal iteration: multiply by the covariance, make orthonormal, repeat.
pub fn principal_components(
    pixels: &Tensor,
    count: usize,
    random: &mut ChaCha8Rng,
) -> Result<(Tensor, Tensor)> {
    let mean = pixels.mean_keepdim(0)?;
    let centered = pixels.broadcast_sub(&mean)?;
    let covariance = (centered.t()?.matmul(&centered)? / pixels.dim(0)? as f64)?;
    let mut components = noise((pixels.dim(1)?, count), random)?;
    for _ in 0..100 {
        components = orthonormal(&covariance.matmul(&components)?)?;
    }
    Ok((mean, components))
}

/// The columns, each less its part along those before it and of length 1 (Gram and Schmidt).
fn orthonormal(columns: &Tensor) -> candle_core::Result<Tensor> {
    let mut done: Vec<Tensor> = Vec::new();
    for i in 0..columns.dim(1)? {
        let mut column = columns.narrow(1, i, 1)?.contiguous()?;
        for other in &done {
            let along = (&column * other)?.sum_all()?;
            column = (&column - other.broadcast_mul(&along)?)?;
        }
        let length = column.sqr()?.sum_all()?.sqrt()?;
        done.push(column.broadcast_div(&length)?);
    }
    Tensor::cat(&done, 1)
}

/// The share of test pictures whose five nearest training pictures, by their features `[n, c]`,
/// are mostly of the same label. `labels` are those of training and test.
pub fn neighbor_accuracy(train: &Tensor, test: &Tensor, labels: (&[u8], &[u8])) -> Result<f64> {
    let lengths = train.sqr()?.sum(D::Minus1)?;
    let mut right = 0;
    for (block, wanted) in labels.1.chunks(500).enumerate() {
        let queries = test.narrow(0, block * 500, wanted.len())?;
        // |a - b|² less |a|², which is the same for all neighbors of a.
        let products = queries.matmul(&train.t()?)?;
        let distances = lengths
            .broadcast_sub(&(products * 2.0)?)?
            .to_vec2::<f32>()?;
        let pairs = distances.par_iter().zip(wanted);
        right += pairs
            .filter(|(row, label)| vote(row, labels.0) == **label)
            .count();
    }
    Ok(right as f64 / labels.1.len() as f64)
}

/// The most frequent label of the five nearest.
fn vote(distances: &[f32], labels: &[u8]) -> u8 {
    let mut pairs: Vec<(&f32, &u8)> = distances.iter().zip(labels).collect();
    let nearest = 5.min(pairs.len() - 1);
    pairs.select_nth_unstable_by(nearest, |a, b| a.0.total_cmp(b.0));
    let votes = |&label: &u8| {
        pairs[..nearest]
            .iter()
            .filter(|pair| *pair.1 == label)
            .count()
    };
    (0..10).max_by_key(votes).unwrap_or(0)
}
