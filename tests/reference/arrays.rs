//! Arrays and the layers on them (§2.3, §2.4).

/// `[height, width, channels]` values.
#[derive(Clone)]
pub struct Array {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub values: Vec<f32>,
}

impl Array {
    pub fn zeros(height: usize, width: usize, channels: usize) -> Self {
        Self {
            height,
            width,
            channels,
            values: vec![0.0; height * width * channels],
        }
    }

    fn filled(
        height: usize,
        width: usize,
        channels: usize,
        value: impl Fn(usize, usize, usize) -> f32,
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

    pub fn at(&self, y: usize, x: usize, c: usize) -> f32 {
        self.values[self.index(y, x, c)]
    }

    /// `+0.0` outside of the array.
    fn at_or_zero(&self, y: isize, x: isize, c: usize) -> f32 {
        let inside =
            (0..self.height as isize).contains(&y) && (0..self.width as isize).contains(&x);
        if inside {
            self.at(y as usize, x as usize, c)
        } else {
            0.0
        }
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

    pub fn plus(&self, other: &Self) -> Self {
        Self::filled(self.height, self.width, self.channels, |y, x, c| {
            self.at(y, x, c) + other.at(y, x, c)
        })
    }

    /// Channel gain.
    pub fn scale(&self, gains: &[f32]) -> Self {
        Self::filled(self.height, self.width, self.channels, |y, x, c| {
            self.at(y, x, c) * gains[c]
        })
    }

    pub fn depth_to_space(&self, s: usize) -> Self {
        let channels = self.channels / (s * s);
        Self::filled(self.height * s, self.width * s, channels, |y, x, c| {
            self.at(y / s, x / s, (y % s * s + x % s) * channels + c)
        })
    }
}

pub fn activate(x: f32) -> f32 {
    let v = x.mul_add(0.25, 0.5);
    let v = if v > 0.0 { v } else { 0.0 };
    let v = if v < 1.0 { v } else { 1.0 };
    x * v
}

/// A pointwise layer's weights.
pub struct Pointwise {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

impl Pointwise {
    pub fn apply(&self, x: &Array) -> Array {
        let inputs = x.channels;
        Array::filled(x.height, x.width, self.bias.len(), |row, column, n| {
            let mut acc = self.bias[n];
            for k in 0..inputs {
                acc = self.weight[n * inputs + k].mul_add(x.at(row, column, k), acc);
            }
            acc
        })
    }

    fn apply_activated(&self, x: &Array) -> Array {
        let mut out = self.apply(x);
        out.values
            .iter_mut()
            .for_each(|value| *value = activate(*value));
        out
    }
}

/// A block's weights.
pub struct Block {
    pub conv1: Pointwise,
    pub depthwise: Pointwise,
    pub conv2: Pointwise,
    pub conv3: Pointwise,
    pub conv4: Pointwise,
}

impl Block {
    pub fn apply(&self, x: &Array) -> Array {
        let u = self.conv1.apply_activated(x);
        let d = self.depthwise(&u);
        let x1 = self.conv2.apply(&d).plus(x);
        let h = self.conv3.apply_activated(&x1);
        self.conv4.apply(&h).plus(&x1)
    }

    fn depthwise(&self, x: &Array) -> Array {
        let Pointwise { weight: taps, bias } = &self.depthwise;
        Array::filled(x.height, x.width, x.channels, |row, column, c| {
            let mut acc = bias[c];
            for i in 0..9 {
                let (y, x_at) = (row as isize + i / 3 - 1, column as isize + i % 3 - 1);
                acc = taps[i as usize * x.channels + c].mul_add(x.at_or_zero(y, x_at, c), acc);
            }
            acc
        })
    }
}
