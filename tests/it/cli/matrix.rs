//! Every kind of picture through the binary and back: alpha to the bit, metadata to the byte,
//! sizes and kinds of samples as they were.

use ::image::codecs::png::{PngDecoder, PngEncoder};
use ::image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder};

use super::{TINY, Workspace};

/// A kind of samples.
#[derive(Debug, Clone, Copy)]
struct Kind {
    is_gray: bool,
    has_alpha: bool,
    is_wide: bool,
}

impl Kind {
    fn all() -> impl Iterator<Item = Self> {
        (0..8).map(|bits| Self {
            is_gray: bits & 1 > 0,
            has_alpha: bits & 2 > 0,
            is_wide: bits & 4 > 0,
        })
    }

    fn color(self) -> ExtendedColorType {
        match (self.is_gray, self.has_alpha, self.is_wide) {
            (true, false, false) => ExtendedColorType::L8,
            (true, true, false) => ExtendedColorType::La8,
            (false, false, false) => ExtendedColorType::Rgb8,
            (false, true, false) => ExtendedColorType::Rgba8,
            (true, false, true) => ExtendedColorType::L16,
            (true, true, true) => ExtendedColorType::La16,
            (false, false, true) => ExtendedColorType::Rgb16,
            (false, true, true) => ExtendedColorType::Rgba16,
        }
    }

    /// The alpha sample of pixel `i`, in the kind's own depth.
    fn alpha(self, i: u32) -> u16 {
        let max: u32 = if self.is_wide { 65_535 } else { 255 };
        let sample = match i % 7 {
            1 | 2 => 0,
            3 | 4 => max,
            // The first is 1, which 16 bits alone can say.
            _ => 1 + 2_654_435_761_u32.wrapping_mul(i * i) % (max - 1),
        };
        sample as u16
    }

    /// The samples of a picture as PNG encoders take them.
    fn samples(self, pixels: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let mut push = |sample: u16| {
            if self.is_wide {
                out.extend(sample.to_ne_bytes());
            } else {
                out.push(sample as u8);
            }
        };
        for i in 0..pixels {
            for channel in 0..if self.is_gray { 1 } else { 3 } {
                push((i * 300 + channel * 7000) as u16);
            }
            if self.has_alpha {
                push(self.alpha(i));
            }
        }
        out
    }
}

/// ICC, Exif and XMP; each may be absent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blocks {
    icc: Option<Vec<u8>>,
    exif: Option<Vec<u8>>,
    xmp: Option<Vec<u8>>,
}

impl Blocks {
    /// Those whose bit is set in `mask`.
    fn some(mask: u32) -> Self {
        // A TIFF header and a directory of one entry that is not the orientation.
        let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x1a\0\x05\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
        let block = |bit: u32, bytes: Vec<u8>| (mask & bit > 0).then_some(bytes);
        Self {
            icc: block(1, (0..=255).cycle().take(700).collect()),
            exif: block(2, exif),
            xmp: block(
                4,
                "<x:xmpmeta xmlns:x='adobe:ns:meta/'>\u{e9}</x:xmpmeta>".into(),
            ),
        }
    }

    fn of(decoder: &mut impl ImageDecoder) -> Self {
        Self {
            icc: decoder.icc_profile().unwrap(),
            exif: decoder.exif_metadata().unwrap(),
            xmp: decoder.xmp_metadata().unwrap(),
        }
    }
}

fn png(kind: Kind, width: u32, height: u32, blocks: &Blocks) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    if let Some(icc) = &blocks.icc {
        encoder.set_icc_profile(icc.clone()).unwrap();
    }
    if let Some(exif) = &blocks.exif {
        encoder.set_exif_metadata(exif.clone()).unwrap();
    }
    encoder
        .write_image(&kind.samples(width * height), width, height, kind.color())
        .unwrap();
    if let Some(xmp) = &blocks.xmp {
        let body = [b"iTXtXML:com.adobe.xmp\0\0\0\0\0".as_slice(), xmp].concat();
        let length = (body.len() as u32 - 4).to_be_bytes();
        let crc = crc32fast::hash(&body).to_be_bytes();
        // Behind the signature and IHDR.
        bytes.splice(33..33, [&length[..], &body, &crc].concat());
    }
    bytes
}

/// Encodes `picture` and decodes it again with the tiny model; the PNG that comes out.
fn through(here: &Workspace, picture: &[u8]) -> Vec<u8> {
    here.write("a.png", picture);
    for args in [["encode", "a.png", "a.aec"], ["decode", "a.aec", "b.png"]] {
        here.aec(&args)
            .args(["--model", TINY, "-j", "1"])
            .assert()
            .success();
    }
    here.read("b.png")
}

fn check(here: &Workspace, kind: Kind, (width, height): (u32, u32), mask: u32) {
    let what = format!("{kind:?}, {width}x{height}, blocks {mask:03b}");
    let blocks = Blocks::some(mask);
    let out = through(here, &png(kind, width, height, &blocks));
    let mut decoder = PngDecoder::new(std::io::Cursor::new(&out)).unwrap();
    assert_eq!(decoder.dimensions(), (width, height), "{what}");
    assert_eq!(Blocks::of(&mut decoder), blocks, "{what}");
    let color = decoder.color_type();
    assert_eq!(color.has_color(), !kind.is_gray, "{what}");
    assert_eq!(color.has_alpha(), kind.has_alpha, "{what}");
    let is_wide = kind.is_wide && kind.has_alpha;
    let bytes_per_channel = if is_wide { 2 } else { 1 };
    assert_eq!(
        color.bytes_per_pixel() / color.channel_count(),
        bytes_per_channel,
        "{what}"
    );
    if kind.has_alpha {
        let picture = DynamicImage::from_decoder(decoder).unwrap();
        for (i, pixel) in picture.to_rgba16().pixels().enumerate() {
            let unit = if kind.is_wide { 1 } else { 257 };
            assert_eq!(pixel[3], kind.alpha(i as u32) * unit, "{what}, pixel {i}");
        }
    }
}

#[test]
fn every_kind_of_picture_comes_back() {
    let here = Workspace::new();
    for kind in Kind::all() {
        for size in [(1, 1), (17, 23), (65, 64)] {
            check(&here, kind, size, 0);
            check(&here, kind, size, 7);
        }
    }
}

#[test]
fn every_block_comes_back_alone() {
    let here = Workspace::new();
    for mask in [1, 2, 4] {
        let kind = Kind::all().nth(mask as usize).unwrap();
        check(&here, kind, (9, 5), mask);
    }
}

/// 16 bits of alpha that say what 8 bits can come back as 8.
#[test]
fn alpha_has_no_more_bits_than_it_needs() {
    let here = Workspace::new();
    let samples: Vec<u8> = (0..35_u16)
        .flat_map(|i| [100, 200, 300, i * 7 * 257].map(u16::to_ne_bytes))
        .flatten()
        .collect();
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(&samples, 7, 5, ExtendedColorType::Rgba16)
        .unwrap();
    let out = ::image::load_from_memory(&through(&here, &bytes)).unwrap();
    assert_eq!(out.color(), ::image::ColorType::Rgba8);
    for (i, pixel) in out.to_rgba8().pixels().enumerate() {
        assert_eq!(usize::from(pixel[3]), i * 7);
    }
}

#[test]
fn webp_with_alpha_is_read() {
    let here = Workspace::new();
    let kind = Kind::all().nth(2).unwrap();
    let mut webp = Vec::new();
    ::image::codecs::webp::WebPEncoder::new_lossless(&mut webp)
        .write_image(&kind.samples(11 * 9), 11, 9, ExtendedColorType::Rgba8)
        .unwrap();
    let out = ::image::load_from_memory(&through(&here, &webp)).unwrap();
    for (i, pixel) in out.to_rgba8().pixels().enumerate() {
        assert_eq!(u16::from(pixel[3]), kind.alpha(i as u32));
    }
}
