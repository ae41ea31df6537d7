//! Ticks and positions along one axis.

/// A value range laid out between two canvas positions.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    start: f64,
    end: f64,
}

impl Axis {
    /// A logarithmic axis over `values`, with a margin.
    pub(super) fn logarithmic(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let (low, high) = range(values, (0.1, 1.0));
        Self {
            low: low / 1.12,
            high: high * 1.12,
            is_log: true,
            start,
            end,
        }
    }

    /// A linear axis over `values`, with a margin.
    pub(super) fn linear(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let (low, high) = range(values, (0.0, 1.0));
        let margin = if high - low > 1e-3 {
            0.05 * (high - low)
        } else {
            1.0
        };
        Self {
            low: low - margin,
            high: high + margin,
            is_log: false,
            start,
            end,
        }
    }

    /// Canvas position of a value.
    pub(super) fn position(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.start + share * (self.end - self.start)
    }

    /// Whether a value is on the axis.
    pub(super) fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Round values inside the range, with their labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let values = if self.is_log {
            self.log_ticks()
        } else {
            self.linear_ticks()
        };
        let label = |value: f64| (value, format!("{}", (value * 1e6).round() / 1e6));
        values.into_iter().map(label).collect()
    }

    /// 1, 2 and 5 of every decade.
    fn log_ticks(&self) -> Vec<f64> {
        let decades = (-6..=6).map(|power| 10_f64.powi(power));
        let values = decades.flat_map(|decade| [decade, 2.0 * decade, 5.0 * decade]);
        values.filter(|&value| self.contains(value)).collect()
    }

    /// About six multiples of 1, 2 or 5 times a power of ten.
    fn linear_ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 6.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let factor = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .find(|factor| factor * decade >= rough)
            .unwrap_or(10.0);
        let step = factor * decade;
        let first = (self.low / step).ceil();
        let values = (0..20_u8).map(|i| (first + f64::from(i)) * step);
        values.take_while(|&value| value <= self.high).collect()
    }
}

/// Lowest and highest finite value, or `fallback` when there is none.
fn range(values: impl Iterator<Item = f64>, fallback: (f64, f64)) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let widen = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), widen);
    if low <= high { (low, high) } else { fallback }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            labels(&Axis::logarithmic([0.09, 2.4].into_iter(), 0.0, 100.0)),
            ["0.1", "0.2", "0.5", "1", "2"]
        );
        assert_eq!(
            labels(&Axis::linear([26.3, 41.9].into_iter(), 0.0, 100.0)),
            ["30", "35", "40"]
        );
        assert_eq!(
            labels(&Axis::linear([7.0, 7.0].into_iter(), 0.0, 1.0)),
            ["6", "6.5", "7", "7.5", "8"]
        );
    }

    #[test]
    fn positions_run_from_start_to_end() {
        let axis = Axis::linear([0.0, 10.0].into_iter(), 200.0, 100.0);
        assert!((axis.position(5.0) - 150.0).abs() < 1e-9);
        assert!(axis.position(0.0) > axis.position(10.0));
        let empty = Axis::logarithmic(std::iter::empty(), 0.0, 1.0);
        assert!(empty.contains(0.5));
    }
}
