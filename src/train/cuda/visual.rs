//! The kernels of `visual.cu`: the parts of the visual error and of its gradient.
//!
//! Planes are `[height, width]` of one picture; those of a batch lie one after another, and a pair of planes is that of
//! the original pictures before that of the decoded ones.

/// A part of the visual error, with its sizes: rows and columns of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visual {
    /// Planes of light `[3, pictures, height, width]` of patches `a`.
    Light(usize, usize),
    /// The gradient with respect to patches `a` of that with respect to their light, `b`.
    LightGradient(usize, usize),
    /// Planes `a` of this width at half the size.
    Halved(usize),
    /// The opponent planes X, Y and B of planes of light `a`.
    Opponent,
    /// The gradient with respect to the light of decoded pictures. `a` is the light of pairs, `b` the gradient with
    /// respect to opponent planes, `c`, if there is one, that with respect to the light at half the size.
    OpponentGradient {
        /// How many of the planes: 1 is Y, 2 are X and Y.
        planes: usize,
        /// Columns.
        width: usize,
    },
    /// The window's means of a, b, a² + b² and ab across, of a pair of planes `a` of this width.
    MomentsAcross(usize),
    /// The window across planes `a` of these rows and columns.
    WindowAcross(usize, usize),
    /// The window down them.
    WindowDown(usize, usize),
    /// The values of the three maps and their fourth powers, `[3, 2, positions]`, of a pair `a` and its moments `b`.
    Maps,
    /// Errors and what a map's values and their cubes count in their gradients, `[7, pictures]`, of sums `a` of maps with
    /// weights `b`.
    Errors {
        /// Positions of each picture.
        positions: usize,
        /// Where in `b` the weights begin.
        first_weight: usize,
    },
    /// Slopes with respect to the moments `b` of a pair `a`, and to its decoded samples, of what the maps of so many
    /// positions count, `c`.
    MapSlopes(usize),
    /// The gradient with respect to the decoded plane of a pair `a`, of the windowed slopes of its moments `b` and of those
    /// with respect to its samples `c`.
    PlaneGradient,
}

#[cfg_attr(not(any(feature = "cuda", test)), allow(dead_code))]
impl Visual {
    /// Its name, and its sizes for `n` outputs.
    pub(super) fn launch(self, n: usize) -> (&'static str, [usize; 5]) {
        match self {
            Self::Light(height, width) => ("visual_light", [n, height, width, 0, 0]),
            Self::LightGradient(height, width) => {
                ("visual_light_gradient", [n, height, width, 0, 0])
            }
            Self::Halved(width) => ("visual_halved", [n, width, 0, 0, 0]),
            Self::Opponent => ("visual_opponent", [n / 3, 0, 0, 0, 0]),
            Self::OpponentGradient { planes, width } => {
                ("visual_opponent_gradient", [n / 3, planes, width, 0, 0])
            }
            Self::MomentsAcross(width) => ("visual_moments_across", [n / 4, width, 0, 0, 0]),
            Self::WindowAcross(height, width) => ("visual_window", [n, height, width, 0, 1]),
            Self::WindowDown(height, width) => ("visual_window", [n, height, width, 0, 0]),
            Self::Maps => ("visual_maps", [n / 6, 0, 0, 0, 0]),
            Self::Errors {
                positions,
                first_weight,
            } => ("visual_errors", [n / 7, positions, first_weight, 0, 0]),
            Self::MapSlopes(positions) => ("visual_map_slopes", [n / 4, positions, 0, 0, 0]),
            Self::PlaneGradient => ("visual_plane_gradient", [n, 0, 0, 0, 0]),
        }
    }
}
