//! Pictures in memory as bytes, to draw crops from.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use rand::Rng;
use rayon::prelude::*;
use walkdir::WalkDir;

use super::crop::Crop;
use crate::error::{Error, Result};
use crate::kernels::pixels_to_patches;
use crate::limits::Limits;
use crate::picture::{CHANNELS, Image, io};

/// Pixels that all pictures have together, at most, unless the user wants more: 3 GB.
pub const MAX_PIXELS: u64 = 1_000_000_000;

/// Pictures to draw crops from.
pub struct Pictures {
    pictures: Vec<Image>,
    /// Cumulative number of pixels, to draw pictures by area.
    areas: Vec<u64>,
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
                at.source as i64,
                at.turn.into(),
            ]
        };
        let table: Vec<[i64; 4]> = crops.iter().map(place).collect();
        let values = crate::train::cuda::cut_patches(&self.device, &self.bytes, &table, side)?;
        let shape = (crops.len(), side / 8, side / 8, 192).into();
        Ok(crate::train::ops::call::from_gpu(
            &self.device,
            values,
            &shape,
        ))
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

/// Files below `folder`, sorted by path; at most 16 levels deep. Links are not followed.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let walk = WalkDir::new(folder).min_depth(1).max_depth(17);
    for entry in walk.sort_by_file_name() {
        // There is no loop, the only error that is not the system's, where links are not followed.
        let entry =
            entry.map_err(|error| error.into_io_error().unwrap_or(ErrorKind::Other.into()))?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// The files and how many pixels each announces; of more than `most` pictures as many, spread evenly.
fn spread<'a>(files: &'a [PathBuf], pixels: &[u64], most: usize) -> Vec<(&'a PathBuf, u64)> {
    let all = files.iter().zip(pixels.iter().copied());
    let pictures: Vec<_> = all.clone().filter(|(_, pixels)| *pixels > 0).collect();
    if pictures.len() <= most {
        return all.collect();
    }
    let step = pictures.len().div_ceil(most.max(1));
    pictures.into_iter().step_by(step).collect()
}

impl Pictures {
    /// Reads every picture below `folder` that is at least `min_side` pixels wide
    /// and high, or at most `most` of the files, spread evenly, as long as all of them have at most
    /// `max_pixels`, by path. `warn` is told of each file that is left out, and why.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be read, [`Error::Image`] when it
    /// holds no usable picture.
    pub fn load(
        folder: &Path,
        min_side: u32,
        max_pixels: u64,
        most: usize,
        warn: &(dyn Fn(&Path, &str) + Sync),
    ) -> Result<Self> {
        let files = files_below(folder)?;
        // Told by the headers, so that what is chosen does not depend on which one is read first.
        let announced = |path: &PathBuf| std::fs::read(path).map_or(0, |bytes| io::pixels(&bytes));
        let announced: Vec<u64> = files.par_iter().map(announced).collect();
        let mut left = max_pixels;
        let mut chosen = Vec::new();
        for (path, pixels) in spread(&files, &announced, most) {
            if pixels > left {
                let why = format!("with it there would be more than {max_pixels} pixels");
                warn(path, &why);
            } else {
                left -= pixels;
                chosen.push((path, pixels));
            }
        }
        let read = |&(path, pixels): &(&PathBuf, u64)| match read_picture(path, min_side, pixels) {
            Ok(picture) => Some(picture),
            Err(error) => {
                warn(path, &error.to_string());
                None
            }
        };
        let pictures: Vec<Image> = chosen.par_iter().filter_map(read).collect();
        if pictures.is_empty() {
            return Err(Error::Image(format!(
                "there is no picture of at least {min_side}x{min_side} pixels that can be used"
            )));
        }
        Ok(Self::new(pictures))
    }

    /// Uses pictures that are in memory already (at least one).
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

    /// The pictures.
    pub fn images(&self) -> &[Image] {
        &self.pictures
    }

    /// Number of pictures.
    pub fn count(&self) -> usize {
        self.pictures.len()
    }

    /// Pixels in all.
    pub fn pixels(&self) -> u64 {
        self.areas.last().copied().unwrap_or(0)
    }

    /// Splits off every 50th picture for validation; a single picture serves both.
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

    /// Whether a picture has room for a crop of `side` x `side` pixels.
    pub fn have_room_for(&self, side: usize) -> bool {
        self.pictures.iter().any(|picture| has_room(picture, side))
    }

    /// Whether every picture is of one color.
    pub fn are_plain(&self) -> bool {
        let is_plain = |picture: &Image| {
            let (pixels, _) = picture.rgb.as_chunks::<CHANNELS>();
            pixels.iter().all(|pixel| *pixel == pixels[0])
        };
        self.pictures.iter().all(is_plain)
    }

    /// Draws a crop for a sample of `side` x `side` pixels (see [`Crop::draw`]) from a picture
    /// that has room for it, larger pictures more often.
    ///
    /// # Panics
    /// When no picture has room (see [`have_room_for`](Self::have_room_for)).
    pub fn draw(&self, side: usize, min_scale: f64, rng: &mut impl Rng) -> Crop {
        loop {
            let pixel = rng.random_range(0..self.pixels());
            let index = self.areas.partition_point(|area| *area <= pixel);
            let picture = &self.pictures[index];
            if has_room(picture, side) {
                let size = (picture.width as usize, picture.height as usize);
                return Crop::draw(index, size, side, min_scale, rng);
            }
            assert!(self.have_room_for(side), "no picture of {side}x{side}");
        }
    }

    /// The pixels of a crop: interleaved RGB.
    pub fn crop(&self, at: &Crop, side: usize) -> Vec<u8> {
        at.pixels(&self.pictures[at.picture], side)
    }

    /// The crop in the middle of picture `i`, as it is.
    pub fn center_crop(&self, i: usize, side: usize) -> Vec<u8> {
        let picture = &self.pictures[i];
        let middle = Crop {
            picture: i,
            x: (picture.width as usize - side) / 2,
            y: (picture.height as usize - side) / 2,
            source: side,
            turn: 0,
        };
        middle.pixels(picture, side)
    }
}

fn has_room(picture: &Image, side: usize) -> bool {
    picture.width.min(picture.height) as usize >= side
}

/// Reads a picture whose header announced this many pixels.
fn read_picture(path: &Path, min_side: u32, pixels: u64) -> Result<Image> {
    let limits = Limits::default();
    let limits = Limits {
        max_pixels: limits.max_pixels.min(pixels),
        ..limits
    };
    let picture = io::read(&std::fs::read(path)?, &limits)?;
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
    fn of_many_pictures_a_few_are_chosen_before_they_are_read() {
        let files: Vec<PathBuf> = (0..10).map(|i| PathBuf::from(i.to_string())).collect();
        // Two files are no pictures.
        let pixels = [5, 0, 5, 5, 5, 0, 5, 5, 5, 5];
        let names = |most: usize| -> Vec<&str> {
            let chosen = spread(&files, &pixels, most);
            chosen
                .iter()
                .filter_map(|(path, _)| path.to_str())
                .collect()
        };
        assert_eq!(names(usize::MAX).len(), 10);
        assert_eq!(names(8).len(), 10);
        assert_eq!(names(4), ["0", "3", "6", "8"]);
        assert_eq!(names(3), ["0", "4", "8"]);
        assert_eq!(names(1), ["0"]);
    }

    #[test]
    fn large_crops_come_from_large_pictures() {
        use rand::SeedableRng;
        let picture =
            |side: u32| Image::new(side, 80, vec![0; 3 * 80 * side as usize]).expect("sizes agree");
        let pictures = Pictures::new(vec![picture(300), picture(70), picture(80)]);
        assert!(pictures.have_room_for(80) && !pictures.have_room_for(81));
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
        let drawn: Vec<usize> = (0..100)
            .map(|_| pictures.draw(80, 0.5, &mut rng).picture)
            .collect();
        assert!(drawn.contains(&0) && drawn.contains(&2) && !drawn.contains(&1));
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
        let want = f32::from(rgb[(2 * side + 8 + 3) * 3 + 1]) * (1.0 / 255.0) - 0.5;
        assert_eq!(patches[192 + (2 * 8 + 3) * 3 + 1], want);
    }
}
