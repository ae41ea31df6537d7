//! Arrays and the layers on them (§2.2 to §2.4).

/// `[height, width, channels]` values: real numbers or integers.
#[derive(Clone)]
pub struct Array<T> {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub values: Vec<T>,
}

/// Integers in `-32768..=32767`, and what one of them stands for.
#[derive(Clone)]
pub struct Integers {
    pub array: Array<i32>,
    pub exponent: i32,
}

impl<T: Copy + Default> Array<T> {
    /// Of zeros.
    pub fn zeros(height: usize, width: usize, channels: usize) -> Self {
        Self::filled(height, width, channels, |_, _, _| T::default())
    }

    fn filled(
        height: usize,
        width: usize,
        channels: usize,
        value: impl Fn(usize, usize, usize) -> T,
    ) -> Self {
        let mut values = Vec::with_capacity(height * width * channels);
        for y in 0..height {
            for x in 0..width {
                values.extend((0..channels).map(|c| value(y, x, c)));
            }
        }
        Self {
            height,
            width,
            channels,
            values,
        }
    }

    pub fn index(&self, y: usize, x: usize, c: usize) -> usize {
        (y * self.width + x) * self.channels + c
    }

    pub fn at(&self, y: usize, x: usize, c: usize) -> T {
        self.values[self.index(y, x, c)]
    }

    /// Copies all of `part` to row `y`, column `x`.
    pub fn paste(&mut self, part: &Self, y: usize, x: usize) {
        for row in 0..part.height {
            let (from, to) = (part.index(row, 0, 0), self.index(y + row, x, 0));
            let count = part.width * part.channels;
            self.values[to..to + count].copy_from_slice(&part.values[from..from + count]);
        }
    }

    /// The channels of `self`, then those of `other`.
    pub fn beside(&self, other: &Self) -> Self {
        let channels = self.channels + other.channels;
        Self::filled(self.height, self.width, channels, |y, x, c| {
            match c.checked_sub(self.channels) {
                None => self.at(y, x, c),
                Some(c) => other.at(y, x, c),
            }
        })
    }

    pub fn depth_to_space(&self, s: usize) -> Self {
        let channels = self.channels / (s * s);
        Self::filled(self.height * s, self.width * s, channels, |y, x, c| {
            self.at(y / s, x / s, (y % s * s + x % s) * channels + c)
        })
    }
}

impl Array<f32> {
    pub fn plus(&self, other: &Self) -> Self {
        Self::filled(self.height, self.width, self.channels, |y, x, c| {
            self.at(y, x, c) + other.at(y, x, c)
        })
    }

    /// Rounding.
    pub fn rounded(&self, exponent: i32) -> Integers {
        let array = Array::filled(self.height, self.width, self.channels, |y, x, c| {
            integer(self.at(y, x, c) * two_to_the(-exponent))
        });
        Integers { array, exponent }
    }
}

impl Integers {
    pub fn depth_to_space(&self, s: usize) -> Self {
        Self {
            array: self.array.depth_to_space(s),
            exponent: self.exponent,
        }
    }

    /// Channel gain.
    pub fn scale(&self, gains: &[f32], exponent: i32) -> Self {
        let x = &self.array;
        let array = Array::filled(x.height, x.width, x.channels, |row, column, c| {
            let factor = gains[c] * two_to_the(self.exponent - exponent);
            integer(real(x.at(row, column, c)) * factor)
        });
        Self { array, exponent }
    }
}

pub fn two_to_the(exponent: i32) -> f32 {
    2f32.powi(exponent)
}

fn real(i: i32) -> f32 {
    i as f32
}

/// The nearest integer, of two the even one; within 16 bits.
pub fn integer(v: f32) -> i32 {
    // Exact: every binary32 number is one of binary64.
    let v = f64::from(v);
    let (below, above) = (v.floor(), v.floor() + 1.0);
    let nearest = if v - below < above - v {
        below
    } else if v - below > above - v {
        above
    } else if below.rem_euclid(2.0) == 0.0 {
        below
    } else {
        above
    };
    if nearest < -32768.0 {
        -32768
    } else if nearest > 32767.0 {
        32767
    } else {
        nearest as i32
    }
}

pub fn activate(v: f32) -> f32 {
    let ramp = v * 0.25;
    let ramp = ramp + 0.5;
    let ramp = if ramp > 0.0 { ramp } else { 0.0 };
    let ramp = if ramp < 1.0 { ramp } else { 1.0 };
    v * ramp
}

/// A convolution's weights (or taps) and what its sums are worth.
pub struct Convolution {
    pub weight: Vec<i32>,
    pub is_wide: bool,
    pub multiplier: Vec<f32>,
    pub bias: Vec<f32>,
}

/// Two halves of a weight of 16 bits: `256 * high + low`.
pub fn halves(weight: i32) -> (i32, i32) {
    let low = (weight + 128).rem_euclid(256) - 128;
    ((weight - low) / 256, low)
}

impl Convolution {
    /// The layer with a gain on its outputs.
    pub fn gained(&self, gains: &[f32]) -> Self {
        let by_gain = |values: &[f32]| {
            let values = values.iter().enumerate();
            values
                .map(|(n, value)| value * gains[n % gains.len()])
                .collect()
        };
        Self {
            weight: self.weight.clone(),
            is_wide: self.is_wide,
            multiplier: by_gain(&self.multiplier),
            bias: by_gain(&self.bias),
        }
    }

    /// `value` of the text: output `n` at a position of `x`.
    fn value(&self, x: &[i32], n: usize) -> f32 {
        let w = &self.weight[n * x.len()..(n + 1) * x.len()];
        let (m, b) = (self.multiplier[n], self.bias[n]);
        let sum = |part: fn(i32) -> i32| -> i32 {
            let products = w.iter().zip(x).map(|(w, x)| part(*w) * x);
            // A sum over 32 bits would be an error of the text.
            products.fold(0i32, |sum, product| sum.checked_add(product).unwrap())
        };
        if self.is_wide {
            let above = real(sum(|w| halves(w).0)) * (256.0 * m);
            let below = real(sum(|w| halves(w).1)) * m + b;
            above + below
        } else {
            let scaled = real(sum(|w| w)) * m;
            scaled + b
        }
    }

    /// Real numbers, before they become integers where they do.
    fn run(&self, x: &Integers, activation: bool, residual: Option<&Integers>) -> Array<f32> {
        let k = x.array.channels;
        Array::filled(
            x.array.height,
            x.array.width,
            self.bias.len(),
            |row, column, n| {
                let first = x.array.index(row, column, 0);
                let mut v = self.value(&x.array.values[first..first + k], n);
                if activation {
                    v = activate(v);
                }
                if let Some(residual) = residual {
                    let added =
                        real(residual.array.at(row, column, n)) * two_to_the(residual.exponent);
                    v += added;
                }
                v
            },
        )
    }

    /// A layer whose result is real numbers.
    pub fn reals(&self, x: &Integers) -> Array<f32> {
        self.run(x, false, None)
    }

    /// A layer whose result is integers.
    pub fn integers(&self, x: &Integers, residual: Option<&Integers>, exponent: i32) -> Integers {
        self.run(x, false, residual).rounded(exponent)
    }

    fn activated(&self, x: &Integers, exponent: i32) -> Integers {
        self.run(x, true, None).rounded(exponent)
    }

    fn depthwise(&self, x: &Integers, exponent: i32) -> Integers {
        let x = &x.array;
        let at = |y: isize, column: isize, c: usize| {
            let is_inside =
                (0..x.height as isize).contains(&y) && (0..x.width as isize).contains(&column);
            if is_inside {
                x.at(y as usize, column as usize, c)
            } else {
                0
            }
        };
        let sums = Array::filled(x.height, x.width, x.channels, |row, column, c| {
            let tap = |i: usize| {
                let (y, x_at) = (
                    row as isize + i as isize / 3 - 1,
                    column as isize + i as isize % 3 - 1,
                );
                self.weight[i * x.channels + c] * at(y, x_at, c)
            };
            let scaled = real((0..9).map(tap).sum()) * self.multiplier[c];
            scaled + self.bias[c]
        });
        sums.rounded(exponent)
    }
}

/// A block's weights, and the exponents of its arrays.
pub struct Block {
    pub conv1: Convolution,
    pub depthwise: Convolution,
    pub conv2: Convolution,
    pub conv3: Convolution,
    pub conv4: Convolution,
    pub exponents: Vec<i32>,
}

impl Block {
    pub fn apply(&self, x: &Integers) -> Integers {
        let e = &self.exponents;
        let u = self.conv1.activated(x, e[0]);
        let d = self.depthwise.depthwise(&u, e[1]);
        let x1 = self.conv2.integers(&d, Some(x), e[2]);
        let h = self.conv3.activated(&x1, e[3]);
        self.conv4.integers(&h, Some(&x1), e[4])
    }
}
