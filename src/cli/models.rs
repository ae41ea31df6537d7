//! Which model a command works with: the built-in one, that of `--model`, or one of the folder
//! `AEC_MODEL_DIR` when a file or `--model` names it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Context, bail};

use super::messages::GlobalOptions;
use super::text;
use crate::bitstream::{Header, ModelId, Reader};
use crate::codec::{Model, Tune, model_id};
use crate::error::Error;
use crate::network::{file, integer};
use crate::sync;

/// The environment variable that names a folder of model files.
const FOLDER: &str = "AEC_MODEL_DIR";
/// Extension of model files.
const EXTENSION: &str = "safetensors";
/// Most files of the folder that are looked at.
const MAX_FILES: usize = 1000;

/// What is said where a built-in model is broken.
pub const BUILT_IN: &str = "cannot load the built-in model";

/// The option that names weights.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelOption {
    /// Weights to use [default: built-in]
    ///
    /// A model file, the name of a built-in model (base-ssim, base), or that of one in the folder AEC_MODEL_DIR,
    /// without '.safetensors'. Without this option, encoding takes the built-in model for its tune, and a file is
    /// decoded with the model that it was made with: a built-in one, or one of that folder.
    #[arg(long, value_name = "PATH|NAME")]
    pub model: Option<PathBuf>,
}

impl ModelOption {
    /// The weights that the option names, or the built-in ones for a tune.
    ///
    /// # Errors
    /// When the weights cannot be read or are not valid.
    pub fn load(&self, tune: Tune) -> anyhow::Result<Arc<Model>> {
        let Some(path) = &self.model else {
            return Model::embedded_for(tune).context(BUILT_IN);
        };
        if let Some(tune) = self.built_in_tune() {
            return Model::embedded_for(tune).context(BUILT_IN);
        }
        let model = Model::load(&find(path))
            .with_context(|| format!("cannot load the model {}", text::quoted(path)))?;
        Ok(Arc::new(model))
    }

    /// What the built-in model is for that the option names, if it names one and no file is called so.
    pub fn built_in_tune(&self) -> Option<Tune> {
        let path = self.model.as_ref().filter(|path| !find(path).is_file())?;
        let is_named = |tune: &Tune| path.as_os_str() == Model::embedded_name(*tune);
        [Tune::Psnr, Tune::Ssim].into_iter().find(is_named)
    }

    /// The models for files: the one that the option names, or else the built-in ones and those of the folder, each
    /// loaded when a file needs it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn for_files<'a>(&self, global: &'a GlobalOptions) -> anyhow::Result<Models<'a>> {
        let is_chosen = self.model.is_some();
        Ok(Models {
            chosen: is_chosen.then(|| self.load(Tune::Psnr)).transpose()?,
            files: OnceLock::new(),
            loaded: Mutex::default(),
            global,
        })
    }
}

/// The file that `--model` means: a path, or a name in the folder where there is no such file.
pub fn find(path: &Path) -> PathBuf {
    let is_name = path.file_name() == Some(path.as_os_str());
    let in_folder = || {
        let mut file = folder()?.join(path).into_os_string();
        file.push(".");
        file.push(EXTENSION);
        Some(PathBuf::from(file)).filter(|file| file.is_file())
    };
    let found = if is_name && !path.is_file() {
        in_folder()
    } else {
        None
    };
    found.unwrap_or_else(|| path.to_path_buf())
}

/// The folder, if the environment names one.
fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER)
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
}

/// Gives every file the model that it was made with, if it is there.
pub struct Models<'a> {
    /// The model of `--model`: no other is used then.
    chosen: Option<Arc<Model>>,
    /// What lies in the folder; read when a file needs it.
    files: OnceLock<Vec<(ModelId, PathBuf)>>,
    /// What was loaded of the folder.
    loaded: Mutex<Vec<Arc<Model>>>,
    global: &'a GlobalOptions,
}

impl Models<'_> {
    /// The model that the `.aec` file `bytes` names. If it is not here, another one: the decoder
    /// tells them apart and says which is missing.
    ///
    /// # Errors
    /// When a built-in model is broken, and when the file names another model than `--model`.
    pub fn of_file(&self, bytes: &[u8]) -> anyhow::Result<Arc<Model>> {
        let header = Header::read(&mut Reader::new(bytes)).ok();
        let named = header.map(|header| header.model);
        if let Some(chosen) = &self.chosen {
            let given = model_id(chosen);
            if let Some(needed) = named.filter(|named| *named != given) {
                let [needed, given] = [needed, given].map(|id| id.to_string());
                bail!(Error::WrongModel { needed, given });
            }
            return Ok(chosen.clone());
        }
        let named = named.and_then(|named| self.find(named));
        named.map_or_else(|| self.first(), Ok)
    }

    /// The model that is used unless a file names another.
    ///
    /// # Errors
    /// When the built-in model is broken.
    pub fn first(&self) -> anyhow::Result<Arc<Model>> {
        match &self.chosen {
            Some(chosen) => Ok(chosen.clone()),
            None => Model::embedded().context(BUILT_IN),
        }
    }

    /// The model `id`, built in or of the folder.
    fn find(&self, id: ModelId) -> Option<Arc<Model>> {
        if let Some(model) = Model::embedded_with_id(id) {
            return model.ok();
        }
        let is_named = |model: &&Arc<Model>| model_id(model) == id;
        if let Some(model) = sync::lock(&self.loaded).iter().find(is_named) {
            return Some(model.clone());
        }
        let files = self.files.get_or_init(|| self.list());
        let mut named = files.iter().filter(|(found, _)| *found == id);
        // Not under the lock: loading runs on all threads, each of which may come here for another file.
        let model = Arc::new(named.find_map(|(_, path)| self.load(path, id))?);
        sync::lock(&self.loaded).push(model.clone());
        Some(model)
    }

    fn load(&self, path: &Path, id: ModelId) -> Option<Model> {
        let model = Model::load(path).map_err(|error| self.skip(path, &error));
        // The file may have changed since it was listed.
        model.ok().filter(|model| model_id(model) == id)
    }

    /// The model files of the folder, by name. What is no model is skipped.
    fn list(&self) -> Vec<(ModelId, PathBuf)> {
        let Some(folder) = folder() else {
            return Vec::new();
        };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                let what = format!("cannot look into {FOLDER} {}", text::quoted(&folder));
                self.global.warn(&format!("{what}: {error}"));
                return Vec::new();
            }
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let mut paths: Vec<PathBuf> = paths
            .filter(|path| path.extension() == Some(OsStr::new(EXTENSION)) && path.is_file())
            .take(MAX_FILES)
            .collect();
        paths.sort();
        let name = |path: PathBuf| {
            let id = id_of(&path).map_err(|error| self.skip(&path, &error));
            Some((id.ok()?, path))
        };
        paths.into_iter().filter_map(name).collect()
    }

    fn skip(&self, path: &Path, error: &crate::Error) {
        let what = format!("skipping the model {}", text::quoted(path));
        self.global.warn(&format!("{what}: {error}"));
    }
}

/// The id of a model file, which is not checked otherwise.
fn id_of(path: &Path) -> crate::Result<ModelId> {
    let digest = integer::digest(&file::read_file(path)?)?;
    Ok(ModelId::of_digest(&digest))
}
