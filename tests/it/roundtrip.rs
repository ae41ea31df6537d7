//! Sizes: every size comes back as it was, with pixels that do not depend on the pieces
//! in which the picture was computed.

use proptest::prelude::*;

use crate::common::{decode, encode, pictures, tiny};
use crate::reference as decoder;

/// Encodes and decodes a scene; returns the mean absolute error of its samples.
fn round_trip(width: u32, height: u32, percent: f64, tile_size: u32) -> f64 {
    let picture = pictures::scene(width, height);
    let decoded = decode(&encode(&picture, percent, tile_size)).unwrap();
    assert_eq!((decoded.width, decoded.height), (width, height));
    let errors = picture
        .rgb
        .iter()
        .zip(&decoded.rgb)
        .map(|(a, b)| f64::from(a.abs_diff(*b)));
    errors.sum::<f64>() / picture.rgb.len() as f64
}

#[test]
fn awkward_sizes_come_back() {
    for (width, height) in [
        (1, 1),
        (1, 3000),
        (17, 23),
        (511, 513),
        (4097, 1),
        (64, 64),
        (65, 129),
    ] {
        round_trip(width, height, 40.0, 1024);
    }
}

#[test]
fn pictures_come_back_recognizably() {
    // The tiny model codes sixteen of 768 components of a patch.
    let error = round_trip(200, 150, 100.0, 64);
    assert!(error < 45.0, "mean absolute error {error}");
}

/// More latents than one piece of the transforms may have, in either direction; the
/// reference decoder has no pieces.
#[test]
fn pieces_do_not_show() {
    for (width, height) in [(2900, 40), (40, 2900)] {
        let file = encode(&pictures::scene(width, height), 60.0, 1024);
        let expected = decoder::decode(&file, tiny::bytes()).unwrap();
        assert!(
            decode(&file).unwrap().rgb == expected.rgb,
            "{width}x{height}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_size_comes_back(width in 1..300_u32, height in 1..300_u32, percent in 0.0..=100.0, units in 1..5_u32) {
        round_trip(width, height, percent, units * 64);
    }
}
