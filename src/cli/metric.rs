//! Quality measures by name, and how pictures are prepared for them.

use clap::ValueEnum;

use super::text::decibels;
use crate::error::Result;
use crate::metrics::{
    MS_SSIM_MIN_SIDE, RgbView, SSIMULACRA2_MIN_SIDE, ms_ssim, ms_ssim_db, psnr, ssimulacra2,
};
use crate::picture::Image;

/// The picture's samples for the metrics.
pub(super) fn view(image: &Image) -> Result<RgbView<'_>> {
    RgbView::new(&image.rgb, image.width, image.height)
}

/// A measure of picture quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Metric {
    /// Peak signal-to-noise ratio over RGB, in dB
    Psnr,
    /// Multi-scale structural similarity, per RGB channel and averaged
    MsSsim,
    /// Perceptual score, 100 is identical (slow)
    Ssimulacra2,
}

impl Metric {
    /// Name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Psnr => "PSNR",
            Self::MsSsim => "MS-SSIM",
            Self::Ssimulacra2 => "SSIMULACRA2",
        }
    }

    /// Unit of the scale that plots and BD-rates use.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Psnr | Self::MsSsim => "dB",
            Self::Ssimulacra2 => "score",
        }
    }

    /// A mean on the scale that plots and BD-rates use.
    pub(super) fn scaled(self, value: f64) -> f64 {
        if self == Self::MsSsim {
            ms_ssim_db(value)
        } else {
            value
        }
    }

    /// A value as people read it.
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Self::Psnr => decibels(value),
            Self::MsSsim => format!("{value:.5} ({})", decibels(ms_ssim_db(value))),
            Self::Ssimulacra2 => format!("{value:.2}"),
        }
    }

    /// Shortest picture side that the metric is defined for.
    pub(super) fn min_side(self) -> usize {
        match self {
            Self::Psnr => 1,
            Self::MsSsim => MS_SSIM_MIN_SIDE,
            Self::Ssimulacra2 => SSIMULACRA2_MIN_SIDE,
        }
    }

    /// The value for a decoded picture.
    pub(super) fn measure(self, original: &RgbView, decoded: &RgbView) -> Result<f64> {
        match self {
            Self::Psnr => psnr(original, decoded),
            Self::MsSsim => ms_ssim(original, decoded),
            Self::Ssimulacra2 => ssimulacra2(original, decoded),
        }
    }
}
