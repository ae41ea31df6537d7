//! The pointwise (1x1) convolution: one matrix product per picture
//! (spec: Arithmetic).

use super::lanes::IntegerLanes;
use super::layer::{Output, Pointwise, Residual};
use super::matrix::PANEL;
use super::session::Session;
use super::unit::{Kernel, Meanwhile, Pixels, Place, STAGE_ROWS, Stage, Unit};
use crate::kernels::aligned::AlignedBuffer;
use crate::kernels::check_length;
use crate::kernels::dispatch;
use crate::kernels::lanes::Lanes;
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;

/// Most pixels per parallel task.
const CHUNK: usize = 192;

/// Pixels per parallel task are a multiple of this, and so of every block.
const CHUNK_STEP: usize = 48;

/// Bytes of activations that stay in the first-level cache while one panel
/// after another passes over them.
const GROUP_BYTES: usize = 24 << 10;

/// `out = [act](sum * multiplier + bias) [+ residual]` for every pixel
/// (see [`super`]). Parallel.
///
/// `x` is `[pixels, inputs]`, `out` and the residual are `[pixels, outputs]`;
/// the number of pixels follows from `out` and may be zero.
///
/// # Panics
/// When the lengths do not agree.
pub fn pointwise(
    x: &[i16],
    layer: &Pointwise,
    activate: bool,
    residual: Option<Residual<'_>>,
    out: Output<'_>,
) {
    let path = dispatch::active();
    let pixels = check(x, layer, residual, &out);
    let chunk = pixels_per_task(pixels, CHUNK);
    if pixels <= chunk {
        let session = Session::begin(path);
        return pointwise_chunk(&session, x, layer, activate, residual, out);
    }
    let outs = out.chunks(chunk * layer.outputs());
    outs.into_par_iter().enumerate().for_each(|(index, out)| {
        let x = &x[index * chunk * layer.inputs()..];
        let x = &x[..out.len() / layer.outputs() * layer.inputs()];
        let residual = residual.map(|residual| Residual {
            values: &residual.values[index * chunk * layer.outputs()..][..out.len()],
            ..residual
        });
        let session = Session::begin(path);
        pointwise_chunk(&session, x, layer, activate, residual, out);
    });
}

/// Pixels per parallel task, of which there are at most `most`: every thread gets its share.
pub(super) fn pixels_per_task(pixels: usize, most: usize) -> usize {
    let share = pixels.div_ceil(rayon::current_num_threads());
    share.next_multiple_of(CHUNK_STEP).clamp(CHUNK_STEP, most)
}

/// [`pointwise`] of a few pixels (tens to hundreds) on this thread.
pub(super) fn pointwise_chunk(
    session: &Session,
    x: &[i16],
    layer: &Pointwise,
    activate: bool,
    residual: Option<Residual<'_>>,
    out: Output<'_>,
) {
    let pixels = check(x, layer, residual, &out);
    let inverse = out.inverse();
    PREPARED.with(|kept| {
        let mut prepared = kept.take();
        session.run(Chunk {
            x,
            pixels,
            layer,
            prepared: &mut prepared,
            finish: Finish {
                layer,
                inverse,
                activate,
                residual,
                out,
            },
        });
        kept.set(prepared);
    });
}

/// The number of pixels; panics unless all slices hold as many.
fn check(x: &[i16], layer: &Pointwise, residual: Option<Residual<'_>>, out: &Output<'_>) -> usize {
    let pixels = out.len() / layer.outputs();
    check_length(
        out.len(),
        [pixels, layer.outputs()],
        "pointwise: output length",
    );
    check_length(x.len(), [pixels, layer.inputs()], "pointwise: input length");
    if let Some(Residual { values, .. }) = residual {
        check_length(values.len(), [out.len()], "pointwise: residual length");
    }
    pixels
}

thread_local! {
    /// Each thread's memory for prepared pixels.
    static PREPARED: Cell<AlignedBuffer<i8>> = Cell::default();
}

/// A pointwise convolution of some pixels; lengths agree (checked above).
struct Chunk<'a> {
    x: &'a [i16],
    pixels: usize,
    layer: &'a Pointwise,
    prepared: &'a mut AlignedBuffer<i8>,
    finish: Finish<'a>,
}

/// The sums of one block, those of the high and of the low parts of weights.
type Stages = [Stage; 2];

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<U: Unit>(mut self) {
        const { assert!(U::BLOCK <= STAGE_ROWS) };
        let inputs = self.layer.inputs();
        let blocks = GROUP_BYTES / (U::pixel_bytes(inputs) * U::BLOCK);
        let group = U::BLOCK * blocks.max(1);
        let mut stages = [0; 2].map(|_| [Stage::zeros(), Stage::zeros()]);
        let [mut now, mut last] = stages.each_mut();
        let mut waiting = None;
        for start in (0..self.pixels).step_by(group) {
            let count = group.min(self.pixels - start);
            let x = &self.x[start * inputs..][..count * inputs];
            // SAFETY: places are those of pixels and panels that exist; the
            // rest is this function's contract.
            unsafe {
                U::prepare(x, inputs, &self.layer.used, self.prepared);
                let pixels = Pixels {
                    x,
                    inputs,
                    used: &self.layer.used,
                    prepared: self.prepared.values(),
                };
                for panel in 0..self.layer.outputs().div_ceil(PANEL) {
                    for first in (0..count).step_by(U::BLOCK) {
                        let rows = U::BLOCK.min(count - first);
                        let at = Place { first, rows, panel };
                        let [high, low] = now;
                        // The block before, whose sums are ready.
                        let mut meanwhile = FinishBlock {
                            finish: &mut self.finish,
                            at: waiting,
                            stages: last,
                        };
                        U::sums(pixels, at, &self.layer.high, high, &mut meanwhile);
                        if let Some(weights) = &self.layer.low {
                            U::sums(pixels, at, weights, low, &mut ());
                        }
                        let first = start + first;
                        waiting = Some(Place { first, rows, panel });
                        std::mem::swap(&mut now, &mut last);
                    }
                }
            }
        }
        if let Some(at) = waiting {
            // SAFETY: as above.
            unsafe { self.finish.rows::<U>(at, 0..at.rows, last) };
        }
    }
}

/// What follows the sums.
struct Finish<'a> {
    layer: &'a Pointwise,
    /// Steps of the output per unit.
    inverse: f32,
    activate: bool,
    residual: Option<Residual<'a>>,
    out: Output<'a>,
}

/// The rest of the work on a block whose sums are ready, if there is one.
struct FinishBlock<'a, 'b> {
    finish: &'a mut Finish<'b>,
    at: Option<Place>,
    stages: &'a Stages,
}

impl Meanwhile for FinishBlock<'_, '_> {
    #[inline(always)]
    unsafe fn rows<U: Unit>(&mut self, rows: Range<usize>) {
        if let Some(at) = self.at {
            let rows = rows.start..rows.end.min(at.rows);
            // SAFETY: the place is one of the output; the rest is the contract.
            unsafe { self.finish.rows::<U>(at, rows, self.stages) }
        }
    }
}

impl Finish<'_> {
    /// Writes the outputs of some rows of a block of sums.
    ///
    /// # Safety
    /// The CPU has the instruction set of `U`, and the place is one of the output.
    #[inline(always)]
    unsafe fn rows<U: Unit>(&mut self, at: Place, rows: Range<usize>, stages: &Stages) {
        let is_wide = self.layer.low.is_some();
        // SAFETY: the same contract.
        unsafe {
            match (is_wide, self.activate, self.residual.is_some()) {
                (false, false, false) => self.rows_of::<U, false, false, false>(at, rows, stages),
                (false, false, true) => self.rows_of::<U, false, false, true>(at, rows, stages),
                (false, true, false) => self.rows_of::<U, false, true, false>(at, rows, stages),
                (false, true, true) => self.rows_of::<U, false, true, true>(at, rows, stages),
                (true, false, false) => self.rows_of::<U, true, false, false>(at, rows, stages),
                (true, false, true) => self.rows_of::<U, true, false, true>(at, rows, stages),
                (true, true, false) => self.rows_of::<U, true, true, false>(at, rows, stages),
                (true, true, true) => self.rows_of::<U, true, true, true>(at, rows, stages),
            }
        }
    }

    /// [`Finish::rows`] for a kind of layer.
    ///
    /// # Safety
    /// As there; the kind is that of this layer.
    #[inline(always)]
    unsafe fn rows_of<U: Unit, const WIDE: bool, const ACTIVATE: bool, const RESIDUAL: bool>(
        &mut self,
        at: Place,
        rows: Range<usize>,
        stages: &Stages,
    ) {
        let column = at.panel * PANEL;
        let outputs = self.layer.outputs();
        let count = PANEL.min(outputs - column);
        for pair in (0..PANEL).step_by(2 * U::Lanes::COUNT) {
            // SAFETY: the pair of vectors is inside of the panel.
            let constants = unsafe { self.constants::<U::Lanes>(column, pair) };
            for row in rows.clone() {
                let start = (at.first + row) * outputs + column + pair;
                // SAFETY: the row is one of the block and of the output; all
                // columns exist, or those that do are copied.
                unsafe {
                    let values = constants.values::<U, WIDE, ACTIVATE>(stages, row, pair);
                    if pair + 2 * U::Lanes::COUNT <= count {
                        self.store_whole::<_, RESIDUAL>(&constants, values, start);
                    } else if pair < count {
                        self.store_part(&constants, values, start, count - pair);
                    }
                }
            }
        }
    }

    /// What two vectors of outputs from `column + pair` on need, in steps of
    /// the output.
    ///
    /// # Safety
    /// The CPU has the instruction set of `V`; the vectors are in a panel.
    #[inline(always)]
    unsafe fn constants<V: IntegerLanes>(&self, column: usize, pair: usize) -> Constants<V> {
        let (multiplier, bias) = self.layer.rescale.panel(column);
        let residual = match self.residual {
            Some(residual) => residual.scale.value(),
            None => 0.0,
        };
        // SAFETY: inside of the panel (contract).
        unsafe {
            let inverse = V::splat(self.inverse);
            let high = V::splat(256.0);
            let multiplier = two_vectors::<V>(multiplier.as_ptr().add(pair), inverse);
            Constants {
                multiplier,
                high: [multiplier[0].times(high), multiplier[1].times(high)],
                bias: two_vectors(bias.as_ptr().add(pair), inverse),
                slope: V::splat(0.25 / self.inverse),
                half: V::splat(0.5),
                residual: V::splat(residual * self.inverse),
            }
        }
    }

    /// Adds the residual and stores two vectors at `start`.
    ///
    /// # Safety
    /// The CPU has the instruction set of `V`; the output goes on for as long.
    #[inline(always)]
    unsafe fn store_whole<V: IntegerLanes, const RESIDUAL: bool>(
        &mut self,
        constants: &Constants<V>,
        mut values: [V; 2],
        start: usize,
    ) {
        // SAFETY: in the output (contract) and the residual, which is as long.
        unsafe {
            if let (true, Some(residual)) = (RESIDUAL, self.residual) {
                values = constants.plus_residual(values, residual.values.as_ptr().add(start));
            }
            match &mut self.out {
                Output::Integer(out, _) => {
                    V::store_integers(values[0], values[1], out.as_mut_ptr().add(start));
                }
                Output::Real(out) => {
                    let to = out.as_mut_ptr().add(start);
                    values[0].store(to);
                    values[1].store(to.add(V::COUNT));
                }
            }
        }
    }

    /// Adds the residual and stores the first `count` values at `start`, where
    /// fewer than two vectors of outputs are left.
    #[cold]
    #[inline(always)]
    fn store_part<V: IntegerLanes>(
        &mut self,
        constants: &Constants<V>,
        mut values: [V; 2],
        start: usize,
        count: usize,
    ) {
        // SAFETY: arrays of PANEL numbers hold two vectors, which exist, so
        // the CPU has their instruction set.
        unsafe {
            if let Some(residual) = self.residual {
                let mut some = [0; PANEL];
                some[..count].copy_from_slice(&residual.values[start..][..count]);
                values = constants.plus_residual(values, some.as_ptr());
            }
            match &mut self.out {
                Output::Integer(out, _) => {
                    let mut all = [0; PANEL];
                    V::store_integers(values[0], values[1], all.as_mut_ptr());
                    out[start..][..count].copy_from_slice(&all[..count]);
                }
                Output::Real(out) => {
                    let mut all = [0.0; PANEL];
                    values[0].store(all.as_mut_ptr());
                    values[1].store(all.as_mut_ptr().add(V::COUNT));
                    out[start..][..count].copy_from_slice(&all[..count]);
                }
            }
        }
    }
}

/// Two vectors, multiplied.
///
/// # Safety
/// They are readable, and the CPU has the instruction set of `V`.
#[inline(always)]
unsafe fn two_vectors<V: IntegerLanes>(from: *const f32, factor: V) -> [V; 2] {
    // SAFETY: the contract.
    unsafe {
        [
            V::load(from).times(factor),
            V::load(from.add(V::COUNT)).times(factor),
        ]
    }
}

/// What the values of two vectors of outputs are made with, in steps of the
/// output: scaling by a power of two does not change what rounds how.
struct Constants<V> {
    multiplier: [V; 2],
    /// Of the sums of the high parts.
    high: [V; 2],
    bias: [V; 2],
    /// A quarter of a unit.
    slope: V,
    half: V,
    /// Steps of the output per step of the residual.
    residual: V,
}

impl<V: IntegerLanes> Constants<V> {
    /// The values of two vectors before the residual is added.
    ///
    /// # Safety
    /// The CPU has the instruction set of `U`; the row and the columns are in
    /// the stages.
    #[inline(always)]
    unsafe fn values<U: Unit<Lanes = V>, const WIDE: bool, const ACTIVATE: bool>(
        &self,
        stages: &Stages,
        row: usize,
        pair: usize,
    ) -> [V; 2] {
        // SAFETY: in the stages (contract).
        let mut values = unsafe {
            [
                U::values(&stages[0], row, pair),
                U::values(&stages[0], row, pair + V::COUNT),
            ]
        };
        for (index, value) in values.iter_mut().enumerate() {
            let (multiplier, bias) = (self.multiplier[index], self.bias[index]);
            *value = if WIDE {
                let column = pair + index * V::COUNT;
                // SAFETY: as above.
                let low = unsafe { U::values(&stages[1], row, column) };
                let low = low.times(multiplier).plus(bias);
                value.times(self.high[index]).plus(low)
            } else {
                value.times(multiplier).plus(bias)
            };
            if ACTIVATE {
                let ramp = value.exact_times_plus(self.slope, self.half);
                *value = value.gated(ramp);
            }
        }
        values
    }

    /// Adds `2 * COUNT` values of the residual.
    ///
    /// # Safety
    /// They are readable, and the CPU has the instruction set of `V`.
    #[inline(always)]
    unsafe fn plus_residual(&self, [low, high]: [V; 2], from: *const i16) -> [V; 2] {
        // SAFETY: readable (contract).
        let residual = unsafe { [V::load_integers(from), V::load_integers(from.add(V::COUNT))] };
        [
            residual[0].exact_times_plus(self.residual, low),
            residual[1].exact_times_plus(self.residual, high),
        ]
    }
}
