//! Whether the system has the memory that a picture takes: a failed allocation would end the whole run.

use super::messages::Complaint;
use crate::codec::Effort;
use crate::limits::Limits;

/// What the program takes without a picture.
const BASE: u64 = 120_000_000;
/// Pixels of a tile of the largest size; of each, every tile in work takes this many bytes.
const LARGEST_TILE: u64 = 1 << 24;
const BYTES_PER_TILE_PIXEL: u64 = 44;
/// Bytes for each other pixel: samples, latents, and what is written.
const BYTES_PER_PIXEL: u64 = 14;
/// Bytes for each column: rows of activations of all layers.
const BYTES_PER_COLUMN: u64 = 4_500;

/// What the encoder's search takes besides, and for each of the pixels that are searched side by side.
const SEARCH_BASE: u64 = 140_000_000;
const SEARCHED_AT_ONCE: u64 = 1 << 22;
const BYTES_PER_SEARCHED_PIXEL: u64 = 140;
/// Bytes of the search for each other pixel: what was decoded, gradients, latents of two rounds, features.
const BYTES_PER_KEPT_PIXEL: u64 = 18;
/// Bytes of the search for each column: rows of activations that the gradients need again, of every band in work.
const SEARCH_BYTES_PER_COLUMN: u64 = 36_000;

/// What is done with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Decoding, or encoding without search.
    Pass,
    /// Encoding with search.
    Search,
}

impl Work {
    /// Encoding at an effort.
    pub fn encoding(effort: Effort) -> Self {
        if effort == Effort::FASTEST {
            Self::Pass
        } else {
            Self::Search
        }
    }
}

/// Bytes that coding a picture of this width and height takes at most, about (README: Library).
fn needed((width, height): (u32, u32), work: Work) -> u64 {
    let (width, height) = (u64::from(width), u64::from(height));
    let pixels = width * height;
    let of_pixels = |at_once: u64, for_each: u64, for_others: u64| {
        let in_work = pixels.min(at_once);
        (in_work * for_each).saturating_add((pixels - in_work).saturating_mul(for_others))
    };
    let pass = of_pixels(LARGEST_TILE, BYTES_PER_TILE_PIXEL, BYTES_PER_PIXEL)
        .saturating_add(BASE + width * BYTES_PER_COLUMN);
    let search = of_pixels(
        SEARCHED_AT_ONCE,
        BYTES_PER_SEARCHED_PIXEL,
        BYTES_PER_KEPT_PIXEL,
    )
    .saturating_add(SEARCH_BASE + width * SEARCH_BYTES_PER_COLUMN);
    match work {
        Work::Pass => pass,
        Work::Search => pass.saturating_add(search),
    }
}

/// Refuses a picture that needs more memory than there is; not one that `limits` refuse anyway.
///
/// # Errors
/// When the system says so; not where it says nothing.
pub(super) fn check(size: (u32, u32), work: Work, limits: &Limits) -> Result<(), Complaint> {
    let needed = needed(size, work);
    let is_allowed = limits.check_pixels(size.0, size.1).is_ok();
    match available() {
        Some(left) if left < needed && is_allowed => {
            let [needed, left] = [needed, left].map(gigabytes);
            let message = format!("it takes about {needed} of memory, and there are {left} left");
            let hint = "use a machine with more memory, or allow the process more";
            Err(Complaint::failure(message, hint))
        }
        Some(_) | None => Ok(()),
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

/// Bytes that the process can still get: of the machine's, and of what the process may have.
#[cfg(target_os = "linux")]
fn available() -> Option<u64> {
    use std::fs::read_to_string;
    let machine = read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| kilobytes(&text, "MemAvailable:"));
    let status = read_to_string("/proc/self/status").ok();
    let taken = status.and_then(|text| kilobytes(&text, "VmSize:"));
    let limits = read_to_string("/proc/self/limits").ok();
    let limit = limits.and_then(|text| number_behind(&text, "Max address space"));
    let allowed = limit.map(|limit| limit.saturating_sub(taken.unwrap_or(0)));
    machine.into_iter().chain(allowed).min()
}

#[cfg(not(target_os = "linux"))]
fn available() -> Option<u64> {
    None
}

/// Bytes in a line such as `MemAvailable:   24000 kB`.
#[cfg(target_os = "linux")]
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    number_behind(text, name)?.checked_mul(1024)
}

/// The number behind `name` at the start of a line.
#[cfg(target_os = "linux")]
fn number_behind(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_read() {
        let text =
            "MemTotal: 9 kB\nMemAvailable:    24000 kB\nMax address space    unlimited    bytes\n";
        assert_eq!(kilobytes(text, "MemAvailable:"), Some(24_576_000));
        assert_eq!(number_behind(text, "Max address space"), None);
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
        let limits = Limits {
            max_pixels: u64::MAX,
            max_side: u32::MAX,
            ..Limits::default()
        };
        assert!(
            check((1, 1), Work::Pass, &limits).is_ok()
                && check((u32::MAX, u32::MAX), Work::Search, &Limits::default()).is_ok()
        );
        assert!(check((u32::MAX, u32::MAX), Work::Pass, &limits).is_err());
    }

    #[test]
    fn what_was_measured_is_covered() {
        // Width and height, and kilobytes at efforts 1 and 4 (the larger of both tunes).
        let measured = [
            ((512, 384), 77_600, 222_600),
            ((2560, 1600), 224_000, 580_000),
            ((6000, 4000), 462_000, 1_278_000),
            ((65_535, 64), 474_000, 2_997_000),
            ((10_000, 10_000), 1_451_000, 3_605_000),
        ];
        for (size, pass, search) in measured {
            for (work, measured) in [(Work::Pass, pass), (Work::Search, search)] {
                let (needed, measured) = (needed(size, work), measured * 1024);
                // Not less, and not so much more that a picture is refused for no reason.
                assert!(
                    (measured..measured * 4).contains(&needed),
                    "{size:?} {work:?} {needed}"
                );
            }
        }
    }
}
