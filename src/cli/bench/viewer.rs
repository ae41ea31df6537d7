//! Pictures for the page's viewer: original, aec, and JPEG at nearly the same rate.

use serde::Serialize;

use super::codec::{Codec, Source};
use super::inputs::Input;
use super::measure::Measurement;
use crate::cli::html::data_uri;
use crate::cli::metric::view;
use crate::error::Result;
use crate::limits::Limits;
use crate::metrics::psnr;
use crate::picture::Image;

/// Rates that the viewer shows, in bits per pixel; of aec's files the nearest are taken.
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
    pub(super) aec: &'a dyn Codec,
    pub(super) jpeg: &'a dyn Codec,
    pub(super) rows: &'a [Measurement],
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
        let count = count.min(inputs.len());
        let mut pictures: Vec<ViewerPicture> = Vec::new();
        let mut characters = 0;
        for i in 0..count {
            let picture = self.picture(inputs[i * inputs.len() / count])?;
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

    /// aec's measured files nearest to the wanted rates, each once.
    fn nearest_rows(&self, picture: &str) -> Vec<&Measurement> {
        let mut nearest: Vec<&Measurement> = Vec::new();
        for wanted in RATES_BPP {
            let own = self
                .rows
                .iter()
                .filter(|row| row.picture == picture && row.codec == self.aec.name());
            let away = |row: &Measurement| (row.bits_per_pixel() / wanted).ln().abs();
            let best = own.min_by(|a, b| away(a).total_cmp(&away(b)));
            nearest.extend(
                best.filter(|best| nearest.iter().all(|known| known.quality != best.quality)),
            );
        }
        nearest
    }

    fn rate(&self, source: &Source, row: &Measurement) -> anyhow::Result<ViewerRate> {
        let aec = self.aec.encode(source, row.quality)?;
        let jpeg = self.jpeg_of_size(source, aec.len())?;
        let label = format!("{:.2} bpp", row.bits_per_pixel());
        let mut versions = vec![
            self.version(source, self.aec, &aec)?,
            self.version(source, self.jpeg, &jpeg)?,
        ];
        if jpeg.len() > aec.len() + aec.len() / 10 {
            versions[1].caption += " (the smallest it can do)";
        }
        Ok(ViewerRate { label, versions })
    }

    /// The JPEG file whose size is nearest to `bytes`: JPEG sizes grow with quality.
    fn jpeg_of_size(&self, source: &Source, bytes: usize) -> anyhow::Result<Vec<u8>> {
        let (mut low, mut high) = (1_u8, 100_u8);
        let mut best = self.jpeg.encode(source, f64::from(low))?;
        while low < high {
            let middle = (low + high).div_ceil(2);
            let file = self.jpeg.encode(source, f64::from(middle))?;
            if file.len() <= bytes {
                low = middle
            } else {
                high = middle - 1
            }
            if file.len().abs_diff(bytes) < best.len().abs_diff(bytes) {
                best = file;
            }
        }
        Ok(best)
    }

    fn version(
        &self,
        source: &Source,
        codec: &dyn Codec,
        file: &[u8],
    ) -> anyhow::Result<ViewerVersion> {
        let decoded = codec.decode(file)?;
        let rate = file.len() as f64 * 8.0 / decoded.pixels() as f64;
        let quality = psnr(&view(source.image())?, &view(&decoded)?)?;
        Ok(ViewerVersion {
            codec: codec.name().to_owned(),
            caption: format!("{rate:.3} bpp, {quality:.2} dB"),
            source: data_uri(&self.cropped(&decoded)?)?,
        })
    }

    /// The middle of a picture.
    fn cropped(&self, picture: &Image) -> Result<Image> {
        let (width, height) = (picture.width.min(self.crop), picture.height.min(self.crop));
        let (left, top) = ((picture.width - width) / 2, (picture.height - height) / 2);
        let samples = |pixels: u32| pixels as usize * 3;
        let rows = picture
            .rgb
            .chunks_exact(samples(picture.width))
            .skip(top as usize)
            .take(height as usize);
        let rgb: Vec<u8> = rows
            .flat_map(|row| &row[samples(left)..samples(left + width)])
            .copied()
            .collect();
        Image::new(width, height, rgb)
    }
}

impl ViewerPicture {
    /// How many pictures are embedded.
    pub(super) fn count(&self) -> usize {
        1 + self
            .rates
            .iter()
            .map(|rate| rate.versions.len())
            .sum::<usize>()
    }

    fn characters(&self) -> usize {
        let versions = self.rates.iter().flat_map(|rate| &rate.versions);
        self.original.len() + versions.map(|version| version.source.len()).sum::<usize>()
    }
}
