//! The architecture as data: sizes, the list of layers they imply, and costs.
//!
//! Counting the network's arithmetic and initializing, rounding, validating and
//! storing its weights walk the one list returned by [`ModelConfig::layers`];
//! the transforms ask for their layers by the paths in it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format::{CONTEXT_STEPS, MAX_NAME, PATCH8, PATCH16};
use crate::math;

/// Sizes of the network. Stored with the weights, so that another size needs no code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Human-readable name, shown by `aec info`: 1 to [`MAX_NAME`] characters, no control characters.
    pub name: String,
    /// Channels of the latent y at 1/16 of the picture's size (multiple of 4).
    pub latent_channels: usize,
    /// Channels of the hyper-latent z at 1/64.
    pub hyper_channels: usize,
    /// Channels of the transforms' stage at 1/8.
    pub stage8_channels: usize,
    /// Blocks of the transforms' stage at 1/8.
    pub stage8_blocks: usize,
    /// Channels of the transforms' stage at 1/16.
    pub stage16_channels: usize,
    /// Blocks of the transforms' stage at 1/16.
    pub stage16_blocks: usize,
    /// Channels of the hyperprior's stage at 1/32.
    pub hyper_stage_channels: usize,
    /// Channels of the hyperprior's features and of the context model.
    pub context_channels: usize,
    /// Rows of the quality tables; quality 0 is the first, 100 the last.
    pub quality_rows: usize,
    /// Lagrange multiplier of quality 0 (training and the encoder's choices).
    pub lambda_min: f64,
    /// Lagrange multiplier of quality 100 (training and the encoder's choices).
    pub lambda_max: f64,
    /// Symbols whose scale index is below this are zero and not coded.
    pub skip_below: u8,
    /// Whether each context step gets what the step before it computed (`context.s.state`).
    #[serde(default, skip_serializing_if = "is_false")]
    pub context_state: bool,
    /// Whether a quality table scales the input of synthesis' last layer (`quality.synthesis_out`).
    #[serde(default, skip_serializing_if = "is_false")]
    pub synthesis_out_gain: bool,
}

/// Absent members mean no: models from before they existed keep their text.
fn is_false(value: &bool) -> bool {
    !value
}

impl ModelConfig {
    /// The shipped size: 32 kMAC/pixel to decode, 10.9 million parameters.
    pub fn base() -> Self {
        Self {
            name: "base".into(),
            latent_channels: 512,
            hyper_channels: 128,
            stage8_channels: 160,
            stage8_blocks: 4,
            stage16_channels: 256,
            stage16_blocks: 4,
            hyper_stage_channels: 160,
            context_channels: 256,
            quality_rows: 16,
            lambda_min: 0.0005,
            lambda_max: 0.6,
            skip_below: 2,
            context_state: true,
            synthesis_out_gain: true,
        }
    }

    /// A very small size for tests: 42 thousand parameters.
    pub fn tiny() -> Self {
        Self {
            name: "tiny".into(),
            latent_channels: 16,
            hyper_channels: 8,
            stage8_channels: 8,
            stage8_blocks: 1,
            stage16_channels: 16,
            stage16_blocks: 1,
            hyper_stage_channels: 8,
            context_channels: 8,
            quality_rows: 4,
            ..Self::base()
        }
    }

    /// The Lagrange multiplier of a quality in 0.0..=1.0: log-spaced over the range. The same on
    /// every machine, because the encoder's choices depend on it.
    pub fn lambda(&self, quality: f64) -> f64 {
        let range = (self.lambda_max / self.lambda_min).min(f64::MAX);
        self.lambda_min * math::pow(range, quality)
    }

    /// Checks every size against the format's limits.
    ///
    /// # Errors
    /// [`Error::Weights`] naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        // The name is printed, so it must not hold what a terminal would obey.
        let length = self.name.chars().count();
        if !(1..=MAX_NAME).contains(&length) || self.name.chars().any(char::is_control) {
            return Err(Error::Weights(format!(
                "the name must have 1 to {MAX_NAME} characters and no control characters"
            )));
        }
        let bounded = [
            ("latent_channels", self.latent_channels, 4, 1024),
            ("hyper_channels", self.hyper_channels, 1, 1024),
            ("stage8_channels", self.stage8_channels, 1, 1024),
            ("stage8_blocks", self.stage8_blocks, 0, 16),
            ("stage16_channels", self.stage16_channels, 1, 1024),
            ("stage16_blocks", self.stage16_blocks, 0, 16),
            ("hyper_stage_channels", self.hyper_stage_channels, 1, 1024),
            ("context_channels", self.context_channels, 1, 1024),
            ("quality_rows", self.quality_rows, 2, 64),
        ];
        for (name, value, low, high) in bounded {
            if !(low..=high).contains(&value) {
                return Err(Error::Weights(format!(
                    "{name} is {value}, expected {low} to {high}"
                )));
            }
        }
        if !self.latent_channels.is_multiple_of(CONTEXT_STEPS) {
            return Err(Error::Weights(
                "latent_channels must be a multiple of 4".into(),
            ));
        }
        let lambdas = self.lambda_min > 0.0 && self.lambda_max > self.lambda_min;
        if !lambdas || !self.lambda_max.is_finite() {
            return Err(Error::Weights(
                "lambda_min and lambda_max must be positive and increasing".into(),
            ));
        }
        if self.skip_below > 63 {
            return Err(Error::Weights(format!(
                "skip_below is {}, expected 0 to 63",
                self.skip_below
            )));
        }
        Ok(())
    }

    /// Latent channels per context group.
    pub fn group_channels(&self) -> usize {
        self.latent_channels / CONTEXT_STEPS
    }

    /// Whether a context step has a layer for the state that the step before it left.
    pub fn has_state(&self, step: usize) -> bool {
        self.context_state && step > 0
    }

    /// Rows of latents around a band that its transforms depend on, from the
    /// 3x3 kernels of both stages (two positions at 1/8 are one at 1/16).
    pub fn halo(&self) -> usize {
        self.stage16_blocks + self.stage8_blocks.div_ceil(2)
    }

    /// Every layer of the network in storage order.
    pub fn layers(&self) -> Vec<LayerSpec> {
        use Side::{Decoder, Encoder};
        let context = (0..CONTEXT_STEPS)
            .map(|step| named(&format!("context.{step}"), Decoder, self.context_step(step)));
        [
            named("analysis", Encoder, self.analysis()),
            named("hyper_analysis", Encoder, self.hyper_analysis()),
            named("hyper_synthesis", Decoder, self.hyper_synthesis()),
            context.flatten().collect(),
            named("synthesis", Decoder, self.synthesis()),
            self.quality_tables(),
        ]
        .concat()
    }

    /// The layer at `path`, if there is one.
    pub fn layer(&self, path: &str) -> Option<LayerSpec> {
        self.layers().into_iter().find(|layer| layer.path == path)
    }

    fn analysis(&self) -> Vec<Layer> {
        let (c8, c16, m) = self.transform_channels();
        let mut list = vec![
            layer("linear", pointwise(PATCH16, m), 16),
            layer("conv_in", pointwise(PATCH8, c8), 8),
        ];
        list.extend(stage("stage8", self.stage8_blocks, c8, 8));
        list.push(layer("down", pointwise(4 * c8, c16), 16));
        list.extend(stage("stage16", self.stage16_blocks, c16, 16));
        list.push(layer("conv_out", pointwise(c16, m), 16));
        list
    }

    fn hyper_analysis(&self) -> Vec<Layer> {
        let (h, f) = (self.hyper_stage_channels, self.context_channels);
        vec![
            layer("conv_in", pointwise(self.latent_channels, f), 16),
            layer("down1", pointwise(4 * f, h), 32),
            layer("block", block(h), 32),
            layer("down2", pointwise(4 * h, self.hyper_channels), 64),
        ]
    }

    fn hyper_synthesis(&self) -> Vec<Layer> {
        let (h, f) = (self.hyper_stage_channels, self.context_channels);
        vec![
            layer("up1", pointwise(self.hyper_channels, 4 * h), 64),
            layer("block1", block(h), 32),
            layer("up2", pointwise(h, 4 * f), 32),
            layer("block2", block(f), 16),
        ]
    }

    fn context_step(&self, step: usize) -> Vec<Layer> {
        let (m, f) = (self.latent_channels, self.context_channels);
        let mut list = vec![layer("conv_in", pointwise(f + m, f), 16)];
        if self.has_state(step) {
            list.push(layer("state", pointwise(f, f), 16));
        }
        list.push(layer("block", block(f), 16));
        // Each position needs a quarter of the outputs, so that the cost is that
        // of a quarter of the positions.
        list.extend(["mean", "scale"].map(|head| layer(head, pointwise(f, m), 32)));
        list
    }

    fn synthesis(&self) -> Vec<Layer> {
        let (c8, c16, m) = self.transform_channels();
        let mut list = vec![
            layer("linear", pointwise(m, PATCH16), 16),
            layer("conv_in", pointwise(m, c16), 16),
        ];
        list.extend(stage("stage16", self.stage16_blocks, c16, 16));
        list.push(layer("up", pointwise(c16, 4 * c8), 16));
        list.extend(stage("stage8", self.stage8_blocks, c8, 8));
        list.push(layer("conv_out", pointwise(c8, PATCH8), 8));
        list
    }

    /// Channels of the transforms at 1/8 and 1/16, and of the latent.
    fn transform_channels(&self) -> (usize, usize, usize) {
        let latent = self.latent_channels;
        (self.stage8_channels, self.stage16_channels, latent)
    }

    fn quality_tables(&self) -> Vec<LayerSpec> {
        use Side::{Decoder, Encoder};
        use Unit::{Gain, PositiveGain, ScaleIndex};
        let (c8, c16, m) = self.transform_channels();
        let (z, f, rows) = (
            self.hyper_channels,
            self.context_channels,
            self.quality_rows,
        );
        let tables = [
            ("analysis8", c8, Gain, Encoder),
            ("analysis16", c16, Gain, Encoder),
            ("latent_gain", m, PositiveGain, Decoder),
            ("latent_inverse_gain", m, PositiveGain, Decoder),
            ("latent_scale", m, ScaleIndex, Decoder),
            ("hyper_gain", z, PositiveGain, Encoder),
            ("hyper_inverse_gain", z, PositiveGain, Decoder),
            ("hyper_scale", z, ScaleIndex, Decoder),
            ("context", f, Gain, Decoder),
            ("synthesis16", c16, Gain, Decoder),
            ("synthesis8", c8, Gain, Decoder),
        ];
        let out_gain = self.synthesis_out_gain;
        let out_gain = out_gain.then_some(("synthesis_out", c8, Gain, Decoder));
        let spec = |(name, columns, unit, side)| LayerSpec {
            path: format!("quality.{name}"),
            kind: LayerKind::Table {
                rows,
                columns,
                unit,
            },
            stride: 0,
            side,
        };
        tables.into_iter().chain(out_gain).map(spec).collect()
    }

    /// Multiply-accumulates per picture pixel of one side.
    ///
    /// The encoder runs the entropy model too, so its cost includes the
    /// decoder's layers up to the context model.
    pub fn macs_per_pixel(&self, side: Side) -> f64 {
        let layers = self.layers();
        let counted = layers.iter().filter(|layer| match side {
            Side::Decoder => layer.side == Side::Decoder,
            Side::Encoder => !layer.path.starts_with("synthesis."),
        });
        counted.map(LayerSpec::macs_per_pixel).sum()
    }

    /// Number of parameters that are trained.
    pub fn parameters(&self) -> usize {
        self.layers()
            .iter()
            .map(|layer| layer.kind.parameters())
            .sum()
    }
}

/// A layer's name within its transform, its kind, and its stride.
type Layer = (String, LayerKind, usize);

fn layer(name: &str, kind: LayerKind, stride: usize) -> Layer {
    (name.into(), kind, stride)
}

/// Blocks one after another.
fn stage(name: &str, blocks: usize, channels: usize, stride: usize) -> impl Iterator<Item = Layer> {
    (0..blocks).map(move |i| (format!("{name}.{i}"), block(channels), stride))
}

/// The layers of a transform that one side needs.
fn named(transform: &str, side: Side, layers: Vec<Layer>) -> Vec<LayerSpec> {
    let spec = |(name, kind, stride)| LayerSpec {
        path: format!("{transform}.{name}"),
        kind,
        stride,
        side,
    };
    layers.into_iter().map(spec).collect()
}

fn pointwise(inputs: usize, outputs: usize) -> LayerKind {
    LayerKind::Pointwise { inputs, outputs }
}

fn block(channels: usize) -> LayerKind {
    LayerKind::Block { channels }
}

/// Which side of the codec needs a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Needed to encode only.
    Encoder,
    /// Needed to decode (the encoder runs the entropy layers among them too).
    Decoder,
}

/// How a quality table is read and trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A factor near one, trained as it is.
    Gain,
    /// A positive factor of any size, trained as its logarithm.
    PositiveGain,
    /// A scale index in table steps, trained as an eighth of it.
    ScaleIndex,
}

/// What a layer computes and which parameters it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// A 1x1 convolution with bias.
    Pointwise {
        /// Input channels.
        inputs: usize,
        /// Output channels.
        outputs: usize,
    },
    /// A depth-conv block with expansion 2 (see [`crate::kernels`]).
    Block {
        /// Channels in and out.
        channels: usize,
    },
    /// One vector per quality row.
    Table {
        /// Quality rows.
        rows: usize,
        /// Channels.
        columns: usize,
        /// Meaning of the values.
        unit: Unit,
    },
}

impl LayerKind {
    /// The layer's tensors in flat order: name suffix and shape.
    pub fn parts(&self) -> Vec<(&'static str, Vec<usize>)> {
        match *self {
            Self::Pointwise { inputs, outputs } => {
                vec![("weight", vec![outputs, inputs]), ("bias", vec![outputs])]
            }
            Self::Block { channels: c } => vec![
                ("conv1.weight", vec![c, c]),
                ("conv1.bias", vec![c]),
                ("depthwise.weight", vec![9, c]),
                ("depthwise.bias", vec![c]),
                ("conv2.weight", vec![c, c]),
                ("conv2.bias", vec![c]),
                ("conv3.weight", vec![2 * c, c]),
                ("conv3.bias", vec![2 * c]),
                ("conv4.weight", vec![c, 2 * c]),
                ("conv4.bias", vec![c]),
            ],
            Self::Table { rows, columns, .. } => vec![("table", vec![rows, columns])],
        }
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.lengths().sum()
    }

    /// Number of parameters of each of the [`parts`](Self::parts).
    fn lengths(&self) -> impl Iterator<Item = usize> {
        let parts = self.parts().into_iter();
        parts.map(|(_, shape)| shape.iter().product())
    }

    /// The values of each of the [`parts`](Self::parts), of as many as the layer has.
    pub(crate) fn split<'a>(&self, mut flat: &'a [f32]) -> Vec<&'a [f32]> {
        let next = |length| flat.split_off(..length).unwrap_or_default();
        self.lengths().map(next).collect()
    }

    /// Number of channels that the layer reads.
    pub fn inputs(&self) -> usize {
        match *self {
            Self::Pointwise { inputs, .. } => inputs,
            Self::Block { channels } => channels,
            Self::Table { .. } => 0,
        }
    }

    /// Multiply-accumulates per position of the layer's own grid.
    pub fn macs_per_position(&self) -> usize {
        match *self {
            Self::Pointwise { inputs, outputs } => inputs * outputs,
            Self::Block { channels: c } => 6 * c * c + 9 * c,
            Self::Table { .. } => 0,
        }
    }
}

/// One layer of the network: where it is, what it is, what it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSpec {
    /// Path of the layer, the prefix of its weights' names.
    pub path: String,
    /// Kind and sizes.
    pub kind: LayerKind,
    /// Picture pixels per position of its grid, in each direction (0: no grid).
    pub stride: usize,
    /// The side that needs it.
    pub side: Side,
}

impl LayerSpec {
    /// Whether it is of the networks that only encoders run.
    pub fn is_encoders_network(&self) -> bool {
        self.side == Side::Encoder && !matches!(self.kind, LayerKind::Table { .. })
    }

    /// Multiply-accumulates per picture pixel.
    pub fn macs_per_pixel(&self) -> f64 {
        if self.stride == 0 {
            return 0.0;
        }
        self.kind.macs_per_position() as f64 / (self.stride * self.stride) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_stays_within_the_decoder_budget() {
        let base = ModelConfig::base();
        let decoder = base.macs_per_pixel(Side::Decoder);
        assert!(decoder > 20_000.0 && decoder <= 45_000.0, "{decoder}");
        assert!(base.macs_per_pixel(Side::Encoder) <= 2.0 * decoder);
        assert!(base.parameters() <= 11_000_000, "{}", base.parameters());
    }

    #[test]
    fn counts_a_known_network() {
        // One block of C channels: two CxC, one 9xC, one Cx2C and one 2CxC product.
        let block = LayerKind::Block { channels: 10 };
        assert_eq!(block.macs_per_position(), 100 + 90 + 100 + 200 + 200);
        assert_eq!(
            block.parameters(),
            100 + 10 + 90 + 10 + 100 + 10 + 200 + 20 + 200 + 10
        );
    }

    #[test]
    fn refuses_sizes_outside_the_limits() {
        for change in [
            |c: &mut ModelConfig| c.latent_channels = 6,
            |c: &mut ModelConfig| c.latent_channels = 1 << 20,
            |c: &mut ModelConfig| c.quality_rows = 1,
            |c: &mut ModelConfig| c.lambda_min = f64::NAN,
            |c: &mut ModelConfig| c.skip_below = 64,
            |c: &mut ModelConfig| c.name = "\x1b[2J".into(),
            |c: &mut ModelConfig| c.name = "n".repeat(MAX_NAME + 1),
        ] {
            let mut config = ModelConfig::tiny();
            change(&mut config);
            assert!(config.validate().is_err());
        }
        assert!(ModelConfig::tiny().validate().is_ok() && ModelConfig::base().validate().is_ok());
    }
}
