//! One elementwise operation or sum, on whichever device its tensors are.

#[cfg(feature = "cuda")]
use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{CpuStorage, Layout, Result, Shape, Storage, Tensor, bail};
#[cfg(feature = "cuda")]
use candle_core::{CudaDevice, CudaStorage, backend::BackendStorage};

use super::tape::Made;
use super::{on_cpu, values};
#[cfg(feature = "cuda")]
use crate::train::cuda;
use crate::train::cuda::Kernel;
use crate::train::kernels::unwritten;

/// A kernel and the shape of what it makes.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub kernel: Kernel,
    pub shape: Shape,
}

impl Call {
    /// A call that makes a tensor of this shape.
    pub fn new(kernel: Kernel, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        Self { kernel, shape }
    }

    /// What a kernel makes of tensors, of the shape of the first.
    pub fn like<const N: usize>(kernel: Kernel, tensors: [&Tensor; N]) -> Result<Tensor> {
        Self::new(kernel, tensors[0].shape()).run(tensors)
    }

    fn cpu<const N: usize>(self, inputs: [(&CpuStorage, &Layout); N]) -> Result<Made> {
        let mut slices = [&[][..]; N];
        for (slice, (storage, layout)) in slices.iter_mut().zip(inputs) {
            *slice = values(storage, layout)?;
        }
        let mut out = unwritten(self.shape.elem_count());
        on_cpu::run(self.kernel, &slices, &mut out)?;
        Ok(Made::on_cpu(out, self.shape))
    }

    #[cfg(feature = "cuda")]
    fn gpu<const N: usize>(self, inputs: [(&CudaStorage, &Layout); N]) -> Result<Made> {
        let Some((first, _)) = inputs.first() else {
            bail!("{:?} needs an input", self.kernel);
        };
        let device: CudaDevice = first.device().clone();
        let views = inputs
            .into_iter()
            .map(cuda::view)
            .collect::<Result<Vec<_>>>()?;
        let outputs = self.shape.elem_count();
        let out = cuda::launch(&device, self.kernel, &views, outputs)?;
        let storage = CudaStorage::wrap_cuda_slice(out, device);
        Ok(Made::new(Storage::Cuda(storage), self.shape))
    }

    /// Runs the call on tensors.
    pub fn make<const N: usize>(self, tensors: [&Tensor; N]) -> Result<Made> {
        let mut contiguous = Vec::with_capacity(N);
        for tensor in tensors {
            contiguous.push(tensor.detach().contiguous()?);
        }
        let guards: Vec<_> = contiguous.iter().map(Tensor::storage_and_layout).collect();
        let mut cpu = Vec::with_capacity(N);
        #[cfg(feature = "cuda")]
        let mut gpu = Vec::with_capacity(N);
        for (storage, layout) in &guards {
            match &**storage {
                Storage::Cpu(storage) => cpu.push((storage, *layout)),
                #[cfg(feature = "cuda")]
                Storage::Cuda(storage) => gpu.push((storage, *layout)),
                _ => bail!("{:?} on an unknown device", self.kernel),
            }
        }
        #[cfg(feature = "cuda")]
        if let Ok(inputs) = <[_; N]>::try_from(gpu) {
            return self.gpu(inputs);
        }
        let Ok(inputs) = <[_; N]>::try_from(cpu) else {
            bail!("{:?} of tensors on different devices", self.kernel);
        };
        self.cpu(inputs)
    }

    /// Runs the call on tensors, without a gradient.
    pub fn run<const N: usize>(self, tensors: [&Tensor; N]) -> Result<Tensor> {
        Ok(self.make(tensors)?.plain())
    }
}

/// A tensor of values on a GPU.
#[cfg(feature = "cuda")]
pub fn from_gpu(device: &CudaDevice, values: CudaSlice<f32>, shape: &Shape) -> Tensor {
    let storage = CudaStorage::wrap_cuda_slice(values, device.clone());
    Made::new(Storage::Cuda(storage), shape.clone()).plain()
}
