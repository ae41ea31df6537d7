//! The numbers of the format (codec-spec.md), each once: what the layers share, what a file is marked with, and what
//! it may hold at most.
//!
//! The numbers of one algorithm alone, such as the contexts of an alpha channel, stand with it.

/// The first bytes of every file: not text, not UTF-8, and damaged by any newline conversion.
pub const SIGNATURE: [u8; 6] = *b"\x8aAEC\r\n";
/// The format version this code writes, and the newest it reads.
pub const VERSION: u8 = 1;
/// Largest width and height in pixels.
pub const MAX_DIMENSION: u32 = 65_535 * 16;
/// Largest stored quality, which stands for 100.
pub const QUALITY_MAX: u16 = 50_000;
/// Tile sizes, and the padded picture's sides, are multiples of this many pixels.
pub const TILE_UNIT: u32 = 64;
/// Largest tile size in units of [`TILE_UNIT`] pixels.
pub const MAX_TILE_UNITS: u32 = 64;
/// Most bytes of a tile's zero map.
pub const MAX_ZERO_MAP: usize = 65_535;

/// Bits of the header's flags, and of a tile's.
pub mod flag {
    /// Header: the picture is gray.
    pub const GRAY: u8 = 1;
    /// Header: the picture has an alpha channel.
    pub const ALPHA: u8 = 2;
    /// Header, only with [`ALPHA`]: its samples have 16 bits.
    pub const WIDE_ALPHA: u8 = 4;
    /// Tile: a zero map follows.
    pub const ZERO_MAP: u8 = 1;
}

/// Names of sections.
pub mod tag {
    /// Lengths of the tiles' payloads.
    pub const TILE_INDEX: [u8; 4] = *b"TIDX";
    /// A tile.
    pub const TILE: [u8; 4] = *b"TILE";
    /// A tile's alpha channel.
    pub const ALPHA: [u8; 4] = *b"ALPH";
    /// The last section.
    pub const END: [u8; 4] = *b"END ";
    /// An ICC profile.
    pub const ICC: [u8; 4] = *b"iccP";
    /// An Exif block.
    pub const EXIF: [u8; 4] = *b"exif";
    /// An XMP block.
    pub const XMP: [u8; 4] = *b"xmp ";
    /// The resolution.
    pub const RESOLUTION: [u8; 4] = *b"phys";
}

/// Samples per pixel.
pub const CHANNELS: usize = 3;
/// Pixels along one side of the patches that the transforms read and write.
pub const PATCH: usize = 8;
/// Values in a patch of 8 x 8 pixels.
pub const PATCH8: usize = PATCH * PATCH * CHANNELS;
/// Values in a patch of 16 x 16 pixels: the input of the linear path.
pub const PATCH16: usize = 4 * PATCH8;
/// Picture pixels per latent, horizontally and vertically.
pub const LATENT_STRIDE: usize = 16;
/// Picture pixels per hyper-latent, horizontally and vertically.
pub const HYPER_STRIDE: usize = 64;
/// Latents are grouped into this many channel groups and coded in as many steps.
pub const CONTEXT_STEPS: usize = 4;

/// Number of scale tables.
pub const SCALE_LEVELS: usize = 64;
/// Standard deviation of table 0, in quantization steps.
pub const SIGMA_MIN: f64 = 0.12;
/// Standard deviation of the last table.
pub const SIGMA_MAX: f64 = 160.0;
/// ln([`SIGMA_MAX`] / [`SIGMA_MIN`]).
pub const LN_SIGMA_RANGE: f64 = 7.195_437_351_433_918;
/// Bits of precision: the frequencies of a table sum to `1 << PRECISION`.
pub const PRECISION: usize = 16;
/// Largest reach (largest symbol with its own frequency) a stored table may have.
pub const MAX_REACH: u16 = 4095;
/// Largest magnitude of a symbol. Decoders refuse more; encoders clamp to it.
pub const MAX_SYMBOL: i32 = 1 << 20;

/// Most characters of a model's name.
pub const MAX_NAME: usize = 64;
/// Most that the magnitudes of the weights of one output may sum up to: with it no sum with int16 activations leaves
/// int32.
pub const MAX_WEIGHT_SUM: u32 = 65_535;
/// Largest magnitude of a bias, a table's entry or a multiplier.
pub const MAX_REAL: f32 = 65_535.0;
/// Exponents of the steps of signals.
pub const EXPONENTS: std::ops::RangeInclusive<i8> = -20..=15;
/// Largest weight of 16 bits: that of two int8 parts.
pub const MAX_WIDE: i16 = 127 * 256 + 127;
/// Exponent of the step of the picture's samples.
pub const PATCH_EXPONENT: i8 = -15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_scales_is_that_of_its_ends() {
        assert!((LN_SIGMA_RANGE - (SIGMA_MAX / SIGMA_MIN).ln()).abs() < 1e-12);
    }
}
