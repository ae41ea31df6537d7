//! Tone curves other than that of sRGB, and how samples are brought from them to it.

use crate::math;

/// A curve by which samples become light: `light = sample ^ exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ToneCurve {
    pub exponent: f64,
}

impl ToneCurve {
    /// The curve of samples that are light.
    pub(super) fn linear() -> Self {
        Self { exponent: 1.0 }
    }

    /// The sample on the curve of sRGB, in 8 bits, for every sample of 16 bits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to 255
    pub(super) fn table(self) -> Vec<u8> {
        let to_srgb = |sample: u16| {
            let light = power(f64::from(sample) / f64::from(u16::MAX), self.exponent);
            let value = if light <= 0.003_130_8 {
                12.92 * light
            } else {
                1.055 * math::pow(light, 1.0 / 2.4) - 0.055
            };
            // Between 0 and 255.
            (value * 255.0).round() as u8
        };
        (0..=u16::MAX).map(to_srgb).collect()
    }
}

/// `x^y` for `x` from 0 to 1 and a positive `y`, the same on every machine: files are made of it.
fn power(x: f64, y: f64) -> f64 {
    if x > 0.0 { math::pow(x, y) } else { 0.0 }
}
