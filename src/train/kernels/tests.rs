//! The kernels against a plain binary64 implementation, which is itself checked by finite differences.

use super::*;

/// Numbers in -1..1 from a linear congruential generator.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn poison(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

#[track_caller]
fn assert_close(what: &str, got: &[f32], want: &[f64], bound: f64) {
    assert_eq!(got.len(), want.len());
    let norm = want.iter().map(|v| v * v).sum::<f64>().sqrt();
    let error = got
        .iter()
        .zip(want)
        .map(|(&a, b)| (f64::from(a) - b).powi(2))
        .sum::<f64>()
        .sqrt();
    let is_close = error <= bound * norm.max(1e-30);
    assert!(is_close, "{what}: relative error {}", error / norm);
}

/// The layers in binary64, one function each, gradients by hand.
mod plain {
    pub fn act(x: f64) -> f64 {
        x * (0.25 * x + 0.5).clamp(0.0, 1.0)
    }

    pub fn slope(x: f64) -> f64 {
        if x < -2.0 {
            0.0
        } else if x > 2.0 {
            1.0
        } else {
            0.5 * x + 0.5
        }
    }

    pub fn pointwise(x: &[f64], k: usize, n: usize, w: &[f64], b: &[f64]) -> Vec<f64> {
        let rows = x.chunks_exact(k);
        rows.flat_map(|x| {
            (0..n).map(move |j| b[j] + (0..k).map(|i| w[j * k + i] * x[i]).sum::<f64>())
        })
        .collect()
    }

    /// Gradients of x, w, b.
    pub fn pointwise_back(x: &[f64], gy: &[f64], k: usize, n: usize, w: &[f64]) -> [Vec<f64>; 3] {
        let (mut gx, mut gw, mut gb) = (vec![0.0; x.len()], vec![0.0; n * k], vec![0.0; n]);
        for (p, gy) in gy.chunks_exact(n).enumerate() {
            for j in 0..n {
                gb[j] += gy[j];
                for i in 0..k {
                    gx[p * k + i] += gy[j] * w[j * k + i];
                    gw[j * k + i] += gy[j] * x[p * k + i];
                }
            }
        }
        [gx, gw, gb]
    }

    /// Calls `visit(output, tap, input)` for every product of the convolution, indices of pixels.
    fn taps(shape: [usize; 4], mut visit: impl FnMut(usize, usize, usize)) {
        let [batch, h, w, _] = shape;
        for s in 0..batch {
            for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                for t in 0..9 {
                    let (sy, sx) = (y + t / 3, x + t % 3);
                    if (1..=h).contains(&sy) && (1..=w).contains(&sx) {
                        visit((s * h + y) * w + x, t, (s * h + sy - 1) * w + sx - 1);
                    }
                }
            }
        }
    }

    /// Muon's direction of a matrix.
    pub fn newton_schulz(matrix: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        let norm = matrix.iter().map(|v| v * v).sum::<f64>().sqrt();
        let mut x: Vec<f64> = matrix.iter().map(|v| v / norm).collect();
        let [a, b, c] = super::POLYNOMIAL.map(f64::from);
        let identity = vec![0.0; rows.max(columns)];
        for _ in 0..super::STEPS {
            // Products with transposed right operands; the Gram matrix is symmetric.
            let gram = pointwise(&x, columns, rows, &x, &identity);
            let square = pointwise(&gram, rows, rows, &gram, &identity);
            let polynomial: Vec<f64> = gram
                .iter()
                .zip(&square)
                .map(|(g, s)| b * g + c * s)
                .collect();
            let transposed: Vec<f64> = (0..x.len())
                .map(|i| x[i % rows * columns + i / rows])
                .collect();
            let step = pointwise(&polynomial, rows, columns, &transposed, &identity);
            x.iter_mut()
                .zip(step)
                .for_each(|(x, step)| *x = a * *x + step);
        }
        x
    }

    pub fn depthwise(x: &[f64], shape: [usize; 4], dw: &[f64], b: &[f64]) -> Vec<f64> {
        let c = shape[3];
        let mut y: Vec<f64> = b.iter().copied().cycle().take(x.len()).collect();
        taps(shape, |to, t, from| {
            for i in 0..c {
                y[to * c + i] += dw[t * c + i] * x[from * c + i];
            }
        });
        y
    }

    /// Gradients of x, dw, b.
    pub fn depthwise_back(x: &[f64], gy: &[f64], shape: [usize; 4], dw: &[f64]) -> [Vec<f64>; 3] {
        let c = shape[3];
        let (mut gx, mut gdw, mut gb) = (vec![0.0; x.len()], vec![0.0; 9 * c], vec![0.0; c]);
        taps(shape, |to, t, from| {
            for i in 0..c {
                gx[from * c + i] += dw[t * c + i] * gy[to * c + i];
                gdw[t * c + i] += x[from * c + i] * gy[to * c + i];
            }
        });
        for gy in gy.chunks_exact(c) {
            gb.iter_mut().zip(gy).for_each(|(gb, gy)| *gb += gy);
        }
        [gx, gdw, gb]
    }

    fn map(a: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
        a.iter().map(|&a| f(a)).collect()
    }

    fn zip(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
    }

    /// Output, and with `gy` the gradients of x and of the parameters.
    pub fn block(
        x: &[f64],
        shape: [usize; 4],
        params: &[f64],
        gy: Option<&[f64]>,
    ) -> [Vec<f64>; 3] {
        let c = shape[3];
        let l = super::BlockLayout::new(c);
        let p = |range: &std::ops::Range<usize>| &params[range.clone()];
        let a1 = pointwise(x, c, c, p(&l.w1), p(&l.b1));
        let h1 = map(&a1, act);
        let u = depthwise(&h1, shape, p(&l.dw), p(&l.bd));
        let x1 = zip(x, &pointwise(&u, c, c, p(&l.w2), p(&l.b2)), |a, b| a + b);
        let a3 = pointwise(&x1, c, 2 * c, p(&l.w3), p(&l.b3));
        let h3 = map(&a3, act);
        let y = zip(
            &x1,
            &pointwise(&h3, 2 * c, c, p(&l.w4), p(&l.b4)),
            |a, b| a + b,
        );
        let Some(gy) = gy else {
            return [y, vec![], vec![]];
        };
        let [gh3, gw4, gb4] = pointwise_back(&h3, gy, 2 * c, c, p(&l.w4));
        let ga3 = zip(&gh3, &a3, |g, a| g * slope(a));
        let [gx1, gw3, gb3] = pointwise_back(&x1, &ga3, c, 2 * c, p(&l.w3));
        let gx1 = zip(&gx1, gy, |a, b| a + b);
        let [gu, gw2, gb2] = pointwise_back(&u, &gx1, c, c, p(&l.w2));
        let [gh1, gdw, gbd] = depthwise_back(&h1, &gu, shape, p(&l.dw));
        let ga1 = zip(&gh1, &a1, |g, a| g * slope(a));
        let [gx, gw1, gb1] = pointwise_back(x, &ga1, c, c, p(&l.w1));
        let gx = zip(&gx, &gx1, |a, b| a + b);
        [
            y,
            gx,
            [gw1, gb1, gdw, gbd, gw2, gb2, gw3, gb3, gw4, gb4].concat(),
        ]
    }
}

#[test]
fn reference_gradient_matches_finite_differences() {
    let shape = [2, 3, 2, 4];
    let x = wide(&numbers(shape.iter().product(), 1));
    let params = wide(&numbers(block_param_len(4), 2));
    let gy = wide(&numbers(x.len(), 3));
    let [_, gx, gparams] = plain::block(&x, shape, &params, Some(&gy));
    let loss = |x: &[f64], params: &[f64]| -> f64 {
        plain::block(x, shape, params, None)[0]
            .iter()
            .zip(&gy)
            .map(|(y, g)| y * g)
            .sum()
    };
    let check = |values: &[f64], gradient: &[f64], loss: &dyn Fn(&[f64]) -> f64| {
        for i in 0..values.len() {
            let mut moved = values.to_vec();
            moved[i] += 1e-6;
            let above = loss(&moved);
            moved[i] -= 2e-6;
            let slope = (above - loss(&moved)) / 2e-6;
            assert!(
                (slope - gradient[i]).abs() < 1e-5,
                "{i}: {slope} is not {}",
                gradient[i]
            );
        }
    };
    check(&x, &gx, &|x| loss(x, &params));
    check(&params, &gparams, &|params| loss(&x, params));
}

/// Parameters of a block; with a scale of 1, activations fall on both sides of the limits.
fn block_params(c: usize, scale: f32) -> Vec<f32> {
    let layout = BlockLayout::new(c);
    let mut params: Vec<f32> = numbers(block_param_len(c), 5)
        .into_iter()
        .map(|p| p * scale)
        .collect();
    for range in [layout.w1, layout.w2, layout.w3, layout.w4] {
        params[range]
            .iter_mut()
            .for_each(|w| *w *= 2.0 / (c as f32).sqrt());
    }
    params
}

/// Compares one block with the reference: relative error of the tensors, and of each part of the parameter gradient.
fn check_block(engine: Engine, shape: [usize; 4], scale: f32, bounds: [f64; 2]) {
    let [batch, h, w, c] = shape;
    let what = format!("{engine:?} {shape:?} scale {scale}");
    let x = numbers(batch * h * w * c, 7);
    let gy = numbers(x.len(), 8);
    let params = block_params(c, scale);
    let (mut y, mut gx, mut gparams) = (poison(x.len()), poison(x.len()), poison(params.len()));
    let of_sample = Shape { h, w, c };
    block_forward(engine, &x, of_sample, &params, &mut y);
    block_backward(engine, &x, &gy, of_sample, &params, &mut gx, &mut gparams);
    let want = plain::block(&wide(&x), shape, &wide(&params), Some(&wide(&gy)));
    assert_close(&format!("{what} y"), &y, &want[0], bounds[0]);
    assert_close(&format!("{what} gx"), &gx, &want[1], bounds[0]);
    let l = BlockLayout::new(c);
    for range in [l.w1, l.b1, l.dw, l.bd, l.w2, l.b2, l.w3, l.b3, l.w4, l.b4] {
        let what = format!("{what} gradient of {range:?}");
        assert_close(&what, &gparams[range.clone()], &want[2][range], bounds[1]);
    }
}

#[test]
fn block_matches_reference() {
    let shapes = [
        [1, 1, 3, 8],
        [2, 5, 7, 24],
        [3, 4, 4, 40],
        [1, 33, 1, 32],
        [1, 1, 1, 1],
        [2, 20, 20, 17],
        [5, 3, 300, 3],
    ];
    for engine in Engine::supported() {
        for shape in shapes {
            check_block(engine, shape, 0.4, [1e-2, 1e-2]);
            // Where rounding moves a value over the limit of the activation, the derivative jumps by one half.
            check_block(engine, shape, 1.0, [2e-2, 1e-1]);
        }
    }
}

#[test]
fn pointwise_matches_reference() {
    for engine in Engine::supported() {
        for (precision, bound) in [(Precision::Bf16, 1e-2), (Precision::F32, 1e-5)] {
            for [pixels, k, n] in [
                [1, 3, 5],
                [33, 40, 24],
                [70, 1, 7],
                [70, 7, 1],
                [300, 33, 65],
                [1000, 64, 32],
            ] {
                let what = format!("{engine:?} {precision:?} {pixels} {k} {n}");
                let (x, gy) = (numbers(pixels * k, 1), numbers(pixels * n, 2));
                let layer = PointwiseLayer {
                    inputs: k,
                    outputs: n,
                    precision,
                };
                let params = numbers(layer.parameters(), 3);
                let (mut y, mut gx, mut gp) =
                    (poison(gy.len()), poison(x.len()), poison(params.len()));
                layer.forward(engine, &x, &params, &mut y);
                layer.backward(engine, &x, &gy, &params, Some(&mut gx), &mut gp);
                let (x64, gy64, p64) = (wide(&x), wide(&gy), wide(&params));
                let (w, b) = p64.split_at(n * k);
                let [want_gx, gw, gb] = plain::pointwise_back(&x64, &gy64, k, n, w);
                assert_close(
                    &format!("{what} y"),
                    &y,
                    &plain::pointwise(&x64, k, n, w, b),
                    bound,
                );
                assert_close(&format!("{what} gx"), &gx, &want_gx, bound);
                assert_close(&format!("{what} gw"), &gp[..n * k], &gw, bound);
                assert_close(&format!("{what} gb"), &gp[n * k..], &gb, 1e-5);
                let mut again = poison(params.len());
                layer.backward(engine, &x, &gy, &params, None, &mut again);
                assert_eq!(again, gp, "{what}: differs without gx");
            }
        }
    }
}

#[test]
fn equal_calls_give_equal_bits() {
    let [batch, h, w, c] = [3, 9, 8, 48];
    let (x, gy, params) = (
        numbers(batch * h * w * c, 1),
        numbers(batch * h * w * c, 2),
        block_params(c, 1.0),
    );
    let run = || {
        let (mut gx, mut gparams) = (poison(x.len()), poison(params.len()));
        let (engine, shape) = (Engine::best(), Shape { h, w, c });
        block_backward(engine, &x, &gy, shape, &params, &mut gx, &mut gparams);
        (gx, gparams)
    };
    assert_eq!(run(), run());
}

#[test]
fn empty_tensors_are_fine() {
    let params = block_params(8, 1.0);
    let mut gparams = poison(params.len());
    let (engine, shape) = (Engine::best(), Shape { h: 4, w: 4, c: 8 });
    block_forward(engine, &[], shape, &params, &mut []);
    block_backward(engine, &[], &[], shape, &params, &mut [], &mut gparams);
    assert!(gparams.iter().all(|&g| g == 0.0));
    let mut gparams = poison(6);
    let layer = PointwiseLayer {
        inputs: 2,
        outputs: 2,
        precision: Precision::F32,
    };
    layer.backward(engine, &[], &[], &numbers(6, 1), None, &mut gparams);
    assert!(gparams.iter().all(|&g| g == 0.0));
}

#[test]
fn orthogonalize_matches_the_iterations_in_binary64() {
    for [rows, columns] in [[1, 50], [17, 1], [33, 70], [96, 33], [64, 64], [40, 160]] {
        // Singular values of very different sizes, as gradients have them.
        let mut matrix = numbers(rows * columns, 1);
        for (i, value) in matrix.iter_mut().enumerate() {
            *value *= 1e-3 / (1 + i % columns) as f32;
        }
        let want = plain::newton_schulz(&wide(&matrix), rows, columns);
        for engine in Engine::supported() {
            let mut got = matrix.clone();
            orthogonalize(engine, &mut got, rows, columns);
            let what = format!("{rows}x{columns} on {engine:?}");
            assert_close(&what, &got, &want, 0.02);
        }
    }
    let mut zeros = vec![0.0; 6];
    orthogonalize(Engine::best(), &mut zeros, 2, 3);
    assert_eq!(zeros, [0.0; 6]);
}

/// Largest distance from the identity of the Gram matrix of the rows.
fn gram_distance(matrix: &[f32], columns: usize) -> f64 {
    let matrix = wide(matrix);
    let rows: Vec<&[f64]> = matrix.chunks_exact(columns).collect();
    let mut largest = 0.0;
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate() {
            let dot: f64 = a.iter().zip(*b).map(|(a, b)| a * b).sum();
            largest = f64::max(largest, (dot - f64::from(i == j)).abs());
        }
    }
    largest
}

#[test]
fn singular_values_come_close_to_one() {
    for [rows, columns] in [[33, 70], [64, 32], [1, 50], [17, 1]] {
        let mut matrix: Vec<f32> = numbers(rows * columns, 3);
        matrix.iter_mut().for_each(|v| *v *= 1e-4);
        orthogonalize(Engine::best(), &mut matrix, rows, columns);
        let side = if rows <= columns {
            gram_distance(&matrix, columns)
        } else {
            let transposed: Vec<f32> = (0..matrix.len())
                .map(|i| matrix[i % rows * columns + i / rows])
                .collect();
            gram_distance(&transposed, rows)
        };
        assert!(side < 0.55, "{rows}x{columns}: {side}");
    }
}

#[test]
fn momentum_and_descent_follow_their_formulas() {
    let len = 37;
    let (gradient, mut first) = (numbers(len, 1), numbers(len, 2));
    let (mut parameters, mut average) = (numbers(len, 3), numbers(len, 4));
    let [old_first, old, old_average] = [&first, &parameters, &average].map(|v| wide(v));
    let mut direction = poison(len);
    momentum(&mut first, &gradient, 0.5, 0.75, &mut direction);
    let by = Descent {
        rate: 0.25,
        decay: 0.125,
        average: 0.875,
    };
    descend(&mut parameters, &mut average, &direction, by);
    let (mut want, mut want_average) = (Vec::new(), Vec::new());
    for i in 0..len {
        let g = 0.25 * 0.5 * f64::from(gradient[i]);
        let mean = 0.75 * old_first[i] + g;
        let moved = old[i] - 0.25 * (0.75 * mean + g) - 0.125 * old[i];
        want.push(moved);
        want_average.push(0.875 * old_average[i] + 0.125 * moved);
    }
    assert_close("parameters", &parameters, &want, 1e-6);
    assert_close("average", &average, &want_average, 1e-6);
    let squares: f64 = wide(&gradient).iter().map(|g| g * g).sum();
    for engine in Engine::supported() {
        assert!((square_sum(engine, &gradient) / squares - 1.0).abs() < 1e-6);
    }
}
