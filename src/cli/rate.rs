//! The options that say how large or how good a file is to be, and how hard to try.

use crate::bitstream::Quality;
use crate::codec::{Effort, Goal, Target, Tune};

/// A quality, or a target that the quality is searched for. They exclude each other.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Rate")]
pub(super) struct RateOptions {
    /// Quality, 0 (smallest) to 100 (best), decimals allowed
    #[arg(short, long, value_name = "Q", default_value = "60", value_parser = parse_quality,
          group = "rate", allow_negative_numbers = true)]
    pub quality: Quality,

    /// Best quality that fits into N bytes (accepts k, M)
    ///
    /// The file never has a byte more; metadata counts. k is 1000 bytes and M is 1,000,000. Takes
    /// two to six times as long as a given quality.
    #[arg(long, value_name = "N", value_parser = parse_size, allow_negative_numbers = true,
          groups = ["rate", "target"])]
    target_size: Option<u64>,

    /// Best quality with at most B bits per pixel
    ///
    /// As --target-size, relative to the size of the picture.
    #[arg(long, value_name = "B", value_parser = parse_positive, allow_negative_numbers = true,
          groups = ["rate", "target"])]
    target_bpp: Option<f64>,

    /// Lowest quality that reaches a PSNR
    ///
    /// Over the red, green and blue samples of the decoded picture, as 'aec compare' measures it.
    /// Takes three to seven times as long as a given quality.
    #[arg(long, value_name = "DB", value_parser = parse_positive, allow_negative_numbers = true,
          groups = ["rate", "target"])]
    target_psnr: Option<f64>,

    /// Write the closest file if the target is out of reach
    ///
    /// Without this flag nothing is written then, and the exit status is 1.
    #[arg(long, requires = "target")]
    best_effort: bool,
}

/// How hard to search for a smaller file, and for what.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SearchOptions {
    /// Effort, 1 (fastest) to 9 (smallest files)
    ///
    /// Every step makes files a little smaller at the same distortion, or better, and takes
    /// longer. Decoding takes no longer. The README has a table.
    #[arg(short, long, value_name = "N", default_value_t = Effort::DEFAULT, value_parser = parse_effort)]
    pub effort: Effort,

    /// What to encode for: ssim or psnr [default: ssim; psnr with --target-psnr and --model base]
    ///
    /// 'ssim' is for the eye: its model is trained for what SSIMULACRA2 sees beside squared error,
    /// and the search looks for the same. 'psnr' is for the squared error of red, green and blue
    /// alone, in both. Files of both decode alike.
    #[arg(long, value_name = "METRIC", value_parser = parse_tune)]
    pub tune: Option<Tune>,
}

/// Reads `--tune`.
pub(super) fn parse_tune(text: &str) -> Result<Tune, String> {
    [Tune::Psnr, Tune::Ssim]
        .into_iter()
        .find(|tune| tune.name() == text)
        .ok_or_else(|| "want psnr or ssim".to_string())
}

/// Reads `--effort`: 1 to 9.
pub(super) fn parse_effort(text: &str) -> Result<Effort, String> {
    let level = text.parse().map_err(|_| "want 1 to 9".to_string())?;
    Effort::new(level).map_err(|_| "want 1 to 9".to_string())
}

impl RateOptions {
    /// Whether a PSNR is the target.
    pub fn has_target_psnr(&self) -> bool {
        self.target_psnr.is_some()
    }

    /// The target, if one is asked for.
    pub fn target(&self) -> Option<Target> {
        let size = self.target_size.map(Goal::Bytes);
        let rate = self.target_bpp.map(Goal::BitsPerPixel);
        let psnr = self.target_psnr.map(Goal::Psnr);
        let goal = size.or(rate).or(psnr)?;
        Some(Target {
            goal,
            best_effort: self.best_effort,
        })
    }
}

/// Reads `--quality`: a number from 0 to 100.
pub(super) fn parse_quality(text: &str) -> Result<Quality, String> {
    let percent: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    Quality::from_percent(percent).map_err(|error| error.to_string())
}

/// Reads a number above 0.
fn parse_positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    if number > 0.0 && number.is_finite() {
        Ok(number)
    } else {
        Err("not a number above 0".into())
    }
}

/// Reads a number of bytes such as `40000`, `40k` or `1.5M`; parts of a byte are cut off.
fn parse_size(text: &str) -> Result<u64, String> {
    /// More than any file has, and exact as a floating-point number.
    const MOST_BYTES: f64 = 1e15;
    let (number, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let bytes = parse_positive(number)
        .map_err(|_| "not a number of bytes such as 40000, 40k or 1.5M".to_string())?
        * unit;
    if !(1.0..=MOST_BYTES).contains(&bytes) {
        return Err(format!("{text} bytes is not in 1..={MOST_BYTES}"));
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_a_thousand() {
        let cases = [
            ("1", 1),
            ("40000", 40_000),
            ("40k", 40_000),
            ("40K", 40_000),
            ("1.5M", 1_500_000),
            ("2m", 2_000_000),
            ("0.0015k", 1),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "k", "0", "-1", "0.5", "nan", "inf", "4kB", "1e30", "é"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
