//! Handwritten digits in the idx format of MNIST.

use std::fs;
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
        let pixels = read_idx(folder, &format!("{name}-images-idx3-ubyte"), &[28, 28])?;
        let labels = read_idx(folder, &format!("{name}-labels-idx1-ubyte"), &[])?;
        let count = labels.len();
        ensure!(
            count * PIXELS == pixels.len(),
            "not as many labels as pictures"
        );
        ensure!(labels.iter().all(|&label| label < 10), "labels over 9");
        let ink: Vec<f32> = pixels.iter().map(|&p| f32::from(p) / 255.0).collect();
        let pixels = Tensor::from_vec(ink, (count, PIXELS), &Device::Cpu)?;
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

/// The values of an array of items of these sizes. Before them stand `0, 0, 8`, the number of
/// dimensions, and each of those as 32 bits with the highest byte first.
fn read_idx(folder: &Path, name: &str, item: &[u32]) -> Result<Vec<u8>> {
    let (plain, zipped) = (folder.join(name), folder.join(format!("{name}.gz")));
    let mut bytes = Vec::new();
    if plain.exists() {
        bytes = fs::read(&plain).with_context(|| format!("cannot read '{name}'"))?;
    } else {
        let missing = || format!("no '{name}' or '{name}.gz' in '{}'", folder.display());
        let file = fs::File::open(&zipped).with_context(missing)?;
        GzDecoder::new(file).read_to_end(&mut bytes)?;
    }
    let length = item.iter().product::<u32>() as usize;
    let values = bytes.split_off(bytes.len().min(8 + 4 * item.len()));
    let count = (values.len() / length) as u32;
    let mut header = vec![0, 0, 8, 1 + item.len() as u8];
    for size in [&[count], item].concat() {
        header.extend(size.to_be_bytes());
    }
    let is_whole = count > 0 && values.len() % length == 0;
    ensure!(
        bytes == header && is_whole,
        "'{name}' is no whole idx file of such items"
    );
    Ok(values)
}
