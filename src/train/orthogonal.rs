//! The nearest matrix with equal singular values, approximately: the direction of
//! a matrix' update (Jordan et al., "Muon: an optimizer for hidden layers", 2024).
//!
//! A gradient's few large singular values drown all others; with equal ones every
//! direction that the matrix can move in is learned at the same pace.

#[cfg(any(feature = "cuda", test))]
use candle_core::{Result, Tensor};

pub use crate::train::kernels::orthogonalize;
#[cfg(any(feature = "cuda", test))]
use crate::train::kernels::{POLYNOMIAL, Precision, STEPS};
#[cfg(any(feature = "cuda", test))]
use crate::train::ops::composed::product;

/// [`orthogonalize`] of a stack of matrices `[count, rows, columns]`, `rows <= columns`,
/// with tensors: for a GPU, where many small products are better done at once.
///
/// # Errors
/// When an operation fails.
#[cfg(any(feature = "cuda", test))]
pub fn orthogonalize_stack(x: &Tensor) -> Result<Tensor> {
    let [a, b, c] = POLYNOMIAL.map(f64::from);
    let squares = x.sqr()?.sum_keepdim((1, 2))?;
    let mut x = x.broadcast_div(&(squares.sqrt()? + 1e-30)?)?;
    let product = |a: &Tensor, b: &Tensor| product(Precision::Bf16, a, b);
    for _ in 0..STEPS {
        let gram = product(&x, &x.t()?)?;
        let polynomial = ((product(&gram, &gram)? * c)? + (gram * b)?)?;
        x = ((&x * a)? + product(&polynomial, &x)?)?;
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        let mut out = vec![0.0; matrix.len()];
        for (row, values) in matrix.chunks_exact(columns).enumerate() {
            for (column, value) in values.iter().enumerate() {
                out[column * rows + row] = *value;
            }
        }
        out
    }

    /// Largest distance of the smaller Gram matrix from the identity.
    fn distance(matrix: &[f32], rows: usize, columns: usize) -> f32 {
        let (wide, rows, columns) = if rows <= columns {
            (matrix.to_vec(), rows, columns)
        } else {
            (transposed(matrix, rows, columns), columns, rows)
        };
        let mut largest = 0f32;
        for i in 0..rows {
            for j in 0..rows {
                let row = |r: usize| &wide[r * columns..(r + 1) * columns];
                let dot: f32 = row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum();
                largest = largest.max((dot - f32::from(i == j)).abs());
            }
        }
        largest
    }

    #[test]
    fn singular_values_come_close_to_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (rows, columns) in [(33, 70), (64, 32), (1, 50), (17, 1)] {
            let mut matrix: Vec<f32> = (0..rows * columns)
                .map(|_| 1e-4 * rng.random_range(-1f32..1.0))
                .collect();
            orthogonalize(&mut matrix, rows, columns);
            let found = distance(&matrix, rows, columns);
            assert!(found < 0.55, "{rows}x{columns}: {found}");
        }
    }

    #[test]
    fn a_stack_comes_out_like_its_matrices() -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let (count, rows, columns) = (3, 24, 40);
        let values: Vec<f32> = (0..count * rows * columns)
            .map(|_| rng.random_range(-1f32..1.0))
            .collect();
        let shape = (count, rows, columns);
        let stack = Tensor::from_vec(values.clone(), shape, &candle_core::Device::Cpu)?;
        let stack = orthogonalize_stack(&stack)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        let one = rows * columns;
        for (mut want, found) in values.chunks(one).map(<[_]>::to_vec).zip(stack.chunks(one)) {
            orthogonalize(&mut want, rows, columns);
            for (want, found) in want.iter().zip(found) {
                // The other rounds operands to bf16.
                assert!((want - found).abs() < 0.02, "{want} {found}");
            }
        }
        Ok(())
    }

    #[test]
    fn zeros_stay() {
        let mut matrix = vec![0f32; 6];
        orthogonalize(&mut matrix, 2, 3);
        assert_eq!(matrix, vec![0f32; 6]);
    }
}
