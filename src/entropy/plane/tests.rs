//! Planes of every kind come back exactly, and cost what they should.

use proptest::prelude::*;

use super::*;

/// A disc with an edge `soft` samples wide, in the middle of a square.
fn disc(side: usize, soft: f64, max: u16) -> Vec<u16> {
    let middle = side as f64 / 2.0;
    let sample = |i: usize| {
        let (x, y) = ((i % side) as f64 - middle, (i / side) as f64 - middle);
        let inside = (middle * 0.7 - x.hypot(y)) / soft + 0.5;
        (inside.clamp(0.0, 1.0) * f64::from(max)).round() as u16
    };
    (0..side * side).map(sample).collect()
}

/// Codes and decodes; returns the length of the stream.
fn round_trip(samples: &[u16], width: usize, max: u16) -> usize {
    let stream = encode_plane(samples.to_vec(), width, max);
    let decoded = decode_plane(&stream, width, samples.len() / width, max).unwrap();
    assert!(decoded == samples);
    stream.len()
}

#[test]
fn constant_planes_cost_nothing_or_a_few_bytes() {
    for max in [255, 65_535] {
        assert_eq!(round_trip(&vec![max; 1000 * 700], 1000, max), 0);
        for value in [0, 1, 77, max - 1] {
            let length = round_trip(&vec![value; 1000 * 700], 1000, max);
            assert!(length <= 10, "{length} bytes for {value}");
        }
    }
}

#[test]
fn typical_planes_are_small() {
    // Edges of 1100 samples: hard, smoothed, and a wide shadow over half a million samples.
    let lengths = [1e-9, 1.0, 200.0].map(|soft| round_trip(&disc(1000, soft, 255), 1000, 255));
    let bounds = [600, 4000, 40_000];
    assert!(
        lengths
            .iter()
            .zip(bounds)
            .all(|(length, bound)| *length < bound),
        "{lengths:?}"
    );
    assert!(round_trip(&disc(300, 1.5, 65_535), 300, 65_535) < 8000);
}

/// The worst case: samples that cannot be predicted.
#[test]
fn noise_grows_by_less_than_a_sixth() {
    let noise: Vec<u16> = (0..200_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u16)
        .collect();
    let length = round_trip(&noise, 500, 65_535);
    assert!(length < 400_000 * 7 / 6, "{length}");
    let narrow: Vec<u16> = noise.iter().map(|v| v & 255).collect();
    let length = round_trip(&narrow, 500, 255);
    assert!(length < 200_000 * 7 / 6, "{length}");
}

#[test]
fn a_stream_must_end_with_the_last_sample() {
    let samples = disc(40, 3.0, 255);
    let stream = encode_plane(samples, 40, 255);
    assert!(decode_plane(&stream, 40, 20, 255).is_err());
    assert!(decode_plane(&[&stream[..], &[1; 4]].concat(), 40, 40, 255).is_err());
    assert!(decode_plane(&[1, 0], 40, 40, 255).is_err());
    assert!(decode_plane(&stream[..stream.len() - 4], 40, 40, 255).is_err());
}

fn any_samples() -> impl Strategy<Value = (Vec<u16>, usize, u16)> {
    let max = prop_oneof![Just(255_u16), Just(65_535)];
    (1..70_usize, 1..50_usize, max, 0..4_u8).prop_flat_map(|(width, height, max, kind)| {
        let value = match kind {
            0 => prop_oneof![Just(0), Just(max)].boxed(),
            1 => (0..=max).boxed(),
            2 => prop_oneof![20 => Just(0), 20 => Just(max), 1 => 0..=max].boxed(),
            _ => (100..104_u16).boxed(),
        };
        let samples = prop::collection::vec(value, width * height);
        (samples, Just(width), Just(max))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_plane_comes_back((samples, width, max) in any_samples()) {
        let stream = encode_plane(samples.clone(), width, max);
        prop_assert_eq!(decode_plane(&stream, width, samples.len() / width, max).unwrap(), samples);
    }

    #[test]
    fn any_stream_ends(stream in any::<Vec<u8>>(), width in 1..40_usize, height in 1..40_usize, is_wide: bool) {
        let max = if is_wide { 65_535 } else { 255 };
        let _ = decode_plane(&stream, width, height, max);
    }
}
