//! Output: rows of digits as PNG, curves and scatters as SVG.

use std::path::Path;

use anyhow::Result;
use candle_core::Tensor;

use super::digits::{PIXELS, SIDE};

/// Pixels of the PNG per pixel of a digit.
const ZOOM: usize = 2;

/// Writes pictures as ink on paper: each tensor `[n, 784]` is a row of `n` digits.
pub fn write_digits(path: &Path, rows: &[Tensor]) -> Result<()> {
    let columns = rows.iter().map(|row| row.dims()[0]).max().unwrap_or(1);
    let (width, height) = (columns * SIDE * ZOOM, rows.len() * SIDE * ZOOM);
    let mut gray = image::GrayImage::from_pixel(width as u32, height as u32, image::Luma([255]));
    for (row, digits) in rows.iter().enumerate() {
        for (i, ink) in digits.flatten_all()?.to_vec1::<f32>()?.iter().enumerate() {
            let (column, y, x) = (i / PIXELS, i % PIXELS / SIDE, i % SIDE);
            let shade = image::Luma([255 - (ink * 255.0).round() as u8]);
            for k in 0..ZOOM * ZOOM {
                let x = (column * SIDE + x) * ZOOM + k % ZOOM;
                let y = (row * SIDE + y) * ZOOM + k / ZOOM;
                gray.put_pixel(x as u32, y as u32, shade);
            }
        }
    }
    Ok(gray.save(path)?)
}

/// Named points.
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// One color per series, for up to ten of them.
const COLORS: [&str; 10] = [
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#ee8866",
    "#44bb99", "#000000",
];

/// Writes a chart of series, as lines or as dots.
pub fn write_chart(path: &Path, title: &str, series: &[Series], lines: bool) -> Result<()> {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 400.0;
    const MARGIN: f64 = 60.0;
    let range = |axis: fn(&(f64, f64)) -> f64| {
        let values = series.iter().flat_map(|s| &s.points).map(axis);
        let start = (f64::INFINITY, f64::NEG_INFINITY);
        let (low, high) = values.fold(start, |(low, high), v| (v.min(low), v.max(high)));
        (low, if high > low { high } else { low + 1.0 })
    };
    let ((left, right), (bottom, top)) = (range(|p| p.0), range(|p| p.1));
    let x = |v: f64| MARGIN + (v - left) / (right - left) * (WIDTH - 2.0 * MARGIN);
    let y = |v: f64| HEIGHT - MARGIN - (v - bottom) / (top - bottom) * (HEIGHT - 2.0 * MARGIN);
    let text = |x: f64, y: f64, anchor: &str, text: &str| {
        format!("<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}'>{text}</text>\n")
    };
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' \
         font-family='sans-serif' font-size='13'>\n<rect width='100%' height='100%' fill='white'/>\n"
    ) + &text(MARGIN, 30.0, "start", title);
    for i in 0..=4 {
        let part = f64::from(i) / 4.0;
        let (vx, vy) = (left + part * (right - left), bottom + part * (top - bottom));
        let (end, height) = (WIDTH - MARGIN, y(vy));
        svg += &format!("<path d='M{MARGIN},{height:.1}H{end}' stroke='#ddd'/>\n");
        svg += &text(MARGIN - 6.0, height, "end", &format!("{vy:.3}"));
        svg += &text(x(vx), HEIGHT - MARGIN + 20.0, "middle", &format!("{vx:.1}"));
    }
    for (i, Series { name, points }) in series.iter().enumerate() {
        let color = COLORS[i % COLORS.len()];
        let at = points.iter().map(|&(a, b)| (x(a), y(b)));
        if lines {
            let path: String = at.map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
            svg += &format!("<polyline points='{path}' fill='none' stroke='{color}'/>\n");
        } else {
            let dot =
                |(x, y)| format!("<circle cx='{x:.1}' cy='{y:.1}' r='1.6' fill='{color}'/>\n");
            svg.extend(at.map(dot));
        }
        let name = format!("<tspan fill='{color}'>{name}</tspan>");
        svg += &text(
            WIDTH - MARGIN + 6.0,
            MARGIN + 18.0 * i as f64,
            "start",
            &name,
        );
    }
    Ok(std::fs::write(path, svg + "</svg>\n")?)
}
