//! Products in blocks of 32x32 sums, each handed to an epilogue while it is in the first-level cache.

use super::lanes::{BLOCK, Bf16, BlockProduct, LANES, Lanes};

/// A right operand in panels (see `pack`).
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub data: &'a [Bf16],
    /// Length of the summed dimension, a multiple of 32.
    pub depth: usize,
    /// Columns before padding.
    pub columns: usize,
}

impl<'a> Panels<'a> {
    /// Packed panels of `columns` columns.
    #[inline(always)]
    pub(super) fn new(data: &'a [Bf16], depth: usize, columns: usize) -> Self {
        Self {
            data,
            depth,
            columns,
        }
    }
}

/// A block of 32x32 sums.
#[repr(C, align(64))]
pub(super) struct Stage([[f32; BLOCK]; BLOCK]);

impl Stage {
    #[inline(always)]
    pub(super) fn zeros() -> Self {
        Self([[0.0; BLOCK]; BLOCK])
    }

    /// All values, row by row.
    #[inline(always)]
    pub(super) fn values(&self) -> &[f32] {
        self.0.as_flattened()
    }

    /// Sets half a row.
    #[inline(always)]
    pub(super) fn set_half<L: Lanes>(&mut self, lanes: L, row: usize, half: usize, value: L::F) {
        lanes.store(&mut self.0[row][half * LANES..], value);
    }

    /// Half a row.
    #[inline(always)]
    pub(super) fn half<L: Lanes>(&self, lanes: L, row: usize, half: usize) -> L::F {
        lanes.load(&self.0[row][half * LANES..])
    }
}

/// Place of a block in the product.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// First row.
    pub row: usize,
    /// Rows that exist, 1..=32.
    pub rows: usize,
    /// First column; the block always spans 32 columns of padded buffers.
    pub column: usize,
}

/// What happens to the sums.
pub(super) trait Epilogue {
    /// Takes one block. Must be `#[inline(always)]`.
    fn block<L: Lanes>(&mut self, lanes: L, at: Place, stage: &Stage);
}

/// Bytes of left operand that are kept in the first-level cache while a panel of the right operand passes.
const LEFT_BYTES: usize = 24 << 10;

fn rows_in_cache(depth: usize) -> usize {
    let rows = LEFT_BYTES / (2 * depth);
    (rows / BLOCK * BLOCK).max(BLOCK)
}

/// Multiplies `rows` rows of `a` (row-major, rows of `b.depth` numbers, allocated up to a multiple of 32 rows) with `b`.
#[inline(always)]
pub(super) fn product<L: Lanes, E: Epilogue>(
    lanes: L,
    a: &[Bf16],
    rows: usize,
    b: Panels<'_>,
    epilogue: &mut E,
) {
    product_where(lanes, a, rows, b, epilogue, |_, _| true);
}

/// [`product`] in the blocks of the upper triangle alone.
#[inline(always)]
pub(super) fn product_upper<L: Lanes, E: Epilogue>(
    lanes: L,
    a: &[Bf16],
    rows: usize,
    b: Panels<'_>,
    epilogue: &mut E,
) {
    product_where(lanes, a, rows, b, epilogue, |row, column| row <= column);
}

/// [`product`] in the blocks whose first row and column are `wanted`.
#[inline(always)]
fn product_where<L: Lanes, E: Epilogue>(
    lanes: L,
    a: &[Bf16],
    rows: usize,
    b: Panels<'_>,
    epilogue: &mut E,
    wanted: impl Fn(usize, usize) -> bool,
) {
    assert!(
        b.depth > 0
            && b.depth.is_multiple_of(BLOCK)
            && a.len() >= rows.next_multiple_of(BLOCK) * b.depth
    );
    assert!(b.data.len() >= b.columns.next_multiple_of(BLOCK) * b.depth);
    let (mut stage, mut last) = (&mut Stage::zeros(), &mut Stage::zeros());
    let mut waiting = None;
    let step = rows_in_cache(b.depth);
    lanes.begin_products();
    for group in (0..rows).step_by(step) {
        for column in (0..b.columns).step_by(BLOCK) {
            for row in (group..rows.min(group + step)).step_by(BLOCK) {
                if !wanted(row, column) {
                    continue;
                }
                let block = BlockProduct {
                    steps: b.depth / BLOCK,
                    a: a[row * b.depth..].as_ptr(),
                    a_stride: b.depth,
                    b: b.data[column * b.depth..].as_ptr(),
                    c: stage.0.as_mut_ptr().cast(),
                    c_stride: BLOCK,
                    accumulate: false,
                };
                // SAFETY: the lengths are checked above, C is the stage, and products were begun.
                unsafe { lanes.block_product(block) };
                // The epilogue of the block before, whose sums are ready, fills the time that the products take.
                if let Some(at) = waiting {
                    epilogue.block(lanes, at, last);
                }
                let rows = BLOCK.min(rows - row);
                waiting = Some(Place { row, rows, column });
                std::mem::swap(&mut stage, &mut last);
            }
        }
    }
    if let Some(at) = waiting {
        epilogue.block(lanes, at, last);
    }
    lanes.end_products();
}

/// `c = a b`, or `c += a b` with `accumulate`. `c` is padded: `a_rows` (a multiple of 32) rows of
/// `b.columns` rounded up to 32.
#[inline(always)]
pub(super) fn product_into<L: Lanes>(
    lanes: L,
    a: &[Bf16],
    a_rows: usize,
    b: Panels<'_>,
    c: &mut [f32],
    accumulate: bool,
) {
    let c_stride = b.columns.next_multiple_of(BLOCK);
    assert!(
        a_rows.is_multiple_of(BLOCK) && a.len() >= a_rows * b.depth && c.len() >= a_rows * c_stride
    );
    assert!(b.depth > 0 && b.depth.is_multiple_of(BLOCK) && b.data.len() >= c_stride * b.depth);
    let step = rows_in_cache(b.depth);
    lanes.begin_products();
    for group in (0..a_rows).step_by(step) {
        for column in (0..c_stride).step_by(BLOCK) {
            for row in (group..a_rows.min(group + step)).step_by(BLOCK) {
                let block = BlockProduct {
                    steps: b.depth / BLOCK,
                    a: a[row * b.depth..].as_ptr(),
                    a_stride: b.depth,
                    b: b.data[column * b.depth..].as_ptr(),
                    c: c[row * c_stride + column..].as_mut_ptr(),
                    c_stride,
                    accumulate,
                };
                // SAFETY: the lengths are checked above, and products were begun.
                unsafe { lanes.block_product(block) };
            }
        }
    }
    lanes.end_products();
}
