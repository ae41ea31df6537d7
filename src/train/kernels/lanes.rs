//! Sixteen lanes of binary32: the few vector operations that the training kernels are written in.

/// A bf16 number: the upper half of a binary32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Bf16(pub(super) u16);

/// Lanes of one vector.
pub(super) const LANES: usize = 16;

/// Rows and columns of one product block, and numbers of the summed dimension in one step.
pub(super) const BLOCK: usize = 32;

/// Rounds up to a whole number of blocks.
pub(super) const fn padded(n: usize) -> usize {
    n.div_ceil(BLOCK) * BLOCK
}

/// Operands of one 32x32 product block: `C = A B` or `C += A B`.
#[derive(Clone, Copy)]
pub(super) struct BlockProduct {
    /// Steps of 32 along the summed dimension; at least 1.
    pub steps: usize,
    /// 32 rows of `steps * 32` numbers.
    pub a: *const Bf16,
    /// Distance between rows of A in numbers.
    pub a_stride: usize,
    /// `steps * 16` rows of 32 column entries, each a pair of adjacent numbers of the summed dimension.
    pub b: *const Bf16,
    /// 32 rows of 32 sums.
    pub c: *mut f32,
    /// Distance between rows of C in numbers.
    pub c_stride: usize,
    /// Whether to add to what C holds.
    pub accumulate: bool,
}

/// Vector operations of one instruction set. A value is a token: having it means that the machine has the instructions.
///
/// Loads take `min(16, len)` numbers and set the other lanes to 0; stores write `min(16, len)` lanes.
pub(super) trait Lanes: Copy + Send + Sync {
    /// Sixteen binary32 numbers.
    type F: Copy;
    /// Sixteen pairs of bf16 numbers, the first of each pair in the low half.
    type P: Copy;

    fn splat(self, value: f32) -> Self::F;
    fn load(self, from: &[f32]) -> Self::F;
    fn store(self, to: &mut [f32], value: Self::F);
    fn load_bf16(self, from: &[Bf16]) -> Self::F;
    /// Rounds to nearest, ties to even.
    fn store_bf16(self, to: &mut [Bf16], value: Self::F);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Limits every lane to 0..=1.
    fn clamp_unit(self, a: Self::F) -> Self::F;
    /// `inside` where -2 <= x <= 2, else `outside`.
    fn select_inside(self, x: Self::F, inside: Self::F, outside: Self::F) -> Self::F;
    /// The lanes rounded to bf16, as binary32.
    fn round_bf16(self, a: Self::F) -> Self::F;

    /// Pairs lane i of `first` with lane i of `second`.
    fn pair(self, first: Self::F, second: Self::F) -> Self::P;
    /// Pairs lanes 2i and 2i + 1 of the 32 lanes `low`, `high`.
    fn pair_adjacent(self, low: Self::F, high: Self::F) -> Self::P;
    /// Pairs the bf16 numbers of two slices.
    fn load_pair(self, first: &[Bf16], second: &[Bf16]) -> Self::P;
    /// Stores 32 numbers.
    fn store_pairs(self, to: &mut [Bf16; BLOCK], value: Self::P);
    /// Reads 32 numbers.
    ///
    /// # Safety
    /// `from` is valid for 32 numbers.
    unsafe fn read_pairs(self, from: *const Bf16) -> Self::P;
    /// Reads 2 numbers into every lane.
    ///
    /// # Safety
    /// `from` is valid for 2 numbers.
    unsafe fn splat_pair(self, from: *const Bf16) -> Self::P;
    /// The first numbers of the pairs.
    fn low(self, pairs: Self::P) -> Self::F;
    /// The second numbers of the pairs.
    fn high(self, pairs: Self::P) -> Self::F;
    /// Transposes a 16x16 matrix of pairs.
    fn transpose(self, m: [Self::P; LANES]) -> [Self::P; LANES];

    /// Makes the thread ready for [`Lanes::block_product`].
    fn begin_products(self) {}
    /// Ends what [`Lanes::begin_products`] began.
    fn end_products(self) {}
    /// One 32x32 block of a product.
    ///
    /// # Safety
    /// The pointers are valid for the extents given in [`BlockProduct`], and `begin_products` was called on this thread.
    unsafe fn block_product(self, p: BlockProduct);

    /// Pairs of zeros.
    #[inline(always)]
    fn zero_pairs(self) -> Self::P {
        self.pair(self.splat(0.0), self.splat(0.0))
    }

    /// The activation `x * clamp(x / 4 + 1 / 2, 0, 1)`.
    #[inline(always)]
    fn activate(self, x: Self::F) -> Self::F {
        self.mul(x, self.gate(x))
    }

    /// `clamp(x / 4 + 1 / 2, 0, 1)`.
    #[inline(always)]
    fn gate(self, x: Self::F) -> Self::F {
        self.clamp_unit(self.fma(x, self.splat(0.25), self.splat(0.5)))
    }

    /// Derivative of the activation.
    #[inline(always)]
    fn slope(self, x: Self::F) -> Self::F {
        let half = self.splat(0.5);
        self.select_inside(x, self.fma(x, half, half), self.gate(x))
    }
}

/// Numbers that kernels pack: binary32 or bf16.
pub(super) trait Element: Copy + Send + Sync {
    fn load<L: Lanes>(lanes: L, from: &[Self]) -> L::F;
    fn load_pair<L: Lanes>(lanes: L, first: &[Self], second: &[Self]) -> L::P;
}

impl Element for f32 {
    #[inline(always)]
    fn load<L: Lanes>(lanes: L, from: &[f32]) -> L::F {
        lanes.load(from)
    }
    #[inline(always)]
    fn load_pair<L: Lanes>(lanes: L, first: &[f32], second: &[f32]) -> L::P {
        lanes.pair(lanes.load(first), lanes.load(second))
    }
}

impl Element for Bf16 {
    #[inline(always)]
    fn load<L: Lanes>(lanes: L, from: &[Bf16]) -> L::F {
        lanes.load_bf16(from)
    }
    #[inline(always)]
    fn load_pair<L: Lanes>(lanes: L, first: &[Bf16], second: &[Bf16]) -> L::P {
        lanes.load_pair(first, second)
    }
}

/// A binary32 number of which loads return what rounding to bf16 leaves over.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Rest(f32);

impl Rest {
    /// The same numbers, read as remainders.
    pub(super) fn of(values: &[f32]) -> &[Rest] {
        // SAFETY: `Rest` is a transparent wrapper of f32.
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
    }

    #[inline(always)]
    fn plain(values: &[Rest]) -> &[f32] {
        // SAFETY: `Rest` is a transparent wrapper of f32.
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
    }
}

impl Element for Rest {
    #[inline(always)]
    fn load<L: Lanes>(lanes: L, from: &[Rest]) -> L::F {
        let value = lanes.load(Rest::plain(from));
        lanes.sub(value, lanes.round_bf16(value))
    }
    #[inline(always)]
    fn load_pair<L: Lanes>(lanes: L, first: &[Rest], second: &[Rest]) -> L::P {
        lanes.pair(Self::load(lanes, first), Self::load(lanes, second))
    }
}

/// A 32x32 product block by fused multiply-add, in register blocks of `R` rows and `H` vectors of columns.
///
/// # Safety
/// As [`Lanes::block_product`].
#[inline(always)]
pub(super) unsafe fn fma_block_product<L: Lanes, const R: usize, const H: usize>(
    lanes: L,
    p: BlockProduct,
) {
    for half in (0..BLOCK / LANES).step_by(H) {
        for row in (0..BLOCK).step_by(R) {
            let mut sums = [[lanes.splat(0.0); H]; R];
            for pair in 0..p.steps * LANES {
                // SAFETY: row, pair and half stay inside the extents of A and B.
                unsafe {
                    let a = p.a.add(row * p.a_stride + 2 * pair);
                    let b = p.b.add(pair * 2 * BLOCK + half * 2 * LANES);
                    multiply_pair(lanes, &mut sums, a, p.a_stride, b);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (h, &sum) in sums.iter().enumerate() {
                    let at = (row + r) * p.c_stride + (half + h) * LANES;
                    // SAFETY: inside the 32x32 block of C.
                    let c = unsafe { std::slice::from_raw_parts_mut(p.c.add(at), LANES) };
                    let old = if p.accumulate {
                        lanes.load(c)
                    } else {
                        lanes.splat(0.0)
                    };
                    lanes.store(c, lanes.add(old, sum));
                }
            }
        }
    }
}

/// Adds the products of one pair of the summed dimension.
///
/// # Safety
/// `a` is valid for `R` rows of 2 numbers, `b` for `H * 32` numbers.
#[inline(always)]
unsafe fn multiply_pair<L: Lanes, const R: usize, const H: usize>(
    lanes: L,
    sums: &mut [[L::F; H]; R],
    a: *const Bf16,
    a_stride: usize,
    b: *const Bf16,
) {
    let mut low = [lanes.splat(0.0); H];
    let mut high = low;
    for h in 0..H {
        // SAFETY: see above.
        let pairs = unsafe { lanes.read_pairs(b.add(h * 2 * LANES)) };
        low[h] = lanes.low(pairs);
        high[h] = lanes.high(pairs);
    }
    for (r, sums) in sums.iter_mut().enumerate() {
        // SAFETY: see above.
        let pair = unsafe { lanes.splat_pair(a.add(r * a_stride)) };
        let (first, second) = (lanes.low(pair), lanes.high(pair));
        for h in 0..H {
            sums[h] = lanes.fma(first, low[h], sums[h]);
            sums[h] = lanes.fma(second, high[h], sums[h]);
        }
    }
}
