//! Telling picture formats apart by their first bytes.

/// A picture format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputFormat {
    Png,
    Jpeg,
    WebP,
    /// PPM, PGM, PBM and PAM.
    Pnm,
}

impl InputFormat {
    /// The format of a file that starts with `bytes`.
    pub(super) fn detect(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some(Self::WebP),
            [b'P', b'1'..=b'7', b'\t' | b'\n' | b'\r' | b' ' | b'#', ..] => Some(Self::Pnm),
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
        }
    }
}

/// A chunk of a WebP file.
struct WebpChunk<'a> {
    tag: [u8; 4],
    /// As far as the file goes.
    payload: &'a [u8],
    /// Whether the whole payload lies within the file.
    is_complete: bool,
}

fn webp_chunks(bytes: &[u8]) -> impl Iterator<Item = WebpChunk<'_>> {
    // "RIFF", size, "WEBP", then chunks of tag, size, payload padded to an even length.
    let mut rest = bytes.get(12..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (header, tail) = rest.split_first_chunk::<8>()?;
        let [a, b, c, d, s0, s1, s2, s3] = *header;
        let size = usize::try_from(u32::from_le_bytes([s0, s1, s2, s3])).ok()?;
        rest = tail.get(size.next_multiple_of(2)..).unwrap_or_default();
        Some(WebpChunk {
            tag: [a, b, c, d],
            payload: tail.get(..size).unwrap_or(tail),
            is_complete: size <= tail.len(),
        })
    })
}

/// Width and height that the frames of a WebP file state themselves, lossy and lossless ones.
///
/// The decoder asks for a frame's memory before it compares this size with the picture's.
pub(super) fn webp_frame_sizes(bytes: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    webp_chunks(bytes).filter_map(|chunk| match (&chunk.tag, chunk.payload) {
        // Frame tag, start code, then 14 bits of each side under 2 bits of scaling.
        (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..]) => {
            let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Some((side(*w0, *w1), side(*h0, *h1)))
        }
        // Signature, then 14 bits of each side less one.
        (b"VP8L", [0x2f, b0, b1, b2, b3, ..]) => {
            let bits = u32::from_le_bytes([*b0, *b1, *b2, *b3]);
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        _ => None,
    })
}

/// Whether a WebP file holds a lossy (`VP8 `) picture.
pub(super) fn is_lossy_webp(bytes: &[u8]) -> bool {
    webp_chunks(bytes).any(|chunk| chunk.tag == *b"VP8 ")
}

/// Whether every chunk of a WebP file lies within it.
///
/// The decoder asks for a chunk's memory before it looks whether the bytes are there.
pub(super) fn webp_is_complete(bytes: &[u8]) -> bool {
    webp_chunks(bytes).all(|chunk| chunk.is_complete)
}

/// Whether a JPEG file has its end marker.
///
/// The decoder fills the missing part of a cut file with gray; that must not be coded silently.
pub(super) fn jpeg_is_complete(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    const FIRST_RESTART: u8 = 0xd0;
    const LAST_WITHOUT_LENGTH: u8 = 0xd8;
    let mut at = 2;
    loop {
        // Skips entropy-coded bytes too: there, 0xff is always followed by 0 or a restart marker.
        let Some(skip) = bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|&b| b == 0xff))
        else {
            return false;
        };
        at += skip + 1;
        match bytes.get(at) {
            None => return false,
            Some(&END) => return true,
            Some(0xff) => {}
            Some(0 | 0x01 | FIRST_RESTART..=LAST_WITHOUT_LENGTH) => at += 1,
            Some(_) => {
                let Some(&[hi, lo]) = bytes.get(at + 1..at + 3) else {
                    return false;
                };
                at += 1 + usize::from(u16::from_be_bytes([hi, lo]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_content() {
        let cases: [(&[u8], Option<InputFormat>); 7] = [
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
    fn lossy_webp_is_found_behind_other_chunks() {
        let extended = b"RIFF\0\0\0\0WEBPVP8X\x03\0\0\0abc\0VP8 \0\0\0\0";
        assert!(is_lossy_webp(extended));
        let lossless = b"RIFF\0\0\0\0WEBPVP8X\x03\0\0\0abc\0VP8L\0\0\0\0";
        assert!(!is_lossy_webp(lossless));
        assert!(!is_lossy_webp(b"RIFF"));
        assert!(webp_is_complete(extended) && webp_is_complete(lossless));
        assert!(!webp_is_complete(b"RIFF\0\0\0\0WEBPVP8X\xff\xff\xff\xff"));
    }

    #[test]
    fn webp_frames_state_their_sizes() {
        let file =
            b"RIFF\0\0\0\0WEBPVP8X\x02\0\0\0abVP8 \x0a\0\0\x00123\x9d\x01\x2a\xff\xff\x03\xc0\
                     VP8L\x05\0\0\0\x2f\x01\x80\0\0\0";
        let sizes: Vec<_> = webp_frame_sizes(file).collect();
        assert_eq!(sizes, [(16_383, 3), (2, 3)]);
        assert_eq!(webp_frame_sizes(&file[..40]).count(), 1);
        assert_eq!(webp_frame_sizes(&file[..39]).count(), 0);
    }

    #[test]
    fn the_end_marker_of_an_embedded_thumbnail_does_not_count() {
        let thumbnail = b"\xff\xd8\xff\xe1\0\x06\xff\xd9..\xff\xda\0\x02ab\xff\0c";
        assert!(!jpeg_is_complete(thumbnail));
        assert!(jpeg_is_complete(
            &[thumbnail.as_slice(), b"\xff\xd3d\xff\xd9"].concat()
        ));
        assert!(!jpeg_is_complete(b"\xff\xd8\xff"));
    }
}
