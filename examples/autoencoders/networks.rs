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
    Ok(Autoencoder {
        encoder: layers(&[PIXELS, 400, CODE], weights.pp("encoder"))?,
        decoder: layers(&[CODE, 400, PIXELS], weights.pp("decoder"))?,
    })
}

/// 784-32-784.
pub fn small(weights: VarBuilder) -> Result<Autoencoder> {
    Ok(Autoencoder {
        encoder: layers(&[PIXELS, 32], weights.pp("encoder"))?.add(Activation::Relu),
        decoder: layers(&[32, PIXELS], weights.pp("decoder"))?,
    })
}

/// 784-400-128-400-784 with a code that is zero or positive.
pub fn wide(weights: VarBuilder) -> Result<Autoencoder> {
    Ok(Autoencoder {
        encoder: layers(&[PIXELS, 400, WIDE_CODE], weights.pp("encoder"))?.add(Activation::Relu),
        decoder: layers(&[WIDE_CODE, 400, PIXELS], weights.pp("decoder"))?,
    })
}

/// Like [`dense`], with an encoder that gives a mean and a logarithm of the variance of each
/// number of the code.
pub fn variational(weights: VarBuilder) -> Result<Autoencoder> {
    Ok(Autoencoder {
        encoder: layers(&[PIXELS, 400, 2 * CODE], weights.pp("encoder"))?,
        decoder: layers(&[CODE, 400, PIXELS], weights.pp("decoder"))?,
    })
}

/// 28x28 pixels to 14x14 of 16 channels, 7x7 of 32, and the code; and the same way back.
pub fn convolutional(weights: VarBuilder) -> Result<Autoencoder> {
    const NARROW: usize = 16;
    const WIDE: usize = 32;
    const FLAT: usize = WIDE * SIDE * SIDE / 16;
    let half = Conv2dConfig {
        stride: 2,
        padding: 1,
        ..Default::default()
    };
    let double = ConvTranspose2dConfig {
        stride: 2,
        padding: 1,
        ..Default::default()
    };
    let (down, up) = (weights.pp("encoder"), weights.pp("decoder"));
    let encoder = seq()
        .add_fn(|pixels| pixels.reshape(((), 1, SIDE, SIDE)))
        .add(conv2d(1, NARROW, 4, half, down.pp("conv1"))?)
        .add(Activation::Relu)
        .add(conv2d(NARROW, WIDE, 4, half, down.pp("conv2"))?)
        .add(Activation::Relu)
        .add_fn(|features| features.flatten_from(1))
        .add(linear(FLAT, CODE, down.pp("code"))?);
    let decoder = seq()
        .add(linear(CODE, FLAT, up.pp("code"))?)
        .add(Activation::Relu)
        .add_fn(|features| features.reshape(((), WIDE, SIDE / 4, SIDE / 4)))
        .add(conv_transpose2d(WIDE, NARROW, 4, double, up.pp("conv2"))?)
        .add(Activation::Relu)
        .add(conv_transpose2d(NARROW, 1, 4, double, up.pp("conv1"))?)
        .add_fn(|pixels| pixels.flatten_from(1));
    Ok(Autoencoder { encoder, decoder })
}

/// Linear layers of these sizes, with ReLU between them.
fn layers(sizes: &[usize], weights: VarBuilder) -> Result<Sequential> {
    let mut layers = seq();
    for (i, pair) in sizes.windows(2).enumerate() {
        if i > 0 {
            layers = layers.add(Activation::Relu);
        }
        layers = layers.add(linear(pair[0], pair[1], weights.pp(i))?);
    }
    Ok(layers)
}
