//! Rate control: the quality that meets a file size, a rate or a PSNR.
//!
//! Every probe of the search is a real file, so its size is exact and never guessed, and its PSNR
//! is that of the samples a decoder gives. The analysis transform, about half of an encoder's
//! work, depends on the quality through the gains behind its first layers, but only weakly: a
//! latent serves the qualities around its own too ([`LATENT_REACH`]). The search closes in on its
//! goal fast, so it runs the transform once or twice, whatever the number of probes.
//!
//! Efforts above the fastest find the quality with single passes first. The rounds of search
//! change a file's size and PSNR by a few percent, so a few files with all of them follow,
//! beginning where the fast ones ended.

use std::borrow::Cow;

use super::encoder::{PictureEncoder, kept_metadata};
use super::refine;
use super::search::{MAX_PROBES, Point, Search, Side, TypicalCurve};
use super::{Effort, EncodeOptions, Model, Progress, Steps};
use crate::bitstream::Quality;
use crate::error::{Error, Result};
use crate::format::{LATENT_STRIDE, PATCH};
use crate::kernels::patches_to_pixels;
use crate::math;
use crate::metrics::{BACKGROUND, RgbView, psnr_from_error, squared_error};
use crate::network::{Grid, QualityModel};
use crate::picture::{Alpha, CHANNELS, Image};

/// How far, in stored qualities, a latent is used from the quality of its analysis: 10 of the
/// user's 100. With the shipped model a latent from that far changed size and PSNR together by at
/// most 0.2 % and 0.015 dB on eight validation pictures, along the same rate-distortion curve.
const LATENT_REACH: u16 = 5000;

/// Natural logarithm of the bits per pixel at qualities 0, 10, .., 100: means over ten of the
/// pictures that training is validated with. A picture or a model that is not like that costs
/// probes and changes nothing else.
static TYPICAL_RATE: TypicalCurve = [
    -2.98, -2.62, -2.18, -1.74, -1.31, -0.89, -0.49, -0.09, 0.26, 0.61, 0.87,
];
/// PSNR in dB, likewise.
static TYPICAL_PSNR: TypicalCurve = [
    26.1, 27.5, 28.8, 30.5, 31.9, 33.7, 35.1, 36.8, 37.8, 39.4, 40.1,
];

/// Most files with all rounds of an effort above the fastest: two or three where PSNR and size rise
/// with every small step of the quality, which rounds that end sooner or later undo now and then.
const MAX_FULL_PROBES: usize = 6;

/// Part of the target size that a file may leave unused, and bytes on top of it: rANS streams
/// grow by words of four.
const SIZE_TOLERANCE: (f64, f64) = (0.001, 4.0);
/// By how many dB a file may exceed the target PSNR.
const PSNR_TOLERANCE: f64 = 0.01;

/// What a file is to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// At most this many bytes, metadata included, at the best quality that fits.
    Bytes(u64),
    /// At most this many bits per pixel, above 0; the whole file counts.
    BitsPerPixel(f64),
    /// At least this PSNR in dB over the decoded RGB samples, at the lowest quality that does; of a picture with alpha,
    /// over those that it has before a gray of 128.
    Psnr(f64),
}

/// A goal, and what to do when no quality reaches it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// What to reach.
    pub goal: Goal,
    /// Give the closest file when the goal is out of reach, instead of an error.
    pub best_effort: bool,
}

impl From<Goal> for Target {
    /// The goal or an error.
    fn from(goal: Goal) -> Self {
        Self {
            goal,
            best_effort: false,
        }
    }
}

/// A file made for a target.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Encoded {
    /// The bytes of the `.aec` file.
    pub file: Vec<u8>,
    /// The quality that was chosen.
    pub quality: Quality,
    /// PSNR in dB of the decoded RGB samples, if it was the goal; infinite for equal pictures.
    pub psnr: Option<f64>,
    /// Whether the goal is reached; always true without [`Target::best_effort`].
    pub is_met: bool,
    /// How many files were tried, 1..=16.
    pub probes: usize,
}

/// Encodes a picture at the quality that meets a target; the quality of `options` is not used.
///
/// At most ten files are tried, usually three or four, and at most six more with the rounds of
/// an [`Effort`] above the fastest. The result keeps to the goal exactly: it
/// never has a byte more or a PSNR below. It comes close to it too (to 0.1 % of the size, to
/// 0.01 dB) unless the picture's files jump over the goal or are tiny. Rate and PSNR are taken to
/// grow with the quality; where they do not, a better quality may exist that was not tried.
///
/// The file can differ by a few bytes from that of [`encode`](super::encode()) at the same
/// quality, because its latent may come from the analysis at a quality nearby. Progress is
/// counted in all the probes that there may be.
///
/// # Errors
/// [`TargetOutOfReach`](Error::TargetOutOfReach) when no quality meets the goal,
/// [`InvalidOption`](Error::InvalidOption) for a goal that is not a number (or a rate not above
/// 0), and those of [`encode`](super::encode()).
pub fn encode_to_target(
    image: &Image,
    model: &Model,
    target: &Target,
    options: &EncodeOptions,
    progress: &dyn Progress,
) -> Result<Encoded> {
    let goal = Measure::new(target.goal, image, options)?;
    let mut prober = Prober::new(image, model, &goal, options, progress)?;
    let mut search = goal.search();
    let (mut found, mut probes) = prober.run(&mut search, &goal, MAX_PROBES, false)?;
    if options.effort > Effort::FASTEST {
        let mut search = goal.search().starting_at(found.0.quality);
        let (full, count) = prober.run(&mut search, &goal, MAX_FULL_PROBES, true)?;
        probes += count;
        // A single pass that meets the goal is better than rounds of search that miss it.
        if full.0.is_met || !found.0.is_met {
            found = full;
        }
    }
    let (point, probe) = found;
    if !point.is_met && !target.best_effort {
        return Err(goal.out_of_reach(&probe));
    }
    prober.steps.finish()?;
    Ok(Encoded {
        file: probe.file,
        quality: probe.quality,
        psnr: probe.psnr,
        is_met: point.is_met,
        probes,
    })
}

/// A file that was tried.
struct Probe {
    file: Vec<u8>,
    quality: Quality,
    psnr: Option<f64>,
}

/// A goal in the search's terms.
struct Measure {
    goal: Goal,
    /// Most bytes that meet it; not used for PSNR.
    max_bytes: u64,
    /// Bytes of metadata, which do not depend on the quality.
    fixed_bytes: u64,
    pixels: u64,
}

impl Measure {
    fn new(goal: Goal, image: &Image, options: &EncodeOptions) -> Result<Self> {
        let pixels = image.pixels();
        let (is_valid, max_bytes) = match goal {
            Goal::Bytes(bytes) => (true, bytes),
            // Saturates for rates beyond any file's.
            Goal::BitsPerPixel(rate) => (rate > 0.0, (rate * pixels as f64 / 8.0) as u64),
            Goal::Psnr(psnr) => (!psnr.is_nan(), 0),
        };
        if !is_valid {
            let goal = describe(goal);
            return Err(Error::InvalidOption(format!("target of {goal}")));
        }
        let metadata = kept_metadata(image, options).payloads().into_iter();
        Ok(Self {
            goal,
            max_bytes,
            fixed_bytes: metadata.map(|(_, payload)| payload.len() as u64).sum(),
            pixels,
        })
    }

    fn search(&self) -> Search {
        match self.goal {
            Goal::Bytes(_) | Goal::BitsPerPixel(_) => {
                let bytes = self.max_bytes as f64;
                let tolerance = SIZE_TOLERANCE.0 + SIZE_TOLERANCE.1 / bytes.max(1.0);
                let goal = self.log_rate(self.max_bytes);
                Search::new(&TYPICAL_RATE, Side::Below, goal, tolerance)
            }
            Goal::Psnr(psnr) => Search::new(&TYPICAL_PSNR, Side::Above, psnr, PSNR_TOLERANCE),
        }
    }

    /// Logarithm of the bits per pixel of what depends on the quality.
    fn log_rate(&self, bytes: u64) -> f64 {
        let bytes = bytes.saturating_sub(self.fixed_bytes).max(1);
        math::ln(bytes as f64 * 8.0 / self.pixels as f64)
    }

    fn point(&self, quality: u16, probe: &Probe) -> Point {
        let bytes = probe.file.len() as u64;
        let (value, is_met) = match (self.goal, probe.psnr) {
            (Goal::Psnr(goal), Some(psnr)) => (psnr, psnr >= goal),
            _ => (self.log_rate(bytes), bytes <= self.max_bytes),
        };
        Point {
            quality,
            value,
            is_met,
        }
    }

    fn out_of_reach(&self, closest: &Probe) -> Error {
        let bytes = closest.file.len() as u64;
        let found = match self.goal {
            Goal::Bytes(_) => Goal::Bytes(bytes),
            Goal::BitsPerPixel(_) => Goal::BitsPerPixel(bytes as f64 * 8.0 / self.pixels as f64),
            Goal::Psnr(_) => Goal::Psnr(closest.psnr.unwrap_or(f64::NAN)),
        };
        Error::TargetOutOfReach {
            wanted: describe(self.goal),
            closest: describe(found),
            quality: closest.quality.percent(),
        }
    }
}

/// The goal's number with its unit.
fn describe(goal: Goal) -> String {
    match goal {
        Goal::Bytes(bytes) => format!("{bytes} bytes"),
        Goal::BitsPerPixel(rate) => format!("{rate:.3} bpp"),
        Goal::Psnr(psnr) => format!("{psnr:.2} dB"),
    }
}

/// Makes files of one picture at one quality after another.
struct Prober<'a> {
    model: &'a Model,
    encoder: PictureEncoder<'a>,
    steps: Steps<'a>,
    /// The last latent, and the stored quality of its analysis.
    latent: Option<(u16, Grid)>,
    /// The colors that PSNR is measured against, if it is: those of the picture as it is seen.
    visible: Option<Cow<'a, [u8]>>,
}

impl<'a> Prober<'a> {
    fn new(
        image: &'a Image,
        model: &'a Model,
        goal: &Measure,
        options: &EncodeOptions,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let encoder = PictureEncoder::new(image, model, options)?;
        let wants_psnr = matches!(goal.goal, Goal::Psnr(_));
        let visible = wants_psnr.then(|| visible_colors(image));
        // The synthesis transform counts rows of patches, two per row of latents.
        let transforms = if wants_psnr { 3 } else { 1 };
        let work = transforms * encoder.rows() + encoder.coding_work();
        let full = transforms * encoder.rows() + refine::work(&encoder);
        let full_probes = if options.effort > Effort::FASTEST {
            MAX_FULL_PROBES
        } else {
            0
        };
        Ok(Self {
            model,
            encoder,
            steps: Steps::new(progress, work * MAX_PROBES + full * full_probes),
            latent: None,
            visible,
        })
    }

    /// Follows a search for at most `most` probes; gives the best one and their number.
    fn run(
        &mut self,
        search: &mut Search,
        goal: &Measure,
        most: usize,
        with_rounds: bool,
    ) -> Result<((Point, Probe), usize)> {
        let (mut best, mut count) = (None, 0);
        while let Some(stored) = search.next().filter(|_| count < most) {
            let probe = self.probe(stored, with_rounds)?;
            count += 1;
            let point = goal.point(stored, &probe);
            search.add(point);
            if search.best() == Some(point) {
                best = Some((point, probe));
            }
        }
        Ok((best.expect("a search begins with a measurement"), count))
    }

    /// The file at a quality, with the rounds of the options' effort or of a single pass.
    fn probe(&mut self, stored: u16, with_rounds: bool) -> Result<Probe> {
        let quality = self.model.at_quality(stored);
        let is_near = |kept: &(u16, Grid)| kept.0.abs_diff(stored) <= LATENT_REACH;
        // A latent too far off is dropped before the new one is made.
        let latent = match self.latent.take().filter(is_near) {
            Some(kept) => kept,
            None => (stored, self.encoder.analyze(&quality, &self.steps)?),
        };
        let (encoder, steps) = (&self.encoder, &self.steps);
        let wants_psnr = self.visible.is_some();
        let found = if with_rounds {
            refine::refine(encoder, &quality, latent.1.clone(), wants_psnr, steps)?
        } else {
            refine::single_pass(encoder, &quality, &latent.1, wants_psnr, steps)?
        };
        self.latent = Some(latent);
        let measured = found.quantized.as_ref().zip(self.visible.as_ref());
        let psnr = measured.map(|(quantized, visible)| self.psnr(&quality, quantized, visible));
        let quality = Quality::from_raw(stored)?;
        Ok(Probe {
            file: self.encoder.write(quality, &found.tiles)?,
            quality,
            psnr: psnr.transpose()?,
        })
    }

    /// PSNR of the samples that a decoder makes of `quantized`, without keeping them, against the colors `visible`.
    fn psnr(&self, quality: &QualityModel, quantized: &Grid, visible: &[u8]) -> Result<f64> {
        let mut error = 0;
        quality.synthesis(quantized, &mut |rows, patches| {
            let mut coded = vec![0; patches.len()];
            let coded_width = quantized.width * LATENT_STRIDE;
            patches_to_pixels(patches, rows.len() * PATCH, coded_width, &mut coded);
            let band = (&coded[..], coded_width);
            error += band_error(self.encoder.image, visible, rows.start * PATCH, band)?;
            self.steps.advance(rows.len())
        })?;
        Ok(psnr_from_error(error, visible.len() as u64))
    }
}

/// The colors of a picture as it is seen, and measured.
fn visible_colors(image: &Image) -> Cow<'_, [u8]> {
    if image.alpha.is_none() {
        return Cow::Borrowed(&image.rgb);
    }
    let mut blended = image.clone();
    blended.flatten(BACKGROUND);
    Cow::Owned(blended.rgb)
}

/// Squared error of decoded rows, from row `top` of the picture with the colors `visible` on. They
/// may go beyond its edges.
fn band_error(
    image: &Image,
    visible: &[u8],
    top: usize,
    (coded, coded_width): (&[u8], usize),
) -> Result<u64> {
    let width = image.width as usize;
    let stride = width * CHANNELS;
    let original = visible.get(top * stride..).unwrap_or_default();
    let decoded: Vec<u8> = coded
        .chunks_exact(coded_width * CHANNELS)
        .take(original.len() / stride)
        .flat_map(|row| &row[..stride])
        .copied()
        .collect();
    if decoded.is_empty() {
        return Ok(0);
    }
    let original = &original[..decoded.len()];
    let rows = (decoded.len() / stride) as u32;
    let mut decoded = Image::new(image.width, rows, decoded)?;
    if image.is_gray {
        decoded.make_gray();
    }
    if let Some(alpha) = &image.alpha {
        let seen = &alpha.samples()[top * width..][..rows as usize * width];
        decoded = decoded.with_alpha(Alpha::new(alpha.depth(), seen.to_vec())?)?;
        decoded.flatten(BACKGROUND);
    }
    squared_error(
        &RgbView::new(original, image.width, rows)?,
        &RgbView::new(&decoded.rgb, image.width, rows)?,
    )
}
