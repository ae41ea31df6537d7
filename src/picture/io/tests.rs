//! Tests of reading and writing: every format, kind of sample and metadata block, in memory.

use ::image::codecs::jpeg::JpegEncoder;
use ::image::codecs::png::PngEncoder;
use ::image::codecs::webp::WebPEncoder;
use ::image::{ExtendedColorType, ImageEncoder};

use super::*;
use crate::depth::Depth;
use crate::metadata::tests::exif_with_orientation;
use crate::orientation::Orientation;
use crate::picture::Alpha;

const W: u32 = 5;
const H: u32 = 3;

/// A smooth color picture of W x H with `channels` samples of 8 bits.
fn samples(channels: u32) -> Vec<u8> {
    (0..W * H * channels)
        .map(|i| (i * 3 + i % channels * 40) as u8)
        .collect()
}

fn png(color: ExtendedColorType, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PngEncoder::new(&mut out)
        .write_image(data, W, H, color)
        .unwrap();
    out
}

fn jpeg(color: ExtendedColorType, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    JpegEncoder::new_with_quality(&mut out, 95)
        .write_image(data, W, H, color)
        .unwrap();
    out
}

fn webp(color: ExtendedColorType, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    WebPEncoder::new_lossless(&mut out)
        .write_image(data, W, H, color)
        .unwrap();
    out
}

fn read_default(bytes: &[u8]) -> Result<Image> {
    read(bytes, &Limits::default())
}

fn written(image: &Image, format: OutputFormat) -> Vec<u8> {
    let mut out = Vec::new();
    write(image, format, &mut out).unwrap();
    out
}

#[test]
fn lossless_formats_give_the_samples() {
    let rgb = samples(3);
    let ppm = [b"P6 5 3 255\n", rgb.as_slice()].concat();
    let files = [
        png(ExtendedColorType::Rgb8, &rgb),
        webp(ExtendedColorType::Rgb8, &rgb),
        ppm,
    ];
    for bytes in files {
        let image = read_default(&bytes).unwrap();
        assert_eq!(image, Image::new(W, H, rgb.clone()).unwrap());
        assert!(!is_lossy_source(&bytes));
    }
}

#[test]
fn jpeg_is_read_and_known_as_lossy() {
    let rgb = vec![100; (W * H * 3) as usize];
    let bytes = jpeg(ExtendedColorType::Rgb8, &rgb);
    let image = read_default(&bytes).unwrap();
    assert!(image.rgb.iter().all(|&v| v.abs_diff(100) <= 1));
    assert!(!image.is_gray);
    assert!(is_lossy_source(&bytes));
    assert!(
        read_default(&jpeg(ExtendedColorType::L8, &samples(1)))
            .unwrap()
            .is_gray
    );
}

#[test]
fn gray_is_expanded_and_marked() {
    let gray = samples(1);
    let pgm = [b"P5\n# note\n5 3\n255\n", gray.as_slice()].concat();
    for bytes in [png(ExtendedColorType::L8, &gray), pgm] {
        assert_eq!(
            read_default(&bytes).unwrap(),
            Image::from_gray(W, H, &gray).unwrap()
        );
    }
}

#[test]
fn sixteen_bits_are_rounded() {
    let wide: Vec<u8> = samples(3)
        .iter()
        .flat_map(|&v| (u16::from(v) * 257).to_ne_bytes())
        .collect();
    let image = read_default(&png(ExtendedColorType::Rgb16, &wide)).unwrap();
    assert_eq!(image.rgb, samples(3));
    let ppm = [b"P5 1 1 65535\n".as_slice(), &[0x80, 0x00]].concat();
    assert_eq!(read_default(&ppm).unwrap().rgb, [128; 3]);
}

/// [`samples`] with every alpha 255 but the last.
fn with_last_alpha(channels: usize, alpha: u8) -> Vec<u8> {
    let mut data = samples(channels as u32);
    data.iter_mut()
        .skip(channels - 1)
        .step_by(channels)
        .for_each(|a| *a = 255);
    *data.last_mut().unwrap() = alpha;
    data
}

fn alpha_samples(image: &Image) -> (Depth, Vec<u16>) {
    let alpha = image.alpha.as_ref().unwrap();
    (alpha.depth(), alpha.samples().to_vec())
}

#[test]
fn alpha_is_kept_and_dropped_only_where_opaque() {
    let mut expected = vec![255; (W * H) as usize];
    *expected.last_mut().unwrap() = 254;
    for (color, channels) in [(ExtendedColorType::La8, 2), (ExtendedColorType::Rgba8, 4)] {
        let image = read_default(&png(color, &with_last_alpha(channels, 255))).unwrap();
        assert_eq!((image.is_gray, image.alpha), (channels == 2, None));
        let transparent = read_default(&png(color, &with_last_alpha(channels, 254))).unwrap();
        assert_eq!(transparent.is_gray, channels == 2);
        assert_eq!(
            alpha_samples(&transparent),
            (Depth::Eight, expected.clone())
        );
    }
    let lossless = webp(ExtendedColorType::Rgba8, &with_last_alpha(4, 254));
    let image = read_default(&lossless).unwrap();
    assert_eq!(alpha_samples(&image), (Depth::Eight, expected));
}

#[test]
fn wide_alpha_is_kept_in_16_bits_unless_8_are_enough() {
    let read_wide = |alpha: u16| {
        let mut wide = vec![0xff; (W * H * 8) as usize];
        wide[6..8].copy_from_slice(&alpha.to_ne_bytes());
        read_default(&png(ExtendedColorType::Rgba16, &wide)).unwrap()
    };
    assert_eq!(read_wide(65_535).alpha, None);
    // Not opaque although it rounds to 255.
    let mut expected = vec![65_535; (W * H) as usize];
    expected[0] = 65_534;
    assert_eq!(
        alpha_samples(&read_wide(65_534)),
        (Depth::Sixteen, expected)
    );
    let mut expected = vec![255; (W * H) as usize];
    expected[0] = 2;
    assert_eq!(alpha_samples(&read_wide(514)), (Depth::Eight, expected));
}

#[test]
fn png_carries_alpha_of_both_depths() {
    for depth in [Depth::Eight, Depth::Sixteen] {
        let alpha = (0..15).map(|i| depth.max() - i * 13).collect();
        let alpha = Alpha::new(depth, alpha).unwrap();
        for image in [
            Image::new(W, H, samples(3)).unwrap(),
            Image::from_gray(W, H, &samples(1)).unwrap(),
        ] {
            let image = image.with_alpha(alpha.clone()).unwrap();
            let bytes = written(&image, OutputFormat::Png);
            // The number of bits in IHDR.
            assert_eq!(u32::from(bytes[24]), depth.bits());
            assert_eq!(read_default(&bytes).unwrap(), image);
            let refused = write(&image, OutputFormat::Ppm, Vec::new());
            assert!(matches!(refused, Err(Error::Unsupported(_))));
        }
    }
}

/// A picture with all three blocks and an orientation that turns it.
fn with_metadata() -> Image {
    let mut image = Image::new(W, H, samples(3)).unwrap();
    image.metadata.icc = Some(b"not really a profile".to_vec());
    image.metadata.exif = Some(exif_with_orientation(true, 6));
    image.metadata.xmp = Some("<x:xmpmeta tiff:Orientation=\"6\">\u{e9}</x:xmpmeta>".into());
    image.metadata.orientation = Orientation::Rotate90;
    image
}

#[test]
fn png_carries_metadata_and_turns_once() {
    let image = with_metadata();
    let back = read_default(&written(&image, OutputFormat::Png)).unwrap();
    assert_eq!(back, image.clone().into_upright().unwrap());
    assert_eq!((back.width, back.height), (H, W));
    assert_eq!(back.metadata.exif, Some(exif_with_orientation(true, 1)));
    assert_eq!(back.metadata.icc, image.metadata.icc);
    let again = read_default(&written(&back, OutputFormat::Png)).unwrap();
    assert_eq!(again, back);
}

#[test]
fn reading_keeps_the_stored_order_of_samples() {
    let mut out = Vec::new();
    let mut encoder = PngEncoder::new(&mut out);
    encoder
        .set_exif_metadata(exif_with_orientation(false, 8))
        .unwrap();
    encoder
        .write_image(&samples(3), W, H, ExtendedColorType::Rgb8)
        .unwrap();
    let image = read_default(&out).unwrap();
    assert_eq!((image.width, image.height), (W, H));
    assert_eq!(image.metadata.orientation, Orientation::Rotate270);
    assert_eq!(image.rgb, samples(3));
}

#[test]
fn exif_is_reset_even_if_it_disagrees_with_the_orientation() {
    let mut image = with_metadata();
    image.metadata.orientation = Orientation::NoTransforms;
    let back = read_default(&written(&image, OutputFormat::Png)).unwrap();
    assert_eq!(back.metadata.orientation, Orientation::NoTransforms);
    assert_eq!(back.rgb, image.rgb);
}

#[test]
fn jpeg_and_webp_metadata_are_read() {
    let exif = exif_with_orientation(true, 3);
    let mut out = Vec::new();
    let mut encoder = JpegEncoder::new(&mut out);
    encoder.set_icc_profile(vec![7; 200]).unwrap();
    encoder.set_exif_metadata(exif.clone()).unwrap();
    encoder
        .write_image(&samples(3), W, H, ExtendedColorType::Rgb8)
        .unwrap();
    let mut lossless = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut lossless);
    encoder.set_icc_profile(vec![7; 200]).unwrap();
    encoder.set_exif_metadata(exif.clone()).unwrap();
    encoder
        .write_image(&samples(3), W, H, ExtendedColorType::Rgb8)
        .unwrap();
    for bytes in [out, lossless] {
        let metadata = read_default(&bytes).unwrap().metadata;
        assert_eq!(metadata.icc, Some(vec![7; 200]));
        assert_eq!(metadata.exif.as_ref(), Some(&exif));
        assert_eq!(metadata.orientation, Orientation::Rotate180);
    }
}

#[test]
fn xmp_that_png_text_cannot_hold_is_kept_all_the_same() {
    for xmp in [b"a\0b".to_vec(), vec![0xff, 0x80], vec![0; 100]] {
        let mut image = Image::new(W, H, samples(3)).unwrap();
        image.metadata.xmp = Some(xmp.clone());
        let back = read_default(&written(&image, OutputFormat::Png)).unwrap();
        assert_eq!(back.metadata.xmp, Some(xmp));
    }
}

#[test]
fn ppm_and_pgm_are_written_byte_by_byte() {
    let image = Image::new(1, 2, vec![1, 2, 3, 4, 5, 6]).unwrap();
    assert_eq!(
        written(&image, OutputFormat::Ppm),
        b"P6\n1 2\n255\n\x01\x02\x03\x04\x05\x06"
    );
    let gray = Image::from_gray(2, 1, &[8, 9]).unwrap();
    assert_eq!(written(&gray, OutputFormat::Ppm), b"P5\n2 1\n255\n\x08\x09");
}

#[test]
fn gray_is_written_as_gray_png() {
    let gray = Image::from_gray(W, H, &samples(1)).unwrap();
    let bytes = written(&gray, OutputFormat::Png);
    // The color type in IHDR: 0 is gray.
    assert_eq!(bytes[25], 0);
    assert_eq!(read_default(&bytes).unwrap(), gray);
}

#[test]
fn limits_hold_before_memory_is_asked_for() {
    let limits = Limits {
        max_pixels: u64::from(W * H) - 1,
        max_side: u32::MAX,
        max_metadata_bytes: 10,
    };
    let files = [
        png(ExtendedColorType::Rgb8, &samples(3)),
        jpeg(ExtendedColorType::Rgb8, &samples(3)),
        webp(ExtendedColorType::Rgb8, &samples(3)),
        b"P6 4000000000 4000000000 255\n".to_vec(),
        b"P5 65536 65536 255\n".to_vec(),
    ];
    for bytes in files {
        let found = read(&bytes, &limits);
        assert!(
            matches!(
                found,
                Err(Error::LimitExceeded { .. } | Error::Unsupported(_))
            ),
            "{found:?}"
        );
    }
    let large = written(&with_metadata(), OutputFormat::Png);
    let limits = Limits {
        max_metadata_bytes: 10,
        ..Limits::default()
    };
    assert!(matches!(
        read(&large, &limits),
        Err(Error::LimitExceeded { .. })
    ));
}

#[test]
fn animations_are_refused() {
    let mut bytes = png(ExtendedColorType::Rgb8, &samples(3));
    let body = b"acTL\0\0\0\x02\0\0\0\0";
    let chunk = [
        &8_u32.to_be_bytes()[..],
        body,
        &crc32fast::hash(body).to_be_bytes(),
    ]
    .concat();
    bytes.splice(33..33, chunk);
    assert!(matches!(read_default(&bytes), Err(Error::Unsupported(_))));
}

#[test]
fn damaged_files_give_one_line_and_never_a_panic() {
    let files = [
        written(&with_metadata(), OutputFormat::Png),
        jpeg(ExtendedColorType::Rgb8, &samples(3)),
        webp(ExtendedColorType::Rgb8, &samples(3)),
        b"P6 2 2 255\n012345678901".to_vec(),
        b"P3 1 1 255\n1 2 3".to_vec(),
    ];
    for bytes in &files {
        for length in 0..bytes.len() {
            if let Err(error) = read_default(&bytes[..length]) {
                assert!(!error.to_string().contains('\n'), "{error}");
            }
        }
        let mut flipped = bytes.clone();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                flipped[at] ^= flip;
                let limits = Limits {
                    max_pixels: 1 << 20,
                    ..Limits::default()
                };
                let _ = read(&flipped, &limits);
                flipped[at] ^= flip;
            }
        }
    }
    for bytes in [&files[0], &files[1], &files[2], &files[3]] {
        let cut = read_default(&bytes[..bytes.len() - 5]).unwrap_err();
        assert!(matches!(cut, Error::Image(_)), "{cut}");
    }
}

#[test]
fn other_files_are_refused() {
    let unknown = "invalid image: not a PNG, JPEG, WebP, PPM, TIFF, BMP, GIF, QOI or TGA picture";
    let cases: [(&[u8], &str); 4] = [
        (b"", "invalid image: the file is empty"),
        (
            b"\xff\x0a",
            "unsupported: JPEG XL pictures are not read; convert it to PNG first",
        ),
        (b"\x8aAEC\r\n", unknown),
        (b"Once upon a time", unknown),
    ];
    for (bytes, message) in cases {
        assert_eq!(read_default(bytes).unwrap_err().to_string(), message);
    }
}

/// A JPEG with an ICC profile of a color space, in an APP2 segment behind the start.
fn with_profile(jpeg: &[u8], color_space: &[u8; 4]) -> Vec<u8> {
    let profile = [&[0; 16][..], color_space, &[0; 108]].concat();
    let segment = [b"ICC_PROFILE\0\x01\x01", &profile[..]].concat();
    let length = (segment.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe2], &length, &segment, &jpeg[2..]].concat()
}

#[test]
fn a_profile_of_cmyk_does_not_apply_to_what_is_read() {
    let cmyk = include_bytes!("../../../fuzz/seeds/picture/cmyk.jpg");
    let plain = read(cmyk, &Limits::default()).unwrap();
    let inks = read(&with_profile(cmyk, b"CMYK"), &Limits::default()).unwrap();
    assert!(inks == plain && inks.metadata.icc.is_none());
    let colors = include_bytes!("../../../fuzz/seeds/picture/baseline.jpg");
    let colors = read(&with_profile(colors, b"RGB "), &Limits::default()).unwrap();
    assert_eq!(colors.metadata.icc.map(|profile| profile.len()), Some(128));
}

/// Everything that is said about a file whose picture is the same as that of `alone`.
fn said(alone: &[u8], file: &[u8]) -> Vec<String> {
    let limits = Limits::default();
    let (image, warnings) = read_with_warnings(file, &limits).unwrap();
    assert!(image == read(alone, &limits).unwrap());
    warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn what_follows_a_picture_is_not_kept_in_silence() {
    let seeds: [(&str, &[u8]); 6] = [
        ("png", include_bytes!("../../../fuzz/seeds/picture/rgb.png")),
        (
            "gif",
            include_bytes!("../../../fuzz/seeds/picture/small.gif"),
        ),
        (
            "webp",
            include_bytes!("../../../fuzz/seeds/picture/lossy.webp"),
        ),
        (
            "bmp",
            include_bytes!("../../../fuzz/seeds/picture/small.bmp"),
        ),
        ("ppm", include_bytes!("../../../fuzz/seeds/picture/rgb.ppm")),
        (
            "jpg",
            include_bytes!("../../../fuzz/seeds/picture/baseline.jpg"),
        ),
    ];
    for (name, file) in seeds {
        let none = said(file, file);
        assert!(!none.iter().any(|text| text.contains("behind")), "{name}");
        assert_eq!(said(file, &[file, &[0; 9]].concat()), none, "{name}");
        let more = said(file, &[file, b"\0more"].concat());
        let expected = "not kept: 4 bytes behind the picture".to_owned();
        assert!(more.contains(&expected), "{name}: {more:?}");
    }
    let ppm = seeds[4].1;
    let two = [ppm, b"\n", ppm].concat();
    assert_eq!(said(ppm, &two), ["not kept: further pictures"]);
    assert_eq!(said(ppm, &[ppm, b"\n"].concat()), [""; 0]);
}

#[test]
fn metadata_of_gif_is_kept_or_named() {
    let gif = include_bytes!("../../../fuzz/seeds/picture/small.gif");
    // Behind the header and a palette of two to the power of its flags plus one.
    let start = 13 + (3 << ((gif[10] & 7) + 1)) * usize::from(gif[10] >> 7);
    let with = |block: &[u8]| [&gif[..start], block, &gif[start..]].concat();
    let comment = with(b"\x21\xfe\x05hello\0");
    assert_eq!(said(gif, &comment), ["not kept: comments"]);
    let ramp: Vec<u8> = [1].into_iter().chain((0..=255).rev()).chain([0]).collect();
    let xmp = with(&[b"\x21\xff\x0bXMP DataXMP<x:xmpmeta/>", &ramp[..]].concat());
    let image = read_default(&xmp).unwrap();
    assert_eq!(image.metadata.xmp.as_deref(), Some(&b"<x:xmpmeta/>"[..]));
}

#[test]
fn a_png_cut_in_its_only_data_ends_too_early() {
    let file = png(ExtendedColorType::Rgb8, &samples(3));
    for left in 20..30 {
        let error = read_default(&file[..file.len() - left]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid image: the PNG data ends too early"
        );
    }
}

/// A TIFF of one pixel of zeros with these values of tags.
fn tiff(tags: &[(u16, u16)]) -> Vec<u8> {
    let mut all = vec![(256, 1), (257, 1), (273, 8), (278, 1), (279, 4)];
    all.extend(tags);
    all.sort_unstable();
    let mut file = b"II*\0\x0c\0\0\0\0\0\0\0".to_vec();
    file.extend((all.len() as u16).to_le_bytes());
    for (tag, value) in all {
        file.extend(tag.to_le_bytes());
        file.extend(b"\x03\0\x01\0\0\0");
        file.extend(u32::from(value).to_le_bytes());
    }
    file.extend([0; 4]);
    file
}

#[test]
fn kinds_of_tiff_that_are_not_read_are_named() {
    const BITS: u16 = 258;
    const COLOR: u16 = 262;
    const SAMPLES: u16 = 277;
    const FORMAT: u16 = 339;
    let cases: [(&[(u16, u16)], &str); 4] = [
        (
            &[(BITS, 32), (COLOR, 1), (FORMAT, 3)],
            "with floating-point samples",
        ),
        (&[(BITS, 8), (COLOR, 3)], "with a palette"),
        (
            &[(BITS, 8), (COLOR, 1), (SAMPLES, 2)],
            "with gray and alpha",
        ),
        (&[(BITS, 32), (COLOR, 1), (FORMAT, 2)], "of this kind"),
    ];
    for (tags, kind) in cases {
        let error = read_default(&tiff(tags)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("unsupported: TIFF pictures {kind} are not read; convert it to PNG first")
        );
    }
    assert!(read_default(&tiff(&[(BITS, 8), (COLOR, 1)])).is_ok());
}
