//! What is left of damaged files: everything but the parts that are hit, and a list of those.

use aec::unstable::{
    Damage, DecodeOptions, Depth, Error, Image, Limits, NoProgress, Region, Result,
};
use rayon::prelude::*;

use crate::common::layout::Layout;
use crate::common::{self, encode, pictures, tiny};

/// 6 tiles of 64 in two rows, with alpha and metadata.
fn file() -> Vec<u8> {
    let mut picture = pictures::with_alpha(pictures::scene(190, 120), Depth::Eight);
    picture.metadata.icc = Some(vec![1, 2, 3]);
    picture.metadata.exif = Some(vec![4, 5]);
    picture.metadata.xmp = Some((30..60).collect());
    encode(&picture, 40.0, 64)
}

fn decode_damaged(file: &[u8]) -> Result<(Image, Vec<Damage>)> {
    let limits = Limits {
        max_pixels: 1 << 16,
        ..Limits::default()
    };
    let options = DecodeOptions {
        limits,
        ..DecodeOptions::default()
    };
    aec::unstable::decode_damaged(file, tiny::model(), &options, &NoProgress)
}

/// Byte offset and length of the payload of each section `tag`.
fn payloads(file: &[u8], tag: &[u8; 4]) -> Vec<(usize, usize)> {
    let sections = aec::unstable::bitstream::Container::sections(file).unwrap();
    let found = sections.map(|section| section.unwrap());
    found
        .filter(|section| &section.tag == tag)
        .map(|section| {
            let start = section.payload.as_ptr() as usize - file.as_ptr() as usize;
            (start, section.payload.len())
        })
        .collect()
}

fn places(damage: &[Damage]) -> Vec<String> {
    let place = |damage: &Damage| match damage {
        Damage::Tile { region, .. } => format!("tile {},{}", region.x, region.y),
        Damage::Alpha { region, .. } => format!("alpha {},{}", region.x, region.y),
        Damage::File(_) => "file".into(),
        _ => unreachable!("a new kind of damage"),
    };
    damage.iter().map(place).collect()
}

/// The pixels of both pictures that lie outside of a tile and its surroundings are the same.
fn assert_same_beyond(a: &Image, b: &Image, region: Region, margin: u32) {
    let (left, top) = (
        region.x.saturating_sub(margin),
        region.y.saturating_sub(margin),
    );
    let (right, bottom) = (
        region.x + region.width + margin,
        region.y + region.height + margin,
    );
    let mut compared = 0;
    for y in 0..a.height {
        for x in 0..a.width {
            if !(left..right).contains(&x) || !(top..bottom).contains(&y) {
                let at = (y * a.width + x) as usize * 3;
                assert_eq!(a.rgb[at..at + 3], b.rgb[at..at + 3], "{x},{y}");
                compared += 1;
            }
        }
    }
    assert!(compared > 0);
}

#[test]
fn intact_files_are_decoded_as_ever() {
    let file = file();
    let (image, damage) = decode_damaged(&file).unwrap();
    assert_eq!(image, common::decode(&file).unwrap());
    assert!(damage.is_empty());
}

#[test]
fn a_flipped_byte_costs_one_tile() {
    let file = file();
    let whole = common::decode(&file).unwrap();
    // The tiny model's synthesis reaches two latents around.
    let margin = 32;
    for (tile, (start, length)) in payloads(&file, b"TILE").into_iter().enumerate() {
        let mut damaged = file.clone();
        damaged[start + length / 2] ^= 0x40;
        let (image, damage) = decode_damaged(&damaged).unwrap();
        let [Damage::Tile { region, error }] = &damage[..] else {
            panic!("{damage:?}")
        };
        assert_eq!(
            (region.x as usize, region.y as usize),
            (tile % 3 * 64, tile / 3 * 64)
        );
        assert!(matches!(error, Error::Corrupt(_)));
        assert_eq!(
            (&image.alpha, &image.metadata),
            (&whole.alpha, &whole.metadata)
        );
        assert_same_beyond(&image, &whole, *region, margin);
    }
}

#[test]
fn damage_behind_right_checksums_is_found_too() {
    let layout = Layout::of(&file());
    for (tag, place) in [(b"TILE", "tile 0,0"), (b"ALPH", "alpha 0,0")] {
        let mut damaged = layout.clone();
        damaged.payload(tag)[2] ^= 1;
        let (_, damage) = decode_damaged(&damaged.bytes()).unwrap();
        assert_eq!(places(&damage), [place]);
    }
}

#[test]
fn damaged_alpha_is_opaque() {
    let file = file();
    let whole = common::decode(&file).unwrap();
    let (start, length) = payloads(&file, b"ALPH")[1];
    let mut damaged = file.clone();
    damaged[start + length - 1] ^= 1;
    let (image, damage) = decode_damaged(&damaged).unwrap();
    assert_eq!(places(&damage), ["alpha 64,0"]);
    assert!(image.rgb == whole.rgb);
    let (found, expected) = (image.alpha.unwrap(), whole.alpha.unwrap());
    let pairs = found.samples().iter().zip(expected.samples()).enumerate();
    for (i, (found, expected)) in pairs {
        let is_damaged = (64..128).contains(&(i % 190)) && i / 190 < 64;
        assert_eq!(*found, if is_damaged { 255 } else { *expected });
    }
}

#[test]
fn damaged_metadata_is_left_out() {
    let file = file();
    let whole = common::decode(&file).unwrap();
    for tag in [b"iccP", b"exif", b"xmp "] {
        let (start, _) = payloads(&file, tag)[0];
        let mut damaged = file.clone();
        damaged[start] ^= 1;
        let (image, damage) = decode_damaged(&damaged).unwrap();
        assert_eq!(places(&damage), ["file"]);
        assert!(
            damage[0]
                .to_string()
                .contains(std::str::from_utf8(tag).unwrap())
        );
        assert!(image.rgb == whole.rgb && image.alpha == whole.alpha);
        let mut metadata = whole.metadata.clone();
        match tag {
            b"iccP" => metadata.icc = None,
            b"exif" => metadata.exif = None,
            _ => metadata.xmp = None,
        }
        assert_eq!(image.metadata, metadata);
    }
}

#[test]
fn a_file_that_ends_early_gives_the_tiles_it_has() {
    let file = file();
    let whole = common::decode(&file).unwrap();
    let tiles = payloads(&file, b"TILE");
    // In the middle of the fifth tile.
    let (start, length) = tiles[4];
    let (image, damage) = decode_damaged(&file[..start + length / 2]).unwrap();
    assert_eq!(
        places(&damage),
        [
            "file",
            "tile 64,64",
            "tile 128,64",
            "alpha 64,64",
            "alpha 128,64"
        ]
    );
    let first_row = 190 * (64 - 32) * 3;
    assert!(image.rgb[..first_row] == whole.rgb[..first_row]);
    // Not even one tile.
    let refused = decode_damaged(&file[..tiles[0].0 + 5]).unwrap_err();
    assert!(matches!(refused, Error::Truncated { .. }), "{refused}");
}

/// Without the index, tiles are taken as they come.
#[test]
fn a_damaged_tile_index_costs_nothing_but_a_remark() {
    let file = file();
    let whole = common::decode(&file).unwrap();
    let (start, _) = payloads(&file, b"TIDX")[0];
    for at in [start - 5, start, start + 3] {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        let (image, damage) = decode_damaged(&damaged).unwrap();
        assert_eq!(image, whole);
        assert!(!damage.is_empty() && places(&damage).iter().all(|place| place == "file"));
    }
}

/// Bytes that are lost or added move everything behind them; the index is found again.
#[test]
fn metadata_of_another_length_does_not_lose_the_tiles() {
    let file = file();
    let whole = common::decode(&file).unwrap();
    let (start, length) = payloads(&file, b"xmp ")[0];
    let mut shorter = file.clone();
    shorter.drain(start..start + length / 2);
    let longer = [&file[..start], b"more TIDX and more", &file[start..]].concat();
    for damaged in [shorter, longer] {
        let (image, damage) = decode_damaged(&damaged).unwrap();
        assert!(image.rgb == whole.rgb && image.alpha == whole.alpha);
        assert_eq!(image.metadata.icc, whole.metadata.icc);
        assert_eq!(image.metadata.xmp, None);
        assert!(!damage.is_empty());
    }
}

#[test]
fn what_is_newer_than_the_decoder_is_refused() {
    let layout = Layout::of(&file());
    let mut flagged = layout.clone();
    flagged.payload(b"TILE")[0] |= 0x80;
    let mut added = layout.clone();
    added.sections.insert(1, (*b"XTST", vec![1]));
    for file in [flagged.bytes(), added.bytes()] {
        let refused = decode_damaged(&file).unwrap_err();
        assert!(matches!(refused, Error::Unsupported(_)), "{refused}");
    }
}

#[test]
fn headers_stay_fatal() {
    let file = file();
    let header = Layout::of(&file).header.len() + 4;
    (0..header).into_par_iter().for_each(|at| {
        let mut damaged = file.clone();
        damaged[at] ^= 0x10;
        assert!(decode_damaged(&damaged).is_err(), "byte {at}");
    });
}

/// Every changed byte behind the header and every length: a picture of the right size and a list
/// that is not empty, or an error where nothing is left.
#[test]
fn any_damage_is_said() {
    let file = file();
    let header = Layout::of(&file).header.len() + 4;
    let check = |damaged: &[u8], what: &str| match decode_damaged(damaged) {
        Ok((image, damage)) => {
            assert_eq!((image.width, image.height), (190, 120), "{what}");
            assert!(!damage.is_empty(), "{what}");
            let lines = damage.iter().map(ToString::to_string);
            assert!(lines.into_iter().all(|line| !line.contains('\n')), "{what}");
        }
        Err(error) => assert!(
            matches!(error, Error::Corrupt(_) | Error::Truncated { .. }),
            "{what}: {error}"
        ),
    };
    (header..file.len())
        .into_par_iter()
        .step_by(7)
        .for_each(|at| {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << (at % 8);
            check(&damaged, &format!("byte {at}"));
            check(&file[..at], &format!("{at} bytes"));
        });
}

/// With a region, only damage that shows in it counts.
#[test]
fn regions_see_their_own_damage_only() {
    let file = file();
    let mut damaged = file.clone();
    let (start, length) = payloads(&file, b"TILE")[0];
    damaged[start + length / 2] ^= 1;
    let decode = |x, y| {
        let region = Some(Region {
            x,
            y,
            width: 20,
            height: 20,
        });
        let options = DecodeOptions {
            region,
            ..DecodeOptions::default()
        };
        aec::unstable::decode_damaged(&damaged, tiny::model(), &options, &NoProgress)
    };
    assert!(decode(165, 98).unwrap().1.is_empty());
    assert_eq!(places(&decode(60, 20).unwrap().1), ["tile 0,0"]);
    assert!(matches!(decode(10, 10), Err(Error::Corrupt(_))));
}
