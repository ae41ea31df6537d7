//! A model file taken apart and put together again, so that tests can change its parts.

use std::collections::{BTreeMap, HashMap};

use aec::unstable::entropy::ScaleTables;
use aec::unstable::network::rounding::provisional_exponents;
use aec::unstable::network::{IntegerWeights, ModelConfig, Weights};
use safetensors::tensor::{Dtype, TensorView};

use crate::reference::{Stored, read_model_file};

/// The smallest model that the format allows, with repeatable values.
pub fn least() -> Vec<u8> {
    least_with(1)
}

/// The same with so many context channels.
pub fn least_with(context_channels: usize) -> Vec<u8> {
    let config = ModelConfig {
        name: "least".into(),
        latent_channels: 4,
        hyper_channels: 1,
        stage8_channels: 1,
        stage8_blocks: 1,
        stage16_channels: 1,
        stage16_blocks: 1,
        hyper_stage_channels: 1,
        context_channels,
        quality_rows: 2,
        ..ModelConfig::tiny()
    };
    let value = |i: usize| (i % 7 + 1) as f32 / 8.0;
    let layers = config.layers().into_iter();
    let layers = layers.map(|layer| {
        (
            layer.path.clone(),
            (0..layer.kind.parameters()).map(value).collect(),
        )
    });
    let weights = Weights {
        layers: layers.collect(),
        config,
        tables: ScaleTables::gaussian().to_words(),
    };
    let exponents = provisional_exponents(&weights.config);
    let model = IntegerWeights::rounded(&weights, exponents).unwrap();
    model.to_bytes().unwrap()
}

/// One tensor.
pub struct Tensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

/// The parts of a model file.
pub struct ModelFile {
    pub config: String,
    pub tensors: BTreeMap<String, Tensor>,
}

impl ModelFile {
    /// Takes a valid file apart; no tensor is packed any more.
    pub fn of(bytes: &[u8]) -> Self {
        let (config, tensors) = read_model_file(bytes).unwrap();
        let own = |(name, tensor): (String, Stored)| {
            let kind = usize::from(tensor.kind) - 1;
            let own = Tensor {
                dtype: [Dtype::I8, Dtype::I16, Dtype::U16, Dtype::F32][kind],
                shape: tensor.shape.iter().map(|side| *side as usize).collect(),
                data: tensor.data.into_owned(),
            };
            (name, own)
        };
        Self {
            config,
            tensors: tensors.into_iter().map(own).collect(),
        }
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, tensor)| {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.data);
            (name.as_str(), view.unwrap())
        });
        let metadata = HashMap::from([("config".to_string(), self.config.clone())]);
        safetensors::serialize(views, Some(metadata)).unwrap()
    }

    /// The tensor called `name`.
    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.get_mut(name).unwrap()
    }
}
