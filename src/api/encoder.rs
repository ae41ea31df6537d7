//! Encoding: where to, how, and then a picture.

use std::fmt;
use std::io::Write;
use std::ops::ControlFlow;

use super::Model;
use super::progress::Watch;
use crate::bitstream::Quality;
use crate::codec::{self, Effort, EncodeOptions, Goal, Target, Tune, model_id};
use crate::error::Result;
use crate::limits::Limits;
use crate::picture::{Image, Metadata};

/// Encodes a picture to the bytes of an `.aec` file, as the `aec` program does unless told otherwise.
///
/// # Errors
/// As [`Encoder::encode`].
pub fn encode(image: &Image, quality: Quality) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    Encoder::new(&mut file).quality(quality).encode(image)?;
    Ok(file)
}

/// Writes a picture as an `.aec` file.
///
/// ```no_run
/// use aec::{Effort, Encoder, Quality};
/// use std::ops::ControlFlow;
///
/// # fn save(image: &aec::Image) -> aec::Result<()> {
/// Encoder::new(std::fs::File::create("photo.aec")?)
///     .quality(Quality::from_percent(75.0)?)
///     .effort(Effort::new(6)?)
///     .progress(|done, total| {
///         eprint!("\r{} %", 100 * done / total);
///         ControlFlow::Continue(())
///     })
///     .encode(image)
/// # }
/// ```
///
/// It is an encoder of the `image` crate too: `image::DynamicImage::write_with_encoder` takes it.
pub struct Encoder<'a, W> {
    out: W,
    options: EncodeOptions,
    goal: Option<Goal>,
    best_effort: bool,
    tune: Option<Tune>,
    model: Option<Model>,
    metadata: Option<Metadata>,
    progress: Watch<'a>,
}

impl<'a, W: Write> Encoder<'a, W> {
    /// An encoder to `out` with the default quality and effort.
    #[must_use]
    pub fn new(out: W) -> Self {
        Self {
            out,
            options: EncodeOptions::default(),
            goal: None,
            best_effort: false,
            tune: None,
            model: None,
            metadata: None,
            progress: Watch::default(),
        }
    }

    /// Encodes with this quality. The last call counts of this and the three below.
    #[must_use]
    pub fn quality(mut self, quality: Quality) -> Self {
        self.options.quality = quality;
        self.goal = None;
        self
    }

    /// Finds the best quality whose file has at most so many bytes, metadata included, in a few trial encodings (16 at
    /// most). The file may differ from that of the same [`quality`](Self::quality) given at once. [`Tune::Psnr`] reaches
    /// smaller files.
    #[must_use]
    pub fn max_bytes(self, bytes: u64) -> Self {
        self.goal(Goal::Bytes(bytes))
    }

    /// As [`max_bytes`](Self::max_bytes), per pixel and in bits: above 0.
    #[must_use]
    pub fn max_bits_per_pixel(self, bits: f64) -> Self {
        self.goal(Goal::BitsPerPixel(bits))
    }

    /// Finds the lowest quality whose decoded samples of red, green and blue have at least this PSNR in dB; those of a
    /// picture with alpha as they are before a gray of 128.
    #[must_use]
    pub fn min_psnr(self, psnr: f64) -> Self {
        self.goal(Goal::Psnr(psnr))
    }

    fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Writes the closest file where no quality meets the goal, instead of
    /// [`TargetOutOfReach`](crate::Error::TargetOutOfReach).
    #[must_use]
    pub fn best_effort(mut self, is_wanted: bool) -> Self {
        self.best_effort = is_wanted;
        self
    }

    /// How much time to take for a better picture at the same number of bits; at the same quality, both may grow.
    #[must_use]
    pub fn effort(mut self, effort: Effort) -> Self {
        self.options.effort = effort;
        self
    }

    /// What to be good at; unless told, what the [model](Self::model) that was given is for, if the library carries it,
    /// else [`Tune::Ssim`], or [`Tune::Psnr`] where that is what [`min_psnr`](Self::min_psnr) asks for.
    #[must_use]
    pub fn tune(mut self, tune: Tune) -> Self {
        self.tune = Some(tune);
        self
    }

    /// Side of a tile in pixels: a multiple of 64, 64..=4096; 1024 unless told. Smaller ones make files a little larger,
    /// and parts of the picture faster to decode: regions, progress, cancellation and damage all go by tiles.
    #[must_use]
    pub fn tile_size(mut self, pixels: u32) -> Self {
        self.options.tile_size = pixels;
        self
    }

    /// Bounds on the picture.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// Encodes with this model instead of that which the library carries for the tune.
    #[must_use]
    pub fn model(mut self, model: &Model) -> Self {
        self.model = Some(model.clone());
        self
    }

    /// What to store instead of the picture's own metadata, its orientation included. The picture is copied for it:
    /// who owns it can change [`Image::metadata`] instead.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Tells `watcher` how many units of work are done, and of how many, now and then and from several threads;
    /// `ControlFlow::Break` ends the work with [`Error::Cancelled`](crate::Error::Cancelled).
    #[must_use]
    pub fn progress(
        mut self,
        watcher: impl Fn(u64, u64) -> ControlFlow<()> + Send + Sync + 'a,
    ) -> Self {
        self.progress = Watch::new(watcher);
        self
    }

    /// Encodes a picture and writes the file. Colors lose detail, alpha does not; what colors fully transparent
    /// pixels have is not kept.
    ///
    /// # Errors
    /// [`Io`](crate::Error::Io) from the writer; [`Image`](crate::Error::Image) when the picture's fields disagree;
    /// [`LimitExceeded`](crate::Error::LimitExceeded) for pictures over the limits;
    /// [`InvalidOption`](crate::Error::InvalidOption) for a tile size or a goal that makes no sense;
    /// [`TargetOutOfReach`](crate::Error::TargetOutOfReach) when no quality meets the goal;
    /// [`Cancelled`](crate::Error::Cancelled) when the progress closure says so. Nothing was written then.
    pub fn encode(self, image: &Image) -> Result<()> {
        match self.metadata {
            Some(_) => self.encode_owned(image.clone()),
            None => self.write(image),
        }
    }

    fn write(mut self, image: &Image) -> Result<()> {
        let psnr_is_goal = matches!(self.goal, Some(Goal::Psnr(_)));
        let given = self.model.as_ref().map(|model| model_id(model.inner()));
        let asked = self.tune.or_else(|| codec::Model::tune_of_embedded(given?));
        let tune = asked.unwrap_or_else(|| Tune::usual(psnr_is_goal));
        let options = EncodeOptions {
            tune,
            ..self.options
        };
        let model = self.model.map_or_else(|| Model::built_in(tune), Ok)?;
        let (model, progress) = (model.inner(), &self.progress);
        let file = match self.goal {
            None => codec::encode(image, model, &options, progress)?,
            Some(goal) => {
                let target = Target {
                    goal,
                    best_effort: self.best_effort,
                };
                codec::encode_to_target(image, model, &target, &options, progress)?.file
            }
        };
        self.out.write_all(&file)?;
        Ok(self.out.flush()?)
    }

    /// Encodes a picture that is not needed afterwards, with the metadata given here or else its own.
    pub(super) fn encode_owned(mut self, mut image: Image) -> Result<()> {
        if let Some(metadata) = self.metadata.take() {
            image.metadata = metadata;
        }
        self.write(&image)
    }

    /// The metadata to store, to be changed.
    pub(super) fn metadata_mut(&mut self) -> &mut Metadata {
        self.metadata.get_or_insert_default()
    }
}

/// Without what it writes to.
impl<W> fmt::Debug for Encoder<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("options", &self.options)
            .field("goal", &self.goal)
            .field("best_effort", &self.best_effort)
            .field("tune", &self.tune)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}
