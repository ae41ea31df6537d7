//! Lattice noise made from an integer hash; the same everywhere.

/// A number in 0..1 for a lattice point.
pub fn hash(x: i32, y: i32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x85eb_ca6b) ^ (y as u32).wrapping_mul(0xc2b2_ae35);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    h ^= h >> 15;
    (h >> 8) as f32 / (1 << 24) as f32
}

/// Smooth noise in 0..1 and its two derivatives.
pub fn with_slope(x: f32, y: f32) -> (f32, f32, f32) {
    let (ix, iy) = (x.floor(), y.floor());
    let (fx, fy) = (x - ix, y - iy);
    let curve = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    let slope = |t: f32| 30.0 * t * t * (t * (t - 2.0) + 1.0);
    let (ix, iy) = (ix as i32, iy as i32);
    let (a, b) = (hash(ix, iy), hash(ix + 1, iy));
    let (c, d) = (hash(ix, iy + 1), hash(ix + 1, iy + 1));
    let (u, v) = (curve(fx), curve(fy));
    let k = a - b - c + d;
    (
        a + (b - a) * u + (c - a) * v + k * u * v,
        slope(fx) * (b - a + k * v),
        slope(fy) * (c - a + k * u),
    )
}

/// Smooth noise in 0..1.
pub fn smooth(x: f32, y: f32) -> f32 {
    with_slope(x, y).0
}

/// Turns and doubles, so that the lattices of successive octaves do not line up.
pub fn next_octave(x: f32, y: f32) -> (f32, f32) {
    (1.6 * x - 1.2 * y, 1.2 * x + 1.6 * y)
}

/// Fractal noise: `octaves` layers, each twice as fine and half as strong; about 0..1.
pub fn fractal(mut x: f32, mut y: f32, octaves: u32) -> f32 {
    let (mut sum, mut strength) = (0.0, 0.5);
    for _ in 0..octaves {
        sum += strength * smooth(x, y);
        strength *= 0.5;
        (x, y) = next_octave(x, y);
    }
    sum
}
