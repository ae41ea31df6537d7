//! The depth-conv block in binary32, fused and cache blocked: what the gradients of the encoder's search run
//! through.
//!
//! `u = dw(act(W1 x + b1)); x1 = (W2 u + b2) + x;
//! y = (W4 act(W3 x1 + b3) + b4) + x1`.
//!
//! The picture is cut into tiles. A task walks down its tile a few rows (a
//! band) at a time and keeps everything between `x` and `y` in scratch memory
//! that fits the second-level cache; only the rim of one pixel around a tile
//! is computed twice. No value depends on the cut.

use super::aligned::AlignedBuffer;
use super::depthwise::{PackedDepthwise, Window, depthwise_rows};
use super::dispatch::{self, KernelPath};
use super::pointwise::{PackedPointwise, pointwise_chunk};
use super::product;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Most columns of a tile.
const TILE_WIDTH: usize = 48;

/// Fewest columns of a tile that is made narrower to give every thread its share.
const MIN_TILE_WIDTH: usize = 24;

/// Most rows of a tile.
const TILE_HEIGHT: usize = 64;

/// Fewest rows of a tile whose rim costs little: 3 % of the work at full width.
const CHEAP_TILE_HEIGHT: usize = 16;

/// Fewest rows of a tile: its rim costs a tenth of the work.
const MIN_TILE_HEIGHT: usize = 4;

/// Pixels per band, about: enough to reuse a panel of weights many times, few
/// enough for the scratch memory to stay small.
const BAND: usize = 96;

/// The weights of a block of `C` channels.
#[derive(Debug, Clone)]
pub struct PackedBlock {
    /// `C` to `C`, followed by the activation.
    pub w1: PackedPointwise,
    /// `C` channels.
    pub dw: PackedDepthwise,
    /// `C` to `C`, followed by the first residual.
    pub w2: PackedPointwise,
    /// `C` to the hidden channels (2C), followed by the activation.
    pub w3: PackedPointwise,
    /// The hidden channels to `C`, followed by the second residual.
    pub w4: PackedPointwise,
}

impl PackedBlock {
    /// Number of channels of the input and the output.
    pub fn channels(&self) -> usize {
        self.dw.channels()
    }

    /// Whether the five layers fit together.
    fn is_consistent(&self) -> bool {
        let square = [&self.w1, &self.w2];
        square
            .iter()
            .all(|w| w.inputs() == self.channels() && w.outputs() == self.channels())
            && self.w3.inputs() == self.channels()
            && self.w4.outputs() == self.channels()
            && self.w3.outputs() == self.w4.inputs()
    }
}

/// Applies a block to the picture `x` (`[height, width, channels]`) and writes
/// `out` of the same shape. Parallel over tiles.
///
/// The result has the same bits as the five layers applied one after another.
///
/// # Panics
/// When the lengths, or the layers of the block, do not agree.
pub fn block(x: &[f32], height: usize, width: usize, weights: &PackedBlock, out: &mut [f32]) {
    block_rows(x, height, width, 0..height, weights, out);
}

/// [`block`] for some `rows` of the result alone: `out` is `[rows, width, channels]`.
///
/// A picture can be computed a few rows at a time: where `x` is a part of it that
/// holds the row above and the row below `rows`, the result is that of the whole.
///
/// # Panics
/// As [`block`], and when `rows` are not rows of `x`.
pub fn block_rows(
    x: &[f32],
    height: usize,
    width: usize,
    rows: Range<usize>,
    weights: &PackedBlock,
    out: &mut [f32],
) {
    let size = (height, width);
    block_rows_on(dispatch::active(), x, size, rows, weights, out);
}

/// [`block_rows`] on a given path; `size` is height and width.
pub(super) fn block_rows_on(
    path: KernelPath,
    x: &[f32],
    (height, width): (usize, usize),
    rows: Range<usize>,
    weights: &PackedBlock,
    out: &mut [f32],
) {
    assert!(weights.is_consistent(), "block: layers do not fit together");
    assert!(rows.end <= height, "block: rows");
    let row = product([width, weights.channels()]);
    assert_eq!(x.len(), product([height, row]), "block: input length");
    assert_eq!(
        out.len(),
        product([rows.len(), row]),
        "block: output length"
    );
    if out.is_empty() {
        return;
    }
    let picture = Picture {
        path,
        x,
        height,
        width,
        weights,
    };
    let tiles = cut(out, rows.start, &picture, rayon::current_num_threads());
    tiles.into_par_iter().with_max_len(1).for_each(|tile| {
        SCRATCH.with_borrow_mut(|scratch| picture.compute(tile, scratch));
    });
}

/// The input of a block.
struct Picture<'a> {
    path: KernelPath,
    x: &'a [f32],
    height: usize,
    width: usize,
    weights: &'a PackedBlock,
}

/// A rectangle of the output.
struct Tile<'a> {
    rows: Range<usize>,
    columns: Range<usize>,
    /// The output, row by row.
    out: Vec<&'a mut [f32]>,
}

/// Height and width of the tiles for a picture and a number of threads.
fn tile_size(height: usize, width: usize, threads: usize) -> (usize, usize) {
    let mut across = width.div_ceil(TILE_WIDTH);
    // Every thread gets a tile if the picture can be cut that far, and a few
    // more while they are cheap, to even out what the machine does besides.
    let needed = (threads / across).min(height / MIN_TILE_HEIGHT);
    let spare = (4 * (threads - 1) / across).min(height / CHEAP_TILE_HEIGHT);
    let down = height.div_ceil(TILE_HEIGHT).max(needed).max(spare).max(1);
    // With few tiles per thread, every thread gets as many as the others.
    let even = across.next_multiple_of(threads);
    if across * down < 4 * threads && width / even >= MIN_TILE_WIDTH {
        across = even;
    }
    (height.div_ceil(down), width.div_ceil(across))
}

/// Cuts the output, which starts at row `top`, into tiles.
fn cut<'a>(out: &'a mut [f32], top: usize, picture: &Picture<'_>, threads: usize) -> Vec<Tile<'a>> {
    let channels = picture.weights.channels();
    let height = out.len() / (picture.width * channels);
    let (tile_height, tile_width) = tile_size(height, picture.width, threads);
    let mut tiles: Vec<Tile<'a>> = Vec::new();
    for (y, row) in out.chunks_mut(picture.width * channels).enumerate() {
        if y % tile_height == 0 {
            let rows = top + y..top + (y + tile_height).min(height);
            tiles.extend((0..picture.width).step_by(tile_width).map(|x| Tile {
                rows: rows.clone(),
                columns: x..(x + tile_width).min(picture.width),
                out: Vec::with_capacity(tile_height),
            }));
        }
        let across = picture.width.div_ceil(tile_width);
        let current = tiles.len() - across;
        let pieces = row.chunks_mut(tile_width * channels);
        tiles[current..]
            .iter_mut()
            .zip(pieces)
            .for_each(|(tile, piece)| tile.out.push(piece));
    }
    tiles
}

thread_local! {
    /// Each thread's scratch memory, kept from one block to the next.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// What a task keeps between `x` and `y`.
#[derive(Default)]
struct Scratch {
    /// Rows of `x`, then rows of `y`: `[band, tile + rim, C]`.
    pixels: AlignedBuffer,
    /// `act(W1 x + b1)` for a band and its rim: `[band + 2, tile + rim, C]`.
    first: AlignedBuffer,
    /// The depthwise output: `[band, tile, C]`.
    depthwise: AlignedBuffer,
    /// `x1`: `[band, tile, C]`.
    middle: AlignedBuffer,
    /// `act(W3 x1 + b3)`: `[band, tile, 2C]`.
    hidden: AlignedBuffer,
}

impl Picture<'_> {
    /// Computes one tile, band by band.
    fn compute(&self, mut tile: Tile<'_>, scratch: &mut Scratch) {
        let band = BAND.div_ceil(tile.columns.len()).min(tile.rows.len());
        // The rim, where it is inside the picture.
        let rim_columns =
            tile.columns.start.saturating_sub(1)..(tile.columns.end + 1).min(self.width);
        let rim_end = (tile.rows.end + 1).min(self.height);
        let mut first = tile.rows.start.saturating_sub(1)..tile.rows.start.saturating_sub(1);
        for start in tile.rows.clone().step_by(band) {
            let rows = start..(start + band).min(tile.rows.end);
            let end = (rows.end + 1).min(rim_end);
            first = self.first_layer(first, end, rows.start, &rim_columns, scratch);
            self.other_layers(&rows, &tile.columns, &first, &rim_columns, scratch);
            let row = tile.columns.len() * self.weights.channels();
            let out = &mut tile.out[rows.start - tile.rows.start..];
            for (out, y) in out
                .iter_mut()
                .zip(scratch.pixels.values().chunks_exact(row).take(rows.len()))
            {
                out.copy_from_slice(y);
            }
        }
    }

    /// Extends the rows of `act(W1 x + b1)` that are at hand (`have`) down to
    /// `end`, and drops those that lie more than one row above `from`.
    /// Returns the rows at hand.
    fn first_layer(
        &self,
        have: Range<usize>,
        end: usize,
        from: usize,
        columns: &Range<usize>,
        scratch: &mut Scratch,
    ) -> Range<usize> {
        let row = columns.len() * self.weights.channels();
        let keep = from.saturating_sub(1).max(have.start)..have.end;
        let new = keep.end..end;
        let kept = keep.len() * row;
        let dropped = (keep.start - have.start) * row;
        scratch.first.resize((end - keep.start) * row + dropped);
        scratch
            .first
            .values_mut()
            .copy_within(dropped..dropped + kept, 0);
        let pixels = self.gather(&new, columns, &mut scratch.pixels);
        let out = &mut scratch.first.values_mut()[kept..][..new.len() * row];
        pointwise_chunk(self.path, pixels, &self.weights.w1, true, None, out);
        keep.start..end
    }

    /// Computes everything after the first layer for one band; `y` is left in
    /// `scratch.pixels`.
    fn other_layers(
        &self,
        rows: &Range<usize>,
        columns: &Range<usize>,
        first_rows: &Range<usize>,
        first_columns: &Range<usize>,
        scratch: &mut Scratch,
    ) {
        let (path, weights) = (self.path, self.weights);
        let pixels = rows.len() * columns.len();
        let window = Window {
            data: scratch.first.values(),
            top: first_rows.start,
            left: first_columns.start,
            height: first_rows.len(),
            width: first_columns.len(),
        };
        scratch.depthwise.resize(pixels * weights.channels());
        scratch.middle.resize(pixels * weights.channels());
        scratch.hidden.resize(pixels * weights.w3.outputs());
        let (depthwise, middle, hidden) = (
            scratch.depthwise.values_mut(),
            scratch.middle.values_mut(),
            scratch.hidden.values_mut(),
        );
        depthwise_rows(
            path,
            window,
            &weights.dw,
            rows.clone(),
            columns.clone(),
            depthwise,
        );
        let x = self.gather(rows, columns, &mut scratch.pixels);
        pointwise_chunk(path, depthwise, &weights.w2, false, Some(x), middle);
        pointwise_chunk(path, middle, &weights.w3, true, None, hidden);
        let y = scratch.pixels.values_mut();
        pointwise_chunk(path, hidden, &weights.w4, false, Some(middle), y);
    }

    /// Copies a rectangle of `x` into `to` and returns it: `[rows, columns, C]`.
    fn gather<'a>(
        &self,
        rows: &Range<usize>,
        columns: &Range<usize>,
        to: &'a mut AlignedBuffer,
    ) -> &'a [f32] {
        let channels = self.weights.channels();
        let row = columns.len() * channels;
        to.resize(rows.len() * row);
        for (y, to) in rows.clone().zip(to.values_mut().chunks_exact_mut(row)) {
            let start = (y * self.width + columns.start) * channels;
            to.copy_from_slice(&self.x[start..start + row]);
        }
        to.values()
    }
}
