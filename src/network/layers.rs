//! The layers of the exact network: integers in, integers or real numbers out
//! (codec-spec.md, Layers).

use std::ops::Range;

use super::integer::{IntegerConvolution, IntegerLayer, IntegerWeights, Integers};
use super::ranges::{Meter, Ranges};
use super::signals::{BLOCK_SIGNALS, Signal};
use crate::error::{Error, Result};
use crate::kernels::integer::{
    self as kernels, Depthwise, Rescale, Residual, Scale, Watch, Window, block, quantize,
    scale_integers,
};

/// What layers are made from.
#[derive(Clone, Copy)]
pub struct Loader<'a> {
    /// The weights.
    pub weights: &'a IntegerWeights,
    /// Where the sizes of tensors are noted, if anybody wants to know.
    pub ranges: Option<&'a Ranges>,
}

impl<'a> Loader<'a> {
    /// The convolutions of the layer at `path`.
    ///
    /// # Errors
    /// When it is missing.
    pub fn convolutions(&self, path: &str) -> Result<&'a [IntegerConvolution]> {
        match self.weights.layers.get(path) {
            Some(IntegerLayer::Convolutions(list)) => Ok(list),
            _ => Err(Error::Weights(format!("{path} is missing"))),
        }
    }

    /// The kernel's form of a pointwise layer.
    fn pointwise(&self, path: &str) -> Result<kernels::Pointwise> {
        let [convolution] = self.convolutions(path)? else {
            return Err(broken(path));
        };
        pack(path, convolution)
    }

    /// What a step of the first tensor that a layer reads is worth.
    fn input_scale(&self, path: &str) -> Result<Scale> {
        let inputs = self.weights.config.inputs(path);
        let first = inputs
            .first()
            .map_or(&Signal::Patches, |(signal, _)| signal);
        self.scale(first)
    }

    fn scale(&self, signal: &Signal) -> Result<Scale> {
        let scale = Scale::from_exponent(self.weights.exponent(signal));
        scale.ok_or_else(|| broken("an exponent"))
    }

    fn output(&self, name: &str, part: usize) -> Result<Output> {
        let meter = self.ranges.map(|ranges| ranges.meter(name, part));
        Ok(Output {
            scale: self.scale(&Signal::Named(name.into(), part))?,
            meter: meter.unwrap_or_default(),
        })
    }
}

/// A layer that does not keep what was checked when its weights were read.
fn broken(path: &str) -> Error {
    Error::Weights(format!("{path} is not valid"))
}

/// The kernel's form of a convolution.
pub(super) fn pack(path: &str, convolution: &IntegerConvolution) -> Result<kernels::Pointwise> {
    let outputs = convolution.bias.len().max(1);
    let rescale = Rescale::new(&convolution.multiplier, &convolution.bias);
    let layer = rescale.and_then(|rescale| match &convolution.weight {
        Integers::Narrow(w) => kernels::Pointwise::new(w.len() / outputs, w.clone(), rescale),
        Integers::Wide(w) => kernels::Pointwise::wide(w.len() / outputs, w, rescale),
    });
    layer.ok_or_else(|| broken(path))
}

pub(super) fn pack_depthwise(path: &str, convolution: &IntegerConvolution) -> Result<Depthwise> {
    let Integers::Narrow(taps) = &convolution.weight else {
        return Err(broken(path));
    };
    let rescale = Rescale::new(&convolution.multiplier, &convolution.bias);
    let layer = rescale.and_then(|rescale| Depthwise::new(taps, rescale));
    layer.ok_or_else(|| broken(path))
}

/// A tensor of integers that layers make: what one step is, and who watches its size.
#[derive(Debug, Clone)]
struct Output {
    scale: Scale,
    meter: Meter,
}

/// Real numbers to the integers that layers read.
pub struct Entry(Output);

impl Entry {
    /// The tensor of this name.
    ///
    /// # Errors
    /// When its exponent is not valid.
    pub fn new(from: &Loader<'_>, name: &str) -> Result<Self> {
        Ok(Self(from.output(name, 0)?))
    }

    /// The integers of `x`.
    pub fn integers(&self, x: &[f32]) -> Vec<i16> {
        let mut out = vec![0; x.len()];
        self.round(x, &mut out);
        out
    }

    /// Rounds `x` to `out`, of the same length.
    pub fn round(&self, x: &[f32], out: &mut [i16]) {
        quantize(x, self.0.scale, out);
        self.0.meter.see(out);
    }
}

/// A gain by channel between two tensors of integers.
pub struct Gain {
    from: Scale,
    to: Output,
}

impl Gain {
    /// From the tensor that the one called `name` is made of, to that one.
    ///
    /// # Errors
    /// When an exponent is not valid.
    pub fn new(from: &Loader<'_>, name: &str) -> Result<Self> {
        Ok(Self {
            from: from.input_scale(name)?,
            to: from.output(name, 0)?,
        })
    }

    /// Applies the gain.
    pub fn apply(&self, x: &mut [i16], gain: &[f32]) {
        let factor = self.from.value() * self.to.scale.inverse();
        let factors: Vec<f32> = gain.iter().map(|gain| gain * factor).collect();
        scale_integers(x, &factors);
        self.to.meter.see(x);
    }
}

/// A 1x1 convolution whose results are integers.
pub struct Pointwise {
    layer: kernels::Pointwise,
    output: Output,
}

impl Pointwise {
    /// The layer at `path`.
    ///
    /// # Errors
    /// When the layer is missing or not valid.
    pub fn new(from: &Loader<'_>, path: &str) -> Result<Self> {
        Ok(Self {
            layer: from.pointwise(path)?,
            output: from.output(path, 0)?,
        })
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.layer.outputs()
    }

    /// The layer with a gain by channel on its result; outputs that are several positions of
    /// `gain.len()` channels have it at each.
    pub fn with_gain(&self, gain: &[f32]) -> Self {
        let gain: Vec<f32> = gain.iter().copied().cycle().take(self.outputs()).collect();
        Self {
            // Both are at most 65535 (IntegerWeights::from_bytes), so their product is valid.
            layer: (self.layer.with_gain(&gain)).unwrap_or_else(|| self.layer.clone()),
            output: self.output.clone(),
        }
    }

    /// The layer for inputs that are zero outside of these ranges.
    pub fn reading(&self, ranges: &[Range<usize>]) -> Self {
        Self {
            layer: self.layer.reading(ranges),
            output: self.output.clone(),
        }
    }

    /// The result for `x`.
    pub fn of(&self, x: &[i16]) -> Vec<i16> {
        let mut out = vec![0; x.len() / self.layer.inputs() * self.outputs()];
        self.apply(x, &mut out);
        out
    }

    /// Writes the result for `x`.
    pub fn apply(&self, x: &[i16], out: &mut [i16]) {
        let to = kernels::Output::Integer(out, self.output.scale);
        kernels::pointwise(x, &self.layer, false, None, to);
        self.output.meter.see(out);
    }

    /// The result for `x` plus `sum`, which the layer `of` made.
    pub fn add_to(&self, x: &[i16], sum: &[i16], of: &Self, out: &mut [i16]) {
        let residual = Residual {
            values: sum,
            scale: of.output.scale,
        };
        let to = kernels::Output::Integer(out, self.output.scale);
        kernels::pointwise(x, &self.layer, false, Some(residual), to);
        self.output.meter.see(out);
    }
}

/// A 1x1 convolution whose results are real numbers.
pub struct Head(kernels::Pointwise);

impl Head {
    /// The layer at `path`.
    ///
    /// # Errors
    /// When the layer is missing or not valid.
    pub fn new(from: &Loader<'_>, path: &str) -> Result<Self> {
        Ok(Self(from.pointwise(path)?))
    }

    /// A convolution of a layer at `path`.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn of(path: &str, convolution: &IntegerConvolution) -> Result<Self> {
        Ok(Self(pack(path, convolution)?))
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.0.outputs()
    }

    /// The result for `x`.
    pub fn apply(&self, x: &[i16], out: &mut [f32]) {
        kernels::pointwise(x, &self.0, false, None, kernels::Output::Real(out));
    }
}

/// A depth-conv block: `x += W2 · dw3x3(act(W1 · x))`, then `x += W4 · act(W3 · x)` (Jia et
/// al., "Towards Practical Real-Time Neural Video Compression", without normalization).
pub struct Block {
    layers: kernels::Block,
    meters: [Meter; BLOCK_SIGNALS],
}

impl Block {
    /// The block at `path`.
    ///
    /// # Errors
    /// When it is missing or not valid.
    pub fn new(from: &Loader<'_>, path: &str) -> Result<Self> {
        let [conv1, depthwise, conv2, conv3, conv4] = from.convolutions(path)? else {
            return Err(broken(path));
        };
        let output = |part| from.output(path, part);
        let outputs = [output(0)?, output(1)?, output(2)?, output(3)?, output(4)?];
        let [first, spatial, middle, hidden, last] = outputs.each_ref().map(|output| output.scale);
        let layers = kernels::Block {
            w1: pack(path, conv1)?,
            dw: pack_depthwise(path, depthwise)?,
            w2: pack(path, conv2)?,
            w3: pack(path, conv3)?,
            w4: pack(path, conv4)?,
            input: from.input_scale(path)?,
            first,
            depthwise: spatial,
            middle,
            hidden,
            output: last,
        };
        let meters = outputs.map(|output| output.meter);
        Ok(Self { layers, meters })
    }

    /// The blocks `0`, `1`, … under `path`.
    ///
    /// # Errors
    /// When one is missing or not valid.
    pub fn list(from: &Loader<'_>, path: &str, count: usize) -> Result<Vec<Self>> {
        (0..count)
            .map(|i| Self::new(from, &format!("{path}.{i}")))
            .collect()
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.layers.channels()
    }

    /// The layers and the scales of what they make.
    pub fn layers(&self) -> &kernels::Block {
        &self.layers
    }

    /// The activated first layer for rows of the block's input `x`.
    pub fn first_layer(&self, x: &[i16], first: &mut [i16]) {
        self.watched(|watch| self.layers.first_layer(x, watch, first));
    }

    /// Some `rows` of the block: `x` is its input there, and `first` holds the first layer of
    /// these rows and of those above and below, as far as the picture has them.
    pub fn other_layers(&self, first: Window<'_>, x: &[i16], rows: Range<usize>, out: &mut [i16]) {
        self.watched(|watch| self.layers.other_layers(first, x, rows, watch, out));
    }

    /// The block of a whole picture of `size` (height, width).
    pub fn whole(&self, x: &[i16], size: (usize, usize)) -> Vec<i16> {
        let mut out = vec![0; x.len()];
        self.watched(|watch| block(x, size, &self.layers, watch, &mut out));
        out
    }

    /// Lets the meters see the tensors that `compute` makes, where they are on.
    fn watched(&self, compute: impl FnOnce(Option<&Watch<'_>>)) {
        let see = |tensor: usize, values: &[i16]| self.meters[tensor].see(values);
        compute(self.meters[0].is_on().then_some(&see as &Watch<'_>));
    }
}
