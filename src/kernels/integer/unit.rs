//! The units that compute sums of products, and the choice among them.

use super::depthwise::Rows;
use super::lanes::{IntegerLanes, Sums};
use super::matrix::{Matrix, PANEL};
#[cfg(target_arch = "aarch64")]
use super::neon::Sums128;
use super::plain::PlainUnit;
#[cfg(target_arch = "x86_64")]
use super::tiles::Tiles;
#[cfg(target_arch = "x86_64")]
use super::x86::{Dot256, Dot512, Sums256, Sums512};
use crate::kernels::aligned::AlignedBuffer;
#[cfg(target_arch = "x86_64")]
use crate::kernels::amx;
use crate::kernels::dispatch::KernelPath;
use std::hint::black_box;
use std::marker::PhantomData;
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
    fn pixel_bytes(inputs: usize) -> usize;

    /// Brings pixels `[pixels, inputs]` to the form that [`Unit::sums`] reads.
    ///
    /// # Safety
    /// The CPU must have the instruction set of the unit.
    unsafe fn prepare(x: &[i16], inputs: usize, to: &mut AlignedBuffer<i8>);

    /// Computes a block of sums, and does something else meanwhile.
    ///
    /// # Safety
    /// As [`Unit::prepare`], which was called with these pixels; the pixels
    /// and the panel exist, and `matrix` has as many inputs; the thread is in
    /// a [`Session`].
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

/// Sums in `ROWS` times `VECTORS` registers.
pub(super) struct Registers<S, const ROWS: usize, const VECTORS: usize>(S);

impl<S: Sums, const ROWS: usize, const VECTORS: usize> Unit for Registers<S, ROWS, VECTORS> {
    type Lanes = S::Lanes;

    const BLOCK: usize = 12;

    #[inline(always)]
    fn pixel_bytes(inputs: usize) -> usize {
        2 * inputs
    }

    #[inline(always)]
    unsafe fn prepare(_x: &[i16], _inputs: usize, _to: &mut AlignedBuffer<i8>) {}

    #[inline(always)]
    unsafe fn sums<M: Meanwhile>(
        pixels: Pixels<'_>,
        at: Place,
        matrix: &Matrix,
        stage: &mut Stage,
        meanwhile: &mut M,
    ) {
        // SAFETY: the same contract.
        unsafe { meanwhile.rows::<Self>(0..Self::BLOCK) }
        let panel = match S::GROUP {
            1 => matrix.single_panel(at.panel),
            _ => matrix.pair_panel(at.panel),
        };
        let x = &pixels.x[at.first * pixels.inputs..][..at.rows * pixels.inputs];
        for column in (0..PANEL).step_by(VECTORS * S::COUNT) {
            let mut row = 0;
            // SAFETY: rows and columns exist, and the panel has GROUP inputs
            // side by side for every group of them.
            unsafe {
                let panel = panel.as_ptr().add(column * S::GROUP);
                while row + ROWS <= at.rows {
                    block::<S, ROWS, VECTORS>(x, pixels.inputs, panel, stage, row, column);
                    row += ROWS;
                }
                while row + 4 <= at.rows {
                    block::<S, 4, VECTORS>(x, pixels.inputs, panel, stage, row, column);
                    row += 4;
                }
                while row < at.rows {
                    block::<S, 1, VECTORS>(x, pixels.inputs, panel, stage, row, column);
                    row += 1;
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn values(stage: &Stage, row: usize, column: usize) -> S::Lanes {
        // SAFETY: in bounds, and the CPU has the instruction set (contract).
        unsafe {
            let sums = stage.0.as_ptr().cast::<i32>().add(row * PANEL + column);
            S::Lanes::load_sums(sums)
        }
    }

    #[inline(always)]
    unsafe fn depthwise(rows: Rows<'_>) {
        // SAFETY: the same contract.
        unsafe { S::depthwise(rows) }
    }

    #[inline(always)]
    unsafe fn peak(rounds: u32) -> (u64, i32) {
        let (weights, inputs) = ([1_i16; 4 * PANEL], [1_i16; 2 * STAGE_ROWS]);
        let mut stage = Stage::zeros();
        // SAFETY: weights and inputs are as many as any unit reads in a step,
        // and the stage holds any vector; the CPU has the instruction set
        // (contract).
        unsafe {
            let mut sums = [[S::zero(); VECTORS]; ROWS];
            for _ in 0..rounds {
                // Or the compiler would multiply by the number of rounds.
                let from = black_box((weights.as_ptr(), inputs.as_ptr()));
                step::<S, ROWS, VECTORS, false>(&mut sums, from.1, S::GROUP, from.0);
            }
            for (sum, to) in sums.as_flattened().iter().zip(&mut stage.0) {
                sum.store(to.as_mut_ptr());
            }
        }
        let products = (ROWS * VECTORS * S::COUNT * S::GROUP) as u64;
        let total = stage.0.iter().map(|row| row[0]).sum();
        (2 * products * u64::from(rounds), total)
    }
}

/// The sums of `ROWS` pixels from `row` on and `VECTORS` vectors of outputs
/// from `column` on, held in registers.
///
/// # Safety
/// `x` holds the pixels, and `panel`, from the first of the columns on, all of
/// the inputs; the columns exist; the CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn block<S: Sums, const ROWS: usize, const VECTORS: usize>(
    x: &[i16],
    inputs: usize,
    panel: *const i16,
    stage: &mut Stage,
    row: usize,
    column: usize,
) {
    // SAFETY: every pointer stays inside what the contract grants: a group of
    // inputs is whole in the loop, and the last one is read input by input.
    unsafe {
        let x = x.as_ptr().add(row * inputs);
        let mut sums = [[S::zero(); VECTORS]; ROWS];
        let whole = inputs / S::GROUP * S::GROUP;
        for k in (0..whole).step_by(S::GROUP) {
            step::<S, ROWS, VECTORS, false>(&mut sums, x.add(k), inputs, panel.add(k * PANEL));
        }
        if whole < inputs {
            let panel = panel.add(whole * PANEL);
            step::<S, ROWS, VECTORS, true>(&mut sums, x.add(whole), inputs, panel);
        }
        for (to, sums) in stage.0[row..].iter_mut().zip(sums) {
            for (index, sum) in sums.into_iter().enumerate() {
                sum.store(to.as_mut_ptr().add(column + index * S::COUNT));
            }
        }
    }
}

/// Adds the products of one group of inputs, or of a `LAST` single one.
///
/// Loops instead of closures here and below: a closure is compiled for the
/// instruction set of its caller only if the compiler cares to inline it.
///
/// # Safety
/// The inputs of `ROWS` pixels, `inputs` apart, are readable, and the weights
/// of `VECTORS` vectors; the CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn step<S: Sums, const ROWS: usize, const VECTORS: usize, const LAST: bool>(
    sums: &mut [[S; VECTORS]; ROWS],
    x: *const i16,
    inputs: usize,
    panel: *const i16,
) {
    // SAFETY: the contract.
    unsafe {
        let mut weights = [S::weights(panel); VECTORS];
        for (index, weights) in weights.iter_mut().enumerate().skip(1) {
            *weights = S::weights(panel.add(index * S::COUNT * S::GROUP));
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            let x = x.add(row * inputs);
            let x = if LAST { S::last_input(x) } else { S::inputs(x) };
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = sum.plus_products(weights, x);
            }
        }
    }
}

/// A computation written once for every unit.
///
/// `run` and all it calls must be `#[inline(always)]`: [`Session::run`]
/// inlines it into functions compiled for each instruction set.
pub(super) trait Kernel {
    /// What the computation returns.
    type Output;

    /// Runs on a unit.
    ///
    /// # Safety
    /// The CPU must have the instruction set of the unit, and this thread must
    /// be in a [`Session`] of it.
    unsafe fn run<U: Unit>(self) -> Self::Output;
}

/// The time in which a thread computes sums: its unit is ready from
/// [`Session::begin`] on until the session is dropped.
pub(super) struct Session {
    path: KernelPath,
    /// What is ready belongs to one thread.
    thread: PhantomData<*const ()>,
}

impl Session {
    /// Makes the unit of a path ready on this thread; that of the portable
    /// path when this CPU lacks `path`. Sessions of a thread must not overlap.
    pub(super) fn begin(path: KernelPath) -> Self {
        let path = match path.is_available() {
            true => path,
            false => KernelPath::Portable,
        };
        #[cfg(target_arch = "x86_64")]
        if path == KernelPath::Amx {
            // SAFETY: tiles are available.
            unsafe { amx::configure() }
        }
        Self {
            path,
            thread: PhantomData,
        }
    }

    /// Runs `kernel` on the unit.
    pub(super) fn run<K: Kernel>(&self, kernel: K) -> K::Output {
        // SAFETY: `begin` found that the CPU has the instruction set of the
        // path, and made its unit ready; plain Rust needs neither.
        unsafe {
            match self.path {
                #[cfg(target_arch = "x86_64")]
                KernelPath::Amx => run_amx(kernel),
                #[cfg(target_arch = "x86_64")]
                KernelPath::Avx512Vnni => run_avx512_vnni(kernel),
                #[cfg(target_arch = "x86_64")]
                KernelPath::Avx512 => run_avx512(kernel),
                #[cfg(target_arch = "x86_64")]
                KernelPath::AvxVnni => run_avx_vnni(kernel),
                #[cfg(target_arch = "x86_64")]
                KernelPath::Avx2 => run_avx2(kernel),
                // 24 of 32 registers.
                #[cfg(target_arch = "aarch64")]
                KernelPath::Neon => kernel.run::<Registers<Sums128, 6, 4>>(),
                _ => kernel.run::<PlainUnit>(),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.path == KernelPath::Amx {
            // SAFETY: tiles are available.
            unsafe { amx::release() }
        }
    }
}

/// Defines a function that runs a kernel on a unit, compiled for its instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! run_on {
    ($name:ident, $features:literal, $unit:ty) => {
        /// # Safety
        /// As [`Kernel::run`].
        #[target_feature(enable = $features)]
        unsafe fn $name<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: the same contract.
            unsafe { kernel.run::<$unit>() }
        }
    };
}

// The sums of AVX-512 are in 24 of 32 registers, those of AVX2 in 12 of 16.
#[cfg(target_arch = "x86_64")]
run_on!(run_amx, "avx512f,avx512bw,avx512vnni,avx512vbmi", Tiles);
#[cfg(target_arch = "x86_64")]
run_on!(run_avx512_vnni, "avx512f,avx512bw,avx512vnni", Registers<Dot512, 12, 2>);
#[cfg(target_arch = "x86_64")]
run_on!(run_avx512, "avx512f,avx512bw", Registers<Sums512, 12, 2>);
#[cfg(target_arch = "x86_64")]
run_on!(run_avx_vnni, "avx2,fma,avxvnni", Registers<Dot256, 6, 2>);
#[cfg(target_arch = "x86_64")]
run_on!(run_avx2, "avx2,fma", Registers<Sums256, 6, 2>);
