//! Output: rows of digits as PNG, curves and scatters as SVG.

use std::path::Path;

use anyhow::Result;
use candle_core::Tensor;
use image::{GrayImage, Luma};

use super::digits::{PIXELS, SIDE};

/// Writes pictures as ink on paper, twice as large: each tensor `[n, 784]` is a row of digits.
pub fn write_digits(path: &Path, rows: &[Tensor]) -> Result<()> {
    const CELL: u32 = 2 * SIDE as u32;
    let columns = rows.iter().map(|row| row.dims()[0]).max().unwrap_or(1) as u32;
    let mut paper = GrayImage::from_pixel(columns * CELL, rows.len() as u32 * CELL, Luma([255]));
    for (row, digits) in (0..).zip(rows) {
        let ink = digits.flatten_all()?.to_vec1::<f32>()?;
        for (column, digit) in (0..).zip(ink.chunks(PIXELS)) {
            for (x, y) in (0..CELL * CELL).map(|i| (i % CELL, i / CELL)) {
                let ink = digit[y as usize / 2 * SIDE + x as usize / 2];
                let shade = Luma([255 - (ink * 255.0).round() as u8]);
                paper.put_pixel(column * CELL + x, row * CELL + y, shade);
            }
        }
    }
    Ok(paper.save(path)?)
}

/// A name and points.
pub type Series = (String, Vec<(f64, f64)>);

/// One color per series, for up to ten of them.
const COLORS: &str = "4477aa ee6677 228833 ccbb44 66ccee aa3377 bbbbbb ee8866 44bb99 000000";

/// Writes a chart of series, as lines or as dots.
pub fn write_chart(path: &Path, title: &str, series: &[Series], lines: bool) -> Result<()> {
    let range = |axis: fn(&(f64, f64)) -> f64| {
        let values = || series.iter().flat_map(|(_, points)| points).map(axis);
        let (low, high) = (values().reduce(f64::min), values().reduce(f64::max));
        let low = low.unwrap_or(0.0);
        (low, high.filter(|&high| high > low).unwrap_or(low + 1.0))
    };
    let ((left, right), (bottom, top)) = (range(|p| p.0), range(|p| p.1));
    let x = |v: f64| 60.0 + 520.0 * (v - left) / (right - left);
    let y = |v: f64| 340.0 - 280.0 * (v - bottom) / (top - bottom);
    let text = |x, y, anchor, text: &str| -> String {
        format!("<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}'>{text}</text>\n")
    };
    let mut svg = String::from(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 640 400' font-family='sans-serif' \
         font-size='13'>\n<rect width='100%' height='100%' fill='white'/>\n",
    );
    svg += &text(60.0, 30.0, "start", title);
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let (vx, vy) = (left + part * (right - left), bottom + part * (top - bottom));
        svg += &format!("<path d='M60,{:.1}H580' stroke='#ddd'/>\n", y(vy));
        svg += &text(54.0, y(vy), "end", &format!("{vy:.3}"));
        svg += &text(x(vx), 360.0, "middle", &format!("{vx:.1}"));
    }
    for (i, ((name, points), color)) in series.iter().zip(COLORS.split(' ')).enumerate() {
        let mut path = String::new();
        for (x, y) in points.iter().map(|&(a, b)| (x(a), y(b))) {
            if lines {
                path += &format!("{x:.1},{y:.1} ");
            } else {
                svg += &format!("<circle cx='{x:.1}' cy='{y:.1}' r='1.6' fill='#{color}'/>\n");
            }
        }
        svg += &format!("<polyline points='{path}' fill='none' stroke='#{color}'/>\n");
        let name = format!("<tspan fill='#{color}'>{name}</tspan>");
        svg += &text(586.0, 60.0 + 18.0 * i as f64, "start", &name);
    }
    Ok(std::fs::write(path, svg + "</svg>\n")?)
}
