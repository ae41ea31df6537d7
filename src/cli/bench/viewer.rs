//! Pictures for the page's viewer: original, every aec of the run, and JPEG at nearly the same rate.

use image::imageops::crop_imm;
use image::{GenericImageView, Rgb};
use serde::Serialize;

use super::codec::{Codec, Source};
use super::inputs::Input;
use super::measure::Measurement;
use super::session::spread;
use crate::cli::html::data_uri;
use crate::cli::metric::{Metric, view};
use crate::error::Result;
use crate::limits::Limits;
use crate::picture::Image;

/// Rates that the viewer shows, in bits per pixel; of the first aec's files the nearest are taken.
const RATES_BPP: [f64; 2] = [0.4, 0.2];

/// Most characters of embedded pictures, so that the page stays easy to open and to send.
const MAX_CHARACTERS: usize = 14_000_000;

/// One picture of the viewer.
#[derive(Debug, Serialize)]
pub(super) struct ViewerPicture {
    name: String,
    width: u32,
    height: u32,
    /// Whether only the middle of the picture is shown.
    is_cropped: bool,
    /// The original as a data URI.
    original: String,
    rates: Vec<ViewerRate>,
}

/// The codecs at one rate.
#[derive(Debug, Serialize)]
struct ViewerRate {
    label: String,
    versions: Vec<ViewerVersion>,
}

/// A decoded picture; the numbers are of the whole picture.
#[derive(Debug, Serialize)]
struct ViewerVersion {
    codec: String,
    caption: String,
    source: String,
}

/// What the viewer shows and how.
pub(super) struct ViewerPlan<'a> {
    /// aec at every effort and tune of the run; its first measured files give the rates.
    pub(super) ours: Vec<&'a Codec>,
    pub(super) jpeg: Codec,
    pub(super) rows: &'a [Measurement],
    /// What the captions say besides the rate.
    pub(super) metrics: &'a [Metric],
    pub(super) limits: Limits,
    /// Most pixels on a side; larger pictures are cropped to their middle.
    pub(super) crop: u32,
}

impl ViewerPlan<'_> {
    /// Up to `count` of the pictures, spread over the list, as many as fit into the page.
    pub(super) fn pictures(
        &self,
        inputs: &[&Input],
        count: usize,
    ) -> anyhow::Result<Vec<ViewerPicture>> {
        let mut pictures: Vec<ViewerPicture> = Vec::new();
        let mut characters = 0;
        for input in spread(inputs, count) {
            let picture = self.picture(input)?;
            characters += picture.characters();
            if characters > MAX_CHARACTERS && !pictures.is_empty() {
                break;
            }
            pictures.push(picture);
        }
        Ok(pictures)
    }

    fn picture(&self, input: &Input) -> anyhow::Result<ViewerPicture> {
        let source = input.read(&self.limits)?;
        let original = self.cropped(source.image())?;
        let mut rates = Vec::new();
        for row in self.nearest_rows(&input.name) {
            rates.push(self.rate(&source, row)?);
        }
        Ok(ViewerPicture {
            name: input.name.clone(),
            width: original.width,
            height: original.height,
            is_cropped: original.pixels() < source.image().pixels(),
            original: data_uri(&original)?,
            rates,
        })
    }

    /// The first codec's measured files nearest to the wanted rates, each once.
    fn nearest_rows(&self, picture: &str) -> Vec<&Measurement> {
        let mut nearest: Vec<&Measurement> = Vec::new();
        for wanted in RATES_BPP {
            let away = |row: &Measurement| (row.bits_per_pixel() / wanted).ln().abs();
            let own = self.rows_of(self.ours[0], picture);
            let best = own.min_by(|a, b| away(a).total_cmp(&away(b)));
            nearest.extend(best.filter(|best| !nearest.contains(best)));
        }
        nearest
    }

    fn rows_of(&self, codec: &Codec, picture: &str) -> impl Iterator<Item = &Measurement> {
        let (name, picture) = (codec.name.clone(), picture.to_owned());
        let is_own = move |row: &&Measurement| row.picture == picture && row.codec == name;
        self.rows.iter().filter(is_own)
    }

    /// All codecs at the rate of one measured file of the first.
    fn rate(&self, source: &Source, row: &Measurement) -> anyhow::Result<ViewerRate> {
        let mut versions = Vec::new();
        for (i, &codec) in self.ours.iter().enumerate() {
            let quality = match i {
                0 => Some(row.quality),
                _ => quality_of_size(self.rows_of(codec, &row.picture), row.bytes),
            };
            if let Some(quality) = quality {
                let file = codec.coder.encode(source, quality)?;
                versions.push(self.version(source, codec, &file)?);
            }
        }
        let jpeg = self.jpeg_of_size(source, row.bytes)?;
        let mut version = self.version(source, &self.jpeg, &jpeg)?;
        if jpeg.len() as u64 > row.bytes + row.bytes / 10 {
            version.caption += " (the smallest it can do)";
        }
        versions.push(version);
        let label = format!("{:.2} bpp", row.bits_per_pixel());
        Ok(ViewerRate { label, versions })
    }

    /// The JPEG file whose size is nearest to `bytes`: JPEG sizes grow with quality.
    fn jpeg_of_size(&self, source: &Source, bytes: u64) -> anyhow::Result<Vec<u8>> {
        let (mut low, mut high) = (1_u8, 100_u8);
        let mut best = self.jpeg.coder.encode(source, f64::from(low))?;
        while low < high {
            let middle = (low + high).div_ceil(2);
            let file = self.jpeg.coder.encode(source, f64::from(middle))?;
            if file.len() as u64 <= bytes {
                low = middle
            } else {
                high = middle - 1
            }
            let away = |file: &[u8]| (file.len() as u64).abs_diff(bytes);
            if away(&file) < away(&best) {
                best = file;
            }
        }
        Ok(best)
    }

    fn version(
        &self,
        source: &Source,
        codec: &Codec,
        file: &[u8],
    ) -> anyhow::Result<ViewerVersion> {
        let decoded = codec.coder.decode(file)?;
        let rate = file.len() as f64 * 8.0 / decoded.pixels() as f64;
        let views = (view(source.image())?, view(&decoded)?);
        let short_side = decoded.width.min(decoded.height) as usize;
        let mut caption = format!("{rate:.3} bpp");
        let metrics = self.metrics.iter();
        for metric in metrics.filter(|metric| short_side >= metric.min_side()) {
            let value = metric.text(metric.measure(&views.0, &views.1)?);
            caption += &format!(", {} {value}", metric.name());
        }
        Ok(ViewerVersion {
            codec: codec.name.clone(),
            caption,
            source: data_uri(&self.cropped(&decoded)?)?,
        })
    }

    /// The middle of a picture.
    fn cropped(&self, picture: &Image) -> Result<Image> {
        let (width, height) = (picture.width.min(self.crop), picture.height.min(self.crop));
        let (left, top) = ((picture.width - width) / 2, (picture.height - height) / 2);
        let colors = picture.colors()?;
        let part = crop_imm(&colors, left, top, width, height);
        let rgb = part.pixels().flat_map(|(_, _, Rgb(pixel))| pixel);
        Image::new(width, height, rgb.collect())
    }
}

/// The quality at which a codec's file of a picture has about so many bytes: between its measured files, of which the
/// logarithms of the sizes are interpolated.
fn quality_of_size<'a>(rows: impl Iterator<Item = &'a Measurement>, bytes: u64) -> Option<f64> {
    let mut rows: Vec<&Measurement> = rows.collect();
    rows.sort_by_key(|row| row.bytes);
    let above = rows.partition_point(|row| row.bytes < bytes);
    let (Some(low), Some(high)) = (rows.get(above.wrapping_sub(1)), rows.get(above)) else {
        return Some(rows.get(above).or(rows.last())?.quality);
    };
    let log = |bytes: u64| (bytes as f64).ln();
    let share = (log(bytes) - log(low.bytes)) / (log(high.bytes) - log(low.bytes));
    let quality = low.quality + share * (high.quality - low.quality);
    Some((quality * 10.0).round() / 10.0)
}

impl ViewerPicture {
    /// How many pictures are embedded.
    pub(super) fn count(&self) -> usize {
        let versions = self.rates.iter().map(|rate| rate.versions.len());
        1 + versions.sum::<usize>()
    }

    fn characters(&self) -> usize {
        let versions = self.rates.iter().flat_map(|rate| &rate.versions);
        self.original.len() + versions.map(|version| version.source.len()).sum::<usize>()
    }
}
