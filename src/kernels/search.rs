//! What the encoder's search does to every sample and every latent.
//!
//! Each value is computed by itself, or summed up in integers, so every path gives the same bits.

use half::bf16;

use super::dispatch::{self, on_path};
use crate::format::PATCH8;

/// The squared error of each patch's 192 samples as they are shown (from 0 to 255); patches one after another.
///
/// # Panics
/// When the lengths do not agree.
pub fn squared_errors(decoded: &[f32], original: &[f32], errors: &mut [u32]) {
    assert_eq!(decoded.len(), original.len(), "search: lengths");
    assert_eq!(decoded.len(), errors.len() * PATCH8, "search: errors");
    on_path!(dispatch::active(), <'a> {
        decoded: &'a [f32], original: &'a [f32], errors: &'a mut [u32]
    } => {
        let patches = decoded.chunks_exact(PATCH8).zip(original.chunks_exact(PATCH8));
        for (error, (decoded, original)) in errors.iter_mut().zip(patches) {
            let mut sum = 0;
            for (decoded, original) in decoded.iter().zip(original) {
                sum += squared_error(*decoded, *original);
            }
            *error = sum;
        }
    });
}

/// The squared error of two samples as they are shown, from 0 to 255.
#[inline(always)]
pub fn squared_error(decoded: f32, original: f32) -> u32 {
    let error = shown(decoded).abs_diff(shown(original));
    error * error
}

#[inline(always)]
fn shown(value: f32) -> i32 {
    let value = value.clamp(-0.5, 0.5) * 255.0 + 128.0;
    value as i32
}

/// Writes the slopes of `factor / 2` times the squared errors with respect to decoded samples: those beyond the range
/// are clipped, so they have none.
///
/// # Panics
/// When the lengths do not agree.
pub fn squared_error_slopes(factor: f32, decoded: &[f32], original: &[f32], slopes: &mut [f32]) {
    assert_eq!(decoded.len(), original.len(), "search: lengths");
    assert_eq!(decoded.len(), slopes.len(), "search: slopes");
    on_path!(dispatch::active(), <'a> {
        factor: f32, decoded: &'a [f32], original: &'a [f32], slopes: &'a mut [f32]
    } => {
        for (slope, (decoded, original)) in slopes.iter_mut().zip(decoded.iter().zip(original)) {
            let inside = decoded.abs() <= 0.5;
            *slope = if inside { factor * (decoded - original) } else { 0.0 };
        }
    });
}

/// What the slopes of squared error and those of visual error count.
#[derive(Debug, Clone, Copy)]
pub struct Mixture {
    /// Factor on those of squared error.
    pub squared: f32,
    /// Factor on those of visual error.
    pub visual: f32,
    /// What both together are worth in bits.
    pub bits: f32,
}

/// Writes the slopes of mixed errors with respect to some decoded samples (from 0 to 255; slopes are those of samples
/// from 0 to 1). Gives the sums of squares of the slopes before they are turned into bits, and of those of squared error
/// alone; each is summed up in order.
///
/// # Panics
/// When the lengths do not agree.
pub fn mixed_slopes(
    mixture: Mixture,
    visual: &[f32],
    original: &[u8],
    decoded: &[u8],
    slopes: &mut [bf16],
) -> [f32; 2] {
    let agree = [visual.len(), original.len(), decoded.len()] == [slopes.len(); 3];
    assert!(agree, "search: lengths");
    on_path!(dispatch::active(), <'a> {
        mixture: Mixture, visual: &'a [f32], original: &'a [u8], decoded: &'a [u8], slopes: &'a mut [bf16]
    } -> [f32; 2] => {
        /// Samples that are mixed before they are summed up: sums in order have no vectors.
        const AT_ONCE: usize = 48;
        let mut energy = [0.0f32; 2];
        let (mut of_mixed, mut of_plain) = ([0.0f32; AT_ONCE], [0.0f32; AT_ONCE]);
        let parts = slopes.chunks_mut(AT_ONCE).zip(visual.chunks(AT_ONCE));
        let samples = original.chunks(AT_ONCE).zip(decoded.chunks(AT_ONCE));
        for ((slopes, visual), (original, decoded)) in parts.zip(samples) {
            let squares = of_mixed.iter_mut().zip(&mut of_plain);
            let samples = visual.iter().zip(original.iter().zip(decoded));
            for ((to, squares), (visual, (a, b))) in slopes.iter_mut().zip(squares).zip(samples) {
                let plain = 2.0 * (f32::from(*b) - f32::from(*a)) / 255.0;
                let mixed = mixture.squared * plain + mixture.visual * visual;
                *squares.0 = mixed * mixed;
                *squares.1 = plain * plain;
                *to = bf16::from_f32(mixture.bits * mixed);
            }
            for (mixed, plain) in of_mixed.iter().zip(&of_plain).take(slopes.len()) {
                energy[0] += mixed;
                energy[1] += plain;
            }
        }
        energy
    })
}

/// The latents of one position and what moves them; a number for each channel.
pub struct Latents<'a> {
    /// Normalized values, which are moved.
    pub values: &'a mut [f32],
    /// From them to targets in quantization steps.
    pub factors: &'a [f32],
    /// What they were coded as, normalized.
    pub known: &'a [f32],
    /// Quantization steps.
    pub steps: &'a [f32],
    /// The slopes of the distortion with respect to `known`.
    pub slopes: &'a [f32],
    /// Those of the rate, or none at all.
    pub of_rate: &'a [f32],
    /// What a squared error of a step is worth at an average position.
    pub curvature: &'a [f32],
}

/// How far latents of one position are moved.
#[derive(Debug, Clone, Copy)]
pub struct Stride {
    /// Part of the way to the new targets.
    pub part: f32,
    /// How far against the slopes, relative to the minimum that the curvature promises.
    pub overshoot: f32,
    /// How far against those of the rate at most, in quantization steps.
    pub largest_detour: f32,
    /// How much more or less than on average an error is worth here.
    pub worth: f32,
    /// Latents of which errors are worth no more than this stay.
    pub least: f32,
}

/// Moves targets part of the way to the minimum of a parabola that slopes and curvatures promise.
///
/// # Panics
/// When the lengths do not agree.
pub fn move_latents(latents: Latents<'_>, stride: Stride) {
    let Latents {
        values,
        factors,
        known,
        steps,
        slopes,
        of_rate,
        curvature,
    } = latents;
    let given = [factors, known, steps, slopes, curvature];
    let agree = given.iter().all(|given| given.len() == values.len());
    assert!(agree, "search: lengths");
    let has_rate = of_rate.len() == values.len();
    assert!(has_rate || of_rate.is_empty(), "search: slopes of the rate");
    let constants = [factors, known, steps, curvature];
    on_path!(dispatch::active(), <'a> {
        stride: Stride, values: &'a mut [f32], constants: [&'a [f32]; 4], slopes: &'a [f32], of_rate: &'a [f32]
    } => {
        let count = values.len();
        let [factors, known, steps, curvature] = constants.map(|numbers| &numbers[..count]);
        let slopes = &slopes[..count];
        let number = |channel: usize, of_rate: f32| Latent {
            factor: factors[channel],
            known: known[channel],
            step: steps[channel],
            curvature: stride.worth * curvature[channel],
            slope: slopes[channel],
            of_rate,
        };
        if of_rate.is_empty() {
            for (channel, value) in values.iter_mut().enumerate() {
                *value = number(channel, 0.0).moved(*value, &stride);
            }
        } else {
            let of_rate = &of_rate[..count];
            for (channel, value) in values.iter_mut().enumerate() {
                *value = number(channel, of_rate[channel]).moved(*value, &stride);
            }
        }
    });
}

/// What moves one latent.
struct Latent {
    factor: f32,
    known: f32,
    step: f32,
    curvature: f32,
    slope: f32,
    of_rate: f32,
}

impl Latent {
    #[inline(always)]
    fn moved(self, value: f32, stride: &Stride) -> f32 {
        let descent = self.slope * self.step / (2.0 * self.curvature);
        let of_rate = self.of_rate * self.step / (2.0 * self.curvature);
        let detour = of_rate.clamp(-stride.largest_detour, stride.largest_detour);
        let wanted = self.known / self.step - stride.overshoot * (descent + detour);
        let target = value * self.factor;
        let moved = (target + stride.part * (wanted - target)) / self.factor;
        if self.curvature > stride.least {
            moved
        } else {
            value
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{Random, bits, same_everywhere};

    #[test]
    fn squared_errors_are_of_the_samples_as_they_are_shown() {
        let mut random = Random(7);
        let (decoded, original) = (
            random.values(5 * PATCH8, 0.7),
            random.values(5 * PATCH8, 0.5),
        );
        let sum = |patch: usize| {
            let samples = patch * PATCH8..(patch + 1) * PATCH8;
            let byte = |value: f32| f64::from((value.clamp(-0.5, 0.5) * 255.0 + 128.0).floor());
            let errors = samples.map(|at| (byte(decoded[at]) - byte(original[at])).powi(2));
            errors.sum::<f64>()
        };
        let want: Vec<f64> = (0..5).map(sum).collect();
        same_everywhere(|| {
            let mut errors = vec![0; 5];
            squared_errors(&decoded, &original, &mut errors);
            assert_eq!(
                errors
                    .iter()
                    .map(|error| f64::from(*error))
                    .collect::<Vec<_>>(),
                want
            );
            let mut slopes = vec![0.0; decoded.len()];
            squared_error_slopes(3.0, &decoded, &original, &mut slopes);
            for (slope, (decoded, original)) in slopes.iter().zip(decoded.iter().zip(&original)) {
                let inside = decoded.abs() <= 0.5;
                assert_eq!(
                    *slope,
                    if inside {
                        3.0 * (decoded - original)
                    } else {
                        0.0
                    }
                );
            }
        });
    }

    #[test]
    fn slopes_are_mixed_sample_by_sample() {
        let mut random = Random(11);
        let byte = |random: &mut Random| (random.next() >> 56) as u8;
        let (a, b): (Vec<u8>, Vec<u8>) = (0..131)
            .map(|_| (byte(&mut random), byte(&mut random)))
            .unzip();
        let visual = random.values(131, 2.0);
        let mixture = Mixture {
            squared: 0.65,
            visual: 0.35,
            bits: 100.0,
        };
        let mut sums = [0.0f32; 2];
        let mut want = Vec::new();
        for ((a, b), visual) in a.iter().zip(&b).zip(&visual) {
            let plain = 2.0 * (f32::from(*b) - f32::from(*a)) / 255.0;
            let mixed = 0.65 * plain + 0.35 * visual;
            sums = [sums[0] + mixed * mixed, sums[1] + plain * plain];
            want.push(bf16::from_f32(100.0 * mixed));
        }
        same_everywhere(|| {
            let mut slopes = vec![bf16::ZERO; 131];
            let found = mixed_slopes(mixture, &visual, &a, &b, &mut slopes);
            assert!(slopes == want && bits(&found) == bits(&sums));
        });
    }

    #[test]
    fn latents_go_to_the_minimum_of_a_parabola() {
        const CHANNELS: usize = 37;
        let mut random = Random(9);
        let mut positive = |least: f32| {
            let values = random.values(CHANNELS, 1.0);
            values
                .iter()
                .map(|value| least + value.abs())
                .collect::<Vec<_>>()
        };
        let (factors, steps) = (positive(0.5), positive(0.1));
        let mut curvature = positive(0.2);
        curvature[5] = 1e-9;
        let (known, wanted) = (random.values(CHANNELS, 4.0), random.values(CHANNELS, 4.0));
        let worth = 2.0;
        // Of `worth * curvature * (value / step - wanted)^2`.
        let slope = |at: usize| {
            2.0 * worth * curvature[at] * (known[at] / steps[at] - wanted[at]) / steps[at]
        };
        let slopes: Vec<f32> = (0..CHANNELS).map(slope).collect();
        let before = random.values(CHANNELS, 4.0);
        let moved = |part: f32, of_rate: &[f32]| {
            let mut values = before.clone();
            let latents = Latents {
                values: &mut values,
                factors: &factors,
                known: &known,
                steps: &steps,
                slopes: &slopes,
                of_rate,
                curvature: &curvature,
            };
            let stride = Stride {
                part,
                overshoot: 1.0,
                largest_detour: 0.5,
                worth,
                least: 1e-6,
            };
            move_latents(latents, stride);
            values
        };
        for (at, value) in moved(1.0, &[]).into_iter().enumerate() {
            let want = if at == 5 {
                before[at]
            } else {
                wanted[at] / factors[at]
            };
            assert!((value - want).abs() < 1e-3, "{at}: {value} {want}");
        }
        // However steep the rate is, it carries a latent half a step away.
        for (at, value) in moved(1.0, &[1e9; CHANNELS]).into_iter().enumerate() {
            let want = if at == 5 {
                before[at]
            } else {
                (wanted[at] - 0.5) / factors[at]
            };
            assert!((value - want).abs() < 1e-3, "{at}: {value} {want}");
        }
        same_everywhere(|| bits(&moved(0.3, &before)));
    }
}
