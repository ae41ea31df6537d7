//! Numbers and names as people read them; the same forms everywhere.

use std::path::Path;
use std::time::Duration;

use indicatif::HumanCount;

/// `text` without what a terminal would obey: control characters, and those that turn the
/// direction of writing, become escapes such as `\n` and `\u{1b}`.
pub fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A path as messages show it, in single quotes.
pub fn quoted(path: &Path) -> String {
    format!("'{}'", printable(&path.to_string_lossy()))
}

/// `1234567` as `1,234,567`.
pub fn thousands(value: u64) -> String {
    HumanCount(value).to_string()
}

/// Bits per pixel with three decimals.
pub fn bits_per_pixel(bytes: u64, pixels: u64) -> String {
    format!("{:.3} bpp", bytes as f64 * 8.0 / pixels as f64)
}

/// Seconds and megapixels per second: `1.42 s (0.28 MP/s)`.
pub fn speed(pixels: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = pixels as f64 / 1e6 / seconds.max(1e-9);
    format!("{seconds:.2} s ({rate:.2} MP/s)")
}

/// A ratio in dB; without bound where there is no difference.
pub(super) fn decibels(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.2} dB")
    } else {
        "no difference".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_write_to_the_terminal() {
        assert_eq!(printable("a b.png é 日本"), "a b.png é 日本");
        assert_eq!(
            printable("a\u{1b}[31m\nb\u{202e}\t"),
            "a\\u{1b}[31m\\nb\\u{202e}\\t"
        );
        assert_eq!(quoted(Path::new("it's")), "'it's'");
    }

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
