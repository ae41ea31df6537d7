//! Mutation of `.aec` files part by part: lengths and checksums are put right afterwards, so that the
//! fuzzer gets to what lies behind them.

use aec::unstable::bitstream::{Header, Reader};
use aec::unstable::entropy::{decode_plane, encode_plane};
use libfuzzer_sys::fuzzer_mutate;

use crate::layout::{Layout, Section};

/// Bytes at the end of a header that say which model it needs: no other can be decoded here.
const MODEL_ID: usize = 8;

/// Most samples of a tile's alpha that are coded anew: what the targets decode has no more.
const MAX_SAMPLES: usize = 1 << 14;

/// A custom mutator of libFuzzer: changes the first `size` bytes of `data` and returns their new number.
///
/// One input in eight, and what has no sections, is changed like any bytes.
pub fn aec_file(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let size = size.min(data.len());
    let max_size = max_size.min(data.len());
    let layout = Layout::read(&data[..size]).ok();
    let changed = layout
        .filter(|layout| !seed.is_multiple_of(8) && !layout.sections.is_empty())
        .map(|layout| change(layout, max_size.saturating_sub(size), seed / 8));
    match changed.map(|layout| layout.bytes()) {
        Some(file) if file.len() <= max_size => {
            data[..file.len()].copy_from_slice(&file);
            file.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}

/// Changes one part: the header, a section's payload, or the list of sections.
fn change(mut layout: Layout, spare: usize, seed: u32) -> Layout {
    let parts = layout.sections.len() + 2;
    let (part, seed) = (seed as usize % parts, seed / parts as u32);
    if part == 0 {
        let model = layout.header.split_off(layout.header.len() - MODEL_ID);
        mutate_bytes(&mut layout.header, spare);
        layout.header.extend(model);
    } else if part <= layout.sections.len() {
        let is_alpha = &layout.sections[part - 1].0 == b"ALPH";
        if !(is_alpha && seed.is_multiple_of(3) && change_samples(&mut layout, part - 1).is_some())
        {
            mutate_bytes(&mut layout.sections[part - 1].1, spare);
        }
        if seed.is_multiple_of(2) {
            layout.index_tiles();
        }
    } else {
        rearrange(&mut layout, seed);
    }
    layout
}

/// Changes samples of the alpha section at `index`, and codes them again: a stream changed blindly seldom
/// ends where it must.
fn change_samples(layout: &mut Layout, index: usize) -> Option<()> {
    let file = layout.bytes();
    let header = Header::read(&mut Reader::new(&file)).ok()?;
    let max = header.alpha?.max();
    let is_alpha = |section: &&Section| &section.0 == b"ALPH";
    let tile = layout.sections[..index].iter().filter(is_alpha).count();
    let tile = header.tile_grid().tiles().nth(tile)?;
    let width = tile.width.min(header.width.checked_sub(tile.x)?) as usize;
    let height = tile.height.min(header.height.checked_sub(tile.y)?) as usize;
    if width * height > MAX_SAMPLES {
        return None;
    }
    let payload = &mut layout.sections[index].1;
    let mut samples: Vec<u8> = decode_plane(payload.get(4..)?, width, height, max)
        .unwrap_or_else(|_| vec![max; width * height])
        .into_iter()
        .flat_map(u16::to_le_bytes)
        .collect();
    let size = samples.len();
    fuzzer_mutate(&mut samples, size, size);
    let pairs = samples.as_chunks::<2>().0.iter();
    let samples: Vec<u16> = pairs.map(|&pair| u16::from_le_bytes(pair) & max).collect();
    let bytes = if max > 255 { 2 } else { 1 };
    let stored = samples
        .iter()
        .flat_map(|s| s.to_le_bytes().into_iter().take(bytes));
    let checksum = crc32fast::hash(&stored.collect::<Vec<u8>>());
    *payload = [
        &checksum.to_le_bytes()[..],
        &encode_plane(samples, width, max),
    ]
    .concat();
    Some(())
}

fn mutate_bytes(bytes: &mut Vec<u8>, spare: usize) {
    let (size, max_size) = (bytes.len(), bytes.len() + spare);
    // libFuzzer asserts that there is something to change.
    if max_size == 0 {
        return;
    }
    bytes.resize(max_size, 0);
    let size = fuzzer_mutate(bytes, size, max_size);
    bytes.truncate(size);
}

/// Removes, repeats, swaps or renames sections.
fn rearrange(layout: &mut Layout, seed: u32) {
    let sections = &mut layout.sections;
    let (first, second) = (
        seed as usize / 4 % sections.len(),
        seed as usize / 64 % sections.len(),
    );
    match seed % 4 {
        0 => drop(sections.remove(first)),
        1 => sections.insert(second, sections[first].clone()),
        2 => sections.swap(first, second),
        _ => mutate_tag(&mut sections[first].0),
    }
}

fn mutate_tag(tag: &mut [u8; 4]) {
    let size = tag.len();
    fuzzer_mutate(tag, size, size);
}
