//! Plots of curves over a logarithmic axis: one figure, drawn on any [`Canvas`].
//!
//! SVG and PNG come from the same drawing calls, so they cannot disagree.

mod axis;
mod chart;
mod font;
mod raster;
mod svg;

pub(super) use chart::{Chart, Figure, Series, Style};
pub(super) use svg::escape;

use crate::error::Result;

/// A color: red, green, blue.
pub(super) type Color = [u8; 3];

/// A point on the canvas in pixels from its top left corner.
type Point = (f64, f64);

/// Where a text's given point lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
struct Stroke {
    color: Color,
    width: f64,
    is_dashed: bool,
}

impl Stroke {
    fn solid(color: Color, width: f64) -> Self {
        Self {
            color,
            width,
            is_dashed: false,
        }
    }
}

/// How a text is set.
#[derive(Debug, Clone, Copy)]
struct Lettering {
    size: f64,
    color: Color,
    anchor: Anchor,
    is_upright: bool,
}

/// Something to draw a figure on.
trait Canvas {
    /// A line through `points`.
    fn line(&mut self, points: &[Point], stroke: Stroke);
    /// A filled disc.
    fn disc(&mut self, center: Point, radius: f64, color: Color);
    /// Text whose baseline passes through `at`; not `is_upright` means turned to read upwards.
    fn text(&mut self, at: Point, text: &str, lettering: Lettering);
}

/// The figure as an SVG document.
pub(super) fn svg(figure: &Figure) -> String {
    let (width, height) = figure.size();
    let mut canvas = svg::SvgCanvas::new(width, height, &figure.description());
    figure.draw(&mut canvas);
    canvas.finish()
}

/// The figure as a PNG file, two pixels per SVG unit.
///
/// # Errors
/// When the PNG encoder fails.
pub(super) fn png(figure: &Figure) -> Result<Vec<u8>> {
    let (width, height) = figure.size();
    let mut canvas = raster::RasterCanvas::new(width, height, 2.0);
    figure.draw(&mut canvas);
    canvas.finish()
}
