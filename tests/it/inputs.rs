//! Pictures as people have them, in tests/inputs: odd JPEG layouts, cut and damaged files, color spaces,
//! metadata in every place. Each is read as it is meant, or there is a word about what is not kept of it.

use std::path::Path;

use aec::Orientation;
use aec::unstable::picture::io::{self, OutputFormat, Warning};
use aec::unstable::{Error, Image, Limits, Resolution};

use crate::common::psnr::psnr;

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inputs");
    std::fs::read(folder.join(name)).unwrap()
}

fn read(bytes: &[u8]) -> (Image, Vec<Warning>) {
    io::read_with_warnings(bytes, &Limits::default()).unwrap()
}

/// The picture of a file about which there is nothing to say.
fn plain(name: &str) -> Image {
    let (image, warnings) = read(&file(name));
    assert_eq!(warnings, [], "{name}");
    image
}

/// The picture of a file, and the one warning about it.
fn warned(name: &str) -> (Image, String) {
    let (image, warnings) = read(&file(name));
    assert_eq!(warnings.len(), 1, "{name}: {warnings:?}");
    (image, warnings[0].to_string())
}

fn refused(bytes: &[u8]) -> String {
    let error = io::read(bytes, &Limits::default()).unwrap_err().to_string();
    assert!(!error.contains(['\n', '{', '(']), "{error}");
    error
}

/// What is read of the picture after it was written as PNG.
fn round_trip(image: &Image) -> Image {
    let mut png = Vec::new();
    io::write(image, OutputFormat::Png, &mut png).unwrap();
    let (back, warnings) = read(&png);
    assert_eq!(warnings, []);
    back
}

#[test]
fn every_jpeg_layout_gives_the_picture() {
    let source = plain("layout-source.png");
    let whole = plain("layout-420.jpg");
    assert!(psnr(&whole, &source) > 28.0);
    // The same coefficients in another order.
    for name in [
        "layout-420-scans-cr-cb-y.jpg",
        "layout-420-scans-y-cr-then-cb.jpg",
        "layout-420-progressive.jpg",
        "layout-420-progressive-own-order.jpg",
        "layout-420-progressive-restart.jpg",
        "layout-420-restart.jpg",
    ] {
        assert!(plain(name) == whole, "{name}");
    }
    for name in [
        "layout-411.jpg",
        "layout-440.jpg",
        "layout-mixed.jpg",
        "layout-fine-chroma.jpg",
        "layout-rgb.jpg",
    ] {
        let found = psnr(&plain(name), &source);
        assert!(found > 26.0, "{name}: {found:.2} dB");
    }
    assert!(plain("layout-440-scans-cb-y-cr.jpg") == plain("layout-440.jpg"));
    assert!(plain("layout-fine-chroma-progressive.jpg") == plain("layout-fine-chroma.jpg"));
    let mut gray = source.clone();
    gray.make_gray();
    assert!(psnr(&plain("layout-gray-22.jpg"), &gray) > 20.0);
    let (first, other) = ("noninterleaved_420.jpg", "noninterleaved_cb_first.jpg");
    assert!(plain(first) == plain(other));
    assert!(psnr(&plain("luma_subsampled_1x1_2x2_1x1.jpg"), &plain(first)) > 20.0);
}

/// With the end marker put back, so that nothing but the data tells that some is missing.
#[test]
fn a_cut_jpeg_is_refused_wherever_it_is_cut() {
    for name in [
        "layout-420.jpg",
        "layout-420-scans-cr-cb-y.jpg",
        "layout-420-restart.jpg",
        "layout-gray-22.jpg",
    ] {
        let bytes = file(name);
        let scan = bytes
            .windows(2)
            .position(|two| two == [0xff, 0xda])
            .unwrap();
        for end in scan + 14..bytes.len() - 2 {
            let cut = [&bytes[..end], &[0xff, 0xd9]].concat();
            let error = refused(&cut);
            let is_plain = error.contains("ends too early") || error.contains("scan header");
            assert!(is_plain, "{name} at {end}: {error}");
        }
    }
    for (name, percent) in [("cut50_eoi.jpg", "42 %"), ("jpeg-no-data.jpg", "0 %")] {
        assert!(refused(&file(name)).contains(percent));
    }
    assert!(refused(&file("jpeg-damaged-middle.jpg")).contains("99 %"));
}

#[test]
fn a_cut_progressive_jpeg_is_refused_or_warned_of() {
    for name in [
        "layout-420-progressive.jpg",
        "layout-420-progressive-own-order.jpg",
    ] {
        let bytes = file(name);
        let (whole, _) = read(&bytes);
        let scan = bytes
            .windows(2)
            .position(|two| two == [0xff, 0xda])
            .unwrap();
        for end in scan + 14..bytes.len() - 2 {
            let cut = [&bytes[..end], &[0xff, 0xd9]].concat();
            if let Ok((image, warnings)) = io::read_with_warnings(&cut, &Limits::default()) {
                assert!(image == whole || !warnings.is_empty(), "{name} at {end}");
            }
        }
    }
}

#[test]
fn complete_jpegs_are_read_whatever_follows() {
    let (image, warning) = warned("noeoi.jpg");
    assert_eq!((image.width, image.height), (200, 120));
    assert_eq!(warning, "the JPEG data has no end marker");
    let bytes = file("layout-420.jpg");
    let whole = plain("layout-420.jpg");
    let tail = |tail: &[u8]| read(&[&bytes, tail].concat());
    assert_eq!(tail(&[0; 5000]), (whole.clone(), vec![]));
    let (image, warnings) = tail(b"\0\0SEFHe\0\0\0\x01");
    assert!(image == whole && warnings[0].to_string() == "not kept: 9 bytes behind the picture");
    let (image, warnings) = tail(&bytes);
    assert!(image == whole && warnings[0].to_string().contains("a second picture"));
    assert!(read(&bytes[..bytes.len() - 1]).0 == whole);
    let (image, warning) = warned("mpf.jpg");
    assert!(image.width == 200 && warning.contains("a second picture, such as a gain map"));
}

#[test]
fn what_is_not_read_is_said_in_plain_words() {
    let error = refused(&file("arithmetic.jpg"));
    assert_eq!(error, "unsupported: JPEG with arithmetic coding");
    let error = refused(&file("cicp_pq.png"));
    assert_eq!(
        error,
        "unsupported: a PNG of high dynamic range, by the PQ curve: convert it to SDR first"
    );
    let mut hlg = file("cicp_p3.png");
    set_chunk(&mut hlg, b"cICP", |points| {
        points.copy_from_slice(&[9, 18, 0, 1])
    });
    assert!(refused(&hlg).contains("HLG"));
    // Damage in a chunk that is needed, and one that comes twice.
    let mut damaged = file("phys.png");
    let at = damaged.windows(4).position(|tag| tag == b"IDAT").unwrap();
    damaged[at + 100] ^= 1;
    assert_eq!(
        refused(&damaged),
        "invalid image: the PNG is damaged in its IDAT chunk"
    );
    assert!(refused(&damaged[..at + 50]).contains("ends too early"));
    assert!(refused(&damaged[..at - 4]).contains("no picture data"));
}

/// Changes the content of a PNG chunk, and its checksum.
fn set_chunk(png: &mut [u8], tag: &[u8; 4], change: impl FnOnce(&mut [u8])) {
    let at = png.windows(4).position(|found| found == tag).unwrap();
    let length = u32::from_be_bytes(png[at - 4..at].try_into().unwrap()) as usize;
    change(&mut png[at + 4..at + 4 + length]);
    let crc = crc32fast::hash(&png[at..at + 4 + length]);
    png[at + 4 + length..at + 8 + length].copy_from_slice(&crc.to_be_bytes());
}

/// A PNG with a chunk more, behind the header or before the end.
fn with_chunk(mut png: Vec<u8>, tag: &[u8; 4], data: &[u8], is_late: bool) -> Vec<u8> {
    let body = [tag, data].concat();
    let length = (data.len() as u32).to_be_bytes();
    let chunk = [&length[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat();
    let at = if is_late { png.len() - 12 } else { 33 };
    png.splice(at..at, chunk);
    png
}

#[test]
fn colors_stay_what_they_are() {
    let stored = plain("phys.png");
    // Linear samples become sRGB's.
    let image = plain("gama1.png");
    assert_eq!(image.metadata.icc, None);
    let to_srgb = |v: u8| {
        let light = f64::from(v) / 255.0;
        let value = if light <= 0.003_130_8 {
            12.92 * light
        } else {
            1.055 * light.powf(1.0 / 2.4) - 0.055
        };
        (255.0 * value).round() as u8
    };
    assert!(
        stored
            .rgb
            .iter()
            .zip(&image.rgb)
            .all(|(&from, &to)| to == to_srgb(from))
    );
    // Other primaries become a profile, and samples stay.
    for (name, red) in [
        ("chrm_adobe.png", [0.6097, 0.3111, 0.0195]),
        ("cicp_p3.png", [0.5151, 0.2412, -0.0011]),
    ] {
        let image = plain(name);
        assert_eq!(image.rgb, stored.rgb);
        let icc = image.metadata.icc.as_deref().unwrap();
        assert_eq!((icc.len() as u32).to_be_bytes(), icc[..4]);
        assert_eq!(&icc[16..20], b"RGB ");
        // Made on 1 January 2000, whenever that is: equal pictures give equal files.
        assert_eq!(icc[24..36], [7, 0xd0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
        for (found, wanted) in xyz_tag(icc, b"rXYZ").into_iter().zip(red) {
            assert!(
                (found - wanted).abs() < 1e-3,
                "{name}: {found} for {wanted}"
            );
        }
        assert_eq!(plain(name), image);
        assert_eq!(round_trip(&image), image);
    }
}

/// A color in an ICC profile.
fn xyz_tag(icc: &[u8], tag: &[u8; 4]) -> [f64; 3] {
    let word = |at: usize| u32::from_be_bytes(icc[at..at + 4].try_into().unwrap());
    let entry = (0..word(128) as usize)
        .map(|i| 132 + 12 * i)
        .find(|&at| &icc[at..at + 4] == tag);
    let at = word(entry.unwrap() + 4) as usize;
    [8, 12, 16].map(|offset| f64::from(word(at + offset) as i32) / 65536.0)
}

#[test]
fn chunks_that_mean_srgb_change_nothing() {
    let stored = plain("phys.png");
    let chromaticities: Vec<u8> = [
        31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000_u32,
    ]
    .iter()
    .flat_map(|v| v.to_be_bytes())
    .collect();
    let files = [
        with_chunk(file("phys.png"), b"gAMA", &45_455_u32.to_be_bytes(), false),
        with_chunk(file("phys.png"), b"cHRM", &chromaticities, false),
        with_chunk(file("phys.png"), b"cICP", &[1, 13, 0, 1], false),
        // sRGB has priority over gAMA.
        with_chunk(file("gama1.png"), b"sRGB", &[0], false),
    ];
    for bytes in &files {
        let (image, warnings) = read(bytes);
        assert_eq!(
            (&image.rgb, image.metadata.icc, warnings),
            (&stored.rgb, None, vec![])
        );
    }
    for (tag, data) in [(b"gAMA", vec![0; 4]), (b"cHRM", vec![0; 32])] {
        let (image, warnings) = read(&with_chunk(file("phys.png"), tag, &data, false));
        assert_eq!((image.rgb, warnings.len()), (stored.rgb.clone(), 1));
    }
    // A profile has priority over gAMA, and cICP over a profile.
    let gamma = 100_000_u32.to_be_bytes();
    let (image, _) = read(&with_chunk(file("icc-two.png"), b"gAMA", &gamma, false));
    assert_eq!(image, read(&file("icc-two.png")).0);
    let (image, _) = read(&with_chunk(
        file("icc-two.png"),
        b"cICP",
        &[1, 13, 0, 1],
        false,
    ));
    assert_eq!(image.metadata.icc, None);
}

#[test]
fn gray_with_a_profile_of_rgb_is_written_as_rgb() {
    let image = plain("gray_rgbicc.jpg");
    assert!(image.is_gray);
    let mut png = Vec::new();
    io::write(&image, OutputFormat::Png, &mut png).unwrap();
    assert_eq!(png[25], 2, "the color type of RGB");
    let back = round_trip(&image);
    assert_eq!((&back.rgb, &back.metadata), (&image.rgb, &image.metadata));
    // A profile of gray does not apply to RGB.
    let mut colors = plain("phys.png");
    let mut icc = image.metadata.icc.unwrap();
    icc[16..20].copy_from_slice(b"GRAY");
    colors.metadata.icc = Some(icc);
    assert_eq!(round_trip(&colors).metadata.icc, None);
}

#[test]
fn colors_of_16_bits_are_rounded_with_a_warning() {
    let (_, warning) = warned("rgb16.png");
    assert_eq!(warning, "colors of more than 8 bits are rounded to 8");
}

#[test]
fn metadata_is_found_wherever_it_is() {
    let exif = plain("exif_after.png").metadata;
    assert_eq!(
        (exif.orientation, exif.exif.map(|exif| exif.len())),
        (Orientation::Rotate90, Some(26))
    );
    assert!(plain("xmp_after.png").metadata.xmp.is_some());
    let raw = plain("exif_rawprofile.png");
    assert_eq!(
        (raw.metadata.orientation, raw.width, raw.height),
        (Orientation::Rotate90, 64, 48)
    );
    let upright = round_trip(&raw);
    assert_eq!(
        (upright.metadata.orientation, upright.width, upright.height),
        (Orientation::NoTransforms, 48, 64)
    );
    // The same as plain text, late, and of XMP by the name of its segment in JPEG.
    let text = b"Raw profile type APP1\0\nAPP1\n      31\n687474703a2f2f6e732e61646f62652e636f6d2f7861702f312e302f\n003c783e\n";
    let (image, _) = read(&with_chunk(file("phys.png"), b"tEXt", text, true));
    assert_eq!(image.metadata.xmp, None, "a wrong length");
    let text = String::from_utf8_lossy(text).replace("      31", "      32");
    let (image, warnings) = read(&with_chunk(
        file("phys.png"),
        b"tEXt",
        text.as_bytes(),
        true,
    ));
    assert_eq!(
        (image.metadata.xmp, warnings),
        (Some(b"<x>".to_vec()), vec![])
    );
}

#[test]
fn orientation_in_xmp_alone_turns_once() {
    let image = plain("xmp_orient.jpg");
    assert_eq!(
        (image.metadata.orientation, image.width, image.height),
        (Orientation::Rotate90, 200, 120)
    );
    let upright = round_trip(&image);
    assert_eq!(
        (upright.width, upright.height, upright.metadata.orientation),
        (120, 200, Orientation::NoTransforms)
    );
    let packet = String::from_utf8(upright.metadata.xmp.clone().unwrap()).unwrap();
    assert!(packet.contains("tiff:Orientation=\"1\""));
    assert_eq!(round_trip(&upright), upright);
}

#[test]
fn xmp_that_is_no_utf_8_is_kept() {
    for name in ["xmp-nul.jpg", "xmp-latin1.webp"] {
        let image = plain(name);
        let xmp = image.metadata.xmp.clone().unwrap();
        assert!(xmp.contains(&0) || std::str::from_utf8(&xmp).is_err());
        assert_eq!(round_trip(&image).metadata.xmp, Some(xmp), "{name}");
    }
    let xmp = plain("xmp-utf16.webp").metadata.xmp.unwrap();
    assert!(String::from_utf8(xmp).unwrap().contains("xmpmeta"));
}

/// A JPEG segment.
fn segment(marker: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = (content.len() as u16 + 2).to_be_bytes();
    [&[0xff, marker][..], &length, &content].concat()
}

#[test]
fn extended_xmp_joins_its_packet() {
    // 100 kB, which takes two segments.
    let extension = format!(
        "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='r'><rdf:Description rdf:about='' \
         xmlns:d='depth' d:map='{}'/></rdf:RDF></x:xmpmeta>",
        "0123456789".repeat(10_000)
    );
    // The MD5 of that.
    let digest = b"20C0CD3EDDAA5A6F225F8654C9252A08";
    let packet = format!(
        "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='r'><rdf:Description rdf:about='' \
         xmlns:xmpNote='note' xmpNote:HasExtendedXMP='{}'/></rdf:RDF></x:xmpmeta>",
        std::str::from_utf8(digest).unwrap()
    );
    let whole = (extension.len() as u32).to_be_bytes();
    let part = |range: std::ops::Range<usize>| {
        let offset = (range.start as u32).to_be_bytes();
        let identifier = b"http://ns.adobe.com/xmp/extension/\0";
        segment(
            0xe1,
            &[
                identifier,
                digest,
                &whole,
                &offset,
                &extension.as_bytes()[range],
            ],
        )
    };
    let (first, second) = (part(0..60_000), part(60_000..extension.len()));
    let packet = segment(
        0xe1,
        &[b"http://ns.adobe.com/xap/1.0/\0", packet.as_bytes()],
    );
    let jpeg = file("layout-420.jpg");
    let with = |segments: &[&[u8]]| [&jpeg[..20], &segments.concat(), &jpeg[20..]].concat();
    let (image, warnings) = read(&with(&[&second, &packet, &first]));
    assert_eq!(warnings, []);
    let merged = String::from_utf8(image.metadata.xmp.clone().unwrap()).unwrap();
    assert!(
        merged.len() > 100_000 && merged.contains("d:map='0123") && !merged.contains("HasExtended")
    );
    assert_eq!(merged.matches("<rdf:RDF").count(), 1);
    assert_eq!(round_trip(&image), image);
    // Without a part of it, the packet is as it was.
    let (image, warnings) = read(&with(&[&packet, &second]));
    assert_eq!(
        warnings[0].to_string(),
        "the extended XMP is damaged and left out"
    );
    assert!(image.metadata.xmp.unwrap().len() < 300);
}

#[test]
fn resolutions_are_kept() {
    let image = plain("phys.png");
    assert_eq!(image.metadata.resolution, Resolution::per_inch(300, 300));
    assert_eq!(
        round_trip(&image).metadata.resolution,
        image.metadata.resolution
    );
    // JFIF's, which this file has as 1:1 without a unit.
    let mut bytes = file("layout-420.jpg");
    assert_eq!(plain("layout-420.jpg").metadata.resolution, None);
    bytes[13..18].copy_from_slice(&[1, 0, 72, 0, 144]);
    assert_eq!(
        read(&bytes).0.metadata.resolution,
        Resolution::per_inch(72, 144)
    );
    bytes[13] = 2;
    assert_eq!(
        read(&bytes).0.metadata.resolution,
        Resolution::per_meter(7200, 14_400)
    );
    bytes[13] = 0;
    let mut image = read(&bytes).0;
    assert_eq!(image.metadata.resolution, Resolution::ratio(72, 144));
    image.metadata.orientation = Orientation::Rotate90;
    assert_eq!(
        round_trip(&image).metadata.resolution,
        Resolution::ratio(144, 72)
    );
}

#[test]
fn what_is_dropped_is_named() {
    assert_eq!(warned("iptc.jpg").1, "not kept: IPTC data");
    for name in ["icc-damaged-zlib.png", "icc-truncated-zlib.png"] {
        let (image, warning) = warned(name);
        assert_eq!(warning, "the ICC profile is damaged and left out");
        assert_eq!(image.metadata.icc, None);
    }
    let (image, warning) = warned("icc-two.png");
    assert_eq!(warning, "not kept: a second ICC profile");
    assert!(image.metadata.icc.is_some());
    let png = with_chunk(file("phys.png"), b"tEXt", b"Comment\0hello", true);
    let png = with_chunk(png, b"tEXt", b"Comment\0again", false);
    let png = with_chunk(png, b"caBX", b"", false);
    let expected = "not kept: content credentials (caBX), the text \"Comment\"";
    assert_eq!(read(&png).1[0].to_string(), expected);
    // A segment each: a comment, a part of extended XMP, one of two parts of a profile.
    let jpeg = file("layout-420.jpg");
    let long = b"\xff\xe1\0\x25http://ns.adobe.com/xmp/extension/\0";
    let profile = b"\xff\xe2\0\x12ICC_PROFILE\0\x01\x02ab";
    let extra = [&b"\xff\xfe\0\x04hi"[..], long, profile].concat();
    let bytes = [&jpeg[..20], &extra, &jpeg[20..]].concat();
    let warnings: Vec<String> = read(&bytes).1.iter().map(ToString::to_string).collect();
    let expected = [
        "the ICC profile is incomplete and left out",
        "not kept: a comment, extended XMP",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn webp_is_read_as_dwebp_does() {
    let (tail, warning) = warned("tail.webp");
    assert_eq!((tail.width, tail.height), (200, 120));
    assert_eq!(warning, "not kept: 8 bytes behind the picture");
    assert_eq!(plain("wx_exifflag_nochunk.webp"), tail);
}

/// A PNG of 64x64 pixels with a profile of zeros, of as many bytes.
fn bomb(length: usize) -> Vec<u8> {
    let zeros = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; length], 9);
    with_chunk(
        file("phys.png"),
        b"iCCP",
        &[b"x\0\0", &zeros[..]].concat(),
        false,
    )
}

#[test]
fn an_icc_bomb_is_refused_at_the_limit() {
    let limits = Limits {
        max_metadata_bytes: 1 << 20,
        ..Limits::default()
    };
    let bytes = bomb((1 << 20) + 1);
    assert_eq!(io::pixels(&bytes), 64 * 48);
    let error = io::read(&bytes, &limits).unwrap_err();
    assert!(
        matches!(
            error,
            Error::LimitExceeded {
                limit: 1_048_576,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "ICC profile size 1048577 is more than the limit of 1048576"
    );
    assert!(io::read(&bomb(1 << 20), &limits).is_ok());
    // The same in a text.
    let zeros = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; 1 << 21], 9);
    for head in [
        &b"XML:com.adobe.xmp\0\x01\0\0\0"[..],
        b"Raw profile type exif\0\0",
    ] {
        let tag = if head[0] == b'X' { b"iTXt" } else { b"zTXt" };
        let bytes = with_chunk(file("phys.png"), tag, &[head, &zeros].concat(), true);
        assert!(matches!(
            io::read(&bytes, &limits),
            Err(Error::LimitExceeded { .. })
        ));
    }
}

#[test]
fn what_ppm_cannot_hold_is_named() {
    let mut image = plain("chrm_adobe.png");
    assert_eq!(io::not_kept(&image, OutputFormat::Png), None);
    image.metadata.exif = Some(b"II*\0".to_vec());
    let warning = io::not_kept(&image, OutputFormat::Ppm).unwrap().to_string();
    assert_eq!(warning, "not kept: the ICC profile, Exif");
}

#[test]
fn other_formats_give_their_samples() {
    let source = plain("small.png");
    for name in [
        "small.bmp",
        "small.qoi",
        "small.tga",
        "small-rle.tga",
        "small.tif",
    ] {
        assert_eq!(plain(name).rgb, source.rgb, "{name}");
        assert_eq!(io::pixels(&file(name)), 300, "{name}");
    }
    for name in ["small.bmp", "small.tif"] {
        assert_eq!(
            plain(name).metadata.resolution,
            Resolution::per_inch(300, 300),
            "{name}"
        );
    }
    assert!(plain("small.tif").metadata.icc.is_some());
    assert_eq!(plain("small.gif").rgb, plain("small-64.png").rgb);
    let turned = plain("turned.tif");
    assert_eq!(
        (turned.metadata.orientation, turned.rgb == source.rgb),
        (Orientation::Rotate90, true)
    );
}

#[test]
fn of_several_pictures_in_a_file_the_rest_is_refused_or_named() {
    assert!(refused(&file("animated.gif")).contains("animation"));
    assert_eq!(warned("pages.tif").1, "not kept: further pages");
    assert_eq!(
        warned("gray16.tif").1,
        "colors of more than 8 bits are rounded to 8"
    );
    // As a camera marks a thumbnail in the first page of a raw file: 254, in place of a tag that may be left out, is 1.
    let mut raw = file("turned.tif");
    let planar = [284_u16, 3].map(u16::to_le_bytes).concat();
    let at = raw.windows(4).position(|entry| entry == planar).unwrap();
    raw[at..at + 2].copy_from_slice(&254_u16.to_le_bytes());
    assert!(refused(&raw).contains("camera raw"));
}

#[test]
fn damaged_files_of_other_formats_never_panic() {
    let limits = Limits {
        max_pixels: 1 << 16,
        max_metadata_bytes: 1 << 16,
        ..Limits::default()
    };
    for name in [
        "small.bmp",
        "small.qoi",
        "small-rle.tga",
        "small.tif",
        "small.gif",
        "small.png",
        "layout-gray-22.jpg",
    ] {
        let mut bytes = file(name);
        for at in 0..bytes.len() {
            drop(io::read(&bytes[..at], &limits));
            for flip in [0x01, 0x80, 0xff] {
                bytes[at] ^= flip;
                drop(io::read(&bytes, &limits));
                bytes[at] ^= flip;
            }
        }
    }
}
