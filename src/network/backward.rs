//! Layers that a gradient passes backwards, in integers: the model's own weights transposed and rounded anew.
//!
//! Nobody has measured how large the tensors of a gradient become. Where one is there as a whole, its scale follows from
//! its largest value ([`Slopes`]). A gradient that comes a few rows at a time has scales before it is there: those
//! that a part of the picture needed ([`BackwardScales`]).

use super::config::LayerKind;
use super::integer::{IntegerConvolution, IntegerWeights};
use super::layers::{Block, pack, pack_depthwise};
use crate::error::Result;
use crate::kernels::integer::{
    BackwardLayers, BackwardScales, BlockGradient, Depthwise, Output, Pointwise, Residual, Scale,
    Window, depthwise3x3, multiply_by_slope, pointwise, quantize,
};

/// A layer on the way back, for integers that stand for themselves.
pub(super) struct Backward(Pointwise);

/// A block on the way back: its layers transposed and turned.
pub(super) struct BackwardBlock {
    w4: Backward,
    w3: Backward,
    w2: Backward,
    /// For integers that stand for themselves.
    dw: Depthwise,
    /// The largest sum of a channel's taps.
    reach: f32,
    w1: Backward,
}

/// A tensor of a gradient that is there as a whole.
pub(super) struct Slopes {
    pub values: Vec<i16>,
    pub scale: Scale,
}

impl Slopes {
    /// The real numbers, each times the gain of its channel.
    pub fn gained(&self, gain: &[f32]) -> Self {
        let scale = self.scale.value();
        let values = self.values.iter().zip(gain.iter().cycle());
        let gained: Vec<f32> = values
            .map(|(v, gain)| f32::from(*v) * scale * gain)
            .collect();
        Self::of(&gained)
    }

    /// Real numbers, with room for twice the largest.
    pub fn of(values: &[f32]) -> Self {
        let scale = fitting(
            values
                .iter()
                .fold(0f32, |most, value| most.max(value.abs())),
        );
        let mut integers = vec![0; values.len()];
        quantize(values, scale, &mut integers);
        Self {
            values: integers,
            scale,
        }
    }
}

/// The scale of a tensor with room for twice `largest`.
fn fitting(largest: f32) -> Scale {
    Scale::at_least(2.0 * largest / f32::from(i16::MAX))
}

impl Backward {
    /// Of the layer at `path`, which must be there and has so many outputs.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) when a number of the model is too large for it.
    pub fn new(weights: &IntegerWeights, path: &str, outputs: usize) -> Result<Self> {
        let mut values = weights.real_layer_at(path);
        values.truncate(values.len().saturating_sub(outputs));
        Self::of(path, &values, outputs)
    }

    /// Of weights `[outputs, inputs]` of the layer at `path`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(path: &str, weight: &[f32], outputs: usize) -> Result<Self> {
        let inputs = weight.len() / outputs;
        let column = |input: usize| weight.iter().skip(input).step_by(inputs).copied();
        let transposed: Vec<f32> = (0..inputs).flat_map(column).collect();
        let convolution = IntegerConvolution::narrow(&transposed, outputs);
        Ok(Self(pack(path, &convolution)?))
    }

    /// Channels of the gradient before the layer.
    pub fn inputs(&self) -> usize {
        self.0.inputs()
    }

    /// Channels of the gradient after it.
    pub fn outputs(&self) -> usize {
        self.0.outputs()
    }

    /// The layer for integers that stand for so much each.
    pub fn of_steps(&self, step: f32) -> Pointwise {
        let gain = vec![step; self.outputs()];
        // Beyond the range of gains, where no model is that was trained, a gradient that is wrong costs bits alone.
        (self.0.with_gain(&gain)).unwrap_or_else(|| self.0.clone())
    }

    /// The layer's real results.
    pub fn reals(&self, gradient: &Slopes, residual: Option<&Slopes>) -> Vec<f32> {
        let layer = self.of_steps(gradient.scale.value());
        let pixels = gradient.values.len() / layer.inputs();
        let mut out = vec![0.0; pixels * layer.outputs()];
        let residual = residual.map(|slopes| Residual {
            values: &slopes.values,
            scale: slopes.scale,
        });
        let values = &gradient.values;
        pointwise(values, &layer, false, residual, Output::Real(&mut out));
        out
    }

    /// The layer's results.
    pub fn apply(&self, gradient: &Slopes, residual: Option<&Slopes>) -> Slopes {
        Slopes::of(&self.reals(gradient, residual))
    }
}

impl BackwardBlock {
    /// Of the block at `path`, which must be there.
    ///
    /// # Errors
    /// As [`Backward::new`].
    pub fn new(weights: &IntegerWeights, path: &str, channels: usize) -> Result<Self> {
        let values = weights.real_layer_at(path);
        let parts = LayerKind::Block { channels }.split(&values);
        let [w1, _, taps, _, w2, _, w3, _, w4, _] = parts[..] else {
            unreachable!("a block has five weights and five biases");
        };
        let turned: Vec<f32> = (taps.chunks_exact(channels).rev().flatten().copied()).collect();
        let reach = |channel: usize| {
            let taps = taps.iter().skip(channel).step_by(channels);
            taps.map(|tap| tap.abs()).sum::<f32>()
        };
        let convolution = IntegerConvolution::taps(&turned, channels);
        Ok(Self {
            w4: Backward::of(path, w4, channels)?,
            w3: Backward::of(path, w3, 2 * channels)?,
            w2: Backward::of(path, w2, channels)?,
            dw: pack_depthwise(path, &convolution)?,
            reach: (0..channels).map(reach).fold(0.0, f32::max),
            w1: Backward::of(path, w1, channels)?,
        })
    }

    /// The block on its way back with scales that are known.
    pub fn scaled(&self, block: &Block, scales: &BackwardScales) -> BlockGradient {
        BlockGradient {
            block: block.layers().clone(),
            back: BackwardLayers {
                w4: self.w4.of_steps(scales.output.value()),
                w3: self.w3.of_steps(scales.hidden.value()),
                w2: self.w2.of_steps(scales.middle.value()),
                dw: self.taps(scales.inner),
                w1: self.w1.of_steps(scales.first.value()),
                scales: *scales,
            },
        }
    }

    /// The block on its way back where everything is there: the gradient of its input, from that of its output and from
    /// what the forward pass kept of a picture of `size` (height, width); and the scales that it took.
    pub fn apply(
        &self,
        block: &Block,
        kept: &Kept,
        size: (usize, usize),
        output: &Slopes,
    ) -> (Slopes, BackwardScales) {
        let block = block.layers();
        let mut hidden = self.w4.apply(output, None);
        multiply_by_slope(&kept.hidden, block.hidden, &mut hidden.values);
        let middle = self.w3.apply(&hidden, Some(output));
        let inner = self.w2.apply(&middle, None);
        let largest = inner.values.iter().map(|value| value.unsigned_abs()).max();
        let largest = f32::from(largest.unwrap_or(0)) * inner.scale.value();
        let mut first = Slopes {
            values: vec![0; inner.values.len()],
            scale: fitting(0.5 * self.reach * largest),
        };
        let taps = self.taps(inner.scale);
        depthwise3x3(&inner.values, size, &taps, &mut first.values, first.scale);
        multiply_by_slope(&kept.first, block.first, &mut first.values);
        let input = self.w1.apply(&first, Some(&middle));
        let scales = BackwardScales {
            output: output.scale,
            hidden: hidden.scale,
            middle: middle.scale,
            inner: inner.scale,
            first: first.scale,
            input: input.scale,
        };
        (input, scales)
    }

    /// The turned taps for a gradient of this scale.
    fn taps(&self, scale: Scale) -> Depthwise {
        let gain = vec![scale.value(); self.dw.channels()];
        (self.dw.with_gain(&gain)).unwrap_or_else(|| self.dw.clone())
    }
}

/// What the forward pass of a block keeps for the gradient.
pub(super) struct Kept {
    /// The first layer before its activation, `[pixels, C]`.
    first: Vec<i16>,
    /// The third layer before its activation, `[pixels, 2C]`.
    hidden: Vec<i16>,
}

impl Kept {
    /// Runs a block on the whole picture `x` of `size` (height, width): what it keeps, and its output.
    pub fn run(block: &Block, x: &[i16], size: (usize, usize)) -> (Self, Vec<i16>) {
        let block = block.layers();
        let [mut first, mut activated, mut output] = [(); 3].map(|()| vec![0; x.len()]);
        let mut hidden = vec![0; size.0 * size.1 * block.hidden_channels()];
        block.keep_first_layer(x, &mut first, &mut activated);
        let window = Window::whole(&activated, size);
        block.keep_other_layers(window, x, 0..size.0, &mut hidden, &mut output);
        (Self { first, hidden }, output)
    }
}
