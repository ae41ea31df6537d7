//! Handwritten digits in the idx format of MNIST.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use flate2::read::GzDecoder;

/// Width and height of a picture.
pub const SIDE: usize = 28;
/// Pixels of a picture.
pub const PIXELS: usize = SIDE * SIDE;

/// Pictures and what they show.
pub struct Digits {
    /// `[n, 784]`, from 0 (paper) to 1 (ink).
    pub pixels: Tensor,
    /// The digits, 0 to 9.
    pub labels: Vec<u8>,
}

impl Digits {
    /// Reads the set `name` (`train` or `t10k`) in `folder`.
    pub fn read(folder: &Path, name: &str) -> Result<Self> {
        let (sizes, pixels) = read_idx(folder, &format!("{name}-images-idx3-ubyte"))?;
        ensure!(sizes[1..] == [SIDE, SIDE], "pictures are not 28x28");
        let (_, labels) = read_idx(folder, &format!("{name}-labels-idx1-ubyte"))?;
        ensure!(labels.len() == sizes[0], "not as many labels as pictures");
        ensure!(labels.iter().all(|&label| label < 10), "labels over 9");
        ensure!(!labels.is_empty(), "no pictures");
        let ink: Vec<f32> = pixels.iter().map(|&p| f32::from(p) / 255.0).collect();
        let pixels = Tensor::from_vec(ink, (labels.len(), PIXELS), &Device::Cpu)?;
        Ok(Self { pixels, labels })
    }

    /// The pictures of those digits that `wanted` says.
    pub fn only(&self, wanted: impl Fn(u8) -> bool) -> Result<Tensor> {
        let index = |(i, &label): (usize, &u8)| wanted(label).then_some(i as u32);
        let indices: Vec<u32> = self.labels.iter().enumerate().filter_map(index).collect();
        ensure!(!indices.is_empty(), "no pictures of such digits");
        let indices = Tensor::new(indices, &Device::Cpu)?;
        Ok(self.pixels.index_select(&indices, 0)?)
    }
}

/// Sizes and bytes of an array: `0, 0, 8`, the number of dimensions, each as 32 bits with the
/// highest byte first, and the values.
fn read_idx(folder: &Path, name: &str) -> Result<(Vec<usize>, Vec<u8>)> {
    let (plain, zipped) = (folder.join(name), folder.join(format!("{name}.gz")));
    let mut bytes = Vec::new();
    if plain.exists() {
        bytes = std::fs::read(&plain).with_context(|| format!("cannot read '{name}'"))?;
    } else {
        let file = std::fs::File::open(&zipped)
            .with_context(|| format!("no '{name}' or '{name}.gz' in '{}'", folder.display()))?;
        GzDecoder::new(file).read_to_end(&mut bytes)?;
    }
    let dimensions = usize::from(name.contains("idx3")) * 2 + 1;
    let header = bytes.get(..4 + 4 * dimensions);
    let header = header.with_context(|| format!("'{name}' is too short"))?;
    ensure!(
        header[..4] == [0, 0, 8, dimensions as u8],
        "'{name}' is no idx file"
    );
    let size = |b: &[u8]| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize;
    let sizes: Vec<usize> = header[4..].chunks_exact(4).map(size).collect();
    let values = bytes.split_off(header.len());
    let expected = sizes
        .iter()
        .try_fold(1usize, |n, &size| n.checked_mul(size));
    ensure!(
        expected == Some(values.len()),
        "'{name}' is cut off or too long"
    );
    Ok((sizes, values))
}
