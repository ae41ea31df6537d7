//! The mountains around the lake: a height field, how rays meet it and what it looks like.

use crate::noise::{fractal, hash, next_octave, smooth, with_slope};
use crate::vector::{Vec3, smoothstep, vec3};

/// Rays that get so far see only sky.
pub const FAR: f32 = 90.0;
/// No summit is higher.
const TOP: f32 = 14.0;
/// Altitude of the lake.
pub const LAKE: f32 = 0.0;

/// Octaves from which on trees stand on the ground.
const WITH_TREES: u32 = 7;
/// Side of the square that one tree stands in.
const TREE_SPACING: f32 = 0.17;

/// Height of what a ray can meet: the ground, and the trees on it where detail is asked for.
pub fn height(x: f32, z: f32, octaves: u32) -> f32 {
    let ground = ground(x, z, octaves);
    if octaves < WITH_TREES {
        return ground;
    }
    ground + tree(x, z, ground)
}

/// Height of the tree at a place, 0 between trees: cones of different sizes.
fn tree(x: f32, z: f32, ground: f32) -> f32 {
    if !(0.10..3.4).contains(&ground) {
        return 0.0;
    }
    let (cx, cz) = ((x / TREE_SPACING).floor(), (z / TREE_SPACING).floor());
    let random = |salt: i32| hash(cx as i32 + salt * 51_787, cz as i32);
    let wood = smooth(x * 0.55 + 3.0, z * 0.55) + 0.35 * smooth(x * 2.3, z * 2.3);
    if random(0) > smoothstep(0.42, 0.75, wood) * (1.0 - smoothstep(2.0, 3.4, ground)) {
        return 0.0;
    }
    let dx = x / TREE_SPACING - cx - 0.35 - 0.3 * random(1);
    let dz = z / TREE_SPACING - cz - 0.35 - 0.3 * random(2);
    let slimness = 1.0 - (dx * dx + dz * dz).sqrt() / 0.36;
    (0.13 + 0.17 * random(3)) * slimness.max(0.0)
}

/// Height of the bare ground; more octaves, more detail.
fn ground(x: f32, z: f32, octaves: u32) -> f32 {
    let (mut px, mut pz) = (x * 0.11 + 3.7, z * 0.11 + 8.3);
    let (mut sum, mut strength) = (0.0, 1.0);
    let (mut dx, mut dz) = (0.0, 0.0);
    for _ in 0..octaves {
        let (n, sx, sz) = with_slope(px, pz);
        dx += sx;
        dz += sz;
        // Steep ground gets less detail, as if it had been washed out.
        sum += strength * n / (1.0 + dx * dx + dz * dz);
        strength *= 0.5;
        (px, pz) = next_octave(px, pz);
    }
    // The lake lies in a valley that opens towards the camera.
    let shore = 12.0 + 3.0 * (x * 0.23).sin() + 1.5 * (x * 0.61 + 1.0).sin();
    let back = smoothstep(shore, shore + 26.0, z);
    let sides = smoothstep(9.0, 34.0, x.abs() + 0.12 * z);
    let rise = (back + 0.7 * sides).min(1.25);
    let shelf = 0.9 * smoothstep(shore - 1.0, shore + 5.0, z);
    let raised = rise * (11.0 * sum - 0.8) + shelf - 0.7 + 0.5 * rise;
    // Summits are pressed down to half, which takes the needles out of the ridges.
    raised.min(6.0) + 0.5 * (raised - 6.0).max(0.0)
}

/// How far along a ray the ground is met.
pub fn hit(origin: Vec3, direction: Vec3) -> Option<f32> {
    let mut t = 0.2;
    for _ in 0..600 {
        let p = origin + direction * t;
        let above = p.y - height(p.x, p.z, WITH_TREES);
        if above < 0.0008 * t {
            return Some(t);
        }
        t += (0.30 * above).clamp(0.0015 * t, 0.05 + 0.008 * t);
        if t > FAR || (p.y > TOP && direction.y > 0.0) {
            return None;
        }
    }
    // A ray that is still far above the ground after so many steps grazes a ridge.
    None
}

/// How much sun reaches a point of the ground, 0 to 1, with soft edges.
pub fn sunlight(point: Vec3, sun: Vec3) -> f32 {
    let (mut light, mut t) = (1.0_f32, 0.08);
    for _ in 0..40 {
        let p = point + sun * t;
        let above = p.y - height(p.x, p.z, 7);
        light = light.min(14.0 * above / t);
        if light < 0.002 || p.y > TOP {
            break;
        }
        t += (0.6 * above).clamp(0.06, 1.6);
    }
    smoothstep(0.0, 1.0, light)
}

/// The direction that the ground faces; `t` is the distance, which bounds the detail.
pub fn normal(p: Vec3, t: f32) -> Vec3 {
    let e = 0.0015 * t;
    let slope_x = height(p.x - e, p.z, 12) - height(p.x + e, p.z, 12);
    let slope_z = height(p.x, p.z - e, 12) - height(p.x, p.z + e, 12);
    vec3(slope_x, 2.0 * e, slope_z).normalized()
}

/// Color of the ground: beach, woods, rock, snow.
pub fn albedo(p: Vec3, normal: Vec3) -> Vec3 {
    let patches = fractal(p.x * 1.7, p.z * 1.7, 5);
    let strata = smooth(p.y * 5.0 + 2.0 * patches, p.x * 0.3);
    let rock = vec3(0.10, 0.085, 0.08).mix(vec3(0.27, 0.22, 0.19), strata * patches * 1.8);
    let crowns = fractal(p.x * 14.0, p.z * 14.0, 3);
    let autumn = smoothstep(0.50, 0.64, fractal(p.x * 0.9 + 40.0, p.z * 0.9, 4));
    let meadow = vec3(0.045, 0.075, 0.02).mix(vec3(0.13, 0.14, 0.045), crowns);
    let woods = meadow.mix(vec3(0.26, 0.16, 0.04), 0.7 * autumn * (0.4 + crowns));
    let tree_line = 2.9 + 1.6 * (patches - 0.5);
    let is_wood =
        smoothstep(0.62, 0.80, normal.y) * (1.0 - smoothstep(tree_line, tree_line + 1.0, p.y));
    let snow_line = 4.3 + 2.4 * (patches - 0.5);
    let is_snow = smoothstep(0.55, 0.72, normal.y + 0.05 * patches)
        * smoothstep(snow_line, snow_line + 0.9, p.y);
    let beach = vec3(0.30, 0.26, 0.20) * (0.6 + 0.7 * patches);
    let ground = rock
        .mix(woods, is_wood)
        .mix(vec3(0.78, 0.82, 0.90), is_snow);
    let land = beach.mix(ground, smoothstep(0.05, 0.16, p.y + 0.08 * patches));
    let up_the_tree = p.y - self::ground(p.x, p.z, 12);
    land.mix(foliage(p, autumn), smoothstep(0.006, 0.02, up_the_tree))
}

/// Color of a tree: conifers, and where it is autumn some larches.
fn foliage(p: Vec3, autumn: f32) -> Vec3 {
    let (cx, cz) = ((p.x / TREE_SPACING).floor(), (p.z / TREE_SPACING).floor());
    let random = hash(cx as i32 + 7, cz as i32 - 31);
    let needles = 0.6 + 0.8 * smooth(p.x * 60.0, p.z * 60.0 + p.y * 40.0);
    let conifer = vec3(0.012, 0.040, 0.016).mix(vec3(0.045, 0.085, 0.022), random);
    let is_larch = if random < 0.15 + 0.75 * autumn {
        1.0
    } else {
        0.0
    };
    conifer.mix(vec3(0.34, 0.17, 0.025), is_larch * (0.3 + 0.7 * autumn)) * needles
}
