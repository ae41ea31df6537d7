//! The model file (§7).

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::arrays::{Block, Pointwise};
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
    tensors: BTreeMap<String, Vec<f32>>,
}

/// Quality vectors by table name without `quality.`.
pub type Quality = BTreeMap<String, Vec<f32>>;

/// A tensor as it is stored.
struct Stored<'a> {
    kind: u8,
    shape: Vec<u64>,
    data: &'a [u8],
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
            .map(|(name, tensor)| (name.clone(), tensor.reals()))
            .collect();
        Ok(Self {
            id,
            sizes,
            tables,
            tensors,
        })
    }

    fn tensor(&self, name: &str) -> Vec<f32> {
        self.tensors[name].clone()
    }

    pub fn pointwise(&self, path: &str) -> Pointwise {
        Pointwise {
            weight: self.tensor(&format!("{path}.weight")),
            bias: self.tensor(&format!("{path}.bias")),
        }
    }

    pub fn block(&self, path: &str) -> Block {
        let part = |name: &str| self.pointwise(&format!("{path}.{name}"));
        Block {
            conv1: part("conv1"),
            depthwise: part("depthwise"),
            conv2: part("conv2"),
            conv3: part("conv3"),
            conv4: part("conv4"),
        }
    }

    /// The quality tables at a stored quality (§7.4).
    pub fn at_quality(&self, q: u16) -> Quality {
        let rows = self.sizes.quality_rows;
        let position = usize::from(q) * (rows - 1) * 4096 / 50_000;
        let row = (position >> 12).min(rows - 2);
        let t = (position - 4096 * row) as f32 / 4096.0;
        let tables = self.tensors.iter().filter_map(|(name, table)| {
            let name = name.strip_prefix("quality.")?.strip_suffix(".table")?;
            let columns = table.len() / rows;
            let at = |row: usize, c: usize| table[row * columns + c];
            let vector = (0..columns).map(|c| t.mul_add(at(row + 1, c) - at(row, c), at(row, c)));
            Some((name.to_string(), vector.collect()))
        });
        tables.collect()
    }
}

impl Stored<'_> {
    /// The values; none for integers.
    fn reals(&self) -> Vec<f32> {
        match self.kind {
            1 => self
                .data
                .chunks_exact(2)
                .map(|b| binary16(u16::from_le_bytes([b[0], b[1]])))
                .collect(),
            2 => self
                .data
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// The binary32 number of a finite binary16 one.
fn binary16(bits: u16) -> f32 {
    let (exponent, fraction) = ((bits >> 10) & 31, f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2_f32.powi(-24),
        _ => (fraction + 1024.0) * 2_f32.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// The configuration's text and the tensors by name (§7.1).
fn read_file(file: &[u8]) -> Option<(String, BTreeMap<String, Stored<'_>>)> {
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
    Some((config, stored.collect::<Option<_>>()?))
}

fn read_tensor<'a>(value: &Value, data: &'a [u8]) -> Option<Stored<'a>> {
    let kind = match value.get("dtype")?.as_str()? {
        "F16" => 1,
        "F32" => 2,
        "U16" => 3,
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
        data: data.get(offset(0)?..offset(1)?)?,
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
        hash.update(tensor.data);
    }
    hash.finalize().into()
}
