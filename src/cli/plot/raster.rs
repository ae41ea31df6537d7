//! The PNG back end: anti-aliased lines by their distance to each pixel.

use super::font::{Glyph, glyph};
use super::{Anchor, Canvas, Color, Lettering, Point, Stroke};
use crate::error::{Error, Result};

/// Length of a dash and of the gap after it, in figure units, as in the SVG back end.
const DASH: f64 = 6.0;
const GAP: f64 = 4.0;

/// A white page of RGB pixels.
pub(super) struct RasterCanvas {
    width: usize,
    height: usize,
    scale: f64,
    pixels: Vec<u8>,
    /// How much of each pixel the shape being drawn covers, 0 to 1.
    coverage: Vec<f32>,
}

impl RasterCanvas {
    /// A page of `width` x `height` figure units, `scale` pixels each.
    pub(super) fn new(width: f64, height: f64, scale: f64) -> Self {
        // Figures are a few thousand pixels wide.
        let (width, height) = (
            (width * scale).ceil() as usize,
            (height * scale).ceil() as usize,
        );
        Self {
            width,
            height,
            scale,
            pixels: vec![255; width * height * 3],
            coverage: vec![0.0; width * height],
        }
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        let mut file = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut file);
        let [width, height] =
            [self.width, self.height].map(|side| u32::try_from(side).unwrap_or(u32::MAX));
        image::ImageEncoder::write_image(
            encoder,
            &self.pixels,
            width,
            height,
            image::ExtendedColorType::Rgb8,
        )
        .map_err(|error| Error::Image(error.to_string()))?;
        Ok(file)
    }

    /// Draws connected segments of one color; where they overlap nothing gets darker.
    fn shape(&mut self, segments: &[(Point, Point)], width: f64, color: Color) {
        let radius = width * self.scale / 2.0;
        let scale = |(x, y): Point| (x * self.scale, y * self.scale);
        let segments: Vec<(Point, Point)> = segments
            .iter()
            .map(|&(from, to)| (scale(from), scale(to)))
            .collect();
        for &(from, to) in &segments {
            self.for_each_pixel(from, to, radius, |coverage, _, share| {
                *coverage = coverage.max(share)
            });
        }
        for &(from, to) in &segments {
            self.for_each_pixel(from, to, radius, |coverage, pixel, _| {
                let share = std::mem::take(coverage);
                for (sample, ink) in pixel.iter_mut().zip(color) {
                    let mixed = f32::from(*sample) * (1.0 - share) + f32::from(ink) * share;
                    *sample = mixed.round() as u8;
                }
            });
        }
    }

    /// Calls `visit(coverage, pixel, share)` for every pixel that a thick segment touches.
    fn for_each_pixel(
        &mut self,
        from: Point,
        to: Point,
        radius: f64,
        mut visit: impl FnMut(&mut f32, &mut [u8], f32),
    ) {
        // `as usize` clamps negative positions to zero.
        let span = |a: f64, b: f64, limit: usize| {
            let first = (a.min(b) - radius - 1.0).max(0.0) as usize;
            let last = (a.max(b) + radius + 2.0).max(0.0) as usize;
            first.min(limit)..last.min(limit)
        };
        for y in span(from.1, to.1, self.height) {
            for x in span(from.0, to.0, self.width) {
                let center = (x as f64 + 0.5, y as f64 + 0.5);
                let share = (radius + 0.5 - distance(center, from, to)).clamp(0.0, 1.0);
                let index = y * self.width + x;
                visit(
                    &mut self.coverage[index],
                    &mut self.pixels[3 * index..3 * index + 3],
                    share as f32,
                );
            }
        }
    }
}

impl Canvas for RasterCanvas {
    fn line(&mut self, points: &[Point], stroke: Stroke) {
        let segments: Vec<(Point, Point)> =
            points.windows(2).map(|pair| (pair[0], pair[1])).collect();
        let segments = if stroke.is_dashed {
            dashes(&segments)
        } else {
            segments
        };
        self.shape(&segments, stroke.width, stroke.color);
    }

    fn disc(&mut self, center: Point, radius: f64, color: Color) {
        self.shape(&[(center, center)], 2.0 * radius, color);
    }

    fn text(&mut self, at: Point, text: &str, lettering: Lettering) {
        let glyphs: Vec<Glyph> = text.chars().map(glyph).collect();
        // A capital is 16 units high in the font, and 0.72 of the type size on paper.
        let unit = lettering.size * 0.72 / 16.0;
        let length: f64 = glyphs.iter().map(|glyph| glyph.advance).sum::<f64>() * unit;
        let mut along = match lettering.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -length / 2.0,
            Anchor::End => -length,
        };
        let mut segments = Vec::new();
        for glyph in &glyphs {
            let place = |(x, y): Point| {
                let (x, y) = (along + x * unit, (y - 16.0) * unit);
                if lettering.is_upright {
                    (at.0 + x, at.1 + y)
                } else {
                    (at.0 + y, at.1 - x)
                }
            };
            let strokes = glyph.strokes.iter().flat_map(|stroke| stroke.windows(2));
            segments.extend(strokes.map(|pair| (place(pair[0]), place(pair[1]))));
            along += glyph.advance * unit;
        }
        self.shape(&segments, lettering.size * 0.085, lettering.color);
    }
}

/// Cuts a line into dashes that run on around its corners.
fn dashes(segments: &[(Point, Point)]) -> Vec<(Point, Point)> {
    let mut pieces = Vec::new();
    let mut phase = 0.0;
    for &(from, to) in segments {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let point = |at: f64| {
            let share = at / length.max(1e-9);
            (
                from.0 + share * (to.0 - from.0),
                from.1 + share * (to.1 - from.1),
            )
        };
        let mut at = -phase;
        while at < length {
            let (start, end) = (at.max(0.0), (at + DASH).min(length));
            if end > start {
                pieces.push((point(start), point(end)));
            }
            at += DASH + GAP;
        }
        phase = (phase + length) % (DASH + GAP);
    }
    pieces
}

/// Distance of a point from a segment.
fn distance(point: Point, from: Point, to: Point) -> f64 {
    let along = (to.0 - from.0, to.1 - from.1);
    let offset = (point.0 - from.0, point.1 - from.1);
    let square = along.0 * along.0 + along.1 * along.1;
    let share = if square > 0.0 {
        ((offset.0 * along.0 + offset.1 * along.1) / square).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (offset.0 - share * along.0).hypot(offset.1 - share * along.1)
}
