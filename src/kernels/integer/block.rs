//! The depth-conv block, fused and cache blocked (spec: Arithmetic).
//!
//! `u = dw(act(W1 x)); x1 = W2 u + x; y = W4 act(W3 x1) + x1`, where every
//! result between is int16 with a scale of its own.
//!
//! The picture is cut into tiles. A task walks down its tile a few rows (a
//! band) at a time and keeps everything between `x` and `y` in scratch memory
//! that fits the second-level cache; only the rim of one pixel around a tile
//! is computed twice. No value depends on the cut.

use super::depthwise::depthwise_rows;
use super::layer::{Depthwise, Output, Pointwise, Residual};
use super::pointwise::pointwise_chunk;
use super::rows::Window;
use super::scale::Scale;
use super::session::Session;
use crate::kernels::aligned::AlignedBuffer;
use crate::kernels::dispatch;
use crate::kernels::{check_length, product};
use rayon::prelude::*;
use std::cell::Cell;
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

/// The layers of a block of `C` channels and the scales of their results.
#[derive(Debug, Clone)]
pub struct Block {
    /// `C` to `C`, followed by the activation.
    pub w1: Pointwise,
    /// `C` channels.
    pub dw: Depthwise,
    /// `C` to `C`, followed by the first residual.
    pub w2: Pointwise,
    /// `C` to the hidden channels (2C), followed by the activation.
    pub w3: Pointwise,
    /// The hidden channels to `C`, followed by the second residual.
    pub w4: Pointwise,
    /// Of the block's input.
    pub input: Scale,
    /// Of the result of `w1`.
    pub first: Scale,
    /// Of the result of `dw`.
    pub depthwise: Scale,
    /// Of the result of `w2`.
    pub middle: Scale,
    /// Of the result of `w3`.
    pub hidden: Scale,
    /// Of the result of `w4`, the block's output.
    pub output: Scale,
}

impl Block {
    /// Number of channels of the input and the output.
    pub fn channels(&self) -> usize {
        self.dw.channels()
    }

    /// Whether the five layers fit together.
    pub fn is_consistent(&self) -> bool {
        let square = [&self.w1, &self.w2];
        square
            .iter()
            .all(|w| w.inputs() == self.channels() && w.outputs() == self.channels())
            && self.w3.inputs() == self.channels()
            && self.w4.outputs() == self.channels()
            && self.w3.outputs() == self.w4.inputs()
    }
}

/// Is told of pieces of the tensors that a block makes, which are numbered in the order of
/// [`Block`]'s scales from `first` on.
pub type Watch<'a> = dyn Fn(usize, &[i16]) + Sync + 'a;

/// Applies a block to the picture `x` (`[height, width, channels]`) and writes some `rows` of
/// the result to `out` (`[rows, width, channels]`). Parallel over tiles.
///
/// The result is that of the five layers applied one after another. A picture can be computed a
/// few rows at a time: where `x` is a part of it that holds the row above and the row below
/// `rows`, the result is that of the whole.
///
/// # Panics
/// When the lengths, or the layers of the block, do not agree, or `rows` are not rows of `x`.
pub fn block(
    x: &[i16],
    (height, width): (usize, usize),
    rows: Range<usize>,
    weights: &Block,
    watch: Option<&Watch<'_>>,
    out: &mut [i16],
) {
    let path = dispatch::active();
    assert!(weights.is_consistent(), "block: layers do not fit together");
    assert!(rows.end <= height, "block: rows");
    let row = product([width, weights.channels()]);
    check_length(x.len(), [height, row], "block: input length");
    check_length(out.len(), [rows.len(), row], "block: output length");
    if out.is_empty() {
        return;
    }
    let picture = Picture {
        x,
        height,
        width,
        weights,
        watch,
    };
    let tiles = cut(out, rows.start, &picture, rayon::current_num_threads());
    tiles.into_par_iter().with_max_len(1).for_each(|tile| {
        SCRATCH.with(|kept| {
            let mut scratch = kept.take();
            picture.compute(&Session::begin(path), tile, &mut scratch);
            kept.set(scratch);
        });
    });
}

/// The input of a block.
struct Picture<'a> {
    x: &'a [i16],
    height: usize,
    width: usize,
    weights: &'a Block,
    watch: Option<&'a Watch<'a>>,
}

/// A rectangle of the output.
struct Tile<'a> {
    rows: Range<usize>,
    columns: Range<usize>,
    /// The output, row by row.
    out: Vec<&'a mut [i16]>,
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
fn cut<'a>(out: &'a mut [i16], top: usize, picture: &Picture<'_>, threads: usize) -> Vec<Tile<'a>> {
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

/// Copies in pieces: for long copies the C library takes an instruction that
/// is slow to start and slow on what is in the cache.
fn copy(from: &[i16], to: &mut [i16]) {
    const PIECE: usize = 2048;
    for (from, to) in from.chunks(PIECE).zip(to.chunks_mut(PIECE)) {
        to.copy_from_slice(from);
    }
}

thread_local! {
    /// Each thread's scratch memory, kept from one block to the next.
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// What a task keeps between `x` and `y`.
#[derive(Default)]
struct Scratch {
    /// Rows of `x`, then rows of `y`: `[band, tile + rim, C]`.
    pixels: AlignedBuffer<i16>,
    /// `act(W1 x)` for a band and its rim: `[band + 2, tile + rim, C]`.
    first: AlignedBuffer<i16>,
    /// The depthwise output: `[band, tile, C]`.
    depthwise: AlignedBuffer<i16>,
    /// `x1`: `[band, tile, C]`.
    middle: AlignedBuffer<i16>,
    /// `act(W3 x1)`: `[band, tile, 2C]`.
    hidden: AlignedBuffer<i16>,
}

impl Picture<'_> {
    /// Computes one tile, band by band.
    fn compute(&self, session: &Session, mut tile: Tile<'_>, scratch: &mut Scratch) {
        let band = BAND.div_ceil(tile.columns.len()).min(tile.rows.len());
        // The rim, where it is inside the picture.
        let rim_columns =
            tile.columns.start.saturating_sub(1)..(tile.columns.end + 1).min(self.width);
        let rim_end = (tile.rows.end + 1).min(self.height);
        let mut first = tile.rows.start.saturating_sub(1)..tile.rows.start.saturating_sub(1);
        for start in tile.rows.clone().step_by(band) {
            let rows = start..(start + band).min(tile.rows.end);
            let end = (rows.end + 1).min(rim_end);
            first = self.first_layer(session, first, end, rows.start, &rim_columns, scratch);
            let window = Window {
                data: &[],
                top: first.start,
                left: rim_columns.start,
                height: first.len(),
                width: rim_columns.len(),
            };
            self.other_layers(session, &rows, &tile.columns, window, scratch);
            let row = tile.columns.len() * self.weights.channels();
            let out = &mut tile.out[rows.start - tile.rows.start..];
            for (out, y) in out
                .iter_mut()
                .zip(scratch.pixels.values().chunks_exact(row).take(rows.len()))
            {
                copy(y, out);
            }
        }
    }

    /// Extends the rows of `act(W1 x)` that are at hand (`have`) down to
    /// `end`, and drops those that lie more than one row above `from`.
    /// Returns the rows at hand.
    fn first_layer(
        &self,
        session: &Session,
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
        let first = &mut scratch.first.values_mut()[kept..][..new.len() * row];
        let out = Output::Integer(first, self.weights.first);
        pointwise_chunk(session, pixels, &self.weights.w1, true, None, out);
        self.show(0, first);
        keep.start..end
    }

    /// Computes everything after the first layer for one band; `y` is left in
    /// `scratch.pixels`. The window is that of the first layer, whose data are
    /// in `scratch.first`.
    fn other_layers(
        &self,
        session: &Session,
        rows: &Range<usize>,
        columns: &Range<usize>,
        window: Window<'_>,
        scratch: &mut Scratch,
    ) {
        let weights = self.weights;
        let pixels = rows.len() * columns.len();
        let window = Window {
            data: scratch.first.values(),
            ..window
        };
        scratch.depthwise.resize(pixels * weights.channels());
        scratch.middle.resize(pixels * weights.channels());
        scratch.hidden.resize(pixels * weights.w3.outputs());
        let depthwise = scratch.depthwise.values_mut();
        let middle = scratch.middle.values_mut();
        let hidden = scratch.hidden.values_mut();
        let part = (rows.clone(), columns.clone());
        let scale = weights.depthwise;
        depthwise_rows(session, window, &weights.dw, part, depthwise, scale);
        self.show(1, depthwise);
        let x = Residual {
            values: self.gather(rows, columns, &mut scratch.pixels),
            scale: weights.input,
        };
        let out = Output::Integer(middle, weights.middle);
        pointwise_chunk(session, depthwise, &weights.w2, false, Some(x), out);
        self.show(2, middle);
        let out = Output::Integer(hidden, weights.hidden);
        pointwise_chunk(session, middle, &weights.w3, true, None, out);
        self.show(3, hidden);
        let x1 = Residual {
            values: middle,
            scale: weights.middle,
        };
        let y = scratch.pixels.values_mut();
        let out = Output::Integer(y, weights.output);
        pointwise_chunk(session, hidden, &weights.w4, false, Some(x1), out);
        self.show(4, y);
    }

    /// Tells who watches of a tensor's values.
    fn show(&self, tensor: usize, values: &[i16]) {
        if let Some(watch) = self.watch {
            watch(tensor, values);
        }
    }

    /// Copies a rectangle of `x` into `to` and returns it: `[rows, columns, C]`.
    fn gather<'a>(
        &self,
        rows: &Range<usize>,
        columns: &Range<usize>,
        to: &'a mut AlignedBuffer<i16>,
    ) -> &'a [i16] {
        let channels = self.weights.channels();
        let row = columns.len() * channels;
        to.resize(rows.len() * row);
        for (y, to) in rows.clone().zip(to.values_mut().chunks_exact_mut(row)) {
            let start = (y * self.width + columns.start) * channels;
            copy(&self.x[start..start + row], to);
        }
        to.values()
    }
}
