//! Files that must be refused: valid ones with one thing wrong each.

use aec::unstable::Depth;

use super::layout::Layout;
use super::random::Random;
use super::vectors::{Maker, with_long_metadata};
use super::{encode, pictures};

/// Name and maker of each.
#[rustfmt::skip]
pub const BROKEN: &[(&str, Maker)] = &[
    ("x-signature", || with_byte(0, b'\x89')),
    ("x-newline-damage", || [&plain()[..4], &plain()[5..]].concat()),
    ("x-empty", Vec::new),
    ("x-version", || with_byte(6, 2)),
    ("x-reserved-flag", || with_header(|header| header[7] = 8)),
    ("x-wide-alone", || with_header(|header| header[7] = 4)),
    ("x-orientation", || with_header(|header| header[8] = 9)),
    ("x-quality", || with_header(|header| header[9..11].copy_from_slice(&50_001_u16.to_le_bytes()))),
    ("x-tile-units", || with_header(|header| header[11] = 0)),
    ("x-zero-width", || changed(plain(), |layout| layout.set_size(0, 30))),
    ("x-too-wide", || changed(plain(), |layout| layout.set_size(1_048_561, 1))),
    ("x-over-limit", || changed(plain(), |layout| layout.set_size(1_048_560, 1_048_560))),
    ("x-too-many-tiles", || changed(plain(), |layout| layout.set_size(9000, 9000))),
    ("x-long-varint", || with_header(|header| drop(header.splice(12..13, [20 | 0x80, 0])))),
    ("x-unknown-model", || with_header(|header| header[14] ^= 1)),
    ("x-header-crc", || with_byte(22, plain()[22] ^ 1)),
    ("x-section-crc", || with_byte_from_end(11, 1)),
    ("x-truncated-header", || plain()[..20].to_vec()),
    ("x-truncated-section", || plain()[..plain().len() - 20].to_vec()),
    ("x-no-end", || plain()[..plain().len() - 9].to_vec()),
    ("x-trailing-bytes", || [plain(), vec![0]].concat()),
    ("x-end-not-empty", || changed(plain(), |layout| layout.payload(b"END ").push(0))),
    ("x-malformed-tag", || changed(plain(), |layout| layout.sections[0].0 = *b"1ILE")),
    ("x-unknown-critical", || changed(plain(), |layout| layout.sections.insert(0, (*b"XTST", vec![])))),
    ("x-ancillary-after-tiles", || changed(plain(), |layout| layout.sections.insert(1, (*b"zTST", vec![])))),
    ("x-two-profiles", || changed(plain(), |layout| layout.sections.splice(0..0, profiles()).for_each(drop))),
    ("x-block-length", || with_block(|block| block[0] ^= 1)),
    ("x-block-cut", || with_block(|block| block.truncate(block.len() - 1))),
    ("x-block-end", || with_block(|block| block.push(0))),
    ("x-block-bomb", || with_block(|block| drop(block.splice(..2, [0xff, 0xff, 0xff, 0xff, 0x0f])))),
    ("x-resolution", || changed(plain(), |layout| layout.sections.insert(0, (*b"phys", vec![1, 0, 5])))),
    ("x-missing-tile", || changed(tiled(), |layout| drop(layout.sections.remove(2)))),
    ("x-extra-tile", || changed(plain(), |layout| layout.sections.insert(0, layout.sections[0].clone()))),
    ("x-no-tile-index", || changed(tiled(), |layout| drop(layout.sections.remove(0)))),
    ("x-tile-index-of-one", || changed(plain(), |layout| layout.sections.insert(0, (*b"TIDX", vec![5])))),
    ("x-tile-index", || changed(tiled(), |layout| layout.payload(b"TIDX")[0] ^= 1)),
    ("x-short-tile-index", || changed(tiled(), |layout| layout.payload(b"TIDX").truncate(1))),
    ("x-long-tile-index", || changed(tiled(), |layout| layout.payload(b"TIDX").push(1))),
    ("x-long-tile-index-cut", long_index_and_cut_tile),
    ("x-swapped-tiles", || changed(tiled(), |layout| layout.sections[1..].swap(0, 1))),
    ("x-tile-flag", || with_tile(|tile| tile[0] = 2)),
    ("x-short-tile", || with_tile(|tile| tile.truncate(4))),
    ("x-latent-checksum", || with_tile(|tile| tile[1] ^= 1)),
    ("x-stream-zero-byte", || with_tile(|tile| tile.push(0))),
    ("x-stream-end", || with_tile(|tile| tile.extend([1, 2, 3, 4, 5]))),
    ("x-stream-cut", || with_tile(|tile| tile.truncate(tile.len() - 4))),
    ("x-empty-zero-map", || with_tile(|tile| drop(tile.splice(0..1, [1, 0])))),
    ("x-long-zero-map", || with_tile(|tile| drop(tile.splice(0..1, [1, 3, 255, 255, 0])))),
    ("x-no-alpha", || with_header(|header| header[7] = 2)),
    ("x-alpha-unannounced", || changed(clear(), |layout| layout.header[7] = 0)),
    ("x-alpha-first", || changed(clear(), |layout| layout.sections.swap(0, 1))),
    ("x-short-alpha", || with_alpha(|alpha| alpha.truncate(3))),
    ("x-alpha-checksum", || with_alpha(|alpha| alpha[0] ^= 1)),
    ("x-alpha-end", || with_alpha(|alpha| alpha.extend([1, 2, 3, 4, 5]))),
    ("x-alpha-zero-byte", || with_alpha(|alpha| alpha.push(0))),
    ("x-alpha-range", || with_alpha(|alpha| alpha.splice(4.., random_bytes(40)).for_each(drop))),
    ("x-alpha-depth", || changed(clear(), |layout| layout.header[7] = 6)),
    ("x-wrong-zero-map", || with_tile(|tile| drop(tile.splice(0..1, [1, 2, 0, 0])))),
];

/// The file that is damaged: 20 x 30 pixels in one tile; width at offset 12, model id at
/// 14, header checksum at 22.
fn plain() -> Vec<u8> {
    encode(&pictures::scene(20, 30), 60.0, 64)
}

/// A file of two unlike tiles.
fn tiled() -> Vec<u8> {
    encode(&pictures::scene(90, 64), 60.0, 64)
}

/// Two faults: the first in the file is the one to report.
fn long_index_and_cut_tile() -> Vec<u8> {
    let mut file = changed(tiled(), |layout| layout.payload(b"TIDX").push(1));
    let first_tile = file.windows(4).position(|tag| tag == b"TILE").unwrap();
    file.truncate(first_tile + 40);
    file
}

/// A file of one tile with an alpha channel.
fn clear() -> Vec<u8> {
    let picture = pictures::with_alpha(pictures::scene(20, 30), Depth::Eight);
    encode(&picture, 60.0, 64)
}

fn random_bytes(count: usize) -> Vec<u8> {
    let mut random = Random::new(5);
    (0..count).map(|_| random.byte() | 1).collect()
}

fn profiles() -> [([u8; 4], Vec<u8>); 2] {
    [(*b"iccP", vec![0, 1]), (*b"iccP", vec![0, 1])]
}

/// A file with a compressed block changed.
fn with_block(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let file = encode(&with_long_metadata(), 60.0, 64);
    changed(file, |layout| change(layout.payload(b"iccP")))
}

fn with_byte(at: usize, value: u8) -> Vec<u8> {
    let mut file = plain();
    file[at] = value;
    file
}

fn with_byte_from_end(from_end: usize, change: u8) -> Vec<u8> {
    let mut file = plain();
    let at = file.len() - from_end;
    file[at] ^= change;
    file
}

/// `file` with its parts changed and its checksums of bytes right.
fn changed(file: Vec<u8>, change: impl FnOnce(&mut Layout)) -> Vec<u8> {
    let mut layout = Layout::of(&file);
    change(&mut layout);
    layout.bytes()
}

fn with_header(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    changed(plain(), |layout| change(&mut layout.header))
}

fn with_tile(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    changed(plain(), |layout| change(layout.payload(b"TILE")))
}

fn with_alpha(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    changed(clear(), |layout| change(layout.payload(b"ALPH")))
}
