//! Telling picture formats apart by their first bytes.

/// A picture format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputFormat {
    Png,
    Jpeg,
    WebP,
    /// PPM, PGM, PBM and PAM.
    Pnm,
    Bmp,
    Gif,
    Qoi,
    Tga,
    Tiff,
}

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

impl InputFormat {
    /// The format of a file that starts with `bytes`.
    pub(super) fn detect(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'P', b'1'..=b'7', b'\t' | b'\n' | b'\r' | b' ' | b'#', ..] => Some(Self::Pnm),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Some(Self::Tiff),
            [b'q', b'o', b'i', b'f', ..] => Some(Self::Qoi),
            _ if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") => {
                Some(Self::WebP)
            }
            _ if is_bmp(bytes) => Some(Self::Bmp),
            _ if is_tga(bytes) => Some(Self::Tga),
            _ => None,
        }
    }

    /// The name used in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Pnm => "PNM",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::Qoi => "QOI",
            Self::Tga => "TGA",
            Self::Tiff => "TIFF",
        }
    }
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

/// Whether the header is that of a bitmap: the two letters alone are too few.
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
    let Some(
        &[
            _,
            map,
            kind,
            _,
            _,
            _,
            _,
            map_depth,
            _,
            _,
            _,
            _,
            w0,
            w1,
            h0,
            h1,
            depth,
            flags,
        ],
    ) = bytes.first_chunk()
    else {
        return false;
    };
    let is_kind = match (map, kind) {
        (1, 1 | 9) => [8, 16].contains(&depth) && [15, 16, 24, 32].contains(&map_depth),
        (0, 2 | 10) => [15, 16, 24, 32].contains(&depth),
        (0, 3 | 11) => [8, 16].contains(&depth),
        _ => false,
    };
    is_kind && map <= 1 && (w0 | w1) != 0 && (h0 | h1) != 0 && flags & 0xc0 == 0
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
        let cases: [(&[u8], Option<InputFormat>); 14] = [
            (
                b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0",
                Some(InputFormat::Bmp),
            ),
            (b"BMW is a car maker", None),
            (b"GIF89a", Some(InputFormat::Gif)),
            (b"qoif", Some(InputFormat::Qoi)),
            (b"MM\0*", Some(InputFormat::Tiff)),
            (tga, Some(InputFormat::Tga)),
            (&[0; 40], None),
            (b"\x89PNG\r\n\x1a\nxx", Some(InputFormat::Png)),
            (b"\xff\xd8\xff\xe0", Some(InputFormat::Jpeg)),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some(InputFormat::WebP)),
            (b"P6\n1 1", Some(InputFormat::Pnm)),
            (b"P8\n1 1", None),
            (b"PK\x03\x04", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(InputFormat::detect(bytes), expected);
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
