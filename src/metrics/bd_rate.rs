//! Bjøntegaard-delta rate: the average rate difference of two codecs at equal quality.
//!
//! Log rate is interpolated over quality by PCHIP (Fritsch-Carlson, the variant of
//! SciPy's `PchipInterpolator`) and integrated exactly over the common quality range.
//! Nothing is extrapolated: curves that barely overlap give a reason, not a number.

/// Least share of the shorter curve's quality range that the curves must have in common.
pub const MIN_OVERLAP: f64 = 0.3;

/// Fewest points of different quality that a curve needs.
pub const MIN_POINTS: usize = 3;

/// One point of a rate-distortion curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePoint {
    /// Rate in any unit that is the same for both curves, usually bits per pixel; above zero.
    pub rate: f64,
    /// Quality on a decibel-like scale, higher is better.
    pub quality: f64,
}

/// A BD-rate and where it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BdRate {
    /// Average rate difference in percent; negative means that the tested codec needs less.
    pub percent: f64,
    /// Lower end of the common quality range.
    pub low: f64,
    /// Upper end of the common quality range.
    pub high: f64,
}

/// Why two curves have no BD-rate.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NoBdRate {
    /// A curve has too few points of different, finite quality.
    #[error("a curve has {found} usable points, {MIN_POINTS} are needed")]
    TooFewPoints {
        /// Usable points of the shorter curve.
        found: usize,
    },
    /// The quality ranges overlap too little to compare the codecs.
    #[error(
        "the quality ranges {anchor_low:.2} to {anchor_high:.2} and {test_low:.2} to {test_high:.2} overlap too little"
    )]
    LittleOverlap {
        /// Lowest quality of the anchor.
        anchor_low: f64,
        /// Highest quality of the anchor.
        anchor_high: f64,
        /// Lowest quality of the tested codec.
        test_low: f64,
        /// Highest quality of the tested codec.
        test_high: f64,
    },
}

/// BD-rate of `test` against `anchor`. The points may come in any order.
///
/// # Errors
/// [`NoBdRate`] when a curve is too short or the curves overlap by less than [`MIN_OVERLAP`].
pub fn bd_rate(anchor: &[RatePoint], test: &[RatePoint]) -> Result<BdRate, NoBdRate> {
    let anchor = Pchip::through(anchor)?;
    let test = Pchip::through(test)?;
    let low = anchor.low().max(test.low());
    let high = anchor.high().min(test.high());
    let shorter = (anchor.high() - anchor.low()).min(test.high() - test.low());
    if high - low < MIN_OVERLAP * shorter {
        return Err(NoBdRate::LittleOverlap {
            anchor_low: anchor.low(),
            anchor_high: anchor.high(),
            test_low: test.low(),
            test_high: test.high(),
        });
    }
    let difference = (test.integral(low, high) - anchor.integral(low, high)) / (high - low);
    Ok(BdRate {
        percent: 100.0 * (difference.exp() - 1.0),
        low,
        high,
    })
}

/// Monotone piecewise cubic through (quality, natural log of rate).
struct Pchip {
    x: Vec<f64>,
    y: Vec<f64>,
    slope: Vec<f64>,
}

impl Pchip {
    fn through(points: &[RatePoint]) -> Result<Self, NoBdRate> {
        let points = usable(points);
        if points.len() < MIN_POINTS {
            return Err(NoBdRate::TooFewPoints {
                found: points.len(),
            });
        }
        let x: Vec<f64> = points.iter().map(|point| point.quality).collect();
        let y: Vec<f64> = points.iter().map(|point| point.rate.ln()).collect();
        let slope = slopes(&x, &y);
        Ok(Self { x, y, slope })
    }

    fn low(&self) -> f64 {
        self.x[0]
    }

    fn high(&self) -> f64 {
        self.x[self.x.len() - 1]
    }

    /// Exact integral between two qualities inside the curve's range.
    fn integral(&self, low: f64, high: f64) -> f64 {
        let piece = |i: usize| {
            let from = low.clamp(self.x[i], self.x[i + 1]);
            let to = high.clamp(self.x[i], self.x[i + 1]);
            self.antiderivative(i, to) - self.antiderivative(i, from)
        };
        (0..self.x.len() - 1).map(piece).sum()
    }

    /// Antiderivative of piece `i` at `x`, zero at the piece's start.
    fn antiderivative(&self, i: usize, x: f64) -> f64 {
        let width = self.x[i + 1] - self.x[i];
        let secant = (self.y[i + 1] - self.y[i]) / width;
        let square = (3.0 * secant - 2.0 * self.slope[i] - self.slope[i + 1]) / width;
        let cube = (self.slope[i] + self.slope[i + 1] - 2.0 * secant) / (width * width);
        let t = x - self.x[i];
        t * (self.y[i] + t * (self.slope[i] / 2.0 + t * (square / 3.0 + t * cube / 4.0)))
    }
}

/// Finite points by rising quality; of points with the same quality the cheapest.
fn usable(points: &[RatePoint]) -> Vec<RatePoint> {
    let finite = |point: &&RatePoint| {
        point.quality.is_finite() && point.rate.is_finite() && point.rate > 0.0
    };
    let mut points: Vec<RatePoint> = points.iter().filter(finite).copied().collect();
    points.sort_by(|a, b| {
        let by_quality = a.quality.total_cmp(&b.quality);
        by_quality.then(a.rate.total_cmp(&b.rate))
    });
    points.dedup_by(|later, kept| later.quality <= kept.quality);
    points
}

/// Slope at every point: weighted harmonic mean inside, a three-point formula at the ends.
fn slopes(x: &[f64], y: &[f64]) -> Vec<f64> {
    let width: Vec<f64> = x.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let steps = y.windows(2).zip(&width);
    let secant: Vec<f64> = steps
        .map(|(pair, width)| (pair[1] - pair[0]) / width)
        .collect();
    let last = secant.len() - 1;
    let end = |i: usize, next: usize| end_slope(width[i], width[next], secant[i], secant[next]);
    let inner = |i: usize| inner_slope(width[i - 1], width[i], secant[i - 1], secant[i]);
    let mut slopes = vec![end(0, 1)];
    slopes.extend((1..=last).map(inner));
    slopes.push(end(last, last - 1));
    slopes
}

/// Slope between two pieces: zero at a turn, else the weighted harmonic mean of the secants.
fn inner_slope(width_before: f64, width_after: f64, before: f64, after: f64) -> f64 {
    if before * after <= 0.0 {
        return 0.0;
    }
    let weight_before = 2.0 * width_after + width_before;
    let weight_after = width_after + 2.0 * width_before;
    (weight_before + weight_after) / (weight_before / before + weight_after / after)
}

/// Slope at an end of the curve, kept from overshooting.
fn end_slope(width: f64, next_width: f64, secant: f64, next_secant: f64) -> f64 {
    let slope = ((2.0 * width + next_width) * secant - width * next_secant) / (width + next_width);
    if slope * secant <= 0.0 {
        0.0
    } else if secant * next_secant <= 0.0 && slope.abs() > 3.0 * secant.abs() {
        3.0 * secant
    } else {
        slope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(rates: &[f64], scale: f64) -> Vec<RatePoint> {
        let point = |(i, rate): (usize, &f64)| RatePoint {
            rate: rate * scale,
            quality: 30.0 + 2.0 * i as f64,
        };
        rates.iter().enumerate().map(point).collect()
    }

    #[test]
    fn a_constant_factor_is_found_exactly() {
        let anchor = curve(&[0.1, 0.25, 0.5, 1.1], 1.0);
        let test = curve(&[0.1, 0.25, 0.5, 1.1], 0.8);
        let result = bd_rate(&anchor, &test).expect("full overlap");
        assert!((result.percent + 20.0).abs() < 1e-9, "{}", result.percent);
        assert_eq!((result.low, result.high), (30.0, 36.0));
    }

    #[test]
    fn little_overlap_gives_a_reason() {
        let anchor = curve(&[0.1, 0.2, 0.4, 0.8], 1.0);
        let far: Vec<RatePoint> = anchor
            .iter()
            .map(|p| RatePoint {
                quality: p.quality + 5.0,
                rate: p.rate,
            })
            .collect();
        let reason = bd_rate(&anchor, &far).expect_err("1 dB of 6 in common");
        assert!(
            reason
                .to_string()
                .contains("30.00 to 36.00 and 35.00 to 41.00"),
            "{reason}"
        );
    }

    #[test]
    fn infinite_and_repeated_qualities_do_not_count() {
        let mut points = curve(&[0.1, 0.2], 1.0);
        points.push(points[1]);
        points.push(RatePoint {
            rate: 9.0,
            quality: f64::INFINITY,
        });
        assert_eq!(
            bd_rate(&points, &points),
            Err(NoBdRate::TooFewPoints { found: 2 })
        );
    }

    #[test]
    fn order_does_not_matter() {
        let anchor = curve(&[0.1, 0.25, 0.5, 1.1], 1.0);
        let mut test = curve(&[0.09, 0.2, 0.45, 0.9], 1.0);
        let straight = bd_rate(&anchor, &test);
        test.reverse();
        assert_eq!(bd_rate(&anchor, &test), straight);
    }
}
