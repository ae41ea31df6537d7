//! Peak signal-to-noise ratio over all RGB samples, from an exact integer error sum.

use super::RgbView;
use crate::error::Result;

/// Largest sample value of an 8-bit picture.
const PEAK: f64 = 255.0;

/// Samples summed in 32 bits at a time: `65,536 * 255²` is just below `2^32`.
const CHUNK: usize = 1 << 16;

/// Sum of squared sample differences, exact.
///
/// # Errors
/// [`crate::error::Error::Image`] when the sizes differ.
pub fn squared_error(a: &RgbView, b: &RgbView) -> Result<u64> {
    a.check_same_size(b)?;
    let chunks = a.samples().chunks(CHUNK).zip(b.samples().chunks(CHUNK));
    Ok(chunks.map(|(a, b)| u64::from(chunk_error(a, b))).sum())
}

/// Squared error of at most [`CHUNK`] samples.
fn chunk_error(a: &[u8], b: &[u8]) -> u32 {
    let squares = a.iter().zip(b).map(|(&a, &b)| {
        let difference = u32::from(a.abs_diff(b));
        difference * difference
    });
    squares.sum()
}

/// Mean squared error per sample (0 to 65,025).
///
/// # Errors
/// [`crate::error::Error::Image`] when the sizes differ.
pub fn mse(a: &RgbView, b: &RgbView) -> Result<f64> {
    Ok(squared_error(a, b)? as f64 / a.samples().len() as f64)
}

/// PSNR in dB over all RGB samples; infinite for identical pictures.
///
/// # Errors
/// [`crate::error::Error::Image`] when the sizes differ.
pub fn psnr(a: &RgbView, b: &RgbView) -> Result<f64> {
    let error = squared_error(a, b)?;
    Ok(psnr_from_error(error, a.samples().len() as u64))
}

/// PSNR in dB of `squared_error` summed over `samples` samples; infinite when there is no error.
pub fn psnr_from_error(squared_error: u64, samples: u64) -> f64 {
    10.0 * (PEAK * PEAK * samples as f64 / squared_error as f64).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes() {
        let black = vec![0_u8; 300 * 301 * 3];
        let white = vec![255_u8; black.len()];
        let black = RgbView::new(&black, 300, 301).expect("valid");
        let white = RgbView::new(&white, 300, 301).expect("valid");
        assert_eq!(
            squared_error(&black, &white).expect("same size"),
            300 * 301 * 3 * 65_025
        );
        assert!(psnr(&black, &white).expect("same size").abs() < 1e-12);
        assert_eq!(psnr(&black, &black).expect("same size"), f64::INFINITY);
    }

    #[test]
    fn one_step_of_one_sample() {
        let a = [10_u8, 20, 30];
        let b = [10_u8, 21, 30];
        let a = RgbView::new(&a, 1, 1).expect("valid");
        let b = RgbView::new(&b, 1, 1).expect("valid");
        assert_eq!(squared_error(&a, &b).expect("same size"), 1);
        let expected = 10.0 * (65_025.0_f64 * 3.0).log10();
        assert!((psnr(&a, &b).expect("same size") - expected).abs() < 1e-12);
    }
}
