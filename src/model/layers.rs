//! The layers of the exact network: integers in, integers or real numbers out
//! (codec-spec.md, Layers).

use std::ops::Range;

use super::integer::{
    IntegerConvolution, IntegerLayer, IntegerWeights, Integers, split_wide,
};
use super::ranges::{Meter, Ranges};
use super::rounding::power;
use super::signals::{BLOCK_SIGNALS, Signal};
use crate::error::{Error, Result};
use crate::kernels::plain_integer::{
    self as integer, Epilogue, PackedDepthwise, PackedPointwise,
};
use crate::kernels::rounding::{round_to_integers, scale_integers};

/// What turns the sums of a convolution into real numbers: a factor and an offset by output.
#[derive(Debug, Clone)]
pub struct Scaling {
    multiplier: Vec<f32>,
    bias: Vec<f32>,
}

impl Scaling {
    /// With a gain by channel on the result; outputs that are several positions of `gain.len()`
    /// channels have it at each.
    fn with_gain(&self, gain: &[f32]) -> Self {
        let scaled = |values: &[f32]| {
            let pairs = values.iter().zip(gain.iter().cycle());
            pairs.map(|(value, gain)| value * gain).collect()
        };
        Self {
            multiplier: scaled(&self.multiplier),
            bias: scaled(&self.bias),
        }
    }
}

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

    /// The exponent of the first tensor that a layer reads.
    fn input_exponent(&self, path: &str) -> i32 {
        let inputs = self.weights.config.inputs(path);
        let first = inputs.first();
        first.map_or(0, |(signal, _)| self.weights.exponent(signal))
    }

    fn output(&self, name: &str, part: usize) -> Output {
        let signal = Signal::Named(name.into(), part);
        let meter = self.ranges.map(|ranges| ranges.meter(name, part));
        Output {
            exponent: self.weights.exponent(&signal),
            meter: meter.unwrap_or_default(),
        }
    }
}

fn scaling(convolution: &IntegerConvolution) -> Scaling {
    Scaling {
        multiplier: convolution.multiplier.clone(),
        bias: convolution.bias.clone(),
    }
}

fn pack(convolution: &IntegerConvolution) -> PackedPointwise {
    let outputs = convolution.bias.len();
    let (high, low) = match &convolution.weight {
        Integers::Narrow(values) => (values.clone(), None),
        Integers::Wide(values) => {
            let (high, low) = values.iter().map(|value| split_wide(*value)).unzip();
            (high, Some(low))
        }
    };
    PackedPointwise {
        inputs: high.len() / outputs,
        outputs,
        high,
        low,
    }
}

/// A tensor of integers that layers make: what one step is, and who watches its size.
#[derive(Debug, Clone)]
struct Output {
    exponent: i32,
    meter: Meter,
}

impl Output {
    /// The factor from real numbers to integers.
    fn inverse(&self) -> f32 {
        power(-self.exponent)
    }
}

/// A 1x1 convolution.
pub struct Pointwise {
    weights: PackedPointwise,
    scaling: Scaling,
    /// Where the result is integers.
    output: Option<Output>,
}

/// Real numbers to the integers that layers read.
pub struct Entry(Output);

impl Entry {
    /// The tensor of this name.
    pub fn new(from: &Loader<'_>, name: &str) -> Self {
        Self(from.output(name, 0))
    }

    /// Rounds `x` to `out`, of the same length.
    pub fn round(&self, x: &[f32], out: &mut [i16]) {
        round_to_integers(x, self.0.inverse(), out);
        self.0.meter.see(out);
    }
}

/// A gain by channel between two tensors of integers.
pub struct Gain {
    from: i32,
    to: Output,
}

impl Gain {
    /// From the tensor that makes the input of the one called `name`, to that one.
    pub fn new(from: &Loader<'_>, name: &str) -> Self {
        Self {
            from: from.input_exponent(name),
            to: from.output(name, 0),
        }
    }

    /// Applies the gain.
    pub fn apply(&self, x: &mut [i16], gain: &[f32]) {
        let factor = power(self.from) * self.to.inverse();
        let factors: Vec<f32> = gain.iter().map(|gain| gain * factor).collect();
        scale_integers(x, &factors);
        self.to.meter.see(x);
    }
}

impl Pointwise {
    /// The layer at `path`, whose results are integers.
    ///
    /// # Errors
    /// When the layer is missing.
    pub fn new(from: &Loader<'_>, path: &str) -> Result<Self> {
        let mut layer = Self::reals(from, path)?;
        layer.output = Some(from.output(path, 0));
        Ok(layer)
    }

    /// The layer at `path`, whose results are real numbers.
    ///
    /// # Errors
    /// When the layer is missing.
    pub fn reals(from: &Loader<'_>, path: &str) -> Result<Self> {
        let list = from.convolutions(path)?;
        let missing = || Error::Weights(format!("{path} is missing"));
        Ok(Self::of(list.first().ok_or_else(missing)?))
    }

    /// A convolution whose results are real numbers.
    pub fn of(convolution: &IntegerConvolution) -> Self {
        Self {
            weights: pack(convolution),
            scaling: scaling(convolution),
            output: None,
        }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.weights.outputs
    }

    /// The layer's scaling with a gain on its outputs.
    pub fn with_gain(&self, gain: &[f32]) -> Scaling {
        self.scaling.with_gain(gain)
    }

    /// What integers the layer's results have.
    pub fn exponent(&self) -> i32 {
        self.output.as_ref().map_or(0, |output| output.exponent)
    }

    /// Integers from integers; `scaling` takes the place of the layer's own, `residual` is a
    /// tensor that is added and the exponent it has.
    pub fn integers(
        &self,
        x: &[i16],
        scaling: Option<&Scaling>,
        residual: Option<(&[i16], i32)>,
        out: &mut [i16],
    ) {
        let Some(output) = &self.output else {
            return;
        };
        let scaling = scaling.unwrap_or(&self.scaling);
        let epilogue = Epilogue {
            multiplier: &scaling.multiplier,
            bias: &scaling.bias,
            activate: false,
            residual: residual.map(|(values, exponent)| (values, power(exponent))),
        };
        let inverse = output.inverse();
        integer::pointwise(x, &self.weights, &epilogue, out, |v| {
            crate::kernels::rounding::nearest(v * inverse)
        });
        output.meter.see(out);
    }

    /// Real numbers from integers.
    pub fn numbers(&self, x: &[i16], out: &mut [f32]) {
        let epilogue = Epilogue {
            multiplier: &self.scaling.multiplier,
            bias: &self.scaling.bias,
            activate: false,
            residual: None,
        };
        integer::pointwise(x, &self.weights, &epilogue, out, |v| v);
    }
}

/// A depth-conv block.
pub struct Block {
    weights: [PackedPointwise; 4],
    scalings: [Scaling; 4],
    depthwise: PackedDepthwise,
    input: i32,
    outputs: [Output; BLOCK_SIGNALS],
    channels: usize,
}

impl Block {
    /// The block at `path`.
    ///
    /// # Errors
    /// When it is missing.
    pub fn new(from: &Loader<'_>, path: &str) -> Result<Self> {
        let [conv1, depthwise, conv2, conv3, conv4] = from.convolutions(path)? else {
            return Err(Error::Weights(format!("{path} is no block")));
        };
        let Integers::Narrow(taps) = &depthwise.weight else {
            return Err(Error::Weights(format!("{path} has taps of 16 bits")));
        };
        Ok(Self {
            weights: [conv1, conv2, conv3, conv4].map(pack),
            scalings: [conv1, conv2, conv3, conv4].map(scaling),
            depthwise: PackedDepthwise {
                channels: depthwise.bias.len(),
                taps: taps.clone(),
                multiplier: depthwise.multiplier.clone(),
                bias: depthwise.bias.clone(),
            },
            input: from.input_exponent(path),
            outputs: std::array::from_fn(|part| from.output(path, part)),
            channels: depthwise.bias.len(),
        })
    }

    /// The blocks `0`, `1`, … under `path`.
    ///
    /// # Errors
    /// When one is missing.
    pub fn list(from: &Loader<'_>, path: &str, count: usize) -> Result<Vec<Self>> {
        (0..count)
            .map(|i| Self::new(from, &format!("{path}.{i}")))
            .collect()
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }


    /// Some `rows` of the block of `x`, which are `height` rows of `width` positions and hold
    /// the rows above and below `rows` as far as the picture has them.
    pub fn rows(
        &self,
        x: &[i16],
        (height, width): (usize, usize),
        rows: Range<usize>,
        out: &mut [i16],
    ) {
        self.by_layers(x, (height, width), rows, out);
    }

    /// The block layer by layer, watched by the meters.
    fn by_layers(
        &self,
        x: &[i16],
        (height, width): (usize, usize),
        rows: Range<usize>,
        out: &mut [i16],
    ) {
        let stride = width * self.channels;
        let [u, d, middle, hidden, last] = &self.outputs;
        let mut first = vec![0; x.len()];
        self.layer(0, x, true, None, u, &mut first);
        let mut spatial = vec![0; out.len()];
        let (inverse, taps) = (d.inverse(), &self.depthwise);
        integer::depthwise(&first, height, width, rows.clone(), taps, inverse, &mut spatial);
        d.meter.see(&spatial);
        let x = &x[rows.start * stride..rows.end * stride];
        let mut x1 = vec![0; out.len()];
        self.layer(1, &spatial, false, Some((x, self.input)), middle, &mut x1);
        let mut wide = vec![0; 2 * out.len()];
        self.layer(2, &x1, true, None, hidden, &mut wide);
        self.layer(3, &wide, false, Some((&x1, middle.exponent)), last, out);
    }

    fn layer(
        &self,
        index: usize,
        x: &[i16],
        activate: bool,
        residual: Option<(&[i16], i32)>,
        output: &Output,
        out: &mut [i16],
    ) {
        let epilogue = Epilogue {
            multiplier: &self.scalings[index].multiplier,
            bias: &self.scalings[index].bias,
            activate,
            residual: residual.map(|(values, exponent)| (values, power(exponent))),
        };
        let inverse = output.inverse();
        integer::pointwise(x, &self.weights[index], &epilogue, out, |v| {
            crate::kernels::rounding::nearest(v * inverse)
        });
        output.meter.see(out);
    }

    /// The block of a whole picture of `size` (height, width).
    pub fn whole(&self, x: &[i16], size: (usize, usize)) -> Vec<i16> {
        let mut out = vec![0; x.len()];
        self.rows(x, size, 0..size.0, &mut out);
        out
    }
}
