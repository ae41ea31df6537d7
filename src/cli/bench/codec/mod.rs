//! The codecs that a benchmark runs: aec, JPEG, and whatever tools are installed.

mod aec;
mod jpeg;
mod tool;

use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::Context;
use tempfile::NamedTempFile;

pub(super) use aec::aec;
pub(super) use jpeg::jpeg;
pub(super) use tool::installed_tools;

use crate::metrics::BACKGROUND;
use crate::picture::{Image, io};

/// A codec with its settings fixed, all but the quality.
pub(super) struct Codec {
    /// Short name for tables and the command line.
    pub(super) name: String,
    /// What exactly runs: program, version and settings.
    pub(super) encoder: String,
    /// The qualities to run, in the codec's own unit.
    pub(super) qualities: Vec<f64>,
    pub(super) coder: Box<dyn Coder>,
}

/// What a codec does.
pub(super) trait Coder: Sync {
    /// The bytes of a whole file.
    fn encode(&self, source: &Source, quality: f64) -> anyhow::Result<Vec<u8>>;
    /// The picture in such a file.
    fn decode(&self, file: &[u8]) -> anyhow::Result<Image>;
}

/// A picture to encode: opaque samples only, so that metadata and alpha count for no codec.
pub(super) struct Source {
    image: Image,
    /// Whether the picture had an alpha channel and was blended over [`BACKGROUND`].
    pub(super) is_blended: bool,
    png: OnceLock<NamedTempFile>,
    ppm: OnceLock<NamedTempFile>,
}

impl Source {
    /// Takes the upright samples of a picture.
    pub(super) fn new(picture: Image) -> crate::error::Result<Self> {
        let mut upright = picture.into_upright()?;
        let is_blended = upright.alpha.is_some();
        upright.flatten(BACKGROUND);
        let mut image = Image::new(upright.width, upright.height, upright.rgb)?;
        image.is_gray = upright.is_gray;
        Ok(Self {
            image,
            is_blended,
            png: OnceLock::new(),
            ppm: OnceLock::new(),
        })
    }

    /// The samples.
    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    /// The picture as a PNG file for tools.
    fn png(&self) -> anyhow::Result<&Path> {
        self.file(&self.png, ".png", io::OutputFormat::Png)
    }

    /// The picture as a PPM or PGM file for tools.
    fn ppm(&self) -> anyhow::Result<&Path> {
        self.file(&self.ppm, ".ppm", io::OutputFormat::Ppm)
    }

    fn file<'a>(
        &'a self,
        cell: &'a OnceLock<NamedTempFile>,
        suffix: &str,
        format: io::OutputFormat,
    ) -> anyhow::Result<&'a Path> {
        if cell.get().is_none() {
            let mut file = tempfile::Builder::new()
                .prefix("aec-bench-")
                .suffix(suffix)
                .tempfile()?;
            io::write(&self.image, format, &mut file).context("cannot write a temporary file")?;
            file.flush()?;
            // When another thread was faster, its file is kept and this one removed.
            let _ = cell.set(file);
        }
        Ok(cell.get().expect("set above").path())
    }
}
