//! Newton-Schulz iterations on one matrix: the direction of Muon's step.
//!
//! A matrix X of singular values at most 1 becomes `a X + (b G + c G G) X` with its smaller Gram matrix
//! `G = X X^T` (or `X^T X` on the other side of a tall one), a few times. Everything is bf16 between the products,
//! and of the symmetric products only one triangle is computed.

use std::cell::Cell;

use super::engine::{Engine, on_engine};
use super::gemm::{Epilogue, Panels, Place, Stage, product, product_upper};
use super::lanes::{BLOCK, Bf16, LANES, Lanes, padded};
use super::pack::{Matrix, pack_adjacent, pack_pairs, pack_rows, pack_transposed};
use super::scratch::{Buffer, with_kept};
use super::update::square_sum;

/// Coefficients a, b, c of the polynomial (Jordan et al., "Muon: an optimizer for hidden layers"): singular values in
/// (0, 1] come within about 0.7 to 1.2 after [`STEPS`] of them.
pub const POLYNOMIAL: [f32; 3] = [3.4445, -4.775, 2.0315];
/// Iterations.
pub const STEPS: usize = 5;

/// Orthogonalizes a dense matrix in place: `U S V^T` becomes about `U V^T`. A matrix of zeros stays one.
///
/// # Panics
/// If the length does not fit the sizes.
pub fn orthogonalize(engine: Engine, matrix: &mut [f32], rows: usize, columns: usize) {
    assert_eq!(
        matrix.len(),
        rows * columns,
        "orthogonalize: the matrix does not fit the sizes"
    );
    if matrix.is_empty() {
        return;
    }
    // Makes all singular values at most 1.
    let norm = square_sum(engine, matrix).sqrt();
    let scale = (1.0 / norm.max(1e-30)) as f32;
    let sizes = (rows, columns);
    with_kept(&SCRATCH, |scratch| {
        on_engine!(engine, <'a> |lanes| {
            matrix: &'a mut [f32], scale: f32, sizes: (usize, usize), scratch: &'a mut Scratch
        } => {
            scale_by(lanes, matrix, scale);
            iterate(lanes, matrix, sizes, scratch);
        });
    });
}

#[derive(Default)]
struct Scratch {
    /// X, and what it becomes.
    x: [Buffer; 2],
    /// Its transpose, where it is tall.
    left: Buffer,
    right: Buffer,
    gram: Buffer,
    polynomial: Buffer,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// The iterations on a matrix of `rows` x `columns`.
#[inline(always)]
fn iterate<L: Lanes>(
    lanes: L,
    matrix: &mut [f32],
    (rows, columns): (usize, usize),
    scratch: &mut Scratch,
) {
    let (padded_rows, stride) = (padded(rows), padded(columns));
    let (len, side) = (padded_rows * stride, padded_rows.min(stride));
    let [x, next] = &mut scratch.x;
    let mut iteration = Iteration {
        rows: padded_rows,
        columns: stride,
        left: scratch.left.at_least(len),
        right: scratch.right.at_least(len.max(side * side)),
        gram: scratch.gram.at_least(side * side),
        polynomial: scratch.polynomial.at_least(side * side),
    };
    let (mut x, mut next) = (x.at_least(len), next.at_least(len));
    x.fill(Bf16::default());
    pack_rows(lanes, Matrix::dense(matrix, rows, columns), x, stride);
    for _ in 0..STEPS {
        iteration.run(lanes, x, next);
        std::mem::swap(&mut x, &mut next);
    }
    let pairs = matrix.chunks_exact_mut(columns).zip(x.chunks_exact(stride));
    for (to, from) in pairs {
        for (to, from) in to.chunks_mut(LANES).zip(from.chunks_exact(LANES)) {
            lanes.store(to, lanes.load_bf16(from));
        }
    }
}

#[inline(always)]
fn scale_by<L: Lanes>(lanes: L, values: &mut [f32], factor: f32) {
    let factor = lanes.splat(factor);
    for values in values.chunks_mut(LANES) {
        lanes.store(values, lanes.mul(lanes.load(values), factor));
    }
}

/// Sizes (whole blocks) and inner matrices of the iterations on one matrix.
struct Iteration<'a> {
    rows: usize,
    columns: usize,
    left: &'a mut [Bf16],
    right: &'a mut [Bf16],
    gram: &'a mut [Bf16],
    polynomial: &'a mut [Bf16],
}

impl Iteration<'_> {
    /// One iteration from `x` to `next`.
    #[inline(always)]
    fn run<L: Lanes>(&mut self, lanes: L, x: &[Bf16], next: &mut [Bf16]) {
        let (rows, columns) = (self.rows, self.columns);
        let side = rows.min(columns);
        let is_tall = rows > columns;
        let matrix = Matrix::dense(x, rows, columns);
        let mut gram = Gram {
            out: &mut *self.gram,
            side,
        };
        let (left, right) = if is_tall {
            pack_transposed(lanes, matrix, self.left, rows);
            pack_pairs(lanes, matrix, self.right);
            (&*self.left, Panels::new(self.right, rows, side))
        } else {
            pack_adjacent(lanes, matrix, self.right);
            (x, Panels::new(self.right, columns, side))
        };
        product_upper(lanes, left, side, right, &mut gram);

        pack_pairs(lanes, Matrix::dense(&*self.gram, side, side), self.right);
        let mut polynomial = Polynomial {
            gram: &*self.gram,
            out: &mut *self.polynomial,
            side,
        };
        let square = Panels::new(self.right, side, side);
        product_upper(lanes, self.gram, side, square, &mut polynomial);

        let mut step = Step {
            x,
            out: next,
            stride: columns,
        };
        let polynomial = Matrix::dense(&*self.polynomial, side, side);
        let (left, right) = if is_tall {
            (matrix, polynomial)
        } else {
            (polynomial, matrix)
        };
        pack_pairs(lanes, right, self.right);
        let right = Panels::new(self.right, side, columns);
        product(lanes, left.data, rows, right, &mut step);
    }
}

/// Rounds a block of an upper triangle into its two places of a symmetric matrix of `side` rows.
#[inline(always)]
fn store_symmetric<L: Lanes>(lanes: L, at: Place, values: &Stage, out: &mut [Bf16], side: usize) {
    let values = Matrix::dense(values.values(), BLOCK, BLOCK);
    pack_rows(lanes, values, &mut out[at.row * side + at.column..], side);
    if at.row != at.column {
        pack_transposed(lanes, values, &mut out[at.column * side + at.row..], side);
    }
}

/// `out = v`, symmetric.
struct Gram<'a> {
    out: &'a mut [Bf16],
    side: usize,
}

impl Epilogue for Gram<'_> {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, lanes: L, at: Place, stage: &Stage) {
        store_symmetric(lanes, at, stage, self.out, self.side);
    }
}

/// `out = b gram + c v`, symmetric.
struct Polynomial<'a> {
    gram: &'a [Bf16],
    out: &'a mut [Bf16],
    side: usize,
}

impl Epilogue for Polynomial<'_> {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, lanes: L, at: Place, stage: &Stage) {
        let [_, b, c] = POLYNOMIAL.map(|factor| lanes.splat(factor));
        let mut values = Stage::zeros();
        for row in 0..BLOCK {
            for half in 0..BLOCK / LANES {
                let from = (at.row + row) * self.side + at.column + half * LANES;
                let gram = lanes.load_bf16(&self.gram[from..from + LANES]);
                let value = lanes.fma(b, gram, lanes.mul(c, stage.half(lanes, row, half)));
                values.set_half(lanes, row, half, value);
            }
        }
        store_symmetric(lanes, at, &values, self.out, self.side);
    }
}

/// `out = a x + v`.
struct Step<'a> {
    x: &'a [Bf16],
    out: &'a mut [Bf16],
    stride: usize,
}

impl Epilogue for Step<'_> {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, lanes: L, at: Place, stage: &Stage) {
        let a = lanes.splat(POLYNOMIAL[0]);
        for row in 0..BLOCK {
            for half in 0..BLOCK / LANES {
                let to = (at.row + row) * self.stride + at.column + half * LANES;
                let x = lanes.load_bf16(&self.x[to..to + LANES]);
                let value = lanes.fma(a, x, stage.half(lanes, row, half));
                lanes.store_bf16(&mut self.out[to..to + LANES], value);
            }
        }
    }
}
