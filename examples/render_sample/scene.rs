//! Light: the sky, the sun, and what a ray sees.

use crate::noise::{fractal, with_slope};
use crate::objects;
use crate::terrain;
use crate::vector::{Vec3, smoothstep, vec3};

/// Where the camera stands.
pub const CAMERA: Vec3 = vec3(0.0, 0.95, 0.0);
/// Tilt of the camera, as the tangent of the angle upwards.
const TILT: f32 = 0.13;
/// Distance of the picture plane, in picture heights.
const FOCAL: f32 = 0.98;
/// Light of the sun and of the sky.
const SUN_LIGHT: Vec3 = vec3(3.1, 2.25, 1.45);
const SKY_LIGHT: Vec3 = vec3(0.22, 0.31, 0.47);
/// Altitude of the clouds.
const CLOUDS: f32 = 17.0;

/// Towards the sun.
fn sun() -> Vec3 {
    vec3(-0.74, 0.40, -0.16).normalized()
}

/// The direction through a point of the picture plane; `u` to the right, `v` up, in picture heights.
pub fn view_direction(u: f32, v: f32) -> Vec3 {
    let forward = vec3(0.0, TILT, 1.0).normalized();
    let up = vec3(0.0, 1.0, -TILT).normalized();
    (forward * FOCAL + vec3(u, 0.0, 0.0) + up * v).normalized()
}

/// The light that comes back along a ray.
pub fn radiance(origin: Vec3, direction: Vec3) -> Vec3 {
    trace(origin, direction, true)
}

/// Follows a ray to the nearest surface; water is followed further once.
fn trace(origin: Vec3, direction: Vec3, with_water: bool) -> Vec3 {
    let ground = terrain::hit(origin, direction).unwrap_or(f32::MAX);
    let lake = if with_water && direction.y < 0.0 {
        (terrain::LAKE - origin.y) / direction.y
    } else {
        f32::MAX
    };
    let limit = ground.min(lake);
    if let Some((t, part)) = objects::hit(origin, direction, limit) {
        return shade_object(origin + direction * t, direction, part);
    }
    if limit >= terrain::FAR {
        return sky(direction);
    }
    let point = origin + direction * limit;
    let seen = if lake < ground {
        shade_water(point, direction, lake)
    } else {
        shade_ground(point, ground)
    };
    haze(seen, direction, limit)
}

fn shade_object(point: Vec3, direction: Vec3, part: objects::Part) -> Vec3 {
    let normal = objects::normal(point);
    let color = objects::albedo(point, part);
    let facing = normal.dot(sun()).max(0.0);
    let lit = facing * objects::sunlight(point + normal * 0.004, sun());
    let open = 0.55 + 0.45 * normal.y;
    let bounce = vec3(0.10, 0.09, 0.07) * (0.5 - 0.5 * normal.y);
    let mut light = SUN_LIGHT * lit + SKY_LIGHT * open + bounce;
    if part == objects::Part::Envelope {
        // Sunlight through the fabric.
        light = light + SUN_LIGHT * 0.10;
    }
    let shine = direction.reflected(normal).dot(sun()).max(0.0).powf(24.0) * lit;
    color.tinted(light) + SUN_LIGHT * (0.05 * shine)
}

fn shade_ground(point: Vec3, t: f32) -> Vec3 {
    let normal = terrain::normal(point, t);
    let facing = normal.dot(sun()).max(0.0);
    let lit = if facing > 0.0 {
        facing * terrain::sunlight(point, sun())
    } else {
        0.0
    };
    let back = vec3(-sun().x, 0.0, -sun().z).normalized();
    let bounce = normal.dot(back).max(0.0) * 0.16;
    let light = SUN_LIGHT * (lit + bounce * 0.6) + SKY_LIGHT * (0.45 + 0.55 * normal.y);
    terrain::albedo(point, normal).tinted(light)
}

/// Water: mirrors what is above, more so at a flat angle; between, its own dark green.
fn shade_water(point: Vec3, direction: Vec3, t: f32) -> Vec3 {
    let normal = ripples(point, t);
    let mut mirrored = direction.reflected(normal);
    mirrored.y = mirrored.y.abs().max(0.002);
    let facing = -direction.dot(normal);
    let share = 0.03 + 0.97 * (1.0 - facing.clamp(0.0, 1.0)).powi(5);
    let depth = smoothstep(
        0.0,
        1.1,
        terrain::LAKE - terrain::height(point.x, point.z, 6),
    );
    let shallow = vec3(0.16, 0.20, 0.13);
    let below = shallow.mix(vec3(0.012, 0.055, 0.065), depth);
    let shadow = 0.35 + 0.65 * objects::sunlight(point + vec3(0.0, 0.01, 0.0), sun());
    let glint = mirrored.normalized().dot(sun()).max(0.0).powf(180.0);
    let seen = trace(point + vec3(0.0, 0.003, 0.0), mirrored.normalized(), false);
    (below * shadow).mix(seen, share) + SUN_LIGHT * (1.5 * glint)
}

/// The direction that the water faces; waves fade with distance, where a pixel averages them.
fn ripples(point: Vec3, t: f32) -> Vec3 {
    let gusts = 0.35 + 0.9 * smoothstep(0.38, 0.62, fractal(point.x * 0.16, point.z * 0.35, 3));
    let (mut x, mut z) = (0.0, 0.0);
    for (scale, strength) in [(2.1, 0.020), (5.3, 0.020), (13.0, 0.016), (31.0, 0.010)] {
        let fade = 1.0 / (1.0 + (0.012 * scale * t).powi(2));
        let (_, dx, dz) = with_slope(point.x * scale * 0.55 + 9.0, point.z * scale + scale);
        x += strength * fade * dx;
        z += strength * fade * dz;
    }
    vec3(-x * gusts, 1.0, -z * gusts).normalized()
}

/// Air: far things turn to the color of the sky at the horizon.
fn haze(color: Vec3, direction: Vec3, t: f32) -> Vec3 {
    let towards_sun = direction.dot(sun()).max(0.0);
    let air = vec3(0.50, 0.60, 0.74).mix(vec3(0.95, 0.75, 0.55), 0.25 + 0.6 * towards_sun.powi(3));
    color.mix(air, 1.0 - (-0.00013 * t * t - 0.003 * t).exp())
}

/// Gradient from the warm horizon to blue, with clouds.
fn sky(direction: Vec3) -> Vec3 {
    let up = direction.y.max(0.0);
    let towards_sun = direction.dot(sun()).max(0.0);
    let clear = vec3(0.86, 0.74, 0.62).mix(vec3(0.42, 0.60, 0.86), smoothstep(0.0, 0.30, up));
    let clear = clear.mix(vec3(0.13, 0.30, 0.64), smoothstep(0.15, 0.85, up));
    let glow = vec3(1.0, 0.72, 0.42) * (0.30 * towards_sun.powi(6));
    let color = clear + glow;
    if up < 0.015 {
        return color;
    }
    let at = direction * (CLOUDS / up);
    let (x, z) = (at.x * 0.045 + 1.3, at.z * 0.060 + 0.4);
    let bend = fractal(x * 0.7 + 5.0, z * 0.7, 3);
    let density = |dx: f32| fractal(x + 1.1 * bend + dx, z + 0.4 * bend, 7);
    let cover = smoothstep(0.44, 0.70, density(0.0));
    let lit = smoothstep(-0.10, 0.14, density(0.0) - density(-0.10));
    let cloud = vec3(0.62, 0.62, 0.70).mix(vec3(1.18, 1.02, 0.90), lit);
    color.mix(cloud, cover * smoothstep(0.015, 0.16, up) * 0.92)
}
