//! Parts of a picture: the same pixels as in the whole one, from the tiles they need and no others.

use std::sync::atomic::{AtomicU64, Ordering};

use aec::Orientation;
use aec::unstable::{DecodeOptions, Depth, Error, Image, NoProgress, Progress, Region, Result};

use crate::common::random::Random;
use crate::common::{self, encode, pictures, tiny};

fn decode_region(file: &[u8], region: Region, progress: &dyn Progress) -> Result<Image> {
    let options = DecodeOptions {
        region: Some(region),
        ..DecodeOptions::default()
    };
    aec::unstable::decode(file, tiny::model(), &options, progress)
}

/// The rows of a region among those of the whole picture, with `channels` samples per pixel.
fn crop<T: Copy>(samples: &[T], width: u32, region: Region, channels: usize) -> Vec<T> {
    let (left, columns) = (region.x as usize, region.width as usize);
    samples
        .chunks(width as usize * channels)
        .skip(region.y as usize)
        .take(region.height as usize)
        .flat_map(|row| &row[left * channels..(left + columns) * channels])
        .copied()
        .collect()
}

fn assert_is_crop(part: &Image, whole: &Image, region: Region) {
    assert_eq!(
        (part.width, part.height),
        (region.width, region.height),
        "{region}"
    );
    let rgb = crop(&whole.rgb, whole.width, region, 3);
    assert!(part.rgb == rgb, "colors of {region}");
    assert_eq!(
        (part.is_gray, &part.metadata),
        (whole.is_gray, &whole.metadata)
    );
    match (&part.alpha, &whole.alpha) {
        (None, None) => {}
        (Some(part), Some(whole_alpha)) => {
            assert_eq!(part.depth(), whole_alpha.depth());
            let samples = crop(whole_alpha.samples(), whole.width, region, 1);
            assert!(part.samples() == samples, "alpha of {region}");
        }
        _ => panic!("alpha of {region}"),
    }
}

/// A region of a picture of `width` x `height`, often a small one.
fn any_region(random: &mut Random, width: u32, height: u32) -> Region {
    let mut below = |bound: u32| u32::from(random.byte()) * bound / 256;
    let (x, y) = (below(width), below(height));
    Region {
        x,
        y,
        width: 1 + below(width - x),
        height: 1 + below(height - y),
    }
}

#[test]
fn regions_are_crops_of_the_whole_picture() {
    let mut random = Random::new(3);
    for orientation in 1..=8 {
        let mut picture = pictures::scene(300, 210);
        picture.metadata.orientation = Orientation::from_exif(orientation).unwrap();
        picture.metadata.icc = Some(vec![1, 2, 3]);
        if orientation % 3 == 0 {
            picture.make_gray();
        }
        let depth = if orientation % 2 == 0 {
            Depth::Eight
        } else {
            Depth::Sixteen
        };
        let file = encode(&pictures::with_alpha(picture, depth), 50.0, 64);
        let whole = common::decode(&file).unwrap();
        let (width, height) = (whole.width, whole.height);
        let all = Region {
            x: 0,
            y: 0,
            width,
            height,
        };
        let corner = Region {
            x: width - 1,
            y: height - 1,
            width: 1,
            height: 1,
        };
        let any = (0..12).map(|_| any_region(&mut random, width, height));
        for region in [all, corner].into_iter().chain(any.collect::<Vec<_>>()) {
            let part = decode_region(&file, region, &NoProgress).unwrap();
            assert_is_crop(&part, &whole, region);
        }
    }
}

/// Regions in pictures of one tile, without alpha, and of more latents than are computed at once.
#[test]
fn regions_of_other_pictures() {
    let mut random = Random::new(4);
    for (width, height, tile_size) in [
        (90, 70, 1024),
        (2900, 30, 1024),
        (30, 2900, 256),
        (1, 1, 64),
    ] {
        let file = encode(&pictures::scene(width, height), 40.0, tile_size);
        let whole = common::decode(&file).unwrap();
        for _ in 0..6 {
            let region = any_region(&mut random, width, height);
            let part = decode_region(&file, region, &NoProgress).unwrap();
            assert_is_crop(&part, &whole, region);
        }
    }
}

#[test]
fn regions_outside_of_the_picture_are_refused() {
    let mut picture = pictures::scene(40, 30);
    picture.metadata.orientation = Orientation::Rotate90;
    let file = encode(&picture, 40.0, 64);
    for (x, y, width, height) in [
        (0, 0, 40, 30),
        (30, 0, 1, 1),
        (0, 40, 1, 1),
        (0, 0, 0, 1),
        (0, 0, 31, 1),
        (u32::MAX, u32::MAX, u32::MAX, u32::MAX),
    ] {
        let region = Region {
            x,
            y,
            width,
            height,
        };
        let refused = decode_region(&file, region, &NoProgress).unwrap_err();
        assert!(matches!(refused, Error::InvalidOption(_)), "{refused}");
    }
}

/// Remembers how much work there was.
struct Total(AtomicU64);

impl Progress for Total {
    fn report(&self, _: u64, total: u64) -> bool {
        self.0.store(total, Ordering::Relaxed);
        true
    }
}

/// 300 tiles in the file, of 4 x 4 latents each; the tiny model's synthesis reaches two latents
/// around.
#[test]
fn a_small_region_is_little_work() {
    let file = encode(&pictures::scene(1280, 960), 20.0, 64);
    let work = |x, y, side| {
        let total = Total(AtomicU64::new(0));
        let region = Region {
            x,
            y,
            width: side,
            height: side,
        };
        decode_region(&file, region, &total).unwrap();
        total.0.into_inner()
    };
    // Rows of latents in tiles, and twice as many rows of patches as of latents in the synthesis.
    assert_eq!(work(670, 350, 1), 4 * 4 + 2 * 5);
    assert_eq!(work(640, 320, 64), 9 * 4 + 2 * 8);
}

/// Damage in a tile that is not needed does not matter once the sections are whole.
#[test]
fn other_tiles_are_not_decoded() {
    let mut layout = common::layout::Layout::of(&encode(&pictures::scene(640, 64), 40.0, 64));
    let tile = layout
        .sections
        .iter()
        .rposition(|section| &section.0 == b"TILE")
        .unwrap();
    layout.sections[tile].1[1] ^= 1;
    let file = layout.bytes();
    assert!(common::decode(&file).is_err());
    let region = Region {
        x: 0,
        y: 0,
        width: 200,
        height: 64,
    };
    assert!(decode_region(&file, region, &NoProgress).is_ok());
}
