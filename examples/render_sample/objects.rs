//! The things people made: a balloon with lettering and a wooden jetty, as distance fields.

use crate::noise::{fractal, hash, smooth};
use crate::vector::{Vec3, smoothstep, vec3};

/// Center of the balloon's envelope.
const BALLOON: Vec3 = vec3(1.75, 2.55, 6.2);
/// Radius of the envelope.
const RADIUS: f32 = 0.92;
/// Segments of the envelope.
const GORES: f32 = 24.0;
/// Height of the jetty's planks above the lake.
const DECK: f32 = 0.30;
/// Width of a plank with its gap.
const PLANK: f32 = 0.105;

/// What a ray met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    Envelope,
    Basket,
    Rope,
    Plank,
    Post,
}

/// Rows of the letters, five bits each, top row first.
const LETTERS: [[u8; 7]; 3] = [
    [
        0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001,
    ],
    [
        0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111,
    ],
    [
        0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110,
    ],
];

/// Distance to the nearest thing, and which it is.
pub fn distance(p: Vec3) -> (f32, Part) {
    let q = p - BALLOON;
    let parts = [
        (envelope(q), Part::Envelope),
        (basket(q), Part::Basket),
        (ropes(q), Part::Rope),
        (planks(p), Part::Plank),
        (posts(p), Part::Post),
    ];
    parts.into_iter().fold(
        (f32::MAX, Part::Envelope),
        |a, b| if b.0 < a.0 { b } else { a },
    )
}

/// A sphere above, running into a narrow mouth below.
fn envelope(q: Vec3) -> f32 {
    let (low, mouth) = (-1.30 * RADIUS, 0.16 * RADIUS);
    let side = (q.x * q.x + q.z * q.z).sqrt();
    // The cone that touches both the sphere and the mouth's small sphere.
    let sine = (RADIUS - mouth) / -low;
    let cosine = (1.0 - sine * sine).sqrt();
    let along = -(side * sine) - q.y * cosine;
    if along < 0.0 {
        q.length() - RADIUS
    } else if along > cosine * -low {
        (side * side + (q.y - low) * (q.y - low)).sqrt() - mouth
    } else {
        side * cosine + -q.y * sine - RADIUS
    }
}

fn basket(q: Vec3) -> f32 {
    box_distance(q - vec3(0.0, -1.93 * RADIUS, 0.0), vec3(0.13, 0.10, 0.13)) - 0.02
}

fn ropes(q: Vec3) -> f32 {
    // One rope of four; the others are its mirror images.
    let q = vec3(q.x.abs(), q.y, q.z.abs());
    let from = vec3(0.13, -1.85 * RADIUS, 0.13);
    let to = vec3(0.10, -1.38 * RADIUS, 0.10);
    capsule(q, from, to) - 0.008
}

fn planks(p: Vec3) -> f32 {
    let index = (p.z / PLANK).floor();
    let uneven = 0.025 * hash(index as i32, 5);
    let center = vec3(-0.98 + uneven, DECK - 0.02, (index + 0.5) * PLANK);
    let half = vec3(0.48, 0.016, 0.5 * PLANK - 0.006);
    let outside = (p.z - 4.6).max(0.6 - p.z);
    // Planks repeat, so only a part of the distance is safe to walk.
    (box_distance(p - center, half) - 0.003).max(outside) * 0.7
}

fn posts(p: Vec3) -> f32 {
    let spacing = 1.24;
    let index = (p.z / spacing).round().clamp(1.0, 3.0);
    let q = vec3((p.x + 0.98).abs() - 0.53, p.y, p.z - index * spacing - 0.7);
    let side = (q.x * q.x + q.z * q.z).sqrt() - 0.062;
    side.max(q.y - 0.56).max(-0.6 - q.y)
}

fn box_distance(q: Vec3, half: Vec3) -> f32 {
    let d = vec3(q.x.abs() - half.x, q.y.abs() - half.y, q.z.abs() - half.z);
    let outside = vec3(d.x.max(0.0), d.y.max(0.0), d.z.max(0.0)).length();
    outside + d.x.max(d.y).max(d.z).min(0.0)
}

fn capsule(q: Vec3, from: Vec3, to: Vec3) -> f32 {
    let (a, b) = (q - from, to - from);
    (a - b * (a.dot(b) / b.dot(b)).clamp(0.0, 1.0)).length()
}

/// The nearest thing along a ray, no farther than `limit`.
pub fn hit(origin: Vec3, direction: Vec3, limit: f32) -> Option<(f32, Part)> {
    let mut t = 0.02;
    for _ in 0..220 {
        let (d, part) = distance(origin + direction * t);
        if d < 0.0004 * t.max(0.5) {
            return Some((t, part));
        }
        t += d;
        if t > limit.min(14.0) {
            return None;
        }
    }
    None
}

/// How much light passes on the way to the sun, 0 to 1.
pub fn sunlight(point: Vec3, sun: Vec3) -> f32 {
    let (mut light, mut t) = (1.0_f32, 0.03);
    for _ in 0..60 {
        let (d, _) = distance(point + sun * t);
        light = light.min(18.0 * d / t);
        if light < 0.005 {
            return 0.0;
        }
        t += d.clamp(0.01, 0.4);
        if t > 8.0 {
            break;
        }
    }
    light
}

/// The direction that a surface faces.
pub fn normal(p: Vec3) -> Vec3 {
    let e = 0.0006;
    let d = |x, y, z| distance(p + vec3(x, y, z)).0;
    let x = d(e, 0.0, 0.0) - d(-e, 0.0, 0.0);
    let y = d(0.0, e, 0.0) - d(0.0, -e, 0.0);
    vec3(x, y, d(0.0, 0.0, e) - d(0.0, 0.0, -e)).normalized()
}

/// Color of a part at a point.
pub fn albedo(p: Vec3, part: Part) -> Vec3 {
    match part {
        Part::Envelope => fabric(p - BALLOON),
        Part::Basket => {
            let q = (p - BALLOON) * 60.0;
            let weave = (q.x + q.z).sin() * (q.y * 1.3).sin();
            vec3(0.30, 0.17, 0.07) * (0.75 + 0.35 * weave)
        }
        Part::Rope => vec3(0.20, 0.16, 0.12),
        Part::Plank => {
            let index = (p.z / PLANK).floor();
            let shade = 0.65 + 0.5 * hash(index as i32, 11);
            let grain = fractal(p.x * 7.0 + index * 3.1, p.z * 90.0, 4);
            let knots = smoothstep(0.80, 0.92, smooth(p.x * 14.0 + index * 7.7, p.z * 30.0));
            vec3(0.33, 0.25, 0.18) * (shade * (0.5 + grain) * (1.0 - 0.45 * knots))
        }
        Part::Post => {
            let grain = fractal((p.x + p.z) * 30.0, p.y * 4.0, 4);
            let wet = 1.0 - 0.6 * smoothstep(0.16, 0.05, p.y);
            vec3(0.24, 0.18, 0.13) * (0.5 + grain) * wet
        }
    }
}

/// Gores in turn red, orange and cream, and a navy belt with letters.
fn fabric(q: Vec3) -> Vec3 {
    let turn = q.x.atan2(-q.z) / std::f32::consts::TAU + 0.5;
    let gore = turn * GORES + 0.5;
    let zigzag = ((gore.fract() - 0.5).abs() - 0.25) * 0.12;
    let latitude = q.y / RADIUS;
    let colors = [
        vec3(0.75, 0.06, 0.05),
        vec3(0.88, 0.36, 0.04),
        vec3(0.90, 0.80, 0.60),
    ];
    let mut color = colors[gore as usize % 3];
    if (latitude + 0.02).abs() < 0.34 {
        color = vec3(0.03, 0.06, 0.20);
        if (latitude + 0.02).abs() > 0.29 || is_letter(turn, latitude) {
            color = vec3(0.93, 0.90, 0.80);
        }
    } else if (latitude.abs() - 0.52 + zigzag).abs() < 0.03 {
        color = vec3(0.93, 0.90, 0.80);
    }
    let seam = smoothstep(
        0.0,
        0.05,
        (gore.fract() - 0.5)
            .abs()
            .min(0.5 - (gore.fract() - 0.5).abs()),
    );
    color * (0.8 + 0.2 * seam)
}

/// Whether a point of the belt lies on one of the letters.
fn is_letter(turn: f32, latitude: f32) -> bool {
    // Four words around, three letters a word, six columns a letter, a gap of a letter.
    let column = (turn * 4.0 + 0.53).rem_euclid(1.0) * 22.0 - 2.0;
    let row = (0.23 - (latitude + 0.02)) / 0.46 * 7.0;
    if !(0.0..18.0).contains(&column) || !(0.0..7.0).contains(&row) {
        return false;
    }
    let (letter, bit) = (column as usize / 6, column as usize % 6);
    bit < 5 && LETTERS[letter][row as usize] >> (4 - bit) & 1 == 1
}
