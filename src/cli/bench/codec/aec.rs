//! aec itself, through the library.

use std::sync::Arc;

use super::{Codec, Coder, Source};
use crate::bitstream::Quality;
use crate::codec::Model;
use crate::codec::{self, DecodeOptions, EncodeOptions, NoProgress, model_id};
use crate::picture::Image;

/// aec with one model, effort and tune.
struct AecCoder {
    model: Arc<Model>,
    options: EncodeOptions,
}

/// aec with one model, effort and tune; `name` tells it from others in tables.
pub(in super::super) fn aec(
    name: String,
    model: Arc<Model>,
    options: EncodeOptions,
    qualities: Vec<f64>,
) -> Codec {
    let encoder = format!(
        "aec {}, model {} {}, effort {}, tune {}",
        env!("CARGO_PKG_VERSION"),
        model.name(),
        model_id(&model),
        options.effort,
        options.tune
    );
    Codec {
        name,
        encoder,
        qualities,
        coder: Box::new(AecCoder { model, options }),
    }
}

impl Coder for AecCoder {
    fn encode(&self, source: &Source, quality: f64) -> anyhow::Result<Vec<u8>> {
        let options = EncodeOptions {
            quality: Quality::from_percent(quality)?,
            ..self.options
        };
        let image = source.image();
        Ok(codec::encode(image, &self.model, &options, &NoProgress)?)
    }

    fn decode(&self, file: &[u8]) -> anyhow::Result<Image> {
        let options = DecodeOptions {
            limits: self.options.limits,
            ..DecodeOptions::default()
        };
        Ok(codec::decode(file, &self.model, &options, &NoProgress)?)
    }
}
