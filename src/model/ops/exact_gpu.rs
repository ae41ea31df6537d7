//! Exact inference on a GPU: the layers' weights in its memory, and the launches.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::cuda::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CudaDevice, CudaStorage, Layout, Result, bail};

use super::call::view;
use crate::kernels::cuda::{Grid, TILE, launch};
use crate::kernels::{PackedBlock, PackedDepthwise, PackedPointwise};

/// A layer's weights on the GPU, uploaded when they are first used.
pub struct Kept<T>(Arc<Mutex<Option<Arc<T>>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Kept<T> {
    /// The weights; `upload` makes them the first time.
    pub fn get(&self, upload: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(weights) = &*kept {
            return Ok(weights.clone());
        }
        let weights = Arc::new(upload()?);
        *kept = Some(weights.clone());
        Ok(weights)
    }
}

/// A 1x1 convolution.
pub struct GpuPointwise {
    device: CudaDevice,
    weights: CudaSlice<f32>,
    inputs: usize,
    outputs: usize,
}

impl GpuPointwise {
    /// Uploads the weights.
    pub fn new(device: &CudaDevice, weights: &PackedPointwise) -> Result<Self> {
        Ok(Self {
            device: device.clone(),
            weights: device.clone_htod(&weights.panels_and_bias())?,
            inputs: weights.inputs(),
            outputs: weights.outputs(),
        })
    }

    /// The convolution of `x`, plus `residual`.
    pub fn forward(
        &self,
        x: (&CudaStorage, &Layout),
        residual: Option<(&CudaStorage, &Layout)>,
    ) -> Result<CudaStorage> {
        let residual = residual.map(view).transpose()?;
        let out = self.run(&view(x)?, residual, false)?;
        Ok(CudaStorage::wrap_cuda_slice(out, self.device.clone()))
    }

    /// `[act](W x + b) [+ residual]`
    fn run(
        &self,
        x: &CudaView<'_, f32>,
        residual: Option<CudaView<'_, f32>>,
        activate: bool,
    ) -> Result<CudaSlice<f32>> {
        let pixels = x.len() / self.inputs;
        let values = pixels * self.outputs;
        if x.len() != pixels * self.inputs || residual.as_ref().is_some_and(|r| r.len() != values) {
            bail!("a pointwise layer does not fit its input");
        }
        let tiles = pixels.div_ceil(TILE) * self.outputs.div_ceil(TILE);
        let flags = [usize::from(activate), usize::from(residual.is_some())];
        let sizes = [pixels, self.inputs, self.outputs, flags[0], flags[1]];
        let mut inputs = vec![x.slice(..), self.weights.slice(..)];
        inputs.extend(residual);
        let grid = Grid::Blocks(tiles);
        launch(
            &self.device,
            "exact_pointwise",
            grid,
            &inputs,
            sizes,
            values,
        )
    }
}

/// A depthwise 3x3 convolution.
struct GpuDepthwise {
    device: CudaDevice,
    params: CudaSlice<f32>,
    channels: usize,
}

impl GpuDepthwise {
    fn new(device: &CudaDevice, weights: &PackedDepthwise) -> Result<Self> {
        Ok(Self {
            device: device.clone(),
            params: device.clone_htod(&weights.taps_and_bias())?,
            channels: weights.channels(),
        })
    }

    fn run(&self, x: &CudaSlice<f32>, height: usize, width: usize) -> Result<CudaSlice<f32>> {
        let values = height * width * self.channels;
        if x.len() != values {
            bail!("a depthwise layer does not fit its input");
        }
        let sizes = [values, height, width, self.channels, 0];
        let inputs = [x.slice(..), self.params.slice(..)];
        let grid = Grid::PerOutput;
        launch(
            &self.device,
            "exact_depthwise",
            grid,
            &inputs,
            sizes,
            values,
        )
    }
}

/// A depth-conv block.
pub struct GpuBlock {
    w1: GpuPointwise,
    depthwise: GpuDepthwise,
    w2: GpuPointwise,
    w3: GpuPointwise,
    w4: GpuPointwise,
}

impl GpuBlock {
    /// Uploads the weights.
    pub fn new(device: &CudaDevice, weights: &PackedBlock) -> Result<Self> {
        Ok(Self {
            w1: GpuPointwise::new(device, &weights.w1)?,
            depthwise: GpuDepthwise::new(device, &weights.dw)?,
            w2: GpuPointwise::new(device, &weights.w2)?,
            w3: GpuPointwise::new(device, &weights.w3)?,
            w4: GpuPointwise::new(device, &weights.w4)?,
        })
    }

    /// The block of one picture.
    pub fn forward(
        &self,
        x: (&CudaStorage, &Layout),
        height: usize,
        width: usize,
    ) -> Result<CudaStorage> {
        let device = BackendStorage::device(x.0).clone();
        let x = view(x)?;
        let hidden = self.w1.run(&x, None, true)?;
        let spatial = self.depthwise.run(&hidden, height, width)?;
        let middle = self.w2.run(&spatial.slice(..), Some(x), false)?;
        let wide = self.w3.run(&middle.slice(..), None, true)?;
        let out = self
            .w4
            .run(&wide.slice(..), Some(middle.slice(..)), false)?;
        Ok(CudaStorage::wrap_cuda_slice(out, device))
    }
}
