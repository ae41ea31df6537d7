//! Sums of products in vector registers.

use super::lanes::{IntegerLanes, Sums};
use super::matrix::{Matrix, PANEL};
use super::rows::{DepthwiseSums, Rows};
use super::unit::{Meanwhile, Pixels, Place, STAGE_ROWS, Stage, Unit};
use std::hint::black_box;

/// Sums in `ROWS` times `VECTORS` registers.
pub(super) struct Registers<S, const ROWS: usize, const VECTORS: usize>(S);

impl<S: DepthwiseSums, const ROWS: usize, const VECTORS: usize> Unit
    for Registers<S, ROWS, VECTORS>
{
    type Lanes = S::Lanes;

    const BLOCK: usize = 12;

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
        let pixels = Pixels {
            x: &pixels.x[at.first * pixels.inputs..][..at.rows * pixels.inputs],
            ..pixels
        };
        for column in (0..PANEL).step_by(VECTORS * S::COUNT) {
            let mut row = 0;
            // SAFETY: rows and columns exist, and the panel has GROUP inputs
            // side by side for every group of them.
            unsafe {
                let panel = panel.as_ptr().add(column * S::GROUP);
                while row + ROWS <= at.rows {
                    block::<S, ROWS, VECTORS>(pixels, panel, stage, row, column);
                    row += ROWS;
                }
                while row + 4 <= at.rows {
                    block::<S, 4, VECTORS>(pixels, panel, stage, row, column);
                    row += 4;
                }
                while row < at.rows {
                    block::<S, 1, VECTORS>(pixels, panel, stage, row, column);
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
/// `pixels` are those of the block, and `panel` holds, from the first of the columns on,
/// all of the inputs; the columns exist; the CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn block<S: Sums, const ROWS: usize, const VECTORS: usize>(
    pixels: Pixels<'_>,
    panel: *const i16,
    stage: &mut Stage,
    row: usize,
    column: usize,
) {
    let inputs = pixels.inputs;
    // SAFETY: every pointer stays inside what the contract grants: a group of
    // inputs is whole in the loop, and the last one is read input by input.
    unsafe {
        let x = pixels.x.as_ptr().add(row * inputs);
        let mut sums = [[S::zero(); VECTORS]; ROWS];
        for used in pixels.used {
            // Only the last of all inputs may be in a group that is not whole.
            let whole = used.end / S::GROUP * S::GROUP;
            for k in (used.start..whole).step_by(S::GROUP) {
                step::<S, ROWS, VECTORS, false>(&mut sums, x.add(k), inputs, panel.add(k * PANEL));
            }
            if whole < used.end {
                let panel = panel.add(whole * PANEL);
                step::<S, ROWS, VECTORS, true>(&mut sums, x.add(whole), inputs, panel);
            }
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
