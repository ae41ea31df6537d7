//! SVG elements, with real text, so that it can be selected and searched.

use std::fmt::Write;

use super::{Color, Point};
use crate::cli::html::escape;

/// Where a text's given point lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke {
    pub(super) color: Color,
    pub(super) width: f64,
    pub(super) is_dashed: bool,
}

impl Stroke {
    pub(super) fn solid(color: Color, width: f64) -> Self {
        Self {
            color,
            width,
            is_dashed: false,
        }
    }
}

/// How a text is set; not `is_upright` means turned to read upwards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lettering {
    pub(super) size: f64,
    pub(super) color: Color,
    pub(super) anchor: Anchor,
    pub(super) is_upright: bool,
}

/// Collects an SVG document.
pub(super) struct Svg {
    document: String,
}

impl Svg {
    /// A white page of so many pixels.
    pub(super) fn new((width, height): Point, description: &str) -> Self {
        let mut svg = Self {
            document: String::new(),
        };
        svg.push(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" font-family=\"system-ui, 'DejaVu Sans', Arial, sans-serif\">"
        ));
        svg.push(format_args!("<title>{}</title>", escape(description)));
        svg.push(format_args!(
            "<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>"
        ));
        svg
    }

    /// The document.
    pub(super) fn finish(mut self) -> String {
        self.push(format_args!("</svg>"));
        self.document
    }

    fn push(&mut self, element: std::fmt::Arguments) {
        writeln!(self.document, "{element}").expect("writing to a string cannot fail");
    }

    /// Shows of what `draw` draws only the part between two corners; `name` is the frame's own in the document.
    pub(super) fn framed(
        &mut self,
        name: &str,
        (left, top): Point,
        (right, bottom): Point,
        draw: impl FnOnce(&mut Self),
    ) {
        let (width, height) = (right - left, bottom - top);
        self.push(format_args!(
            "<clipPath id=\"{name}\"><rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/></clipPath>\n\
             <g clip-path=\"url(#{name})\">"
        ));
        draw(self);
        self.push(format_args!("</g>"));
    }

    /// A line through `points`.
    pub(super) fn line(&mut self, points: &[Point], stroke: Stroke) {
        let places: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let dash = if stroke.is_dashed {
            " stroke-dasharray=\"6 4\""
        } else {
            ""
        };
        self.push(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{dash}/>",
            places.join(" "),
            hex(stroke.color),
            stroke.width
        ));
    }

    /// A filled disc.
    pub(super) fn disc(&mut self, (x, y): Point, radius: f64, color: Color) {
        self.push(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{}\"/>",
            hex(color)
        ));
    }

    /// Text whose baseline passes through the point.
    pub(super) fn text(&mut self, (x, y): Point, text: &str, lettering: Lettering) {
        let anchor = match lettering.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let turn = if lettering.is_upright {
            String::new()
        } else {
            format!(" transform=\"rotate(-90 {x:.1} {y:.1})\"")
        };
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{}\" fill=\"{}\" text-anchor=\"{anchor}\"{turn}>{}</text>",
            lettering.size,
            hex(lettering.color),
            escape(text)
        ));
    }
}

fn hex([red, green, blue]: Color) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}
