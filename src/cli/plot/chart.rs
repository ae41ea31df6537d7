//! A figure: charts side by side with one legend.

use super::axis::Axis;
use super::svg::{Anchor, Lettering, Stroke, Svg};
use super::{Color, Point};

const CHART_WIDTH: f64 = 580.0;
const CHART_HEIGHT: f64 = 440.0;
const LEGEND_ROW: f64 = 22.0;
const LEGEND_COLUMN: f64 = 290.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 42.0;
const BOTTOM: f64 = 58.0;
const INK: Color = [33, 37, 41];
const FAINT: Color = [226, 230, 234];
const GRAY: Color = [90, 98, 106];

const TITLE: Lettering = lettering(16.0, INK, Anchor::Start);
const LABEL: Lettering = lettering(13.0, INK, Anchor::Middle);
const LABEL_UPWARDS: Lettering = Lettering {
    is_upright: false,
    ..LABEL
};
const TICK: Lettering = lettering(13.0, GRAY, Anchor::Middle);
const TICK_BESIDE: Lettering = lettering(13.0, GRAY, Anchor::End);
const KEY: Lettering = lettering(13.0, INK, Anchor::Start);
const NOTE: Lettering = lettering(12.0, GRAY, Anchor::End);

const fn lettering(size: f64, color: Color, anchor: Anchor) -> Lettering {
    Lettering {
        size,
        color,
        anchor,
        is_upright: true,
    }
}

/// How a curve looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum Style {
    /// The codec the figure is about.
    Main,
    /// A codec measured in the same run.
    Measured,
    /// A curve published elsewhere.
    Published,
    /// Many points, drawn without marks.
    Trace,
}

/// One curve.
#[derive(Debug, Clone)]
pub(in super::super) struct Series {
    /// Name in the legend; the same in all charts of a figure.
    pub name: String,
    /// Line color.
    pub color: Color,
    /// Weight and kind of the line.
    pub style: Style,
    /// Points by rising position, which is positive.
    pub points: Vec<Point>,
}

/// Curves over one pair of axes.
#[derive(Debug, Clone)]
pub(in super::super) struct Chart {
    /// Heading.
    pub title: String,
    /// Label of the horizontal axis, which is logarithmic.
    pub across: String,
    /// Label of the vertical axis.
    pub label: String,
    /// The curves.
    pub series: Vec<Series>,
}

/// Charts beside each other and a legend below.
#[derive(Debug, Clone)]
pub(in super::super) struct Figure {
    /// The charts, left to right.
    pub charts: Vec<Chart>,
}

impl Figure {
    /// The figure as an SVG document.
    pub(in super::super) fn svg(&self) -> String {
        let rows = self.legend().len().div_ceil(self.legend_columns());
        let size = (self.width(), CHART_HEIGHT + rows as f64 * LEGEND_ROW + 14.0);
        let mut svg = Svg::new(size, &self.description());
        self.draw(&mut svg);
        svg.finish()
    }

    /// One sentence for people who cannot see the figure.
    fn description(&self) -> String {
        let titles: Vec<&str> = self.charts.iter().map(|chart| &chart.title[..]).collect();
        let legend = self.legend().into_iter();
        let names: Vec<&str> = legend.map(|series| &series.name[..]).collect();
        format!(
            "{} over {} for {}",
            titles.join(" and "),
            self.charts.first().map_or("", |chart| &chart.across),
            names.join(", ")
        )
    }

    fn draw(&self, svg: &mut Svg) {
        for (i, chart) in self.charts.iter().enumerate() {
            chart.draw(svg, &format!("chart-{i}"), i as f64 * CHART_WIDTH);
        }
        let columns = self.legend_columns();
        for (i, series) in self.legend().iter().enumerate() {
            let x = LEFT + (i % columns) as f64 * LEGEND_COLUMN;
            let y = CHART_HEIGHT + (i / columns) as f64 * LEGEND_ROW + 8.0;
            series.draw_key(svg, (x, y));
        }
        if self.legend().into_iter().any(Series::is_published) {
            let at = (self.width() - RIGHT, TOP - 16.0);
            svg.text(at, "dashed: published by others", NOTE);
        }
    }

    fn width(&self) -> f64 {
        CHART_WIDTH * self.charts.len().max(1) as f64
    }

    /// How many entries fit beside each other.
    fn legend_columns(&self) -> usize {
        // Between 2 and 6 for one to three charts.
        (self.width() / LEGEND_COLUMN) as usize
    }

    /// Every series once, in the order of first appearance.
    fn legend(&self) -> Vec<&Series> {
        let mut legend: Vec<&Series> = Vec::new();
        for series in self.charts.iter().flat_map(|chart| &chart.series) {
            if legend.iter().all(|known| known.name != series.name) {
                legend.push(series);
            }
        }
        legend
    }
}

impl Chart {
    /// Draws the chart from `left` on; `name` is its own in the document.
    fn draw(&self, svg: &mut Svg, name: &str, left: f64) {
        let shown = || {
            self.measured_or_all()
                .flat_map(|series| series.points.iter().copied())
        };
        let (from, to) = (left + LEFT, left + CHART_WIDTH - RIGHT);
        let (bottom, top) = (CHART_HEIGHT - BOTTOM, TOP);
        let x = Axis::logarithmic(shown().map(|point| point.0), from, to);
        let y = Axis::linear(shown().map(|point| point.1), bottom, top);
        self.draw_frame(svg, left, &x, &y);
        svg.framed(name, (from, top), (to, bottom), |svg| {
            // Published curves first, the main one last and on top.
            for style in [Style::Published, Style::Trace, Style::Measured, Style::Main] {
                for series in self.series.iter().filter(|series| series.style == style) {
                    series.draw(svg, &x, &y);
                }
            }
        });
    }

    /// The axes follow the measured curves, so that published ones cannot squeeze them.
    fn measured_or_all(&self) -> impl Iterator<Item = &Series> {
        let has_measured = !self.series.iter().all(Series::is_published);
        let series = self.series.iter();
        series.filter(move |series| !has_measured || !series.is_published())
    }

    fn draw_frame(&self, svg: &mut Svg, left: f64, x: &Axis, y: &Axis) {
        let (right, bottom) = (left + CHART_WIDTH - RIGHT, CHART_HEIGHT - BOTTOM);
        let left = left + LEFT;
        for (value, label) in x.ticks() {
            let at = x.position(value);
            svg.line(&[(at, TOP), (at, bottom)], Stroke::solid(FAINT, 1.0));
            svg.text((at, bottom + 19.0), &label, TICK);
        }
        for (value, label) in y.ticks() {
            let at = y.position(value);
            svg.line(&[(left, at), (right, at)], Stroke::solid(FAINT, 1.0));
            svg.text((left - 8.0, at + 4.5), &label, TICK_BESIDE);
        }
        svg.line(
            &[(left, TOP), (left, bottom), (right, bottom)],
            Stroke::solid(GRAY, 1.2),
        );
        let middle = f64::midpoint(left, right);
        svg.text((left, TOP - 16.0), &self.title, TITLE);
        svg.text((middle, bottom + 42.0), &self.across, LABEL);
        let at = (left - 46.0, f64::midpoint(TOP, bottom));
        svg.text(at, &self.label, LABEL_UPWARDS);
    }
}

impl Series {
    fn is_published(&self) -> bool {
        self.style == Style::Published
    }

    fn stroke(&self) -> Stroke {
        let width = match self.style {
            Style::Main => 3.0,
            Style::Measured => 2.0,
            Style::Published | Style::Trace => 1.4,
        };
        Stroke {
            color: self.color,
            width,
            is_dashed: self.is_published(),
        }
    }

    fn draw(&self, svg: &mut Svg, x: &Axis, y: &Axis) {
        let place = |&(rate, quality): &Point| (x.position(rate), y.position(quality));
        let has_place = |point: &Point| point.0.is_finite() && point.1.is_finite() && point.0 > 0.0;
        let runs = self.points.split(|point| !has_place(point));
        for run in runs.filter(|run| !run.is_empty()) {
            let places: Vec<Point> = run.iter().map(place).collect();
            svg.line(&places, self.stroke());
            places.into_iter().for_each(|at| self.draw_mark(svg, at));
        }
    }

    fn draw_mark(&self, svg: &mut Svg, at: Point) {
        if matches!(self.style, Style::Main | Style::Measured) {
            svg.disc(at, self.stroke().width + 1.2, self.color);
        }
    }

    fn draw_key(&self, svg: &mut Svg, (x, y): Point) {
        svg.line(&[(x, y), (x + 30.0, y)], self.stroke());
        self.draw_mark(svg, (x + 15.0, y));
        svg.text((x + 38.0, y + 4.5), &shorten(&self.name), KEY);
    }
}

/// Names that fit a legend column.
fn shorten(name: &str) -> String {
    const LONGEST: usize = 30;
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST - 2).chain("..".chars()).collect()
}
