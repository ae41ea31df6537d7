//! The grid of scales that an entropy table index stands for.
//!
//! The same numbers define the integer tables (codec-spec.md, Scale tables);
//! a test in `codec` holds both definitions together.

/// Number of scale tables.
pub const SCALE_LEVELS: usize = 64;
/// Standard deviation of table 0, in quantization steps.
pub const SIGMA_MIN: f64 = 0.12;
/// Standard deviation of the last table.
pub const SIGMA_MAX: f64 = 160.0;
/// Natural logarithm of the ratio of neighboring scales: `ln(160 / 0.12) / 63`.
pub const LOG_STEP: f64 = 0.114_213_291_292_601_88;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_step_follows_from_the_range() {
        assert!((LOG_STEP - (SIGMA_MAX / SIGMA_MIN).ln() / 63.0).abs() < 1e-12);
    }
}
