//! Sums on matrix tiles (AMX): an activation is a signed high and an unsigned
//! low byte, and each takes a product with the int8 weights.

use super::depthwise::Rows;
use super::matrix::{Matrix, PANEL, TILE_INPUTS};
use super::unit::{Pixels, Place, Registers, Stage, Unit};
use super::x86::{Dot512, Real512};
use crate::kernels::aligned::AlignedBuffer;
use std::arch::asm;
use std::arch::x86_64::*;

/// Pixels per tile.
const ROWS: usize = 16;

/// Bytes of a tile.
const TILE: usize = ROWS * TILE_INPUTS;

/// Tiles for sums of products; vectors, as [`Dot512`], for the rest.
pub(super) struct Tiles;

impl Unit for Tiles {
    type Lanes = Real512;

    const BLOCK: usize = ROWS;

    #[inline(always)]
    fn pixel_bytes(inputs: usize) -> usize {
        2 * inputs.next_multiple_of(TILE_INPUTS)
    }

    /// For every 16 pixels and 64 inputs, a tile of high and one of low bytes.
    #[inline(always)]
    unsafe fn prepare(x: &[i16], inputs: usize, to: &mut AlignedBuffer<i8>) {
        let steps = inputs.div_ceil(TILE_INPUTS);
        let pixels = x.len() / inputs;
        let length = pixels.next_multiple_of(ROWS) * Self::pixel_bytes(inputs);
        if to.values().len() < length {
            to.resize(length);
        }
        for (pixel, x) in x.chunks_exact(inputs).enumerate() {
            let start = pixel / ROWS * steps * 2 * TILE + pixel % ROWS * TILE_INPUTS;
            for (step, x) in x.chunks(TILE_INPUTS).enumerate() {
                let to = &mut to.values_mut()[start + step * 2 * TILE..][..TILE + TILE_INPUTS];
                // SAFETY: 64 bytes are writable at both places.
                unsafe { split(x, to.as_mut_ptr(), to.as_mut_ptr().add(TILE)) };
            }
        }
    }

    #[inline(always)]
    unsafe fn sums(pixels: Pixels<'_>, at: Place, matrix: &Matrix, stage: &mut Stage) {
        let block = Self::pixel_bytes(pixels.inputs) * ROWS;
        let x = &pixels.prepared[at.first / ROWS * block..][..block];
        let weights = matrix.quad_panel(at.panel);
        assert_eq!(weights.len() * 2 * ROWS, x.len() * PANEL, "tiles: lengths");
        // SAFETY: per step `x` holds two tiles and `weights` another two side
        // by side; the stage holds two times two, the low ones after the high
        // ones; tiles are configured (contract).
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm6, [{weights} + {row_bytes}]",
                "tileloadd tmm4, [{x} + {x_row_bytes}]",
                "tileloadd tmm7, [{weights} + {row_bytes} + 64]",
                "tdpbssd tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{x} + {x_row_bytes} + 1024]",
                "tdpbssd tmm1, tmm4, tmm7",
                "tdpbusd tmm2, tmm5, tmm6",
                "tdpbusd tmm3, tmm5, tmm7",
                "add {x}, 2048",
                "add {weights}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{stage} + {row_bytes}], tmm0",
                "tilestored [{stage} + {row_bytes} + 64], tmm1",
                "tilestored [{stage} + {row_bytes} + 2048], tmm2",
                "tilestored [{stage} + {row_bytes} + 2112], tmm3",
                x = inout(reg) x.as_ptr() => _,
                weights = inout(reg) weights.as_ptr() => _,
                steps = inout(reg) pixels.inputs.div_ceil(TILE_INPUTS) => _,
                row_bytes = in(reg) 4 * PANEL,
                x_row_bytes = in(reg) TILE_INPUTS,
                stage = in(reg) stage.0.as_mut_ptr(),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    #[inline(always)]
    unsafe fn values(stage: &Stage, row: usize, column: usize) -> Real512 {
        let high = stage.0[row][column..].as_ptr();
        let low = stage.0[ROWS + row][column..].as_ptr();
        // SAFETY: a vector of columns exists (contract).
        unsafe { Real512::load_split_sums(high, low) }
    }

    #[inline(always)]
    unsafe fn depthwise(rows: Rows<'_>) {
        // SAFETY: the CPU has the vectors too (contract).
        unsafe { Registers::<Dot512, 12, 2>::depthwise(rows) }
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

/// Writes the high and the low bytes of up to 64 inputs, and zeros after them.
///
/// # Safety
/// 64 bytes are writable at each place; the CPU has AVX-512F, BW and VBMI.
#[inline(always)]
unsafe fn split(x: &[i16], high: *mut i8, low: *mut i8) {
    // SAFETY: masks stop at the end of `x`; the rest is the contract.
    unsafe {
        let (mut first, mut second) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        if x.len() == TILE_INPUTS {
            first = _mm512_loadu_si512(x.as_ptr().cast());
            second = _mm512_loadu_si512(x.as_ptr().add(32).cast());
        } else {
            let mask = (1_u64 << x.len()) - 1;
            first = _mm512_mask_loadu_epi16(first, mask as u32, x.as_ptr());
            let rest = x.as_ptr().wrapping_add(32);
            second = _mm512_mask_loadu_epi16(second, (mask >> 32) as u32, rest);
        }
        let even = _mm512_loadu_si512(EVEN.0.as_ptr().cast());
        let odd = _mm512_or_si512(even, _mm512_set1_epi8(1));
        let low_bytes = _mm512_permutex2var_epi8(first, even, second);
        let high_bytes = _mm512_permutex2var_epi8(first, odd, second);
        _mm512_storeu_si512(high.cast(), high_bytes);
        _mm512_storeu_si512(low.cast(), low_bytes);
    }
}

/// A cache line of bytes.
#[repr(C, align(64))]
struct Indices([u8; 64]);

/// 0, 2, 4 and so on: the low bytes of int16.
static EVEN: Indices = {
    let mut indices = [0; 64];
    let mut at = 0;
    while at < 64 {
        indices[at] = 2 * at as u8;
        at += 1;
    }
    Indices(indices)
};
