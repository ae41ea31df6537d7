//! The model file (§7).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::arrays::{Block, Convolution, Integers, halves};
use super::packed::unpack;
use super::rans::Tables;
use super::{Class, Result};

/// Sizes of the networks (§7.2).
pub struct Sizes {
    pub latent: usize,
    pub hyper: usize,
    pub stage8_blocks: usize,
    pub stage16_blocks: usize,
    pub quality_rows: usize,
    pub skip_below: usize,
    pub context_state: bool,
    pub synthesis_out_gain: bool,
}

pub struct Model {
    pub id: [u8; 8],
    pub sizes: Sizes,
    pub tables: Tables,
    tensors: BTreeMap<String, Tensor>,
}

/// A tensor's shape and values.
struct Tensor {
    shape: Vec<u64>,
    integers: Vec<i32>,
    reals: Vec<f32>,
}

/// Quality vectors by table name without `quality.`.
pub type Quality = BTreeMap<String, Vec<f32>>;

/// A tensor as it is stored, or would be if it were not packed.
#[derive(Clone)]
pub struct Stored<'a> {
    /// As in the digest (§7.2).
    pub kind: u8,
    pub shape: Vec<u64>,
    pub data: Cow<'a, [u8]>,
}

impl Model {
    pub fn read(file: &[u8]) -> Result<Self> {
        let (config, stored) = read_file(file).ok_or(Class::Weights)?;
        let sizes = read_sizes(&config).ok_or(Class::Weights)?;
        let words = &stored.get("entropy.tables").ok_or(Class::Weights)?.data;
        let words: Vec<u16> = words
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
            .collect();
        let tables = Tables::read(&words)?;
        let id = digest(&config, &stored)[..8].try_into().unwrap();
        let tensors = stored
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.read()));
        let tensors: BTreeMap<_, _> = tensors.collect();
        if !tensors.iter().all(|(name, tensor)| is_valid(name, tensor)) {
            return Err(Class::Weights);
        }
        Ok(Self {
            id,
            sizes,
            tables,
            tensors,
        })
    }

    fn reals(&self, name: &str) -> Vec<f32> {
        self.tensors[name].reals.clone()
    }

    /// The exponents of `path`.
    fn exponents(&self, path: &str) -> Vec<i32> {
        self.tensors[&format!("{path}.exponents")].integers.clone()
    }

    /// The one exponent of `path`.
    pub fn exponent(&self, path: &str) -> i32 {
        self.exponents(path)[0]
    }

    pub fn layer(&self, path: &str) -> Convolution {
        Convolution {
            weight: self.tensors[&format!("{path}.weight")].integers.clone(),
            is_wide: is_wide(path),
            multiplier: self.reals(&format!("{path}.multiplier")),
            bias: self.reals(&format!("{path}.bias")),
        }
    }

    /// The pointwise layer at `path`, whose result is integers.
    pub fn pointwise(&self, path: &str, x: &Integers) -> Integers {
        self.layer(path).integers(x, None, self.exponent(path))
    }

    /// The same with a gain.
    pub fn gained(&self, path: &str, gains: &[f32], x: &Integers) -> Integers {
        let layer = self.layer(path).gained(gains);
        layer.integers(x, None, self.exponent(path))
    }

    pub fn block(&self, path: &str, x: &Integers) -> Integers {
        let part = |name: &str| self.layer(&format!("{path}.{name}"));
        let block = Block {
            conv1: part("conv1"),
            depthwise: part("depthwise"),
            conv2: part("conv2"),
            conv3: part("conv3"),
            conv4: part("conv4"),
            exponents: self.exponents(path),
        };
        block.apply(x)
    }

    /// The quality tables at a stored quality (§7.4).
    pub fn at_quality(&self, q: u16) -> Quality {
        let rows = self.sizes.quality_rows;
        let position = usize::from(q) * (rows - 1) * 4096 / 50_000;
        let row = (position >> 12).min(rows - 2);
        let t = (position - 4096 * row) as f32 / 4096.0;
        let tables = self.tensors.iter().filter_map(|(name, table)| {
            let name = name.strip_prefix("quality.")?.strip_suffix(".table")?;
            let columns = table.reals.len() / rows;
            let at = |row: usize, c: usize| table.reals[row * columns + c];
            let vector = (0..columns).map(|c| {
                let part = t * (at(row + 1, c) - at(row, c));
                part + at(row, c)
            });
            Some((name.to_string(), vector.collect()))
        });
        tables.collect()
    }
}

impl Stored<'_> {
    fn read(&self) -> Tensor {
        let pairs = || self.data.as_chunks::<2>().0.iter();
        let integers = match self.kind {
            1 => self
                .data
                .iter()
                .map(|byte| i32::from(*byte as i8))
                .collect(),
            2 => pairs()
                .map(|pair| i16::from_le_bytes(*pair).into())
                .collect(),
            _ => Vec::new(),
        };
        let reals = match self.kind {
            4 => {
                let four = self.data.as_chunks::<4>().0.iter();
                four.map(|bytes| f32::from_le_bytes(*bytes)).collect()
            }
            _ => Vec::new(),
        };
        Tensor {
            shape: self.shape.clone(),
            integers,
            reals,
        }
    }
}

fn is_wide(path: &str) -> bool {
    path.ends_with(".linear")
}

/// The rules for a tensor's values (§7.3).
fn is_valid(name: &str, tensor: &Tensor) -> bool {
    let small = |sum: i32| sum <= 65535;
    let rows = || {
        let inputs = *tensor.shape.last().unwrap_or(&1) as usize;
        tensor.integers.chunks(inputs.max(1))
    };
    let reals = tensor.reals.iter().all(|v| v.abs() <= 65535.0);
    reals
        && match name.rsplit_once('.') {
            Some((_, "exponents")) => tensor.integers.iter().all(|e| (-20..=15).contains(e)),
            Some((path, "weight")) if is_wide(path) => rows().all(|row| {
                let high = row.iter().map(|w| halves(*w).0.abs()).sum();
                let low = row.iter().map(|w| halves(*w).1.abs()).sum();
                small(high) && small(low) && row.iter().all(|w| *w <= 32639)
            }),
            Some((path, "weight")) if !path.ends_with(".depthwise") => {
                rows().all(|row| small(row.iter().map(|w| w.abs()).sum()))
            }
            _ => true,
        }
}

/// The configuration's text and the tensors by name, none of them packed (§7.1).
pub fn read_file(file: &[u8]) -> Option<(String, BTreeMap<String, Stored<'_>>)> {
    let (length, rest) = file.split_first_chunk::<8>()?;
    let (header, data) =
        rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let Value::Object(members) = serde_json::from_slice(header).ok()? else {
        return None;
    };
    let config = members
        .get("__metadata__")?
        .get("config")?
        .as_str()?
        .to_string();
    let tensors = members.iter().filter(|(name, _)| *name != "__metadata__");
    let stored = tensors.map(|(name, value)| Some((name.clone(), read_tensor(value, data)?)));
    let stored: BTreeMap<_, _> = stored.collect::<Option<_>>()?;
    let plain = stored.iter().map(|(name, tensor)| {
        let Some(name) = name.strip_suffix(".packed") else {
            return Some((name.clone(), tensor.clone()));
        };
        let rows = match name.strip_suffix(".depthwise.weight") {
            Some(_) => 9,
            None => *stored
                .get(&name.replace("weight", "multiplier"))?
                .shape
                .first()?,
        };
        Some((name.to_string(), unpacked(name, &tensor.data, rows)?))
    });
    Some((config, plain.collect::<Option<_>>()?))
}

/// The tensor of so many rows that `name` with `.packed` stands for.
fn unpacked(name: &str, packed: &[u8], rows: u64) -> Option<Stored<'static>> {
    let (high, low) = unpack(packed)?;
    if !(high.len() as u64).is_multiple_of(rows) {
        return None;
    }
    let shape = vec![rows, high.len() as u64 / rows];
    let (kind, data) = if is_wide(name.strip_suffix(".weight")?) {
        let pairs = low.iter().zip(&high);
        let bytes = pairs.flat_map(|(low, high)| [*low, *high as u8]);
        (low.len() == high.len()).then(|| (2, bytes.collect()))?
    } else {
        let bytes = high.iter().map(|byte| *byte as u8);
        low.is_empty().then(|| (1, bytes.collect()))?
    };
    Some(Stored {
        kind,
        shape,
        data: Cow::Owned(data),
    })
}

fn read_tensor<'a>(value: &Value, data: &'a [u8]) -> Option<Stored<'a>> {
    let kind = match value.get("dtype")?.as_str()? {
        "I8" => 1,
        "I16" => 2,
        "U16" => 3,
        "F32" => 4,
        "U8" => 5,
        _ => return None,
    };
    let shape = value
        .get("shape")?
        .as_array()?
        .iter()
        .map(Value::as_u64)
        .collect::<Option<_>>()?;
    let offset = |i: usize| usize::try_from(value.get("data_offsets")?.get(i)?.as_u64()?).ok();
    Some(Stored {
        kind,
        shape,
        data: Cow::Borrowed(data.get(offset(0)?..offset(1)?)?),
    })
}

fn read_sizes(config: &str) -> Option<Sizes> {
    let config: Value = serde_json::from_str(config).ok()?;
    let size = |name: &str| Some(config.get(name)?.as_u64()? as usize);
    let has = |name: &str| config.get(name).map_or(Some(false), Value::as_bool);
    Some(Sizes {
        latent: size("latent_channels")?,
        hyper: size("hyper_channels")?,
        stage8_blocks: size("stage8_blocks")?,
        stage16_blocks: size("stage16_blocks")?,
        quality_rows: size("quality_rows")?,
        skip_below: size("skip_below")?,
        context_state: has("context_state")?,
        synthesis_out_gain: has("synthesis_out_gain")?,
    })
}

/// The model's digest (§7.2).
fn digest(config: &str, tensors: &BTreeMap<String, Stored>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(config);
    for (name, tensor) in tensors {
        hash.update(name);
        hash.update([0, tensor.kind]);
        for side in &tensor.shape {
            hash.update(side.to_le_bytes());
        }
        hash.update(&tensor.data);
    }
    hash.finalize().into()
}
