//! Plots of curves over a logarithmic axis, as SVG: charts side by side with one legend.

mod axis;
mod chart;
mod svg;

pub(super) use chart::{Chart, Figure, Series, Style};

/// A color: red, green, blue.
pub(super) type Color = [u8; 3];

/// A point in pixels from the top left corner, or on the axes of a chart.
type Point = (f64, f64);
