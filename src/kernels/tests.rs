//! Every path against plain scalar loops, bit for bit.

use super::dispatch::{self, KernelPath};
use super::*;
use crate::sync::lock;
use std::sync::Mutex;

/// Xorshift64: repeatable values without a dependency.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    /// Values between -`scale` and `scale`, some of them zero of either sign.
    pub(super) fn values(&mut self, count: usize, scale: f32) -> Vec<f32> {
        let mut value = || match self.below(16) {
            0 => 0.0,
            1 => -0.0,
            _ => ((self.next() >> 40) as f32 / 8_388_608.0 - 1.0) * scale,
        };
        (0..count).map(|_| value()).collect()
    }
}

pub(super) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Runs `test` with every path in use, with one and with several threads. Others that run meanwhile get the same bits.
pub(super) fn everywhere(test: impl Fn(KernelPath) + Sync) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = lock(&ONE_AT_A_TIME);
    let usual = dispatch::active();
    for threads in [1, 5] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        for path in dispatch::available() {
            dispatch::force(path).expect("it is available");
            pool.install(|| test(path));
        }
    }
    dispatch::force(usual).expect("it was in use");
}

/// Whether `make` makes the same on every path, with one and with several threads.
pub(super) fn same_everywhere<T: PartialEq + Send>(make: impl Fn() -> T + Sync) {
    let first = Mutex::new(None);
    everywhere(|path| {
        let made = make();
        let mut first = lock(&first);
        match &*first {
            None => *first = Some(made),
            Some(first) => assert!(made == *first, "{path}"),
        }
    });
}

#[test]
fn paths_are_named_and_the_best_is_used() {
    let paths = dispatch::available();
    assert_eq!(paths.last(), Some(&KernelPath::Portable));
    for path in paths {
        assert_eq!(path.to_string().parse::<KernelPath>().unwrap(), path);
    }
    assert!("AVX2".parse::<KernelPath>().is_err());
    let neon = dispatch::force(KernelPath::Neon);
    assert_eq!(neon.is_ok(), cfg!(target_arch = "aarch64"));
    assert!(dispatch::active().is_available());
}

#[test]
fn rearrangements_follow_the_formula_and_invert() {
    let mut random = Random(14);
    for (cells_down, cells_across, channels, s) in [
        (1, 1, 1, 1),
        (3, 5, 4, 2),
        (2, 3, 3, 8),
        (4, 1, 5, 3),
        (0, 2, 3, 2),
    ] {
        let (height, width) = (cells_down * s, cells_across * s);
        let x = random.values(height * width * channels, 1.0);
        let (mut depth, mut back) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
        space_to_depth(&x, height, width, channels, s, &mut depth);
        for (at, value) in x.iter().enumerate() {
            let (y, column, channel) =
                (at / channels / width, at / channels % width, at % channels);
            let cell = y / s * cells_across + column / s;
            let to = (cell * s * s + y % s * s + column % s) * channels + channel;
            assert_eq!(depth[to].to_bits(), value.to_bits());
        }
        depth_to_space(&depth, height, width, channels, s, &mut back);
        assert_eq!(bits(&back), bits(&x));
    }
}

#[test]
fn every_byte_survives_patches() {
    let (height, width) = (16, 40);
    let rgb: Vec<u8> = (0..height * width * 3)
        .map(|at| (at * 7 + at / 256) as u8)
        .collect();
    let values: Vec<f32> = rgb
        .iter()
        .map(|v| f32::from(*v) * (1.0 / 255.0) - 0.5)
        .collect();
    let mut plain = vec![0.0; values.len()];
    space_to_depth(&values, height, width, 3, 8, &mut plain);
    everywhere(|path| {
        let (mut patches, mut back) = (vec![f32::NAN; rgb.len()], vec![0; rgb.len()]);
        pixels_to_patches(&rgb, height, width, &mut patches);
        assert_eq!(bits(&patches), bits(&plain), "{path}");
        patches_to_pixels(&patches, height, width, &mut back);
        assert_eq!(back, rgb, "{path}");
    });
}

#[test]
fn bytes_are_rounded_half_up_and_clamped() {
    let mut values = vec![0.0; 192];
    values[..9].copy_from_slice(&[
        -0.5,
        0.5,
        -9.0,
        9.0,
        0.0,
        f32::MAX,
        f32::MIN,
        -127.0 / 255.0,
        f32::NAN,
    ]);
    everywhere(|path| {
        let mut rgb = vec![1; 192];
        patches_to_pixels(&values, 8, 8, &mut rgb);
        assert_eq!(rgb[..9], [0, 255, 0, 255, 128, 255, 0, 1, 0], "{path}");
    });
}

/// Sizes whose product wraps around to the length of a slice (regression: reads behind the slice).
#[test]
fn sizes_that_wrap_are_refused() {
    fn panics(what: &str, call: impl FnOnce() + std::panic::UnwindSafe) {
        assert!(std::panic::catch_unwind(call).is_err(), "{what}");
    }
    const HALF: usize = 1 << (usize::BITS - 1);
    panics("patches", || pixels_to_patches(&[], HALF / 4, 16, &mut []));
    panics("pixels", || patches_to_pixels(&[], 16, HALF / 4, &mut []));
    panics("space to depth", || {
        space_to_depth::<f32>(&[], HALF, 2, 1, 2, &mut [])
    });
    panics("depth to space", || {
        depth_to_space::<f32>(&[], 2, 2, HALF, 2, &mut [])
    });
}
