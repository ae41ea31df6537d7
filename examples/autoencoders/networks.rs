//! The networks: all are an encoder to a short code and a decoder back to pixels.

use candle_core::{Module, Result, Tensor};
use candle_nn::{
    Activation, Conv2dConfig, ConvTranspose2dConfig, Sequential, VarBuilder, conv_transpose2d,
    conv2d, linear, ops, seq,
};

use super::digits::{PIXELS, SIDE};

/// Numbers in the code of a picture.
pub const CODE: usize = 20;
/// Numbers in the wide codes.
pub const WIDE_CODE: usize = 128;

/// An encoder and a decoder, trained together.
pub struct Autoencoder {
    /// Pixels `[n, 784]` to codes `[n, c]`.
    pub encoder: Sequential,
    /// Codes to logits `[n, 784]`; their sigmoid is the picture.
    pub decoder: Sequential,
}

impl Autoencoder {
    /// Linear layers of these sizes, with ReLU between them.
    fn new(encoder: &[usize], decoder: &[usize], weights: VarBuilder) -> Result<Self> {
        let layers = |sizes: &[usize], weights: VarBuilder| {
            let mut layers = seq();
            for (i, pair) in sizes.windows(2).enumerate() {
                if i > 0 {
                    layers = layers.add(Activation::Relu);
                }
                layers = layers.add(linear(pair[0], pair[1], weights.pp(i))?);
            }
            Ok::<_, candle_core::Error>(layers)
        };
        let encoder = layers(encoder, weights.pp("encoder"))?;
        let decoder = layers(decoder, weights.pp("decoder"))?;
        Ok(Self { encoder, decoder })
    }

    /// The same with a code that is zero or positive.
    fn with_active_code(mut self) -> Self {
        self.encoder = self.encoder.add(Activation::Relu);
        self
    }

    /// The codes of pictures, without a trace of how they came about.
    pub fn encode(&self, pixels: &Tensor) -> Result<Tensor> {
        Ok(self.encoder.forward(pixels)?.detach())
    }

    /// The pictures of codes, likewise.
    pub fn decode(&self, codes: &Tensor) -> Result<Tensor> {
        Ok(ops::sigmoid(&self.decoder.forward(codes)?)?.detach())
    }

    /// Pictures, encoded and decoded.
    pub fn rebuild(&self, pixels: &Tensor) -> Result<Tensor> {
        self.decode(&self.encode(pixels)?)
    }
}

/// 784-400-20-400-784.
pub fn dense(weights: VarBuilder) -> Result<Autoencoder> {
    Autoencoder::new(&[PIXELS, 400, CODE], &[CODE, 400, PIXELS], weights)
}

/// 784-32-784.
pub fn small(weights: VarBuilder) -> Result<Autoencoder> {
    Ok(Autoencoder::new(&[PIXELS, 32], &[32, PIXELS], weights)?.with_active_code())
}

/// 784-400-128-400-784.
pub fn wide(weights: VarBuilder) -> Result<Autoencoder> {
    let (encoder, decoder) = ([PIXELS, 400, WIDE_CODE], [WIDE_CODE, 400, PIXELS]);
    Ok(Autoencoder::new(&encoder, &decoder, weights)?.with_active_code())
}

/// Like [`dense`], with an encoder that gives a mean and a logarithm of the variance of each
/// number of the code.
pub fn variational(weights: VarBuilder) -> Result<Autoencoder> {
    Autoencoder::new(&[PIXELS, 400, 2 * CODE], &[CODE, 400, PIXELS], weights)
}

/// 28x28 pixels to 14x14 of 16 channels, 7x7 of 32, and the code; and the same way back.
pub fn convolutional(weights: VarBuilder) -> Result<Autoencoder> {
    const FLAT: usize = 32 * 7 * 7;
    let (mut half, mut double) = (Conv2dConfig::default(), ConvTranspose2dConfig::default());
    (half.stride, half.padding, double.stride, double.padding) = (2, 1, 2, 1);
    let (down, up) = (weights.pp("encoder"), weights.pp("decoder"));
    let encoder = seq()
        .add_fn(|pixels| pixels.reshape(((), 1, SIDE, SIDE)))
        .add(conv2d(1, 16, 4, half, down.pp("conv1"))?)
        .add(Activation::Relu)
        .add(conv2d(16, 32, 4, half, down.pp("conv2"))?)
        .add(Activation::Relu)
        .add_fn(|features| features.flatten_from(1))
        .add(linear(FLAT, CODE, down.pp("code"))?);
    let decoder = seq()
        .add(linear(CODE, FLAT, up.pp("code"))?)
        .add(Activation::Relu)
        .add_fn(|features| features.reshape(((), 32, 7, 7)))
        .add(conv_transpose2d(32, 16, 4, double, up.pp("conv2"))?)
        .add(Activation::Relu)
        .add(conv_transpose2d(16, 1, 4, double, up.pp("conv1"))?)
        .add_fn(|pixels| pixels.flatten_from(1));
    Ok(Autoencoder { encoder, decoder })
}
