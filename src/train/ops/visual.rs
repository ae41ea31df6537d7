//! The visual error (`metrics::visual`) and its gradient in parts, as a GPU computes them, where the CPU has one function
//! for all of it.
//!
//! Planes are flat; a pair of planes `[2, positions]` is that of the original pictures before that of the decoded ones.

use candle_core::{Result, Tensor, bail};

use super::call::Call;
use crate::format::{PATCH, PATCH8};
use crate::kernels::similarity::MAPS;
use crate::metrics::visual::{ALIGNMENT, PLANES, SCALES, planes_of, weights};
use crate::train::cuda::{Kernel, Parts, Visual};

/// Moments of a pair of planes: means of a, b, a² + b² and ab.
const MOMENTS: usize = 4;

/// What an error of maps gives: itself, and what each map's values and their cubes count.
const ERRORS: usize = 1 + 2 * MAPS;

/// The error of each picture `[batch]` between patches `[batch, h, w, 192]`, and its gradient with respect to `decoded`.
///
/// # Errors
/// When the sides are no multiples of 16 pixels or an operation fails.
pub fn compare(decoded: &Tensor, original: &Tensor) -> Result<(Tensor, Tensor)> {
    let (batch, rows, columns, _) = decoded.dims4()?;
    let (height, width) = (rows * PATCH, columns * PATCH);
    if height % ALIGNMENT != 0 || width % ALIGNMENT != 0 {
        bail!("the visual error of {width}x{height} pixels");
    }
    let both = Tensor::cat(&[original, decoded], 0)?;
    let shape = (3, both.elem_count() / 3);
    let mut light = run(Visual::Light(height, width), shape, [&both])?;
    let mut size = Size {
        batch,
        height,
        width,
    };
    let weights = all_weights(decoded)?;
    let (mut scales, mut errors) = (Vec::with_capacity(SCALES), Vec::new());
    for scale in 0..SCALES {
        if scale > 0 {
            let shape = (3, light.elem_count() / 3 / 4);
            light = run(Visual::Halved(size.width), shape, [&light])?;
            size = size.halved();
        }
        let opponent = run(Visual::Opponent, light.shape(), [&light])?;
        let mut planes = Vec::new();
        for plane in planes_of(scale) {
            let pair = opponent.get(plane)?.reshape((2, size.positions()))?;
            let first_weight = (scale * PLANES + plane) * MAPS * 2;
            let maps = Maps::new(pair, size, (&weights, first_weight))?;
            errors.push(maps.errors.get(0)?);
            planes.push(maps);
        }
        let light = light.clone();
        scales.push(Scale {
            size,
            light,
            planes,
        });
    }
    let errors = Tensor::stack(&errors, 0)?.sum(0)?;
    let mut of_light = None;
    while let Some(scale) = scales.pop() {
        of_light = Some(scale.gradient(of_light)?);
    }
    let Some(of_light) = of_light else {
        bail!("the visual error has no scales");
    };
    let gradient = Visual::LightGradient(height, width);
    let shape = (batch, rows, columns, PATCH8);
    Ok((errors, run(gradient, shape, [decoded, &of_light])?))
}

fn run<const N: usize>(
    part: Visual,
    shape: impl Into<candle_core::Shape>,
    inputs: [&Tensor; N],
) -> Result<Tensor> {
    Call::new(Kernel::Visual(part), shape).run(inputs)
}

/// The weights of all maps, `[scale, plane, map, 2]`, on the device of `like`.
fn all_weights(like: &Tensor) -> Result<Tensor> {
    let of_scale = |scale| (0..PLANES).map(move |plane| weights(scale, plane));
    let maps = (0..SCALES).flat_map(of_scale).flatten();
    let values: Vec<f32> = maps.flatten().map(|weight| weight as f32).collect();
    Tensor::from_vec(values, SCALES * PLANES * MAPS * 2, like.device())
}

/// Pictures at one scale.
#[derive(Debug, Clone, Copy)]
struct Size {
    batch: usize,
    height: usize,
    width: usize,
}

impl Size {
    /// Of all pictures.
    fn positions(self) -> usize {
        self.batch * self.height * self.width
    }

    fn halved(self) -> Self {
        Self {
            height: self.height / 2,
            width: self.width / 2,
            ..self
        }
    }
}

/// One scale of all pictures.
struct Scale {
    size: Size,
    /// Light of the original and of the decoded pictures, `[3, 2 positions]`.
    light: Tensor,
    planes: Vec<Maps>,
}

impl Scale {
    /// The gradient with respect to the decoded pictures' light `[3, positions]`; `coarser` is that at half the size.
    fn gradient(self, coarser: Option<Tensor>) -> Result<Tensor> {
        let size = self.size;
        let of_planes = self.planes.iter().map(|maps| maps.gradient(size));
        let of_planes = Tensor::stack(&of_planes.collect::<Result<Vec<_>>>()?, 0)?;
        let kernel = Visual::OpponentGradient {
            planes: self.planes.len(),
            width: size.width,
        };
        let shape = (3, size.positions());
        match coarser {
            Some(coarser) => run(kernel, shape, [&self.light, &of_planes, &coarser]),
            None => run(kernel, shape, [&self.light, &of_planes]),
        }
    }
}

/// A pair of planes, compared.
struct Maps {
    pair: Tensor,
    moments: Tensor,
    /// `[ERRORS, batch]`.
    errors: Tensor,
}

impl Maps {
    /// Compares a pair; the weights of its maps are the first of `weights` from an index on.
    fn new(pair: Tensor, size: Size, (weights, first_weight): (&Tensor, usize)) -> Result<Self> {
        let (m, positions) = (size.positions(), size.height * size.width);
        let across = run(Visual::MomentsAcross(size.width), (MOMENTS, m), [&pair])?;
        let down = Visual::WindowDown(size.height, size.width);
        let moments = run(down, (MOMENTS, m), [&across])?;
        let maps = run(Visual::Maps, (2 * MAPS, m), [&pair, &moments])?;
        let sums = Kernel::RowSums(Parts {
            columns: positions,
            parts: 1,
        });
        let sums = Call::new(sums, (2 * MAPS, size.batch)).run([&maps])?;
        let errors = Visual::Errors {
            positions,
            first_weight,
        };
        Ok(Self {
            errors: run(errors, (ERRORS, size.batch), [&sums, weights])?,
            pair,
            moments,
        })
    }

    /// The gradient with respect to the decoded plane, `[positions]`.
    fn gradient(&self, size: Size) -> Result<Tensor> {
        let m = size.positions();
        let counted = self.errors.narrow(0, 1, ERRORS - 1)?;
        let slopes = Visual::MapSlopes(size.height * size.width);
        let slopes = run(slopes, (MOMENTS, m), [&self.pair, &self.moments, &counted])?;
        let of_moments = slopes.narrow(0, 0, MOMENTS - 1)?;
        let shape = of_moments.shape().clone();
        let across = Visual::WindowAcross(size.height, size.width);
        let across = run(across, &shape, [&of_moments])?;
        let down = Visual::WindowDown(size.height, size.width);
        let windowed = run(down, &shape, [&across])?;
        let direct = slopes.get(MOMENTS - 1)?;
        run(Visual::PlaneGradient, m, [&self.pair, &windowed, &direct])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::cuda::tests::emulation::emulator;
    use crate::train::ops::tape::recorded;
    use crate::train::visual::visual_error;
    use candle_core::{Device, Var};

    /// Patches of a picture with edges and noise, some of it beyond what is shown.
    fn patches(noise: f32, seed: u32) -> Result<Tensor> {
        let shape = (2, 4, 6, PATCH8);
        let mut state = seed;
        let mut value = |i: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let random = (state >> 8) as f32 / 16_777_216.0 - 0.5;
            ((i / 40) as f32 * 0.13).sin() * 0.45 + noise * random
        };
        let values: Vec<f32> = (0..2 * 4 * 6 * PATCH8).map(&mut value).collect();
        Tensor::from_vec(values, shape, &Device::Cpu)
    }

    #[test]
    fn the_parts_give_what_the_whole_does() -> Result<()> {
        if emulator().is_none() {
            return Ok(());
        }
        let original = patches(0.05, 1)?;
        let decoded = Var::from_tensor(&patches(0.25, 2)?)?;
        let (want, tape) = recorded(|| visual_error(decoded.as_tensor(), &original))?;
        let mut gradients = tape.backward(&want, 1.0)?;
        let want_gradient = gradients.take(decoded.id()).expect("it has a gradient");
        let (found, gradient) = compare(&decoded.as_tensor().detach(), &original)?;
        for (found, want) in found.to_vec1::<f32>()?.iter().zip(want.to_vec1::<f32>()?) {
            assert!((found / want - 1.0).abs() < 1e-4, "{found} {want}");
        }
        let flat = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let (found, want) = (flat(&gradient)?, flat(&want_gradient)?);
        let largest = want.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
        for (i, (found, want)) in found.iter().zip(&want).enumerate() {
            let is_close = (found - want).abs() < 1e-3 * largest;
            assert!(is_close, "value {i}: {found}, on the CPU {want}");
        }
        Ok(())
    }
}
