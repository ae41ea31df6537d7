//! How large pixels are meant to be shown or printed.

/// Pixels per meter, or the shape of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// Pixels per unit across, at least 1.
    pub x: u32,
    /// Pixels per unit down, at least 1.
    pub y: u32,
    /// Whether the unit is the meter; else only the ratio of `x` and `y` has a meaning.
    pub is_per_meter: bool,
}

impl Resolution {
    /// A resolution in pixels per meter; `None` if a side has none.
    #[must_use]
    pub fn per_meter(x: u32, y: u32) -> Option<Self> {
        (x > 0 && y > 0).then_some(Self {
            x,
            y,
            is_per_meter: true,
        })
    }

    /// A resolution in pixels per inch, to the nearest pixel per meter.
    #[must_use]
    pub fn per_inch(x: u32, y: u32) -> Option<Self> {
        // An inch is 0.0254 meters.
        let per_meter =
            |dots: u32| u32::try_from((u64::from(dots) * 10_000 + 127) / 254).unwrap_or(u32::MAX);
        Self::per_meter(per_meter(x), per_meter(y))
    }

    /// The shape of pixels that are not square; `None` for square ones.
    #[must_use]
    pub fn ratio(x: u32, y: u32) -> Option<Self> {
        (x > 0 && y > 0 && x != y).then_some(Self {
            x,
            y,
            is_per_meter: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions_are_known_or_absent() {
        let per_inch = |dots| Resolution::per_inch(dots, dots).map(|resolution| resolution.x);
        assert_eq!(
            [72, 96, 300].map(per_inch),
            [Some(2835), Some(3780), Some(11_811)]
        );
        assert_eq!(per_inch(0), None);
        assert_eq!(
            (Resolution::ratio(1, 1), Resolution::per_meter(0, 1)),
            (None, None)
        );
        assert!(Resolution::ratio(1, 2).is_some_and(|shape| !shape.is_per_meter));
    }
}
