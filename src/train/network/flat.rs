//! Layers' flat parameters by path, for candle's `VarBuilder`.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;

/// Path component under which a layer's flat parameters are looked up.
pub const FLAT: &str = "flat";

/// Looks layers up by path for candle's `VarBuilder`.
pub struct FlatTensors<'a>(pub &'a BTreeMap<String, Tensor>);

impl SimpleBackend for FlatTensors<'_> {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if tensor.shape() != &shape {
            candle_core::bail!("{name} has shape {:?}, expected {shape:?}", tensor.shape());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        let path = layer_path(name);
        self.0.get(path).cloned().ok_or_else(|| no_layer(path))
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains_key(layer_path(name))
    }
}

/// The path of the layer whose flat parameters have this name.
fn layer_path(name: &str) -> &str {
    let path = name.strip_suffix(FLAT);
    path.and_then(|path| path.strip_suffix('.')).unwrap_or(name)
}

fn no_layer(path: &str) -> candle_core::Error {
    candle_core::Error::Msg(format!("no layer {path}"))
}
