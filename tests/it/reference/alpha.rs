//! The alpha channel (§9.5, §10.2).

use super::bytes::crc32;
use super::file::{AlphaPayload, Rect};
use super::rans::{AdaptiveBit, Stream};
use super::{Class, Result};

/// The alpha samples of a tile of which `rect` lies in the picture, in raster order.
pub fn decode(payload: &AlphaPayload, rect: &Rect, bits: u32) -> Result<Vec<u16>> {
    let mut tile = Tile::new(payload, rect.width, rect.height, (1 << bits) - 1)?;
    tile.decode()?;
    tile.stream.finish()?;
    let samples: Vec<u16> = tile.samples.iter().map(|sample| *sample as u16).collect();
    let bytes: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes().into_iter().take(bits as usize / 8))
        .collect();
    if crc32(&bytes) == payload.checksum {
        Ok(samples)
    } else {
        Err(Class::Corrupt)
    }
}

struct Tile {
    stream: Stream,
    width: i32,
    height: i32,
    max: i32,
    /// Those decoded so far.
    samples: Vec<i32>,
    flat: [AdaptiveBit; 8],
    miss_extreme: [[AdaptiveBit; 1024]; 2],
    miss: Vec<AdaptiveBit>,
    between: [[[AdaptiveBit; 5]; 5]; 3],
    top: [[AdaptiveBit; 5]; 5],
    below: Vec<AdaptiveBit>,
    longer: [[AdaptiveBit; 15]; 19],
    high: [[AdaptiveBit; 4]; 16],
}

/// The neighbors of a sample, by their names in §10.2.
struct Neighbors {
    w: i32,
    n: i32,
    nw: i32,
    ne: i32,
    ww: i32,
    /// All ten, in the order of the pattern.
    all: [i32; 10],
}

impl Tile {
    fn new(payload: &AlphaPayload, width: usize, height: usize, max: i32) -> Result<Self> {
        let new = AdaptiveBit::new();
        Ok(Self {
            stream: Stream::start(payload.stream)?,
            width: width as i32,
            height: height as i32,
            max,
            samples: Vec::new(),
            flat: [new; 8],
            miss_extreme: [[new; 1024]; 2],
            miss: vec![new; 2401],
            between: [[[new; 5]; 5]; 3],
            top: [[new; 5]; 5],
            below: vec![new; 2401],
            longer: [[new; 15]; 19],
            high: [[new; 4]; 16],
        })
    }

    fn decode(&mut self) -> Result<()> {
        let columns = (self.width as usize).div_ceil(16);
        let mut above = vec![true; columns + 1];
        for y in 0..self.height {
            if y % 16 == 0 {
                above = self.flags(columns, &above);
            }
            for x in 0..self.width {
                let sample = if !above[x as usize / 16] {
                    self.sample(x, y)?
                } else if y % 16 == 0 {
                    self.at(x - 1, y)
                } else {
                    self.at(x, y - 1)
                };
                self.samples.push(sample);
            }
        }
        Ok(())
    }

    /// The flags of a row of blocks, given those of the row above; one more at the end.
    fn flags(&mut self, columns: usize, above: &[bool]) -> Vec<bool> {
        let mut flags = Vec::new();
        for b in 0..columns {
            let left = b == 0 || flags[b - 1];
            let context =
                4 * usize::from(!left) + 2 * usize::from(!above[b]) + usize::from(!above[b + 1]);
            flags.push(self.stream.adaptive_bit(&mut self.flat[context]) == 0);
        }
        flags.push(true);
        flags
    }

    fn at(&self, x: i32, y: i32) -> i32 {
        if x < 0 {
            return self.at(0, y - 1);
        }
        if y < 0 {
            return self.max;
        }
        self.samples[(y * self.width + x.min(self.width - 1)) as usize]
    }

    fn neighbors(&self, x: i32, y: i32) -> Neighbors {
        let (w, n) = (self.at(x - 1, y), self.at(x, y - 1));
        let (nw, ne) = (self.at(x - 1, y - 1), self.at(x + 1, y - 1));
        let (ww, nn) = (self.at(x - 2, y), self.at(x, y - 2));
        let (nee, nww) = (self.at(x + 2, y - 1), self.at(x - 2, y - 1));
        let (nne, nnw) = (self.at(x + 1, y - 2), self.at(x - 1, y - 2));
        Neighbors {
            w,
            n,
            nw,
            ne,
            ww,
            all: [w, n, nw, ne, ww, nn, nee, nww, nne, nnw],
        }
    }

    fn sample(&mut self, x: i32, y: i32) -> Result<i32> {
        let around = self.neighbors(x, y);
        let p = around.prediction();
        let class = [p == 0, p == self.max, true]
            .iter()
            .position(|c| *c)
            .unwrap();
        let (at0, at_max) = (around.count(0), around.count(self.max));
        let context = match class {
            2 => &mut self.miss[around.gradients()],
            class => &mut self.miss_extreme[class][around.pattern(p)],
        };
        if self.stream.adaptive_bit(context) == 0 {
            return Ok(p);
        }
        if self
            .stream
            .adaptive_bit(&mut self.between[class][at0][at_max])
            == 0
        {
            return Ok(match class {
                0 => self.max,
                1 => 0,
                _ => self.max * self.stream.adaptive_bit(&mut self.top[at0][at_max]),
            });
        }
        let sign = match class {
            0 => 1,
            1 => -1,
            _ => {
                1 - 2 * self
                    .stream
                    .adaptive_bit(&mut self.below[around.gradients()])
            }
        };
        let sample = p + sign * self.magnitude(around.activity());
        if 0 < sample && sample < self.max {
            Ok(sample)
        } else {
            Err(Class::Corrupt)
        }
    }

    fn magnitude(&mut self, activity: usize) -> i32 {
        let most = if self.max == 255 { 7 } else { 15 };
        let mut n = 0;
        while n < most && self.stream.adaptive_bit(&mut self.longer[activity][n]) == 1 {
            n += 1;
        }
        let mut m = 1;
        for _ in 0..n {
            let bit = match self.high[n].get_mut(m as usize) {
                Some(context) => self.stream.adaptive_bit(context),
                None => i32::from(self.stream.bit()),
            };
            m = 2 * m + bit;
        }
        m
    }
}

impl Neighbors {
    fn prediction(&self) -> i32 {
        let mut three = [self.w, self.n, self.w + self.n - self.nw];
        three.sort_unstable();
        three[1]
    }

    fn pattern(&self, p: i32) -> usize {
        self.all
            .iter()
            .fold(0, |pattern, v| 2 * pattern + usize::from(*v != p))
    }

    fn gradients(&self) -> usize {
        let class = |d: i32| -> usize {
            match d {
                ..=-12 => 0,
                -11..=-2 => 1,
                -1 => 2,
                0 => 3,
                1 => 4,
                2..=11 => 5,
                12.. => 6,
            }
        };
        343 * class(self.w - self.nw)
            + 49 * class(self.n - self.nw)
            + 7 * class(self.ne - self.n)
            + class(self.w - self.ww)
    }

    /// The number of binary digits of a sum of differences.
    fn activity(&self) -> usize {
        let mut sum =
            (self.w - self.nw).abs() + (self.n - self.nw).abs() + (self.ne - self.n).abs();
        let mut digits = 0;
        while sum > 0 {
            sum /= 2;
            digits += 1;
        }
        digits
    }

    fn count(&self, value: i32) -> usize {
        [self.w, self.n, self.nw, self.ne]
            .iter()
            .filter(|v| **v == value)
            .count()
    }
}
