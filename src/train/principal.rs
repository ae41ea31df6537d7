//! Principal components of picture patches by one-sided Jacobi rotations.

/// Eigenvectors (rows) and eigenvalues of a symmetric positive semidefinite
/// `n` x `n` matrix, by falling eigenvalue.
///
/// One-sided Jacobi (Hestenes 1958): rotations make the rows orthogonal; row i
/// ends as eigenvalue i times eigenvector i.
pub fn eigenvectors(matrix: &[f64], n: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut rows: Vec<Vec<f64>> = matrix.chunks_exact(n).map(<[f64]>::to_vec).collect();
    for _sweep in 0..30 {
        if !sweep(&mut rows) {
            break;
        }
    }
    let norm = |row: &[f64]| dot(row, row).sqrt();
    rows.sort_by(|a, b| norm(b).total_cmp(&norm(a)));
    let values: Vec<f64> = rows.iter().map(|row| norm(row)).collect();
    for (row, value) in rows.iter_mut().zip(&values) {
        row.iter_mut()
            .for_each(|v| *v /= value.max(f64::MIN_POSITIVE));
    }
    (rows, values)
}

/// The inner product.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Eight partial sums let the compiler vectorize.
    let mut lanes = [0f64; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum()
}

/// Rotates every pair of rows once; whether any rotation was worth it.
fn sweep(rows: &mut [Vec<f64>]) -> bool {
    let mut rotated = false;
    let mut norms: Vec<f64> = rows.iter().map(|row| dot(row, row)).collect();
    for i in 0..rows.len() {
        for j in i + 1..rows.len() {
            let (head, tail) = rows.split_at_mut(j);
            let (a, b) = (&mut head[i], &mut tail[0]);
            let product = dot(a, b);
            if product.abs() <= 1e-9 * (norms[i] * norms[j]).sqrt() {
                continue;
            }
            rotated = true;
            let zeta = (norms[j] - norms[i]) / (2.0 * product);
            let t = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
            let c = 1.0 / (1.0 + t * t).sqrt();
            let s = c * t;
            for (a, b) in a.iter_mut().zip(b.iter_mut()) {
                (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
            }
            norms[i] -= t * product;
            norms[j] += t * product;
        }
    }
    rotated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagonalizes_a_known_matrix() {
        // Eigenvalues 6, 3 and 1 with eigenvectors on rotated axes.
        let (c, s) = (0.6, 0.8);
        let v = [[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]];
        let mut matrix = vec![0.0; 9];
        for (value, v) in [6.0, 3.0, 1.0].iter().zip(v) {
            for i in 0..3 {
                for j in 0..3 {
                    matrix[i * 3 + j] += value * v[i] * v[j];
                }
            }
        }
        let (vectors, values) = eigenvectors(&matrix, 3);
        for (found, want) in values.iter().zip([6.0, 3.0, 1.0]) {
            assert!((found - want).abs() < 1e-9);
        }
        for (found, want) in vectors.iter().zip(v) {
            assert!((dot(found, &want).abs() - 1.0).abs() < 1e-9);
        }
    }
}
