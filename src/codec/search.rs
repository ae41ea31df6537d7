//! Rate control's search: at which stored quality does a measurement reach its goal?
//!
//! Rate and PSNR grow with the quality, nearly by the same curve for every picture. On the axis
//! of that typical curve a picture's own curve is nearly a straight line of slope 1, so the secant
//! method needs few measurements. A bracket guards it against pictures that are not typical and
//! against measurements that do not grow: every step makes the bracket smaller.
//!
//! Knows neither pictures nor files, only qualities and numbers.

use crate::bitstream::Quality;

/// Most measurements of one search.
pub(super) const MAX_PROBES: usize = 10;

/// One-sided measurements after which the end of the scale is tried.
const MAX_ONE_SIDED: usize = 4;
/// Measurements that may leave more than half of the bracket before it is halved.
const MAX_SLOW: usize = 2;
/// Stored qualities within which both sides of the goal are close enough: 0.02 of the user's 100.
const RESOLUTION: u16 = 10;
/// Slopes beyond these are an accident of two close measurements.
const SLOPES: (f64, f64) = (0.25, 4.0);

/// Values of a typical picture at qualities 0, 10, .., 100; strictly increasing.
pub(super) type TypicalCurve = [f64; 11];

/// Which side of the goal meets the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Values up to the goal do, and the highest quality among them is wanted: file sizes.
    Below,
    /// Values from the goal do, and the lowest quality among them is wanted: PSNR.
    Above,
}

/// A measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Stored quality, 0..=50000.
    pub quality: u16,
    /// What was measured, in the unit of the typical curve.
    pub value: f64,
    /// Whether it meets the target.
    pub is_met: bool,
}

/// A search in progress.
#[derive(Debug)]
pub(super) struct Search {
    typical: &'static TypicalCurve,
    side: Side,
    /// Where to aim: half the tolerance inside the side that meets the target.
    aim: f64,
    /// A value that meets the target and is this close to the aim ends the search.
    tolerance: f64,
    points: Vec<Point>,
    /// Where to begin, if not where the typical curve says.
    first: Option<u16>,
    /// Measurements in a row that left more than half of the bracket.
    slow: usize,
}

impl Search {
    /// A search for `goal`; a value that meets it may differ from it by `tolerance`.
    pub fn new(typical: &'static TypicalCurve, side: Side, goal: f64, tolerance: f64) -> Self {
        let half = tolerance / 2.0;
        let aim = match side {
            Side::Below => goal - half,
            Side::Above => goal + half,
        };
        Self {
            typical,
            side,
            aim,
            tolerance: half,
            points: Vec::with_capacity(MAX_PROBES),
            first: None,
            slow: 0,
        }
    }

    /// The same search, beginning at a stored quality that is close to the goal.
    pub fn starting_at(self, quality: u16) -> Self {
        let first = Some(quality);
        Self { first, ..self }
    }

    /// The stored quality to measure next; `None` when the search is over.
    pub fn next(&self) -> Option<u16> {
        if self.points.len() >= MAX_PROBES || self.is_close_enough() {
            return None;
        }
        let (first, last) = self.bracket()?;
        let both_sides = self.highest_low().is_some() && self.lowest_high().is_some();
        if both_sides && last - first < RESOLUTION {
            return None;
        }
        if both_sides && self.slow > MAX_SLOW {
            return Some(first + (last - first) / 2);
        }
        if !both_sides && self.points.len() >= MAX_ONE_SIDED {
            return Some(if self.highest_low().is_some() {
                last
            } else {
                first
            });
        }
        let guess = self.guess();
        if both_sides && !(first..=last).contains(&guess) {
            // The values do not follow the secant, as where they jump: then an end of the bracket would
            // tell little more than the measurement beside it.
            return Some(first + (last - first) / 2);
        }
        Some(guess.clamp(first, last))
    }

    /// Takes in a measurement at the quality that [`next`](Self::next) gave.
    pub fn add(&mut self, point: Point) {
        let width = |search: &Self| search.bracket().map_or(0, |(first, last)| last - first);
        let before = width(self);
        self.points.push(point);
        if width(self) > before / 2 {
            self.slow += 1;
        } else {
            self.slow = 0;
        }
    }

    /// The best measurement so far: among those that meet the target the one that is wanted,
    /// otherwise the closest.
    pub fn best(&self) -> Option<Point> {
        let met = self.points.iter().copied().filter(|point| point.is_met);
        let missed = self.points.iter().copied();
        match self.side {
            Side::Below => met
                .max_by_key(|point| point.quality)
                .or_else(|| missed.min_by(|a, b| a.value.total_cmp(&b.value))),
            Side::Above => met
                .min_by_key(|point| point.quality)
                .or_else(|| missed.max_by(|a, b| a.value.total_cmp(&b.value))),
        }
    }

    fn is_close_enough(&self) -> bool {
        self.best()
            .is_some_and(|best| best.is_met && (best.value - self.aim).abs() <= self.tolerance)
    }

    /// The highest quality on the low side of the goal.
    fn highest_low(&self) -> Option<u16> {
        let low = self.points.iter().filter(|point| self.is_low(point));
        low.map(|point| point.quality).max()
    }

    /// The lowest quality on the high side.
    fn lowest_high(&self) -> Option<u16> {
        let high = self.points.iter().filter(|point| !self.is_low(point));
        high.map(|point| point.quality).min()
    }

    fn is_low(&self, point: &Point) -> bool {
        point.is_met == (self.side == Side::Below)
    }

    /// First and last quality between the two sides, if there is any.
    fn bracket(&self) -> Option<(u16, u16)> {
        let first = self.highest_low().map_or(0, |quality| quality + 1);
        let last = match self.lowest_high() {
            None => Quality::MAX_RAW,
            Some(quality) => quality.checked_sub(1)?,
        };
        (first <= last).then_some((first, last))
    }

    /// Where the secant through the two measurements closest to the aim reaches it.
    fn guess(&self) -> u16 {
        let mut points = self.points.clone();
        let distance = |point: &Point| (point.value - self.aim).abs();
        points.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        let position = |point: &Point| typical_value(self.typical, point.quality);
        let reached = match points[..] {
            [] => match self.first {
                Some(quality) => return quality,
                None => self.aim,
            },
            [only] => position(&only) + (self.aim - only.value),
            [a, b, ..] => {
                let slope = (b.value - a.value) / (position(&b) - position(&a));
                // `max` and `min` turn the NaN of equal points into a slope in range.
                let slope = slope.max(SLOPES.0).min(SLOPES.1);
                position(&a) + (self.aim - a.value) / slope
            }
        };
        quality_of_typical(self.typical, reached)
    }
}

/// Stored qualities between two values of a typical curve.
const KNOT_DISTANCE: f64 = 5000.0;

/// The typical value at a stored quality, linear between the curve's values.
fn typical_value(curve: &TypicalCurve, quality: u16) -> f64 {
    let position = f64::from(quality) / KNOT_DISTANCE;
    let low = (position as usize).min(curve.len() - 2);
    curve[low] + (position - low as f64) * (curve[low + 1] - curve[low])
}

/// The stored quality at which the typical picture has `value`, or the nearest end of the scale.
fn quality_of_typical(curve: &TypicalCurve, value: f64) -> u16 {
    let low = curve
        .partition_point(|knot| *knot <= value)
        .clamp(1, curve.len() - 1)
        - 1;
    let fraction = (value - curve[low]) / (curve[low + 1] - curve[low]);
    let quality = (low as f64 + fraction) * KNOT_DISTANCE;
    quality.round().clamp(0.0, f64::from(Quality::MAX_RAW)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    static CURVE: TypicalCurve = [-3.0, -2.4, -1.9, -1.3, -0.8, -0.4, 0.0, 0.4, 0.6, 0.9, 1.1];

    /// Runs a search over `value`, a function of the stored quality.
    fn run(side: Side, goal: f64, value: impl Fn(u16) -> f64) -> (Search, Option<Point>) {
        let mut search = Search::new(&CURVE, side, goal, 0.001);
        while let Some(quality) = search.next() {
            assert!(search.points.iter().all(|point| point.quality != quality));
            let value = value(quality);
            let is_met = match side {
                Side::Below => value <= goal,
                Side::Above => value >= goal,
            };
            search.add(Point {
                quality,
                value,
                is_met,
            });
        }
        let best = search.best();
        (search, best)
    }

    #[test]
    fn the_typical_curve_and_its_inverse_agree() {
        for quality in (0..=50_000).step_by(777).chain([50_000]) {
            let value = typical_value(&CURVE, quality);
            assert_eq!(quality_of_typical(&CURVE, value), quality);
        }
        assert_eq!(quality_of_typical(&CURVE, f64::NEG_INFINITY), 0);
        assert_eq!(quality_of_typical(&CURVE, 9.0), 50_000);
    }

    #[test]
    fn pictures_like_the_typical_one_take_few_measurements() {
        for side in [Side::Below, Side::Above] {
            for (offset, slope) in [(0.0, 1.0), (1.2, 0.8), (-0.7, 1.3)] {
                let value = |quality| offset + slope * typical_value(&CURVE, quality);
                for step in 1..50 {
                    let goal = value(0) + f64::from(step) / 50.0 * (value(50_000) - value(0));
                    let (search, best) = run(side, goal, value);
                    let best = best.unwrap();
                    assert!(best.is_met && (best.value - goal).abs() <= 0.001);
                    assert!(search.points.len() <= 4, "{:?}", search.points);
                }
            }
        }
    }

    #[test]
    fn strange_curves_are_bounded_and_the_target_is_kept() {
        let straight = |quality: u16| f64::from(quality) / 10_000.0 - 3.0;
        let stairs = |quality: u16| f64::from(quality / 6_000) * 0.6 - 3.0;
        let wavy = |quality: u16| straight(quality) + (f64::from(quality) / 900.0).sin() * 0.3;
        let cliff = |quality: u16| if quality < 31_415 { -2.9 } else { 1.5 };
        let curves: [&dyn Fn(u16) -> f64; 4] = [&straight, &stairs, &wavy, &cliff];
        for value in curves {
            for step in -40..30 {
                let goal = f64::from(step) / 10.0;
                for side in [Side::Below, Side::Above] {
                    let (search, best) = run(side, goal, value);
                    let best = best.unwrap();
                    assert!(search.points.len() <= MAX_PROBES);
                    let any_met = search.points.iter().any(|point| point.is_met);
                    assert_eq!(best.is_met, any_met);
                    // An end of the scale that meets the target is always found.
                    let end = if side == Side::Below { 0 } else { 50_000 };
                    let end_meets = match side {
                        Side::Below => value(end) <= goal,
                        Side::Above => value(end) >= goal,
                    };
                    assert!(best.is_met || !end_meets);
                }
            }
        }
    }

    #[test]
    fn goals_beyond_the_scale_end_at_its_end() {
        let value = |quality| typical_value(&CURVE, quality);
        let cases = [
            (Side::Below, 5.0, 50_000, true),
            (Side::Below, -9.0, 0, false),
            (Side::Above, 5.0, 50_000, false),
            (Side::Above, -9.0, 0, true),
        ];
        for (side, goal, quality, is_met) in cases {
            let (search, best) = run(side, goal, value);
            let best = best.unwrap();
            assert_eq!((best.quality, best.is_met), (quality, is_met));
            assert_eq!(search.points.len(), 1);
        }
    }

    #[test]
    fn the_stored_quality_is_found_where_values_jump() {
        let cliff = |quality: u16| if quality < 31_415 { -0.1 } else { 0.1 };
        let (_, best) = run(Side::Below, 0.0, cliff);
        let best = best.unwrap();
        assert!(best.is_met && best.quality < 31_415 && best.quality > 31_400);
    }
}
