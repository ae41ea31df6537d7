//! aec itself, through the library.

use std::sync::Arc;

use super::{Codec, Source};
use crate::bitstream::Quality;
use crate::codec::Model;
use crate::codec::{self, DecodeOptions, EncodeOptions, NoProgress, model_id};
use crate::picture::Image;

/// aec with one model, effort and tune.
pub(in super::super) struct AecCodec {
    name: String,
    model: Arc<Model>,
    options: EncodeOptions,
    qualities: Vec<f64>,
    encoder: String,
}

impl AecCodec {
    /// `name` tells it from others in tables.
    pub(in super::super) fn new(
        name: String,
        model: Arc<Model>,
        options: EncodeOptions,
        qualities: Vec<f64>,
    ) -> Self {
        let encoder = format!(
            "aec {}, model {} {}, effort {}, tune {}",
            env!("CARGO_PKG_VERSION"),
            model.name(),
            model_id(&model),
            options.effort,
            options.tune
        );
        Self {
            name,
            model,
            options,
            qualities,
            encoder,
        }
    }
}

impl Codec for AecCodec {
    fn name(&self) -> &str {
        &self.name
    }

    fn encoder(&self) -> &str {
        &self.encoder
    }

    fn qualities(&self) -> &[f64] {
        &self.qualities
    }

    fn encode(&self, source: &Source, quality: f64) -> anyhow::Result<Vec<u8>> {
        let options = EncodeOptions {
            quality: Quality::from_percent(quality)?,
            ..self.options
        };
        Ok(codec::encode(
            source.image(),
            &self.model,
            &options,
            &NoProgress,
        )?)
    }

    fn decode(&self, file: &[u8]) -> anyhow::Result<Image> {
        let options = DecodeOptions {
            limits: self.options.limits,
            ..DecodeOptions::default()
        };
        Ok(codec::decode(file, &self.model, &options, &NoProgress)?)
    }
}
