//! Reading WebP: what its chunks hold, and the samples of a copy that holds nothing but the picture.

use ::image::{DynamicImage, ImageFormat};

use super::findings::Findings;
use super::{decode, refuse_animation, truncated};
use crate::error::Result;

/// Flag of the extended header for alpha.
const FLAG_ALPHA: u8 = 1 << 4;
/// Flag of the extended header for animation.
const FLAG_ANIMATION: u8 = 1 << 1;

/// A chunk of a WebP file.
struct Chunk<'a> {
    tag: [u8; 4],
    /// As far as the file goes.
    payload: &'a [u8],
    /// Whether the whole payload lies within the file.
    is_complete: bool,
}

/// Where the file says that it ends.
fn end(bytes: &[u8]) -> usize {
    let length = bytes
        .get(4..8)
        .and_then(|length| length.try_into().ok())
        .map_or(0, u32::from_le_bytes);
    usize::try_from(length)
        .unwrap_or(usize::MAX)
        .saturating_add(8)
        .min(bytes.len())
}

/// The chunks, as far as the file says that it goes. What follows is not part of it.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    // "RIFF", size, "WEBP", then chunks of tag, size, payload padded to an even length.
    let mut rest = bytes.get(12..end(bytes)).unwrap_or_default();
    std::iter::from_fn(move || {
        let (header, tail) = rest.split_first_chunk::<8>()?;
        let [a, b, c, d, s0, s1, s2, s3] = *header;
        let size = usize::try_from(u32::from_le_bytes([s0, s1, s2, s3])).ok()?;
        rest = tail.get(size.next_multiple_of(2)..).unwrap_or_default();
        Some(Chunk {
            tag: [a, b, c, d],
            payload: tail.get(..size).unwrap_or(tail),
            is_complete: size <= tail.len(),
        })
    })
}

/// Width and height that a frame states itself.
fn frame_size(chunk: &Chunk) -> Option<(u32, u32)> {
    match (&chunk.tag, chunk.payload) {
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
    }
}

/// Width and height of the picture.
pub(super) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    chunks(bytes).find_map(|chunk| frame_size(&chunk))
}

/// Whether the file holds a lossy picture.
pub(super) fn is_lossy(bytes: &[u8]) -> bool {
    chunks(bytes).any(|chunk| chunk.tag == *b"VP8 ")
}

/// Reads samples and metadata.
///
/// # Errors
/// [`Unsupported`](crate::Error::Unsupported) for animations, [`Image`](crate::Error::Image) when the file is damaged,
/// [`LimitExceeded`](crate::Error::LimitExceeded) for what the limits forbid.
pub(super) fn read(bytes: &[u8], found: &mut Findings) -> Result<DynamicImage> {
    let picture = picture(bytes, found)?;
    found.behind(&bytes[end(bytes)..]);
    decode(ImageFormat::WebP, &picture, found.limits)
}

/// A file with the chunks of the picture alone; what the others hold goes into `found`.
fn picture(bytes: &[u8], found: &mut Findings) -> Result<Vec<u8>> {
    let (mut is_animated, mut is_complete) = (false, true);
    let (mut canvas, mut alpha, mut frame) = (None, None, None);
    for chunk in chunks(bytes) {
        if let Some((width, height)) = frame_size(&chunk) {
            found.limits.check_pixels(width, height)?;
        }
        is_complete &= chunk.is_complete;
        let payload = chunk.payload;
        match &chunk.tag {
            b"VP8X" => {
                is_animated |= payload.first().is_some_and(|f| f & FLAG_ANIMATION != 0);
                canvas = payload.get(4..10);
            }
            b"ANMF" => is_animated = true,
            b"ICCP" => found.add_icc(payload.to_vec())?,
            b"EXIF" => found.add_exif(payload)?,
            b"XMP " => found.add_xmp(payload)?,
            b"ALPH" if alpha.is_none() && frame.is_none() => alpha = Some(payload),
            b"VP8 " | b"VP8L" if frame.is_none() => frame = Some(chunk),
            _ => {}
        }
    }
    refuse_animation(is_animated)?;
    // The decoder asks for a chunk's memory before it looks whether the bytes are there.
    let Some(frame) = frame.filter(|_| is_complete) else {
        return Err(truncated(ImageFormat::WebP));
    };
    Ok(alone(&frame, alpha.zip(canvas)))
}

/// A file of a frame, the alpha and the sides of a lossy one with it: decoders refuse what flags announce and chunks
/// lack.
fn alone(frame: &Chunk, alpha_and_canvas: Option<(&[u8], &[u8])>) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    // Lossless frames have their alpha in them.
    if let (Some((alpha, canvas)), b"VP8 ") = (alpha_and_canvas, &frame.tag) {
        let header = [&[FLAG_ALPHA, 0, 0, 0], canvas].concat();
        add_chunk(&mut body, b"VP8X", &header);
        add_chunk(&mut body, b"ALPH", alpha);
    }
    add_chunk(&mut body, &frame.tag, frame.payload);
    let mut picture = Vec::new();
    add_chunk(&mut picture, b"RIFF", &body);
    picture
}

/// Appends a chunk. Its payload is part of a file that states its length in 32 bits.
#[allow(clippy::cast_possible_truncation)] // of a file of 32 bits
fn add_chunk(out: &mut Vec<u8>, tag: &[u8; 4], payload: &[u8]) {
    out.extend(tag);
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(payload);
    out.extend(&[0][..payload.len() % 2]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn file(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut body = b"WEBP".to_vec();
        for (tag, payload) in chunks {
            add_chunk(&mut body, tag, payload);
        }
        let mut out = Vec::new();
        add_chunk(&mut out, b"RIFF", &body);
        out
    }

    const LOSSY: &[u8] = b"123\x9d\x01\x2a\xff\xff\x03\xc0";
    const LOSSLESS: &[u8] = b"\x2f\x01\x80\0\0";

    #[test]
    fn lossy_pictures_are_found_behind_other_chunks() {
        assert!(is_lossy(&file(&[(b"VP8X", b"abc"), (b"VP8 ", LOSSY)])));
        assert!(!is_lossy(&file(&[(b"VP8X", b"abc"), (b"VP8L", LOSSLESS)])));
        assert!(!is_lossy(b"RIFF"));
    }

    #[test]
    fn frames_state_their_sizes() {
        let lossy = file(&[(b"VP8X", b"ab"), (b"VP8 ", LOSSY)]);
        assert_eq!(size(&lossy), Some((16_383, 3)));
        assert_eq!(size(&lossy[..lossy.len() - 1]), None);
        assert_eq!(size(&file(&[(b"VP8L", LOSSLESS)])), Some((2, 3)));
    }

    #[test]
    fn only_the_picture_is_left() {
        let limits = Limits::default();
        let mut found = Findings::new(&limits);
        let mut read = |bytes: &[u8]| picture(bytes, &mut found);
        let whole = file(&[
            (b"VP8X", b"\x2c\0\0\0\x01\0\0\x02\0\0"),
            (b"VP8L", LOSSLESS),
            (b"XMP ", b"x"),
        ]);
        let alone = read(&[&whole[..], b"VP8X\xff\xff\xff\xff"].concat()).unwrap();
        assert_eq!(alone, file(&[(b"VP8L", LOSSLESS)]));
        for cut in [&whole[..whole.len() - 2], &file(&[(b"VP8X", b"ab")])] {
            let error = read(cut).unwrap_err().to_string();
            assert!(error.contains("ends too early"), "{error}");
        }
        assert_eq!(found.xmp.as_deref(), Some(&b"x"[..]));
    }
}
