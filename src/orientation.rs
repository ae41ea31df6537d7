//! How stored samples are turned for display, shared by the layers that carry it.

pub use ::image::metadata::Orientation;

/// Whether columns become rows.
pub(crate) fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(
        orientation,
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH
    )
}

/// The sides (width, height) of a picture of these sides with an orientation applied.
pub(crate) fn upright<T>(orientation: Orientation, (width, height): (T, T)) -> (T, T) {
    if swaps_sides(orientation) {
        (height, width)
    } else {
        (width, height)
    }
}

/// The orientation that undoes this one: quarter turns undo each other, all others themselves.
pub(crate) fn inverse(orientation: Orientation) -> Orientation {
    match orientation {
        Orientation::Rotate90 => Orientation::Rotate270,
        Orientation::Rotate270 => Orientation::Rotate90,
        other => other,
    }
}
