//! Sums on matrix tiles (AMX): an activation is a signed high and an unsigned
//! low byte, and each takes a product with the int8 weights.

use super::matrix::{Matrix, PANEL, TILE_INPUTS};
use super::registers::Registers;
use super::rows::Rows;
use super::unit::{Meanwhile, Pixels, Place, STAGE_ROWS, Stage, Unit};
use super::x86::Sums512;
use crate::kernels::aligned::AlignedBuffer;
use crate::kernels::lanes::Avx512;
use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

/// Pixels per tile.
const ROWS: usize = 16;

/// Bytes of a tile.
const TILE: usize = ROWS * TILE_INPUTS;

/// Tiles for sums of products; vectors, as [`Sums512`], for the rest.
pub(super) struct Tiles;

impl Unit for Tiles {
    type Lanes = Avx512;

    const BLOCK: usize = ROWS;

    #[inline(always)]
    fn pixel_bytes(inputs: usize) -> usize {
        2 * inputs.next_multiple_of(TILE_INPUTS)
    }

    /// For every 16 pixels and 64 inputs, a tile of high and one of low bytes.
    #[inline(always)]
    unsafe fn prepare(x: &[i16], inputs: usize, used: &[Range<usize>], to: &mut AlignedBuffer<i8>) {
        let block = Self::pixel_bytes(inputs) * ROWS;
        let pixels = x.len() / inputs;
        let to = to.at_least(pixels.div_ceil(ROWS) * block);
        for (x, to) in x.chunks(ROWS * inputs).zip(to.chunks_exact_mut(block)) {
            for (row, x) in x.chunks_exact(inputs).enumerate() {
                for used in used {
                    let first = used.start / TILE_INPUTS * 2 * TILE;
                    // SAFETY: a block has the high and the low tile of every step,
                    // each with 64 bytes for this row, and steps cover the inputs;
                    // the CPU has the instructions (contract).
                    unsafe {
                        let to = to.as_mut_ptr().add(first + row * TILE_INPUTS);
                        split(&x[used.clone()], to);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn sums<M: Meanwhile>(
        pixels: Pixels<'_>,
        at: Place,
        matrix: &Matrix,
        stage: &mut Stage,
        meanwhile: &mut M,
    ) {
        let block = Self::pixel_bytes(pixels.inputs) * ROWS;
        let x = &pixels.prepared[at.first / ROWS * block..][..block];
        let weights = matrix.quad_panel(at.panel);
        assert_eq!(weights.len() * 2 * ROWS, x.len() * PANEL, "tiles: lengths");
        // SAFETY: the lengths hold a step of two tiles each; tiles are
        // configured (contract), and nothing else uses them in between.
        unsafe {
            zero_sums();
            for used in pixels.used {
                let steps = used.start / TILE_INPUTS..used.end.div_ceil(TILE_INPUTS);
                let bytes = steps.start * 2 * TILE..steps.end * 2 * TILE;
                let pairs = x[bytes.clone()].chunks_exact(2 * TILE);
                let panels = weights[bytes].chunks_exact(2 * TILE);
                for (x, weights) in pairs.zip(panels) {
                    add_products(x, weights);
                }
            }
            // Before the sums are stored: loads wait for a store before them
            // whose address ends in the same 12 bits.
            meanwhile.rows::<Self>(0..ROWS);
            store_sums(stage);
        }
    }

    #[inline(always)]
    unsafe fn values(stage: &Stage, row: usize, column: usize) -> Avx512 {
        // SAFETY: the row and a vector of columns exist (contract).
        unsafe {
            let high = stage.0.as_ptr().cast::<i32>().add(row * PANEL + column);
            Avx512::load_split_sums(high, high.add(ROWS * PANEL))
        }
    }

    #[inline(always)]
    unsafe fn depthwise(rows: Rows<'_>) {
        // SAFETY: the CPU has the vectors too (contract).
        unsafe { Registers::<Sums512<true>, 12, 2>::depthwise(rows) }
    }

    #[inline(always)]
    unsafe fn peak(rounds: u32) -> (u64, i32) {
        let mut sums = [0_i32; ROWS * ROWS];
        // SAFETY: one tile is written; tiles are configured (contract).
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "tilezero tmm4",
                "tilezero tmm5",
                "2:",
                "tdpbssd tmm0, tmm4, tmm5",
                "tdpbssd tmm1, tmm4, tmm5",
                "tdpbusd tmm2, tmm4, tmm5",
                "tdpbusd tmm3, tmm4, tmm5",
                "dec {rounds:e}",
                "jnz 2b",
                "tilestored [{sums} + {row_bytes}], tmm0",
                rounds = inout(reg) rounds.max(1) => _,
                sums = in(reg) sums.as_mut_ptr(),
                row_bytes = in(reg) 4 * ROWS,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
        // Two products of tiles for one of int16 with int8.
        let products = (2 * ROWS * ROWS * TILE_INPUTS) as u64;
        (2 * products * u64::from(rounds.max(1)), sums[0])
    }
}

/// Clears the sums, tiles 0 to 3: those of high and then of low bytes, each for
/// two times 16 outputs.
///
/// # Safety
/// Tiles are configured.
#[inline(always)]
unsafe fn zero_sums() {
    // SAFETY: the contract.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            options(nostack, nomem, preserves_flags),
        );
    }
}

/// Adds the products of a step: `x` is a tile of high and one of low bytes,
/// `weights` two tiles side by side.
///
/// # Safety
/// Tiles are configured, and the sums in them since [`zero_sums`].
#[inline(always)]
unsafe fn add_products(x: &[i8], weights: &[i8]) {
    debug_assert!(x.len() == 2 * TILE && weights.len() == 2 * TILE);
    // SAFETY: the slices hold two tiles each.
    unsafe {
        asm!(
            "tileloadd tmm6, [{weights} + {weight_row}]",
            "tileloadd tmm4, [{x} + {x_row}]",
            "tileloadd tmm7, [{weights} + {weight_row} + 64]",
            "tdpbssd tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{x} + {x_row} + 1024]",
            "tdpbssd tmm1, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            x = in(reg) x.as_ptr(),
            weights = in(reg) weights.as_ptr(),
            weight_row = in(reg) 4 * PANEL,
            x_row = in(reg) TILE_INPUTS,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, readonly, preserves_flags),
        );
    }
}

/// Stores the sums: those of high bytes, then those of low ones.
///
/// # Safety
/// As [`add_products`].
#[inline(always)]
unsafe fn store_sums(stage: &mut Stage) {
    const { assert!(PANEL == 32 && STAGE_ROWS == 2 * ROWS) };
    // SAFETY: the stage is as long as four tiles.
    unsafe {
        asm!(
            "tilestored [{stage} + {row}], tmm0",
            "tilestored [{stage} + {row} + 64], tmm1",
            "tilestored [{stage} + {row} + 2048], tmm2",
            "tilestored [{stage} + {row} + 2112], tmm3",
            stage = in(reg) stage.0.as_mut_ptr(),
            row = in(reg) 4 * PANEL,
            options(nostack, preserves_flags),
        );
    }
}

/// Writes the high and the low bytes of the inputs of one pixel, 64 of each
/// step [`TILE`] bytes apart, and zeros after the last input.
///
/// # Safety
/// The places are writable; the CPU has AVX-512F, BW and VBMI.
#[inline(always)]
unsafe fn split(x: &[i16], mut to: *mut i8) {
    // SAFETY: whole steps are read, or masks stop at the end of `x`; the rest
    // is the contract.
    unsafe {
        let whole = x.len() / TILE_INPUTS;
        let mut from = x.as_ptr();
        for _ in 0..whole {
            let first = _mm512_loadu_si512(from.cast());
            store_split(first, _mm512_loadu_si512(from.add(32).cast()), to);
            from = from.add(TILE_INPUTS);
            to = to.add(2 * TILE);
        }
        let rest = x.len() % TILE_INPUTS;
        if rest > 0 {
            let mask = (1_u64 << rest) - 1;
            let first = _mm512_maskz_loadu_epi16(mask as u32, from);
            let second = _mm512_maskz_loadu_epi16((mask >> 32) as u32, from.wrapping_add(32));
            store_split(first, second, to);
        }
    }
}

/// Writes the high bytes of 64 inputs, and the low ones [`TILE`] bytes after.
///
/// # Safety
/// As [`split`].
#[inline(always)]
unsafe fn store_split(first: __m512i, second: __m512i, to: *mut i8) {
    // SAFETY: the contract.
    unsafe {
        let even = _mm512_load_si512(EVEN.0.as_ptr().cast());
        let odd = _mm512_load_si512(ODD.0.as_ptr().cast());
        let high = _mm512_permutex2var_epi8(first, odd, second);
        let low = _mm512_permutex2var_epi8(first, even, second);
        _mm512_storeu_si512(to.cast(), high);
        _mm512_storeu_si512(to.add(TILE).cast(), low);
    }
}

/// A cache line of bytes.
#[repr(C, align(64))]
struct Indices([u8; 64]);

/// Where the low bytes of int16 are.
static EVEN: Indices = every_second(0);

/// Where the high bytes of int16 are.
static ODD: Indices = every_second(1);

/// `first`, `first + 2` and so on.
const fn every_second(first: u8) -> Indices {
    let mut indices = [first; 64];
    let mut at = 1;
    while at < 64 {
        indices[at] = indices[at - 1] + 2;
        at += 1;
    }
    Indices(indices)
}
