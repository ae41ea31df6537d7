//! Rounding half to even without a call for every value, which `f32::round_ties_even` is on CPUs before SSE4.1, the
//! compiler's base: from calls no vectors come.

/// Added to a value below `2^22` in size, leaves no bits for a fraction.
pub(crate) const WHOLE: f32 = 12_582_912.0;

/// The nearest integer to a value below `2^22` in size, half to even.
#[inline(always)]
pub(crate) fn nearest(value: f32) -> f32 {
    (value + WHOLE) - WHOLE
}

#[cfg(test)]
mod tests {
    use super::nearest;
    use crate::kernels::tests::Random;

    #[test]
    fn it_is_the_nearest_integer_half_to_even() {
        let mut random = Random(3);
        let halves = (-9..9).map(|half| half as f32 * 0.5);
        let most = f32::from_bits(4_194_304f32.to_bits() - 1);
        let others = [1.0, 300.0, 4_194_303.0].map(|scale| random.values(500, scale));
        for value in halves
            .chain(others.into_iter().flatten())
            .chain([most, -most])
        {
            assert_eq!(nearest(value), value.round_ties_even(), "{value}");
        }
        assert!(nearest(f32::NAN).is_nan());
    }
}
