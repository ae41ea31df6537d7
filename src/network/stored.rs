//! Weights as a model file stores them: plain, or packed where that is shorter (codec-spec.md, Packed tensors).

use std::borrow::Cow;
use std::sync::Arc;

use safetensors::tensor::{Dtype, SafeTensors};

use super::file::{Part, malformed};
use crate::entropy::{pack, unpack};
use crate::error::{Error, Result};

/// The bytes of a tensor of integers.
pub(super) enum Stored<'a> {
    /// The integers, little-endian.
    Plain(&'a [u8]),
    /// The integers of 8 bits, packed; or the high bytes of 16 bits packed, and then the low ones.
    Packed(&'a [u8]),
}

impl<'a> Stored<'a> {
    /// A tensor of a file under its name, or packed.
    pub(super) fn find(part: &Part, file: &SafeTensors<'a>) -> Result<Self> {
        let name = packed_name(part);
        let packed = file.tensor(&name).ok();
        let Some(view) = packed.filter(|_| part.name.ends_with("weight")) else {
            return Ok(Self::Plain(part.find(file)?.data()));
        };
        if view.dtype() != Dtype::U8 || view.shape().len() != 1 {
            let (kind, shape) = (view.dtype(), view.shape());
            return Err(malformed(format!(
                "{name} should be U8 of one dimension, not {kind:?} {shape:?}"
            )));
        }
        Ok(Self::Packed(view.data()))
    }

    /// The integers of a tensor of 8 bits.
    pub(super) fn narrow(&self, part: &Part) -> Result<Arc<[i8]>> {
        let bytes = match self {
            Self::Plain(bytes) => bytes,
            Self::Packed(bytes) => {
                let mut values: Arc<[i8]> = std::iter::repeat_n(0, part.elements()).collect();
                let own = Arc::get_mut(&mut values).expect("nobody else has it yet");
                unpack_all(part, bytes, own, 0)?;
                return Ok(values);
            }
        };
        Ok(bytes.iter().map(|byte| byte.cast_signed()).collect())
    }

    /// The integers of a tensor of 16 bits.
    pub(super) fn wide(&self, part: &Part) -> Result<Vec<i16>> {
        let bytes = match self {
            Self::Plain(bytes) => bytes,
            Self::Packed(bytes) => {
                let mut high = vec![0; part.elements()];
                let low = unpack_all(part, bytes, &mut high, part.elements())?;
                let whole =
                    |(high, low): (&i8, &u8)| i16::from_le_bytes([*low, high.cast_unsigned()]);
                return Ok(high.iter().zip(low).map(whole).collect());
            }
        };
        let pairs = bytes.as_chunks::<2>().0.iter();
        Ok(pairs.map(|pair| i16::from_le_bytes(*pair)).collect())
    }

    /// The bytes of the plain tensor.
    pub(super) fn plain(&self, part: &Part) -> Result<Cow<'a, [u8]>> {
        let bytes = match (self, part.dtype) {
            (Self::Plain(bytes), _) => return Ok(Cow::Borrowed(bytes)),
            (_, Dtype::I16) => wide_bytes(&self.wide(part)?),
            _ => narrow_bytes(&self.narrow(part)?),
        };
        Ok(Cow::Owned(bytes))
    }
}

/// Unpacks integers of 8 bits, and returns what follows: so many bytes.
fn unpack_all<'a>(
    part: &Part,
    packed: &'a [u8],
    values: &mut [i8],
    expected: usize,
) -> Result<&'a [u8]> {
    let name = &part.name;
    let refused = |text: String| Error::Weights(format!("{name}: {text}"));
    let rest = unpack(packed, values).map_err(|error| match error {
        Error::Weights(text) => refused(text),
        other => other,
    })?;
    let found = rest.len();
    if found != expected {
        return Err(refused(format!(
            "{found} bytes after packed integers, expected {expected}"
        )));
    }
    Ok(rest)
}

/// What a tensor is called when it is packed.
fn packed_name(part: &Part) -> String {
    format!("{}.packed", part.name)
}

/// A tensor of 8 bits as it is stored: packed where that is shorter.
pub(super) fn store_narrow(part: Part, values: &[i8]) -> (Part, Vec<u8>) {
    shorter(part, narrow_bytes(values), pack(values))
}

/// The same of 16 bits.
pub(super) fn store_wide(part: Part, values: &[i16]) -> (Part, Vec<u8>) {
    let (low, high): (Vec<u8>, Vec<i8>) = values
        .iter()
        .map(|value| value.to_le_bytes())
        .map(|[low, high]| (low, high.cast_signed()))
        .unzip();
    shorter(part, wide_bytes(values), [pack(&high), low].concat())
}

fn shorter(part: Part, plain: Vec<u8>, packed: Vec<u8>) -> (Part, Vec<u8>) {
    if plain.len() <= packed.len() {
        return (part, plain);
    }
    let part = Part {
        name: packed_name(&part),
        shape: vec![packed.len()],
        dtype: Dtype::U8,
    };
    (part, packed)
}

fn narrow_bytes(values: &[i8]) -> Vec<u8> {
    values.iter().map(|value| value.cast_unsigned()).collect()
}

fn wide_bytes(values: &[i16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
