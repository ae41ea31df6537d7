//! Telling picture formats apart by their first bytes.

use ::image::ImageFormat;

/// The formats that are read, and what messages call them.
const READ: [(ImageFormat, &str); 9] = [
    (ImageFormat::Png, "PNG"),
    (ImageFormat::Jpeg, "JPEG"),
    (ImageFormat::WebP, "WebP"),
    (ImageFormat::Pnm, "PNM"),
    (ImageFormat::Bmp, "BMP"),
    (ImageFormat::Gif, "GIF"),
    (ImageFormat::Qoi, "QOI"),
    (ImageFormat::Tga, "TGA"),
    (ImageFormat::Tiff, "TIFF"),
];

/// First bytes of formats that are not read, at their place, and their names.
const OTHERS: [(usize, &[u8], &str); 13] = [
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cjP  \x0d\x0a\x87\x0a", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%PDF", "PDF"),
    (0, b"\0\0\x01\0", "icon"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"DDS ", "DDS"),
    (0, b"PF\n", "PFM"),
    (4, b"ftyp", "video"),
    (8, b"ACON", "animated cursor"),
];

/// Brands in the first box of files of the ISO base media format that are pictures.
const BRANDS: [(&[u8; 4], &str); 10] = [
    (b"avif", "AVIF"),
    (b"avis", "AVIF"),
    (b"heic", "HEIC"),
    (b"heix", "HEIC"),
    (b"hevc", "HEIC"),
    (b"heim", "HEIC"),
    (b"heis", "HEIC"),
    (b"mif1", "HEIF"),
    (b"msf1", "HEIF"),
    (b"crx ", "Canon raw"),
];

/// The format of a file that starts with `bytes`, if it is one that is read.
pub(super) fn detect(bytes: &[u8]) -> Option<ImageFormat> {
    let is_read = |format: &ImageFormat| READ.iter().any(|(read, _)| read == format);
    // Where two letters are all that tells a format, more is asked for.
    match ::image::guess_format(bytes).ok() {
        Some(ImageFormat::Pnm) => is_pnm(bytes).then_some(ImageFormat::Pnm),
        Some(ImageFormat::Bmp) => is_bmp(bytes).then_some(ImageFormat::Bmp),
        Some(format) => Some(format).filter(is_read),
        None if bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+") => {
            Some(ImageFormat::Tiff)
        }
        None => is_tga(bytes).then_some(ImageFormat::Tga),
    }
}

/// The name of a format that is read.
pub(super) fn name(format: ImageFormat) -> &'static str {
    let entry = READ.iter().find(|(read, _)| *read == format);
    entry.map_or("picture", |(_, name)| name)
}

/// The name of a picture format that is known by sight and not read.
pub(super) fn name_of_other(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(4..8) == Some(b"ftyp")
        && let Some(name) = brand(bytes)
    {
        return Some(name);
    }
    let is_start = |(at, start, _): &&(usize, &[u8], &str)| {
        bytes.get(*at..).is_some_and(|rest| rest.starts_with(start))
    };
    if let Some((_, _, name)) = OTHERS.iter().find(is_start) {
        return Some(name);
    }
    is_svg(bytes).then_some("SVG")
}

/// The format that the brands of a file name, the major one first.
fn brand(bytes: &[u8]) -> Option<&'static str> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    let list = bytes.get(8..length.min(bytes.len()))?.as_chunks::<4>().0;
    // The second entry is a version.
    let entries = list.iter().take(1).chain(list.iter().skip(2));
    let mut found = entries.filter_map(|entry| BRANDS.iter().find(|(brand, _)| *brand == entry));
    let (_, first) = found.next()?;
    // HEIF says no more than that a compatible brand may follow.
    let exact = found.map(|(_, name)| *name).find(|name| *name != "HEIF");
    Some(if *first == "HEIF" {
        exact.unwrap_or(first)
    } else {
        first
    })
}

/// Whether white space follows the two letters, or a comment.
fn is_pnm(bytes: &[u8]) -> bool {
    matches!(bytes.get(2), Some(b'\t' | b'\n' | b'\r' | b' ' | b'#'))
}

/// Whether the header is that of a bitmap.
fn is_bmp(bytes: &[u8]) -> bool {
    let header = bytes
        .get(14..18)
        .and_then(|size| size.try_into().ok())
        .map(u32::from_le_bytes);
    bytes.starts_with(b"BM") && matches!(header, Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// Whether the header is one that a Targa file may have, which has no signature: a known kind of picture, with a color map
/// or without as that kind needs it, a depth that exists, and sides that are not 0.
fn is_tga(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<18>() else {
        return false;
    };
    let &[_, map, kind, _, _, _, _, map_depth, .., depth, flags] = header;
    let has_sides = header[12..14] != [0; 2] && header[14..16] != [0; 2];
    let is_kind = match (map, kind) {
        (1, 1 | 9) => [8, 16].contains(&depth) && [15, 16, 24, 32].contains(&map_depth),
        (0, 2 | 10) => [15, 16, 24, 32].contains(&depth),
        (0, 3 | 11) => [8, 16].contains(&depth),
        _ => false,
    };
    is_kind && has_sides && flags & 0xc0 == 0
}

/// Whether the file is text whose first element, or first one behind an XML declaration, is SVG's.
fn is_svg(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(1024)];
    let start = start
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(start)
        .trim_ascii_start();
    start.starts_with(b"<") && start.windows(4).any(|part| part == b"<svg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_content() {
        let tga = b"\0\0\x02\0\0\0\0\0\0\0\0\0\x05\0\x05\0\x18\x20";
        let cases: [(&[u8], Option<ImageFormat>); 14] = [
            (
                b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0",
                Some(ImageFormat::Bmp),
            ),
            (b"BMW is a car maker", None),
            (b"GIF89a", Some(ImageFormat::Gif)),
            (b"qoif", Some(ImageFormat::Qoi)),
            (b"MM\0*", Some(ImageFormat::Tiff)),
            (tga, Some(ImageFormat::Tga)),
            (&[0; 40], None),
            (b"\x89PNG\r\n\x1a\nxx", Some(ImageFormat::Png)),
            (b"\xff\xd8\xff\xe0", Some(ImageFormat::Jpeg)),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some(ImageFormat::WebP)),
            (b"P6\n1 1", Some(ImageFormat::Pnm)),
            (b"P8\n1 1", None),
            (b"PK\x03\x04", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(detect(bytes), expected);
        }
    }

    #[test]
    fn other_formats_are_named() {
        let cases: [(&[u8], Option<&str>); 9] = [
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Some("HEIC")),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", Some("AVIF")),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf", Some("HEIF")),
            (b"\0\0\0\x18ftypisom\0\0\0\0mp41avc1", Some("video")),
            (b"\0\0\0\x0cftyp", Some("video")),
            (b"\xff\x0a\xfa", Some("JPEG XL")),
            (b"<?xml version='1.0'?>\n<svg xmlns='", Some("SVG")),
            (b"<html>", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(name_of_other(bytes), expected, "{bytes:?}");
        }
    }
}
