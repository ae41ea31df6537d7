//! One file under inspection: what its bits bought, block by block.

use crate::cli::metric::view;
use crate::codec::{self, BitUsage, DecodeOptions, Model, NoProgress};
use crate::error::Result;
use crate::format::LATENT_STRIDE;
use crate::metrics::BACKGROUND;
use crate::metrics::psnr;
use crate::orientation::{Orientation, inverse};
use crate::picture::{CHANNELS, Image};

/// How far around a block its surroundings reach, in blocks.
const SURROUNDINGS: usize = 2;

/// A file, the picture in it, and where its bits and its error are. Pictures are as stored, not
/// turned by the orientation, as the blocks are.
pub(super) struct Exhibit {
    pub(super) name: String,
    pub(super) file_bytes: usize,
    /// Bytes in the sections that hold alpha.
    pub(super) alpha_bytes: usize,
    pub(super) usage: BitUsage,
    pub(super) model_name: String,
    pub(super) decoded: Image,
    pub(super) comparison: Option<Comparison>,
}

/// A file's picture beside the original.
pub(super) struct Comparison {
    pub(super) original: Image,
    pub(super) psnr: f64,
    /// Squared error by block, summed over pixels and channels; as [`BitUsage::blocks`].
    pub(super) squared_errors: Vec<u64>,
}

/// A block that costs more than those around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outlier {
    /// Left edge in pixels.
    pub(super) x: usize,
    /// Top edge in pixels.
    pub(super) y: usize,
    pub(super) bits: f64,
    /// The median of the blocks around it.
    pub(super) surroundings: f64,
}

impl Exhibit {
    /// Decodes a file and, if there is an original, compares.
    ///
    /// # Errors
    /// When the file cannot be decoded, or the original is of another size.
    pub(super) fn new(
        name: String,
        file: &[u8],
        model: &Model,
        original: Option<&Image>,
        options: &DecodeOptions,
    ) -> Result<Self> {
        let usage = codec::bit_usage(file, model, options, &NoProgress)?;
        let upright = codec::decode(file, model, options, &NoProgress)?;
        let orientation = usage.header.orientation;
        let decoded = as_stored(upright, orientation)?;
        let compare = |original: &Image| {
            let original = as_stored(original.clone().into_upright()?, orientation)?;
            Comparison::new(original, &decoded, &usage)
        };
        Ok(Self {
            name,
            file_bytes: file.len(),
            alpha_bytes: alpha_bytes(file)?,
            model_name: model.name().into(),
            comparison: original.map(compare).transpose()?,
            decoded,
            usage,
        })
    }

    /// The blocks that hold pixels of the picture, and not of its padding alone: columns and rows.
    pub(super) fn visible(&self) -> (usize, usize) {
        let header = &self.usage.header;
        let blocks = |pixels: u32| (pixels as usize).div_ceil(LATENT_STRIDE);
        (blocks(header.width), blocks(header.height))
    }

    /// The `count` blocks that cost most above the median of their surroundings, of those that cost
    /// more than twice as much.
    pub(super) fn outliers(&self, count: usize) -> Vec<Outlier> {
        let (columns, rows) = self.visible();
        let mut found: Vec<Outlier> = (0..columns * rows)
            .map(|i| self.stands_out(i % columns, i / columns))
            .filter(|block| block.bits > 2.0 * block.surroundings)
            .collect();
        let excess = |block: &Outlier| block.bits - block.surroundings;
        found.sort_by(|a, b| excess(b).total_cmp(&excess(a)));
        found.truncate(count);
        found
    }

    fn stands_out(&self, column: usize, row: usize) -> Outlier {
        let (columns, rows) = self.visible();
        let bits = |x: usize, y: usize| self.usage.blocks[y * self.usage.columns + x];
        let around = |at: usize, end: usize| {
            at.saturating_sub(SURROUNDINGS)..(at + SURROUNDINGS + 1).min(end)
        };
        let mut others: Vec<f64> = around(row, rows)
            .flat_map(|y| around(column, columns).map(move |x| (x, y)))
            .filter(|&place| place != (column, row))
            .map(|(x, y)| bits(x, y))
            .collect();
        others.sort_by(f64::total_cmp);
        Outlier {
            x: column * LATENT_STRIDE,
            y: row * LATENT_STRIDE,
            bits: bits(column, row),
            // A picture of one block has no surroundings; it does not stand out.
            surroundings: others
                .get(others.len() / 2)
                .copied()
                .unwrap_or(f64::INFINITY),
        }
    }
}

impl Comparison {
    fn new(original: Image, decoded: &Image, usage: &BitUsage) -> Result<Self> {
        let psnr = psnr(&view(&original)?, &view(decoded)?)?;
        let width = original.width as usize;
        let mut squared_errors = vec![0; usage.blocks.len()];
        let samples = original.rgb.iter().zip(&decoded.rgb).enumerate();
        for (i, (&a, &b)) in samples {
            let (x, y) = (i / CHANNELS % width, i / CHANNELS / width);
            let block = y / LATENT_STRIDE * usage.columns + x / LATENT_STRIDE;
            squared_errors[block] += u64::from(a.abs_diff(b)).pow(2);
        }
        Ok(Self {
            original,
            psnr,
            squared_errors,
        })
    }
}

/// An upright picture, opaque and turned back to how the file stores it.
fn as_stored(mut image: Image, orientation: Orientation) -> Result<Image> {
    image.flatten(BACKGROUND);
    image.metadata.orientation = inverse(orientation);
    image.into_upright()
}

/// Bytes in the sections that hold alpha.
fn alpha_bytes(file: &[u8]) -> Result<usize> {
    let sections = crate::bitstream::Container::sections(file)?;
    let sections: Vec<_> = sections.collect::<Result<_>>()?;
    let alpha = sections.iter().filter(|section| section.name() == "ALPH");
    Ok(alpha.map(|section| section.payload.len()).sum())
}
