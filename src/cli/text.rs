//! Numbers as people read them; the same formats everywhere.

use std::time::Duration;

/// `1234567` as `1,234,567`.
#[must_use]
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bits per pixel with three decimals.
#[must_use]
pub fn bits_per_pixel(bytes: u64, pixels: u64) -> String {
    format!("{:.3} bpp", bytes as f64 * 8.0 / pixels as f64)
}

/// Seconds and megapixels per second: `1.42 s (0.28 MP/s)`.
#[must_use]
pub fn speed(pixels: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = pixels as f64 / 1e6 / seconds.max(1e-9);
    format!("{seconds:.2} s ({rate:.2} MP/s)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (41_302, "41,302"),
            (1_234_567, "1,234,567"),
        ];
        for (value, text) in cases {
            assert_eq!(thousands(value), text);
        }
        assert_eq!(bits_per_pixel(41_288, 768 * 512), "0.840 bpp");
        assert_eq!(
            speed(393_216, Duration::from_millis(1420)),
            "1.42 s (0.28 MP/s)"
        );
    }
}
