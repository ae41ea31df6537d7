//! The lanes in AVX-512. With `AMX` the products run on matrix tiles and the conversions on the bf16 instructions.

use core::arch::x86_64::*;
use core::mem::transmute;

use super::amx;
use super::lanes::{BLOCK, Bf16, BlockProduct, LANES, Lanes, fma_block_product};
use crate::kernels::amx as tiles;

/// Token of AVX-512 (F, BW, DQ, VL), and with `AMX` of AVX512-BF16 and tiles too.
#[derive(Clone, Copy)]
pub(super) struct Zmm<const AMX: bool>(());

impl<const AMX: bool> Zmm<AMX> {
    /// # Safety
    /// The machine has the instructions named at [`Zmm`], and the caller is compiled for them.
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        Self(())
    }

    /// Sixteen numbers rounded to bf16.
    #[inline(always)]
    fn narrow(self, value: __m512) -> __m256i {
        // SAFETY: the token.
        unsafe {
            if AMX {
                transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(value))
            } else {
                _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded_bits(value)))
            }
        }
    }
}

/// The bits plus what rounds the upper half to nearest, ties to even.
///
/// # Safety
/// AVX-512F.
#[inline(always)]
unsafe fn rounded_bits(value: __m512) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let bits = _mm512_castps_si512(value);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)))
    }
}

#[inline(always)]
fn mask(len: usize) -> u16 {
    debug_assert!(len < LANES);
    (1 << len) - 1
}

impl<const AMX: bool> Lanes for Zmm<AMX> {
    type F = __m512;
    type P = __m512i;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> __m512 {
        // SAFETY: the token; lanes beyond the slice are masked.
        unsafe {
            if from.len() >= LANES {
                _mm512_loadu_ps(from.as_ptr())
            } else {
                _mm512_maskz_loadu_ps(mask(from.len()), from.as_ptr())
            }
        }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32], value: __m512) {
        // SAFETY: the token; lanes beyond the slice are masked.
        unsafe {
            if to.len() >= LANES {
                _mm512_storeu_ps(to.as_mut_ptr(), value);
            } else {
                _mm512_mask_storeu_ps(to.as_mut_ptr(), mask(to.len()), value);
            }
        }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[Bf16]) -> __m512 {
        // SAFETY: the token.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(load_half(from));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    fn store_bf16(self, to: &mut [Bf16], value: __m512) {
        let value = self.narrow(value);
        // SAFETY: the token; lanes beyond the slice are masked.
        unsafe {
            if to.len() >= LANES {
                _mm256_storeu_si256(to.as_mut_ptr().cast(), value);
            } else {
                _mm256_mask_storeu_epi16(to.as_mut_ptr().cast(), mask(to.len()), value);
            }
        }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn clamp_unit(self, a: __m512) -> __m512 {
        // SAFETY: the token. The second operand is returned for NaN, so NaN passes.
        unsafe { _mm512_min_ps(_mm512_set1_ps(1.0), _mm512_max_ps(_mm512_setzero_ps(), a)) }
    }
    #[inline(always)]
    fn select_inside(self, x: __m512, inside: __m512, outside: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe {
            let is_inside = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(_mm512_abs_ps(x), _mm512_set1_ps(2.0));
            _mm512_mask_blend_ps(is_inside, outside, inside)
        }
    }
    #[inline(always)]
    fn round_bf16(self, a: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe {
            let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            _mm512_castsi512_ps(_mm512_and_si512(rounded_bits(a), upper))
        }
    }

    #[inline(always)]
    fn pair(self, first: __m512, second: __m512) -> __m512i {
        // SAFETY: the token.
        unsafe { join(self.narrow(first), self.narrow(second)) }
    }
    #[inline(always)]
    fn pair_adjacent(self, low: __m512, high: __m512) -> __m512i {
        // SAFETY: the token.
        unsafe {
            if AMX {
                transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
            } else {
                let low = _mm512_castsi256_si512(self.narrow(low));
                _mm512_inserti64x4::<1>(low, self.narrow(high))
            }
        }
    }
    #[inline(always)]
    fn load_pair(self, first: &[Bf16], second: &[Bf16]) -> __m512i {
        // SAFETY: the token.
        unsafe { join(load_half(first), load_half(second)) }
    }
    #[inline(always)]
    fn store_pairs(self, to: &mut [Bf16; BLOCK], value: __m512i) {
        // SAFETY: the token; 32 numbers are 64 bytes.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), value) }
    }
    #[inline(always)]
    unsafe fn read_pairs(self, from: *const Bf16) -> __m512i {
        // SAFETY: the token and the caller's promise.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_pair(self, from: *const Bf16) -> __m512i {
        // SAFETY: the token and the caller's promise.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    fn low(self, pairs: __m512i) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)) }
    }
    #[inline(always)]
    fn high(self, pairs: __m512i) -> __m512 {
        // SAFETY: the token.
        unsafe {
            let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            _mm512_castsi512_ps(_mm512_and_si512(pairs, upper))
        }
    }
    #[inline(always)]
    fn transpose(self, m: [__m512i; LANES]) -> [__m512i; LANES] {
        // SAFETY: the token.
        unsafe { transpose(m) }
    }

    #[inline(always)]
    fn begin_products(self) {
        if AMX {
            // SAFETY: the token.
            unsafe { tiles::configure() }
        }
    }
    #[inline(always)]
    fn end_products(self) {
        if AMX {
            // SAFETY: the token.
            unsafe { tiles::release() }
        }
    }
    #[inline(always)]
    unsafe fn block_product(self, p: BlockProduct) {
        // SAFETY: the token and the caller's promise.
        unsafe {
            if AMX {
                amx::block_product(p);
            } else {
                fma_products(p);
            }
        }
    }
}

/// The product block without tiles, compiled once instead of into every product.
///
/// # Safety
/// As `Lanes::block_product`, with the features below.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline(never)]
unsafe fn fma_products(p: BlockProduct) {
    // SAFETY: the caller's promise.
    unsafe { fma_block_product::<_, 8, 2>(Zmm::<false>::new(), p) }
}

/// Up to sixteen bf16 numbers, then zeros.
///
/// # Safety
/// AVX-512 BW and VL.
#[inline(always)]
unsafe fn load_half(from: &[Bf16]) -> __m256i {
    // SAFETY: the caller's promise; lanes beyond the slice are masked.
    unsafe {
        if from.len() >= LANES {
            _mm256_loadu_si256(from.as_ptr().cast())
        } else {
            _mm256_maskz_loadu_epi16(mask(from.len()), from.as_ptr().cast())
        }
    }
}

/// Interleaves: `first` to the low halves, `second` to the high halves.
///
/// # Safety
/// AVX-512F.
#[inline(always)]
unsafe fn join(first: __m256i, second: __m256i) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let high = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(second));
        _mm512_or_si512(_mm512_cvtepu16_epi32(first), high)
    }
}

/// 16x16 transpose in four rounds: within quads of 128 bits by words and double words, then of the quads.
///
/// # Safety
/// AVX-512F.
#[inline(always)]
unsafe fn transpose(m: [__m512i; LANES]) -> [__m512i; LANES] {
    let mut a = m;
    let mut b = m;
    // SAFETY: the caller's promise.
    unsafe {
        for i in (0..16).step_by(2) {
            b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
            b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
        }
        for i in (0..16).step_by(4) {
            a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
            a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
            a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
            a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
        }
        for i in 0..4 {
            b[i] = _mm512_shuffle_i32x4::<0x88>(a[i], a[i + 4]);
            b[i + 4] = _mm512_shuffle_i32x4::<0xdd>(a[i], a[i + 4]);
            b[i + 8] = _mm512_shuffle_i32x4::<0x88>(a[i + 8], a[i + 12]);
            b[i + 12] = _mm512_shuffle_i32x4::<0xdd>(a[i + 8], a[i + 12]);
        }
        for i in 0..4 {
            a[i] = _mm512_shuffle_i32x4::<0x88>(b[i], b[i + 8]);
            a[i + 8] = _mm512_shuffle_i32x4::<0xdd>(b[i], b[i + 8]);
            a[i + 4] = _mm512_shuffle_i32x4::<0x88>(b[i + 4], b[i + 12]);
            a[i + 12] = _mm512_shuffle_i32x4::<0xdd>(b[i + 4], b[i + 12]);
        }
    }
    a
}
