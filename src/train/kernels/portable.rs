//! The lanes in plain Rust, for machines without AVX-512. `FUSED` says that `f32::mul_add` is one instruction.

use super::lanes::{BLOCK, Bf16, BlockProduct, LANES, Lanes, fma_block_product};

/// Token of the plain lanes; compiled for AVX2 where that is there.
#[derive(Clone, Copy)]
pub(super) struct Portable<const FUSED: bool>;

/// Sixteen numbers.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Wide<T>([T; LANES]);

#[inline(always)]
fn narrow(value: f32) -> Bf16 {
    let bits = value.to_bits();
    Bf16((bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16)
}

#[inline(always)]
fn widen(value: Bf16) -> f32 {
    f32::from_bits(u32::from(value.0) << 16)
}

#[inline(always)]
fn join(first: Bf16, second: Bf16) -> u32 {
    u32::from(first.0) | (u32::from(second.0) << 16)
}

#[inline(always)]
fn map<T: Copy, U: Copy>(a: Wide<T>, f: impl Fn(T) -> U) -> Wide<U> {
    Wide(a.0.map(f))
}

#[inline(always)]
fn zip(a: Wide<f32>, b: Wide<f32>, f: impl Fn(f32, f32) -> f32) -> Wide<f32> {
    let mut out = a;
    for i in 0..LANES {
        out.0[i] = f(a.0[i], b.0[i]);
    }
    out
}

/// The first `min(16, len)` numbers, then zeros.
#[inline(always)]
fn take<T: Copy + Default>(from: &[T]) -> [T; LANES] {
    match from.first_chunk::<LANES>() {
        Some(chunk) => *chunk,
        None => {
            let mut out = [T::default(); LANES];
            out[..from.len()].copy_from_slice(from);
            out
        }
    }
}

/// Writes the first `min(16, len)` numbers.
#[inline(always)]
fn put<T: Copy>(to: &mut [T], value: &[T; LANES]) {
    match to.first_chunk_mut::<LANES>() {
        Some(chunk) => *chunk = *value,
        None => to.copy_from_slice(&value[..to.len()]),
    }
}

impl<const FUSED: bool> Lanes for Portable<FUSED> {
    type F = Wide<f32>;
    type P = Wide<u32>;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        Wide([value; LANES])
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::F {
        Wide(take(from))
    }
    #[inline(always)]
    fn store(self, to: &mut [f32], value: Self::F) {
        put(to, &value.0);
    }
    #[inline(always)]
    fn load_bf16(self, from: &[Bf16]) -> Self::F {
        map(Wide(take(from)), widen)
    }
    #[inline(always)]
    fn store_bf16(self, to: &mut [Bf16], value: Self::F) {
        put(to, &map(value, narrow).0);
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        let mut out = c;
        for i in 0..LANES {
            out.0[i] = if FUSED {
                a.0[i].mul_add(b.0[i], c.0[i])
            } else {
                a.0[i] * b.0[i] + c.0[i]
            };
        }
        out
    }
    #[inline(always)]
    fn clamp_unit(self, a: Self::F) -> Self::F {
        map(a, |a| a.clamp(0.0, 1.0))
    }
    #[inline(always)]
    fn select_inside(self, x: Self::F, inside: Self::F, outside: Self::F) -> Self::F {
        let mut out = outside;
        for i in 0..LANES {
            out.0[i] = if x.0[i].abs() <= 2.0 {
                inside.0[i]
            } else {
                outside.0[i]
            };
        }
        out
    }
    #[inline(always)]
    fn round_bf16(self, a: Self::F) -> Self::F {
        map(a, |a| widen(narrow(a)))
    }

    #[inline(always)]
    fn pair(self, first: Self::F, second: Self::F) -> Self::P {
        let mut out = Wide([0; LANES]);
        for i in 0..LANES {
            out.0[i] = join(narrow(first.0[i]), narrow(second.0[i]));
        }
        out
    }
    #[inline(always)]
    fn pair_adjacent(self, low: Self::F, high: Self::F) -> Self::P {
        let mut out = Wide([0; LANES]);
        for i in 0..LANES / 2 {
            out.0[i] = join(narrow(low.0[2 * i]), narrow(low.0[2 * i + 1]));
            out.0[i + LANES / 2] = join(narrow(high.0[2 * i]), narrow(high.0[2 * i + 1]));
        }
        out
    }
    #[inline(always)]
    fn load_pair(self, first: &[Bf16], second: &[Bf16]) -> Self::P {
        let (first, second) = (take(first), take(second));
        let mut out = Wide([0; LANES]);
        for i in 0..LANES {
            out.0[i] = join(first[i], second[i]);
        }
        out
    }
    #[inline(always)]
    fn store_pairs(self, to: &mut [Bf16; BLOCK], value: Self::P) {
        for i in 0..LANES {
            to[2 * i] = Bf16(value.0[i] as u16);
            to[2 * i + 1] = Bf16((value.0[i] >> 16) as u16);
        }
    }
    #[inline(always)]
    unsafe fn read_pairs(self, from: *const Bf16) -> Self::P {
        // SAFETY: the caller's promise; an array of numbers has no padding and the alignment of one number.
        let values = unsafe { from.cast::<[Bf16; BLOCK]>().read() };
        let mut out = Wide([0; LANES]);
        for i in 0..LANES {
            out.0[i] = join(values[2 * i], values[2 * i + 1]);
        }
        out
    }
    #[inline(always)]
    unsafe fn splat_pair(self, from: *const Bf16) -> Self::P {
        // SAFETY: the caller's promise.
        let [first, second] = unsafe { from.cast::<[Bf16; 2]>().read() };
        Wide([join(first, second); LANES])
    }
    #[inline(always)]
    fn low(self, pairs: Self::P) -> Self::F {
        map(pairs, |pair| f32::from_bits(pair << 16))
    }
    #[inline(always)]
    fn high(self, pairs: Self::P) -> Self::F {
        map(pairs, |pair| f32::from_bits(pair & 0xffff_0000))
    }
    #[inline(always)]
    fn transpose(self, m: [Self::P; LANES]) -> [Self::P; LANES] {
        let mut out = m;
        for (r, row) in m.iter().enumerate() {
            for (c, &value) in row.0.iter().enumerate() {
                out[c].0[r] = value;
            }
        }
        out
    }

    #[inline(always)]
    unsafe fn block_product(self, p: BlockProduct) {
        #[cfg(target_arch = "x86_64")]
        if FUSED {
            // SAFETY: the caller's promise; on this processor family fused lanes are made only where AVX2 and FMA are.
            return unsafe { avx2_products(p) };
        }
        // SAFETY: the caller's promise.
        unsafe { plain_products::<FUSED>(p) }
    }
}

/// The product block, compiled once instead of into every product.
///
/// # Safety
/// As `Lanes::block_product`.
#[inline(never)]
unsafe fn plain_products<const FUSED: bool>(p: BlockProduct) {
    // SAFETY: the caller's promise.
    unsafe { fma_block_product::<_, 4, 1>(Portable::<FUSED>, p) }
}

/// As [`plain_products`].
///
/// # Safety
/// As `Lanes::block_product`, with AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
unsafe fn avx2_products(p: BlockProduct) {
    // SAFETY: the caller's promise.
    unsafe { fma_block_product::<_, 4, 1>(Portable::<true>, p) }
}
