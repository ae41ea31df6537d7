//! A model ready to encode and decode: the network, the scale tables, and what they are called.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::effort::Tune;
use super::price::Price;
use crate::bitstream::ModelId;
use crate::entropy::ScaleTables;
use crate::error::Result;
use crate::network::embedded;
use crate::network::file::read_file;
use crate::network::integer::digest;
use crate::network::ranges::Ranges;
use crate::network::worth::patch_norms;
use crate::network::{Inference, IntegerWeights, ModelConfig, QualityModel};

/// A model ready to encode and decode. Cheap to share between threads.
pub struct Model {
    inference: Inference,
    tables: ScaleTables,
    digest: [u8; 32],
    bytes: u64,
    /// Squared norm of each latent channel's patch in the linear path, known when an encoder first asks.
    patch_norms: OnceLock<Vec<f32>>,
}

/// The place of the carried model for a tune.
fn place_for(tune: Tune) -> usize {
    match tune {
        Tune::Psnr => embedded::BASE,
        Tune::Ssim => embedded::BASE_SSIM,
    }
}

/// The place of the carried model with an id.
fn place_of(id: ModelId) -> Option<usize> {
    let mut all = embedded::ALL.iter();
    all.position(|model| ModelId::of_digest(&model.digest) == id)
}

impl Model {
    /// The model that the library carries for [`Tune::Psnr`]. Here and below, the first who asks for a
    /// model loads it; it is then kept.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) when the library was built with a broken model file.
    pub fn embedded() -> Result<Arc<Self>> {
        Self::embedded_for(Tune::Psnr)
    }

    /// The model that the library carries for a tune: trained for what the encoder's search minimises then.
    ///
    /// # Errors
    /// As [`embedded`](Self::embedded).
    pub fn embedded_for(tune: Tune) -> Result<Arc<Self>> {
        Self::carried(place_for(tune))
    }

    /// The name of that model.
    #[cfg(feature = "cli")]
    pub(crate) fn embedded_name(tune: Tune) -> &'static str {
        embedded::ALL[place_for(tune)].name
    }

    /// What the model that the library carries under an id is for, if it carries one; nothing is loaded.
    pub(crate) fn tune_of_embedded(id: ModelId) -> Option<Tune> {
        let place = place_of(id)?;
        [Tune::Psnr, Tune::Ssim]
            .into_iter()
            .find(|tune| place_for(*tune) == place)
    }

    /// The name of the model that the library carries under an id, if it does; nothing is loaded.
    #[cfg(feature = "cli")]
    pub(crate) fn name_of_embedded(id: ModelId) -> Option<&'static str> {
        place_of(id).map(|place| embedded::ALL[place].name)
    }

    /// The model that the library carries under an id, if it does.
    ///
    /// # Errors
    /// As [`embedded`](Self::embedded).
    pub fn embedded_with_id(id: ModelId) -> Option<Result<Arc<Self>>> {
        place_of(id).map(Self::carried)
    }

    fn carried(place: usize) -> Result<Arc<Self>> {
        static LOADED: [OnceLock<Arc<Model>>; embedded::ALL.len()] =
            [const { OnceLock::new() }; embedded::ALL.len()];
        if let Some(model) = LOADED[place].get() {
            return Ok(model.clone());
        }
        // Not inside `get_or_init`: loading runs on all threads, each of which may come here for another file.
        let file = &embedded::ALL[place];
        let inference = Inference::of_file(file.bytes)?;
        let model = Arc::new(Self::build(inference, file.digest, file.bytes.len())?);
        Ok(LOADED[place].get_or_init(|| model).clone())
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when it cannot be read,
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) over 256 MiB,
    /// [`Error::Weights`](crate::Error::Weights) when it is malformed.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_bytes(&read_file(path)?)
    }

    /// Builds the model of a model file's bytes.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) when they are malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::of_file(bytes, None)
    }

    /// The model of some weights, which notes in `ranges` how large its tensors become.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) when the weights are not valid.
    pub fn measuring(weights: &IntegerWeights, ranges: &Ranges) -> Result<Self> {
        Self::of_file(&weights.to_bytes()?, Some(ranges.clone()))
    }

    fn of_file(bytes: &[u8], ranges: Option<Ranges>) -> Result<Self> {
        let (weights, digest) = rayon::join(|| IntegerWeights::from_bytes(bytes), || digest(bytes));
        Self::build(Inference::new(weights?, ranges)?, digest?, bytes.len())
    }

    fn build(inference: Inference, digest: [u8; 32], bytes: usize) -> Result<Self> {
        Ok(Self {
            tables: ScaleTables::from_words(inference.tables())?,
            digest,
            bytes: bytes as u64,
            inference,
            patch_norms: OnceLock::new(),
        })
    }

    /// SHA-256 of the model; its first 8 bytes identify it in files.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.config().name
    }

    /// The network's sizes.
    pub fn config(&self) -> &ModelConfig {
        self.inference.config()
    }

    /// The tables that its symbols are coded with.
    pub fn tables(&self) -> &ScaleTables {
        &self.tables
    }

    /// The model at one stored quality (0..=50000).
    pub fn at_quality(&self, stored: u16) -> QualityModel<'_> {
        self.inference.at_quality(stored)
    }

    /// What distortion is worth at a quality of this model.
    pub(super) fn price(&self, quality: &QualityModel<'_>) -> Price {
        let channels = self.config().latent_channels;
        let norms = || patch_norms(&quality.linear_path(), channels);
        Price::new(quality, self.patch_norms.get_or_init(norms))
    }

    /// Size of the model file in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The id by which files name `model`: the first 8 bytes of its digest.
pub fn model_id(model: &Model) -> ModelId {
    ModelId::of_digest(model.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carried_model_is_loaded_once_however_it_is_asked_for() {
        for tune in [Tune::Psnr, Tune::Ssim] {
            let model = Model::embedded_for(tune).unwrap();
            let same = Model::embedded_with_id(model_id(&model));
            assert!(Arc::ptr_eq(&model, &same.unwrap().unwrap()));
        }
        assert!(Model::embedded_with_id(ModelId([0; 8])).is_none());
    }

    #[test]
    fn the_shipped_tables_are_fitted_and_near_those_of_the_formula() {
        let model = Model::embedded().expect("the shipped model is valid");
        let (tables, gaussian) = (model.tables(), ScaleTables::gaussian());
        assert!(tables.to_words() != gaussian.to_words());
        for table in 10..50 {
            let difference = tables.bits(table, 0) - gaussian.bits(table, 0);
            assert!(difference.abs() < 0.5, "table {table}: {difference}");
        }
    }
}
