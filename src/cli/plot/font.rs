//! A small stroke font for plots, drawn for this project.
//!
//! A glyph is a list of strokes on a grid: capitals reach from y = 0 to the
//! baseline at y = 16, small letters from y = 5, descenders to y = 21. A stroke is
//! written as a kind (`-` straight, `~` smooth, `o` smooth and closed) and pairs
//! of base-36 digits, x before y.

use super::Point;

/// Space between two letters.
const SPACING: f64 = 4.0;

/// Straight pieces per curved span.
const CURVE_STEPS: u32 = 6;

/// The strokes of one character and how far the next one is.
pub(super) struct Glyph {
    pub(super) strokes: Vec<Vec<Point>>,
    pub(super) advance: f64,
}

/// The glyph of a character; a box for those the font lacks.
pub(super) fn glyph(character: char) -> Glyph {
    if character == ' ' {
        return Glyph {
            strokes: Vec::new(),
            advance: 8.0,
        };
    }
    let strokes: Vec<Vec<Point>> = strokes_of(character).split(' ').map(parse).collect();
    let width = strokes
        .iter()
        .flatten()
        .fold(0.0_f64, |width, point| width.max(point.0));
    Glyph {
        strokes,
        advance: width + SPACING,
    }
}

/// Turns a stroke's text into points.
fn parse(stroke: &str) -> Vec<Point> {
    let digit = |byte: u8| f64::from(char::from(byte).to_digit(36).unwrap_or(0));
    let (kind, digits) = stroke.split_at(1);
    let (pairs, _) = digits.as_bytes().as_chunks::<2>();
    let points: Vec<Point> = pairs.iter().map(|&[x, y]| (digit(x), digit(y))).collect();
    match kind {
        "~" => curve(&points, false),
        "o" => curve(&points, true),
        _ => points,
    }
}

/// A Catmull-Rom curve through `points`.
fn curve(points: &[Point], is_closed: bool) -> Vec<Point> {
    let count = points.len();
    let at = |i: usize, offset: usize| {
        // `offset` is one more than the distance, so that the index stays unsigned.
        if is_closed {
            points[(i + count + offset - 1) % count]
        } else {
            points[(i + offset).clamp(1, count) - 1]
        }
    };
    let spans = if is_closed {
        count
    } else {
        count.saturating_sub(1)
    };
    let mut out: Vec<Point> = points.first().copied().into_iter().collect();
    for i in 0..spans {
        let corners = [at(i, 0), at(i, 1), at(i, 2), at(i, 3)];
        out.extend(
            (1..=CURVE_STEPS)
                .map(|step| between(corners, f64::from(step) / f64::from(CURVE_STEPS))),
        );
    }
    out
}

/// The Catmull-Rom point at `t` (0 to 1) between the two middle corners.
fn between(corners: [Point; 4], t: f64) -> Point {
    let blend = |p: [f64; 4]| {
        let linear = p[2] - p[0];
        let square = 2.0 * p[0] - 5.0 * p[1] + 4.0 * p[2] - p[3];
        let cube = 3.0 * (p[1] - p[2]) + p[3] - p[0];
        p[1] + 0.5 * t * (linear + t * (square + t * cube))
    };
    (
        blend(corners.map(|corner| corner.0)),
        blend(corners.map(|corner| corner.1)),
    )
}

/// The strokes of a character, separated by spaces.
fn strokes_of(character: char) -> &'static str {
    match character {
        '0' => "o4073887d4g1d0813",
        '1' => "-14404g",
        '2' => "~041140718477 -770g8g",
        '3' => "~03114071846737 ~37688c7f4g1f0d",
        '4' => "-6g600b9b",
        '5' => "-701007 ~0745778b7e4g1f0d",
        '6' => "~714013090c1f4g7f8b7847180b",
        '7' => "-00803g",
        '8' => "o407275471512 o47798c7f4g1f0c19",
        '9' => "~1f4g7d87847140110518497885",
        'A' => "-0g50ag -2a8a",
        'B' => "-0g0050 ~5071847657 -0757 ~57899c8f5g -5g0g",
        'C' => "~93715021050b2f5g7f9d",
        'D' => "-0g0040 ~4082988e4g -4g0g",
        'E' => "-80000g8g -0878",
        'F' => "-80000g -0878",
        'G' => "~93715021050b2f5g8f9c -9c9959",
        'H' => "-000g -909g -0898",
        'I' => "-000g",
        'J' => "-606b ~6b5f3g1f0c",
        'K' => "-000g -800a -369g",
        'L' => "-000g8g",
        'M' => "-0g005ba0ag",
        'N' => "-0g009g90",
        'O' => "o5082a88e5g2e0822",
        'P' => "-0g0050 ~5081948859 -5909",
        'Q' => "o5082a88e5g2e0822 -6cah",
        'R' => "-0g0050 ~5081948859 -5909 -599g",
        'S' => "~83714011041648798c7f4g1f0d",
        'T' => "-00a0 -505g",
        'U' => "-000a ~0a1e4g5g8e9a -9a90",
        'V' => "-005ga0",
        'W' => "-003g639gc0",
        'X' => "-009g -900g",
        'Y' => "-0058a0 -585g",
        'Z' => "-00900g9g",
        'a' => "o45778b7e4g1e0b17 -858g",
        'b' => "o45778b7e4g1e0b17 -000g",
        'c' => "~876545170b1e4g6f8d",
        'd' => "o45778b7e4g1e0b17 -808g",
        'e' => "-0b8b ~8b7745170b1e4g6g8e",
        'f' => "-3g34 ~344160 -0565",
        'g' => "o45778b7e4g1e0b17 -858h ~8h7k4l1k",
        'h' => "-000g ~0926457779 -797g",
        'i' => "-151g -1112",
        'j' => "-353h ~3h2k0l -3132",
        'k' => "-000g -750c -3a8g",
        'l' => "-000g",
        'm' => "-050g ~0926456769 -696g ~6986a5c7c9 -c9cg",
        'n' => "-050g ~0926457779 -797g",
        'o' => "o45778b7e4g1e0b17",
        'p' => "o45778b7e4g1e0b17 -050l",
        'q' => "o45778b7e4g1e0b17 -858l",
        'r' => "-050g ~09264555",
        's' => "~774516194a7c7f4g0e",
        't' => "-313d ~3d4g6g -0565",
        'u' => "-050c ~0c1f3g6f7c -757g",
        'v' => "-054g85",
        'w' => "-053g679gc5",
        'x' => "-058g -850g",
        'y' => "-054g -854g2k0l",
        'z' => "-05750g7g",
        '.' => "-0f0g",
        ',' => "-1f0i",
        ':' => "-0607 -0f0g",
        ';' => "-1617 -1f0i",
        '-' | '\u{2013}' => "-0969",
        '+' => "-0989 -454d",
        '=' => "-0787 -0b8b",
        '_' => "-0g8g",
        '/' => "-700h",
        '\\' => "-007h",
        '|' => "-000i",
        '(' => "~3014091e3i",
        ')' => "~0024392e0i",
        '[' => "-30000i3i",
        ']' => "-00303i0i",
        '<' => "-84098e",
        '>' => "-04890e",
        '%' => "o20432603 o9abd9g7d -902g",
        '*' => "-424a -1478 -7418",
        '?' => "~031140718476494b -4f4g",
        '!' => "-000b -0f0g",
        '\'' => "-0003",
        '"' => "-0003 -3033",
        '#' => "-302g -706g -0696 -0a9a",
        _ => "-00808g0g00",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printable_character_stays_on_its_grid() {
        for character in (b' '..=b'~').map(char::from).chain(['é']) {
            let glyph = glyph(character);
            assert!(glyph.advance >= SPACING);
            for (x, y) in glyph.strokes.into_iter().flatten() {
                assert!(
                    (-1.0..=13.0).contains(&x) && (-1.0..=22.0).contains(&y),
                    "{character}: {x} {y}"
                );
            }
        }
    }

    #[test]
    fn strokes_have_whole_points() {
        for character in (b'!'..=b'~').map(char::from) {
            for stroke in strokes_of(character).split(' ') {
                assert!(matches!(&stroke[..1], "-" | "~" | "o"), "{character}");
                assert!(
                    stroke.len() >= 5 && stroke.len() % 2 == 1,
                    "{character}: {stroke}"
                );
            }
        }
    }
}
