//! The SVG back end: real text, so that it can be selected and searched.

use std::fmt::Write;

use super::{Anchor, Canvas, Color, Lettering, Point, Stroke};

/// Collects an SVG document.
pub(super) struct SvgCanvas {
    document: String,
}

impl SvgCanvas {
    pub(super) fn new(width: f64, height: f64, description: &str) -> Self {
        let mut canvas = Self {
            document: String::new(),
        };
        canvas.push(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" font-family=\"system-ui, 'DejaVu Sans', Arial, sans-serif\">"
        ));
        canvas.push(format_args!("<title>{}</title>", escape(description)));
        canvas.push(format_args!(
            "<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>"
        ));
        canvas
    }

    pub(super) fn finish(mut self) -> String {
        self.push(format_args!("</svg>"));
        self.document
    }

    fn push(&mut self, element: std::fmt::Arguments) {
        writeln!(self.document, "{element}").expect("writing to a string cannot fail");
    }
}

impl Canvas for SvgCanvas {
    fn line(&mut self, points: &[Point], stroke: Stroke) {
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

    fn disc(&mut self, (x, y): Point, radius: f64, color: Color) {
        self.push(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{}\"/>",
            hex(color)
        ));
    }

    fn text(&mut self, (x, y): Point, text: &str, lettering: Lettering) {
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

/// Text made safe for XML and HTML content and attributes.
pub(in super::super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Control characters are not allowed in XML at all.
            other if other.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}
