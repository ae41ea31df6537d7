//! Damage: every truncation and every changed byte of a small file ends in an error,
//! and so does damage behind right checksums. Nothing panics.

use aec::unstable::{DecodeOptions, Error, Limits, NoProgress, Result};
use rayon::prelude::*;

use crate::common::layout::Layout;
use crate::common::{self, encode, pictures, tiny};

/// A file with all kinds of sections: metadata, tile index, two tiles.
fn small_file() -> Vec<u8> {
    let mut picture = pictures::scene(70, 20);
    picture.metadata.icc = Some(vec![1, 2, 3]);
    picture.metadata.exif = Some(vec![4, 5]);
    picture.metadata.xmp = Some(vec![6]);
    encode(&picture, 40.0, 64)
}

/// Decodes with limits that keep damaged sizes cheap.
fn decode(file: &[u8]) -> Result<aec::unstable::Image> {
    let limits = Limits {
        max_pixels: 1 << 14,
        ..Limits::default()
    };
    let options = DecodeOptions {
        limits,
        ..DecodeOptions::default()
    };
    aec::unstable::decode(file, tiny::model(), &options, &NoProgress)
}

/// Changes of a byte: every single bit, all bits, one less.
fn changes() -> impl Iterator<Item = u8> {
    (0..8).map(|bit| 1 << bit).chain([0xFF, 0x7F, 0x03])
}

#[test]
fn the_file_itself_decodes() {
    let file = small_file();
    assert_eq!(decode(&file).unwrap().width, 70);
    assert_eq!(Layout::of(&file).bytes(), file);
}

#[test]
fn every_truncation_is_truncated() {
    let file = small_file();
    (0..file.len()).into_par_iter().for_each(|length| {
        let error = decode(&file[..length]).unwrap_err();
        assert!(
            matches!(error, Error::Truncated { .. }),
            "{length} bytes: {error}"
        );
    });
}

#[test]
fn every_changed_byte_is_an_error() {
    let file = small_file();
    (0..file.len()).into_par_iter().for_each(|at| {
        let mut damaged = file.clone();
        for change in 1..=255 {
            damaged[at] = file[at] ^ change;
            assert!(
                decode(&damaged).is_err(),
                "byte {at} changed by {change:#04x}"
            );
        }
    });
}

/// A tile's symbols have a checksum of their own, so nothing in a payload can change
/// unseen even when the checksum of its bytes is made right.
#[test]
fn every_changed_byte_of_a_tile_is_an_error_behind_right_checksums() {
    let layout = Layout::of(&small_file());
    let tile = layout
        .sections
        .iter()
        .position(|section| &section.0 == b"TILE")
        .unwrap();
    (0..layout.sections[tile].1.len())
        .into_par_iter()
        .for_each(|at| {
            for change in changes() {
                let mut damaged = layout.clone();
                damaged.sections[tile].1[at] ^= change;
                assert!(
                    decode(&damaged.bytes()).is_err(),
                    "byte {at} changed by {change:#04x}"
                );
            }
        });
}

/// A tile cut short or made longer, with right checksums and the right tile index.
#[test]
fn every_other_length_of_a_tile_is_an_error_behind_right_checksums() {
    let mut layout = Layout::of(&encode(&pictures::scene(20, 20), 40.0, 64));
    let whole = layout.payload(b"TILE").clone();
    let longer = (1..=255).map(|byte| [&whole[..], &[byte]].concat());
    for payload in (0..whole.len())
        .map(|length| whole[..length].to_vec())
        .chain(longer)
    {
        let length = payload.len();
        *layout.payload(b"TILE") = payload;
        assert!(
            decode(&layout.bytes()).is_err(),
            "{length} of {} bytes",
            whole.len()
        );
    }
}

/// A changed header or tile index behind right checksums may describe another valid
/// picture; it never makes the decoder panic.
#[test]
fn changed_headers_never_panic() {
    let layout = Layout::of(&small_file());
    (0..layout.header.len()).into_par_iter().for_each(|at| {
        for change in changes() {
            let mut damaged = layout.clone();
            damaged.header[at] ^= change;
            let _ = decode(&damaged.bytes());
        }
    });
    for at in 0..layout.clone().payload(b"TIDX").len() {
        let mut damaged = layout.clone();
        damaged.payload(b"TIDX")[at] ^= 1;
        assert!(decode(&damaged.bytes()).is_err());
    }
}

/// Streams of random bytes decode to some symbols or to an error, within bounded time.
#[test]
fn random_streams_are_errors() {
    let layout = Layout::of(&encode(&pictures::scene(20, 20), 100.0, 64));
    (1..200_u64).into_par_iter().for_each(|seed| {
        let mut random = common::random::Random::new(seed);
        let mut damaged = layout.clone();
        let tile = damaged.payload(b"TILE");
        tile.truncate(5);
        tile.extend((0..seed * 3).map(|_| random.byte() | (seed % 3) as u8));
        assert!(decode(&damaged.bytes()).is_err(), "seed {seed}");
    });
}
