//! How near two pictures are.

use aec::unstable::Image;

/// The peak signal-to-noise ratio of their colors in dB.
pub fn psnr(a: &Image, b: &Image) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let pairs = a.rgb.iter().zip(&b.rgb);
    let squares = pairs.map(|(&x, &y)| f64::from(x.abs_diff(y)).powi(2));
    let error = squares.sum::<f64>() / a.rgb.len() as f64;
    10.0 * (255.0_f64.powi(2) / error.max(1e-9)).log10()
}
