//! Sums in plain Rust: for every processor, and written for the compiler to
//! find vectors in.

use super::lanes::IntegerLanes;
use super::matrix::{Matrix, PANEL};
use super::rows::Rows;
use super::unit::{Meanwhile, Pixels, Place, Stage, Unit};
use crate::kernels::lanes::Plain4;
use std::hint::black_box;

/// Plain Rust.
pub(super) struct PlainUnit;

impl Unit for PlainUnit {
    type Lanes = Plain4;

    const BLOCK: usize = 12;

    unsafe fn sums<M: Meanwhile>(
        pixels: Pixels<'_>,
        at: Place,
        matrix: &Matrix,
        stage: &mut Stage,
        meanwhile: &mut M,
    ) {
        // SAFETY: the same contract.
        unsafe { meanwhile.rows::<Self>(0..Self::BLOCK) }
        let panel = matrix.single_panel(at.panel);
        let x = &pixels.x[at.first * pixels.inputs..][..at.rows * pixels.inputs];
        for (x, sums) in x.chunks_exact(pixels.inputs).zip(&mut stage.0) {
            *sums = [0; PANEL];
            for used in pixels.used {
                add_products(&x[used.clone()], &panel[used.start * PANEL..], sums);
            }
        }
    }

    unsafe fn values(stage: &Stage, row: usize, column: usize) -> Plain4 {
        // SAFETY: the columns exist (contract).
        unsafe { Plain4::load_sums(stage.0[row][column..].as_ptr()) }
    }

    unsafe fn depthwise(rows: Rows<'_>) {
        rows.compute_plainly(0);
    }

    unsafe fn peak(rounds: u32) -> (u64, i32) {
        let (x, panel) = ([1; PANEL], [1; PANEL * PANEL]);
        let mut sums = [0; PANEL];
        for _ in 0..rounds {
            let (x, panel) = black_box((&x, &panel));
            add_products(x, panel, &mut sums);
        }
        (2 * (PANEL * PANEL) as u64 * u64::from(rounds), sums[0])
    }
}

/// Adds the products of inputs of one pixel with as many rows of a panel, one input after another.
fn add_products(x: &[i16], panel: &[i16], to: &mut [i32; PANEL]) {
    let mut sums = *to;
    for (x, weights) in x.iter().zip(panel.chunks_exact(PANEL)) {
        for (sum, weight) in sums.iter_mut().zip(weights) {
            // Wrapping is for the compiler: a whole sum fits.
            *sum = sum.wrapping_add(i32::from(*weight) * i32::from(*x));
        }
    }
    *to = sums;
}
