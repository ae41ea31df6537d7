//! A model of one's own, to encode and decode with.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::bitstream::ModelId;
use crate::codec::{self, Tune, model_id};
use crate::error::{Error, Result};

/// A model that `aec train` or `aec export` made. Clones share it.
///
/// The models that the library carries need no loading: [`Encoder`](crate::Encoder) takes the one of
/// its [`Tune`](crate::Tune), and [`Decoder`](crate::Decoder) that of the file.
#[derive(Clone)]
pub struct Model(Arc<codec::Model>);

impl Model {
    /// Reads a model file.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::LimitExceeded`] over 256 MiB, [`Error::Weights`] when it
    /// is malformed.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self(Arc::new(codec::Model::load(path.as_ref())?)))
    }

    /// The model of a model file's bytes.
    ///
    /// # Errors
    /// [`Error::Weights`] when they are malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self(Arc::new(codec::Model::from_bytes(bytes)?)))
    }

    /// The id by which files name it: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        model_id(&self.0).to_string()
    }

    /// The name that it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The model that the library carries for a tune. The first who asks for it, by coding a picture or here, loads it,
    /// which takes a tenth of a second; it is then kept.
    ///
    /// # Errors
    /// [`Error::Weights`] when the library was built with a broken model file.
    pub fn built_in(tune: Tune) -> Result<Self> {
        codec::Model::embedded_for(tune).map(Self)
    }

    /// The carried model with this id.
    pub(super) fn of_id(id: ModelId) -> Result<Self> {
        match codec::Model::embedded_with_id(id) {
            Some(model) => model.map(Self),
            None => Err(Error::UnknownModel(id.to_string())),
        }
    }

    pub(super) fn inner(&self) -> &codec::Model {
        &self.0
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({} {})", self.name(), self.id())
    }
}
