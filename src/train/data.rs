//! Pictures in memory as bytes, and random crops of them.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use rand::Rng;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::image::{Image, io};
use crate::kernels::pixels_to_patches;
use crate::limits::Limits;

/// Pictures to draw crops from.
pub struct Pictures {
    pictures: Vec<Image>,
    /// Cumulative number of pixels, to draw pictures by area.
    areas: Vec<u64>,
}

/// Where a crop lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    /// Number of the picture.
    pub picture: usize,
    /// First column.
    pub x: usize,
    /// First row.
    pub y: usize,
    /// Whether left and right change places.
    pub mirrored: bool,
}

/// Where training crops are cut out.
pub enum CropSource<'a> {
    /// In the host's memory, for the CPU.
    Host(&'a Pictures),
    /// On the GPU, in its memory.
    #[cfg(feature = "cuda")]
    Gpu(GpuPictures<'a>),
}

impl<'a> CropSource<'a> {
    /// The pictures for training on `device`, copied to its memory.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn new(pictures: &'a Pictures, device: &Device) -> Result<Self> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => Ok(Self::Gpu(GpuPictures::new(pictures, device)?)),
            _ => Ok(Self::Host(pictures)),
        }
    }

    /// The pictures.
    #[must_use]
    pub fn pictures(&self) -> &'a Pictures {
        match self {
            Self::Host(pictures) => pictures,
            #[cfg(feature = "cuda")]
            Self::Gpu(gpu) => gpu.pictures,
        }
    }

    /// Crops as patches `[crops, side/8, side/8, 192]` in -0.5..=0.5.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn patches(&self, crops: &[Crop], side: usize) -> candle_core::Result<Tensor> {
        match self {
            Self::Host(pictures) => {
                let pixels: Vec<_> = crops.iter().map(|at| pictures.crop(at, side)).collect();
                patches(&pixels, side, &Device::Cpu)
            }
            #[cfg(feature = "cuda")]
            Self::Gpu(gpu) => gpu.patches(crops, side),
        }
    }
}

/// Pictures as bytes in the memory of a GPU.
#[cfg(feature = "cuda")]
pub struct GpuPictures<'a> {
    pictures: &'a Pictures,
    device: candle_core::CudaDevice,
    bytes: candle_core::cuda::cudarc::driver::CudaSlice<u8>,
}

#[cfg(feature = "cuda")]
impl<'a> GpuPictures<'a> {
    fn new(pictures: &'a Pictures, device: &candle_core::CudaDevice) -> Result<Self> {
        // One after another, so that a picture starts at three times the pixels before it.
        let all: Vec<&[u8]> = pictures.pictures.iter().map(|p| &p.rgb[..]).collect();
        let all = all.concat();
        Ok(Self {
            pictures,
            device: device.clone(),
            bytes: device.clone_htod(&all)?,
        })
    }

    fn patches(&self, crops: &[Crop], side: usize) -> candle_core::Result<Tensor> {
        let place = |at: &Crop| {
            let picture = &self.pictures.pictures[at.picture];
            let area = u64::from(picture.width) * u64::from(picture.height);
            let first = 3 * (self.pictures.areas[at.picture] - area) as i64;
            let row = 3 * i64::from(picture.width);
            [
                first + at.y as i64 * row + 3 * at.x as i64,
                row,
                at.mirrored.into(),
            ]
        };
        let table: Vec<[i64; 3]> = crops.iter().map(place).collect();
        let values = crate::kernels::cuda::cut_patches(&self.device, &self.bytes, &table, side)?;
        let shape = (crops.len(), side / 8, side / 8, 192).into();
        Ok(crate::model::from_gpu(&self.device, values, &shape))
    }
}

/// Crops of interleaved RGB as patches `[crops, side/8, side/8, 192]` in -0.5..=0.5.
///
/// # Errors
/// When a tensor cannot be made.
pub fn patches(crops: &[Vec<u8>], side: usize, device: &Device) -> candle_core::Result<Tensor> {
    let mut values = Vec::with_capacity(crops.len() * side * side * 3);
    for crop in crops {
        append_patches(crop, side, &mut values);
    }
    Tensor::from_vec(values, (crops.len(), side / 8, side / 8, 192), device)
}

/// Files below `folder`, sorted by path; at most 16 levels deep.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            // Links are not followed: a link to a parent would never end.
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < 16 {
                walk(&entry.path(), depth + 1, files)?;
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    walk(folder, 0, &mut files)?;
    files.sort();
    Ok(files)
}

impl Pictures {
    /// Reads every picture below `folder` that is at least `min_side` pixels wide
    /// and high. `warn` is told of each file that is left out, and why.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be read, [`Error::Image`] when it
    /// holds no usable picture.
    pub fn load(folder: &Path, min_side: u32, warn: &(dyn Fn(&Path, &str) + Sync)) -> Result<Self> {
        let files = files_below(folder)?;
        let read = |path: &PathBuf| match read_picture(path, min_side) {
            Ok(picture) => Some(picture),
            Err(error) => {
                warn(path, &error.to_string());
                None
            }
        };
        let pictures: Vec<Image> = files.par_iter().filter_map(read).collect();
        if pictures.is_empty() {
            let message = format!(
                "no picture of at least {min_side}x{min_side} pixels in '{}'",
                folder.display()
            );
            return Err(Error::Image(message));
        }
        Ok(Self::new(pictures))
    }

    /// Uses pictures that are in memory already (at least one).
    #[must_use]
    pub fn new(pictures: Vec<Image>) -> Self {
        let mut total = 0;
        let areas = pictures
            .iter()
            .map(|picture| {
                total += u64::from(picture.width) * u64::from(picture.height);
                total
            })
            .collect();
        Self { pictures, areas }
    }

    /// Number of pictures.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// Whether there are no pictures.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pictures.is_empty()
    }

    /// Pixels in all.
    #[must_use]
    pub fn pixels(&self) -> u64 {
        self.areas.last().copied().unwrap_or(0)
    }

    /// Splits off every 50th picture for validation; a single picture serves both.
    #[must_use]
    pub fn split_for_validation(self) -> (Self, Self) {
        let count = self.pictures.len().div_ceil(50);
        let step = self.pictures.len() / count;
        if self.pictures.len() == 1 {
            return (Self::new(self.pictures.clone()), self);
        }
        let mut parts = (Vec::new(), Vec::new());
        for (i, picture) in self.pictures.into_iter().enumerate() {
            if i % step == 0 && parts.1.len() < count {
                parts.1.push(picture)
            } else {
                parts.0.push(picture)
            }
        }
        (Self::new(parts.0), Self::new(parts.1))
    }

    /// Draws a `side` x `side` crop, mirrored half of the time.
    pub fn draw(&self, side: usize, rng: &mut impl Rng) -> Crop {
        let pixel = rng.random_range(0..self.pixels());
        let picture = self.areas.partition_point(|area| *area <= pixel);
        let size = &self.pictures[picture];
        Crop {
            picture,
            x: rng.random_range(0..=size.width as usize - side),
            y: rng.random_range(0..=size.height as usize - side),
            mirrored: rng.random(),
        }
    }

    /// The pixels of a crop: interleaved RGB.
    #[must_use]
    pub fn crop(&self, at: &Crop, side: usize) -> Vec<u8> {
        let mut pixels = crop(&self.pictures[at.picture], at.x, at.y, side);
        if at.mirrored {
            mirror(&mut pixels, side);
        }
        pixels
    }

    /// The crop in the middle of picture `i`.
    #[must_use]
    pub fn center_crop(&self, i: usize, side: usize) -> Vec<u8> {
        let picture = &self.pictures[i];
        crop(
            picture,
            (picture.width as usize - side) / 2,
            (picture.height as usize - side) / 2,
            side,
        )
    }
}

fn read_picture(path: &Path, min_side: u32) -> Result<Image> {
    let picture = io::read(&std::fs::read(path)?, &Limits::default())?;
    if picture.width < min_side || picture.height < min_side {
        let (width, height) = (picture.width, picture.height);
        return Err(Error::Image(format!(
            "{width}x{height} is smaller than the {min_side}x{min_side} crop"
        )));
    }
    if picture.alpha.is_some() {
        return Err(Error::Unsupported(
            "it has transparent pixels, whose colors mean nothing".into(),
        ));
    }
    Ok(picture)
}

fn crop(picture: &Image, x: usize, y: usize, side: usize) -> Vec<u8> {
    let stride = picture.width as usize * 3;
    let rows = picture.rgb.chunks_exact(stride).skip(y).take(side);
    rows.flat_map(|row| &row[x * 3..(x + side) * 3])
        .copied()
        .collect()
}

fn mirror(crop: &mut [u8], side: usize) {
    for row in crop.chunks_exact_mut(side * 3) {
        row.reverse();
        // Reversing the bytes reversed each pixel's channels too.
        for pixel in row.chunks_exact_mut(3) {
            pixel.reverse();
        }
    }
}

/// Interleaved RGB rows to patches of 8 x 8 pixels, `[side/8, side/8, 192]` in
/// -0.5..=0.5, appended to `out`.
pub fn append_patches(rgb: &[u8], side: usize, out: &mut Vec<f32>) {
    let start = out.len();
    out.resize(start + rgb.len(), 0.0);
    pixels_to_patches(rgb, side, side, &mut out[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirroring_keeps_channels_in_order() {
        let mut row = vec![1, 2, 3, 4, 5, 6];
        mirror(&mut row, 2);
        assert_eq!(row, [4, 5, 6, 1, 2, 3]);
    }

    #[test]
    fn patches_are_ordered_row_column_channel() {
        let side = 16;
        let rgb: Vec<u8> = (0..side * side * 3)
            .map(|i| u8::try_from(i % 251).unwrap_or(0))
            .collect();
        let mut patches = Vec::new();
        append_patches(&rgb, side, &mut patches);
        assert_eq!(patches.len(), rgb.len());
        // Patch (0, 1), row 2, column 3, channel 1.
        let want = f32::from(rgb[(2 * side + 8 + 3) * 3 + 1]).mul_add(1.0 / 255.0, -0.5);
        assert_eq!(patches[192 + (2 * 8 + 3) * 3 + 1], want);
    }
}
