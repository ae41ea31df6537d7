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
/// Bytes of the search for each column: rows of activations that the gradients need again, and those of each thread.
const SEARCH_BYTES_PER_COLUMN: u64 = 6_000;
const THREAD_BYTES_PER_COLUMN: u64 = 1_400;

/// What is done with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Decoding, or encoding without search.
    Pass,
    /// Encoding with search, on so many threads.
    Search { threads: u64 },
}

impl Work {
    /// Encoding at an effort, on so many threads.
    pub fn encoding(effort: Effort, threads: usize) -> Self {
        if effort == Effort::FASTEST {
            Self::Pass
        } else {
            let threads = threads as u64;
            Self::Search { threads }
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
    let Work::Search { threads } = work else {
        return pass;
    };
    let of_column = SEARCH_BYTES_PER_COLUMN + threads * THREAD_BYTES_PER_COLUMN;
    let search = of_pixels(
        SEARCHED_AT_ONCE,
        BYTES_PER_SEARCHED_PIXEL,
        BYTES_PER_KEPT_PIXEL,
    )
    .saturating_add(SEARCH_BASE + width * of_column);
    pass.saturating_add(search)
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

    /// Search on two threads.
    const SEARCH: Work = Work::Search { threads: 2 };

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
                && check((u32::MAX, u32::MAX), SEARCH, &Limits::default()).is_ok()
        );
        assert!(check((u32::MAX, u32::MAX), Work::Pass, &limits).is_err());
    }

    #[test]
    fn what_was_measured_is_covered() {
        let on = |threads| Work::Search { threads };
        // Width and height, and kilobytes at effort 1 or at efforts 4 and 5 (the largest of both tunes).
        let measured = [
            ((512, 384), Work::Pass, 77_600),
            ((512, 384), SEARCH, 222_600),
            ((2560, 1600), Work::Pass, 224_000),
            ((2560, 1600), SEARCH, 580_000),
            ((6000, 4000), Work::Pass, 462_000),
            ((6000, 4000), SEARCH, 1_278_000),
            ((65_535, 64), Work::Pass, 502_000),
            ((65_535, 64), SEARCH, 1_038_000),
            ((65_535, 64), on(32), 2_281_000),
            ((65_535, 256), SEARCH, 1_975_000),
            ((65_535, 256), on(8), 2_452_000),
            ((65_535, 256), on(32), 4_811_000),
            ((10_000, 10_000), Work::Pass, 1_451_000),
            ((10_000, 10_000), SEARCH, 3_770_000),
        ];
        for (size, work, measured) in measured {
            let (needed, measured) = (needed(size, work), measured * 1024);
            // Not less, and not so much more that a picture is refused for no reason.
            assert!(
                (measured..measured * 4).contains(&needed),
                "{size:?} {work:?} {needed}"
            );
        }
    }
}
