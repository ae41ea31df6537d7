//! What a unit that computes sums of products does, and what runs on one.

use super::lanes::IntegerLanes;
use super::matrix::{Matrix, PANEL};
use super::rows::Rows;
use crate::kernels::aligned::AlignedBuffer;
use std::ops::Range;

/// Rows of a [`Stage`].
pub(super) const STAGE_ROWS: usize = 32;

/// The sums of a few pixels and one panel of outputs, on their way to values.
#[repr(C, align(64))]
pub(super) struct Stage(pub(super) [[i32; PANEL]; STAGE_ROWS]);

impl Stage {
    #[inline(always)]
    pub(super) fn zeros() -> Self {
        Self([[0; PANEL]; STAGE_ROWS])
    }
}

/// Some pixels, `[pixels, inputs]`.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a> {
    pub(super) x: &'a [i16],
    pub(super) inputs: usize,
    /// The inputs that are not all zero (see [`Pointwise::reading`](super::Pointwise::reading)).
    pub(super) used: &'a [Range<usize>],
    /// The same as the unit wants it (see [`Unit::prepare`]).
    pub(super) prepared: &'a [i8],
}

/// A block of sums.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// First pixel.
    pub(super) first: usize,
    /// Number of pixels, `1..=Unit::BLOCK`.
    pub(super) rows: usize,
    /// Panel of outputs.
    pub(super) panel: usize,
}

/// Work on the rows of another stage while sums are computed: products on
/// tiles leave the vectors idle.
///
/// `rows` and all it calls must be `#[inline(always)]`, as in [`Kernel`].
pub(super) trait Meanwhile {
    /// Does the work of some of the rows `0..Unit::BLOCK`. All are asked for
    /// once, in order.
    ///
    /// # Safety
    /// The CPU must have the instruction set of the unit.
    unsafe fn rows<U: Unit>(&mut self, rows: Range<usize>);
}

/// Nothing else to do.
impl Meanwhile for () {
    #[inline(always)]
    unsafe fn rows<U: Unit>(&mut self, _rows: Range<usize>) {}
}

/// What computes sums of products of int16 with int8, and values from them.
///
/// Every method needs the instruction set of the unit.
pub(super) trait Unit {
    /// The vectors of values.
    type Lanes: IntegerLanes;

    /// Most pixels per block of sums.
    const BLOCK: usize;

    /// Bytes that one pixel occupies in the first-level cache.
    #[inline(always)]
    fn pixel_bytes(inputs: usize) -> usize {
        2 * inputs
    }

    /// Brings pixels `[pixels, inputs]` to the form that [`Unit::sums`] reads, those of the
    /// inputs that are used.
    ///
    /// # Safety
    /// The CPU must have the instruction set of the unit.
    #[inline(always)]
    unsafe fn prepare(
        _x: &[i16],
        _inputs: usize,
        _used: &[Range<usize>],
        _to: &mut AlignedBuffer<i8>,
    ) {
    }

    /// Computes a block of sums, and does something else meanwhile.
    ///
    /// # Safety
    /// As [`Unit::prepare`], which was called with these pixels; the pixels
    /// and the panel exist, and `matrix` has as many inputs; the thread is in
    /// a [`Session`](super::session::Session).
    unsafe fn sums<M: Meanwhile>(
        pixels: Pixels<'_>,
        at: Place,
        matrix: &Matrix,
        stage: &mut Stage,
        meanwhile: &mut M,
    );

    /// Values of sums from `column` on.
    ///
    /// # Safety
    /// As [`Unit::prepare`]; `row` is below `BLOCK`, and the columns exist.
    unsafe fn values(stage: &Stage, row: usize, column: usize) -> Self::Lanes;

    /// Computes some rows of a depthwise convolution.
    ///
    /// # Safety
    /// As [`Unit::prepare`].
    unsafe fn depthwise(rows: Rows<'_>);

    /// Adds up products on registers alone: see [`super::peak()`].
    ///
    /// # Safety
    /// As [`Unit::sums`].
    unsafe fn peak(rounds: u32) -> (u64, i32);
}

/// A computation written once for every unit.
///
/// `run` and all it calls must be `#[inline(always)]`: [`Session::run`](super::session::Session::run)
/// inlines it into functions compiled for each instruction set.
pub(super) trait Kernel {
    /// What the computation returns.
    type Output;

    /// Runs on a unit.
    ///
    /// # Safety
    /// The CPU must have the instruction set of the unit, and this thread must
    /// be in a [`Session`](super::session::Session) of it.
    unsafe fn run<U: Unit>(self) -> Self::Output;
}
