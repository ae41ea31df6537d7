//! One elementwise operation or sum, on whichever device its tensors are: a plain function over
//! slices on the CPU, a kernel of the same name on a GPU.

#[cfg(feature = "cuda")]
use candle_core::cuda::cudarc::driver::{CudaSlice, CudaView};
use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, Layout, Result, Shape, Storage, Tensor, bail};
#[cfg(feature = "cuda")]
use candle_core::{CudaDevice, CudaStorage, backend::BackendStorage};

use super::values;
use crate::kernels::cuda::Grid;

/// What a call computes on the CPU: inputs, sizes, output.
pub(super) type OnCpu = fn(&[&[f32]], [usize; 5], &mut [f32]);

/// A kernel with its sizes and the shape of what it makes.
pub(super) struct Call {
    /// Name of the GPU's kernel.
    pub kernel: &'static str,
    /// The same on the CPU.
    pub on_cpu: OnCpu,
    /// Blocks of threads on the GPU.
    #[cfg_attr(not(any(feature = "cuda", test)), allow(dead_code))]
    pub grid: Grid,
    /// The kernel's sizes `n`, `p`, `q`, `r`, `s` (see the `.cu` files).
    pub sizes: [usize; 5],
    /// Shape of the output.
    pub shape: Shape,
}

impl Call {
    /// A call with one output per thread.
    pub fn new(kernel: &'static str, on_cpu: OnCpu, sizes: [usize; 5], shape: &Shape) -> Self {
        Self {
            kernel,
            on_cpu,
            grid: Grid::PerOutput,
            sizes,
            shape: shape.clone(),
        }
    }

    /// The body of a custom operation's `cpu_fwd`.
    pub fn cpu<const N: usize>(
        self,
        inputs: [(&CpuStorage, &Layout); N],
    ) -> Result<(CpuStorage, Shape)> {
        let mut slices = [&[][..]; N];
        for (slice, (storage, layout)) in slices.iter_mut().zip(inputs) {
            *slice = values(storage, layout)?;
        }
        let mut out = vec![0f32; self.shape.elem_count()];
        (self.on_cpu)(&slices, self.sizes, &mut out);
        #[cfg(test)]
        emulation::check(&self, &slices, &out);
        Ok((CpuStorage::F32(out), self.shape))
    }

    /// The body of a custom operation's `cuda_fwd`.
    #[cfg(feature = "cuda")]
    pub fn cuda<const N: usize>(
        self,
        inputs: [(&CudaStorage, &Layout); N],
    ) -> Result<(CudaStorage, Shape)> {
        let Some((first, _)) = inputs.first() else {
            bail!("{} needs an input", self.kernel);
        };
        let device: CudaDevice = first.device().clone();
        let views = inputs.into_iter().map(view).collect::<Result<Vec<_>>>()?;
        let outputs = self.shape.elem_count();
        let (grid, sizes) = (self.grid, self.sizes);
        let out = crate::kernels::cuda::launch(&device, self.kernel, grid, &views, sizes, outputs)?;
        Ok((CudaStorage::wrap_cuda_slice(out, device), self.shape))
    }

    /// [`Call::cpu`], and then the sum of each sample (first dimension of the output).
    pub fn cpu_sums<const N: usize>(
        self,
        inputs: [(&CpuStorage, &Layout); N],
    ) -> Result<(CpuStorage, Shape)> {
        let [parts, sums] = sample_sums(&self.shape)?;
        let (values, shape) = self.cpu(inputs)?;
        let (values, parts) = parts.cpu([(&values, &Layout::contiguous(shape))])?;
        sums.cpu([(&values, &Layout::contiguous(parts))])
    }

    /// [`Call::cuda`], and then the sum of each sample (first dimension of the output).
    #[cfg(feature = "cuda")]
    pub fn cuda_sums<const N: usize>(
        self,
        inputs: [(&CudaStorage, &Layout); N],
    ) -> Result<(CudaStorage, Shape)> {
        let [parts, sums] = sample_sums(&self.shape)?;
        let (values, shape) = self.cuda(inputs)?;
        let (values, parts) = parts.cuda([(&values, &Layout::contiguous(shape))])?;
        sums.cuda([(&values, &Layout::contiguous(parts))])
    }

    /// Runs the call on tensors, without a gradient.
    pub fn run<const N: usize>(self, tensors: [&Tensor; N]) -> Result<Tensor> {
        let mut contiguous = Vec::with_capacity(N);
        for tensor in tensors {
            contiguous.push(tensor.contiguous()?);
        }
        let guards: Vec<_> = contiguous.iter().map(Tensor::storage_and_layout).collect();
        let mut cpu = Vec::with_capacity(N);
        #[cfg(feature = "cuda")]
        let mut cuda = Vec::with_capacity(N);
        for (storage, layout) in &guards {
            match &**storage {
                Storage::Cpu(storage) => cpu.push((storage, *layout)),
                #[cfg(feature = "cuda")]
                Storage::Cuda(storage) => cuda.push((storage, *layout)),
                _ => bail!("{} on an unknown device", self.kernel),
            }
        }
        #[cfg(feature = "cuda")]
        if let Ok(inputs) = <[_; N]>::try_from(cuda) {
            let (out, shape) = self.cuda(inputs)?;
            return Ok(from_storage(Storage::Cuda(out), shape));
        }
        let Ok(inputs) = <[_; N]>::try_from(cpu) else {
            bail!("{} of tensors on different devices", self.kernel);
        };
        let (out, shape) = self.cpu(inputs)?;
        Ok(from_storage(Storage::Cpu(out), shape))
    }
}

/// The two calls that sum up each sample of a tensor of the given shape.
fn sample_sums(shape: &Shape) -> Result<[Call; 2]> {
    let Some(samples) = shape.dims().first() else {
        bail!("a scalar has no samples");
    };
    Ok(super::elementwise::row_sums(*samples, shape.elem_count()))
}

/// A tensor of its own, without a gradient.
pub(super) fn from_storage(storage: Storage, shape: Shape) -> Tensor {
    Tensor::from_storage(storage, shape, BackpropOp::none(), false)
}

/// The f32 values behind a contiguous storage on a GPU.
#[cfg(feature = "cuda")]
pub fn view<'a>((storage, layout): (&'a CudaStorage, &Layout)) -> Result<CudaView<'a, f32>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(storage.as_cuda_slice::<f32>()?.slice(start..end)),
        None => bail!("expected a contiguous tensor on the GPU"),
    }
}

/// A tensor of values on a GPU.
#[cfg(feature = "cuda")]
pub fn from_gpu(device: &CudaDevice, values: CudaSlice<f32>, shape: &Shape) -> Tensor {
    let storage = CudaStorage::wrap_cuda_slice(values, device.clone());
    from_storage(Storage::Cuda(storage), shape.clone())
}

/// The forward passes of a custom operation of two arguments whose `call` makes the [`Call`]:
/// its output, or with `forward2!(cpu_sums, cuda_sums)` the sum of each sample of it.
macro_rules! forward2 {
    () => {
        forward2!(cpu, cuda);
    };
    ($cpu:ident, $cuda:ident) => {
        fn cpu_fwd(
            &self,
            a: &candle_core::CpuStorage,
            la: &candle_core::Layout,
            b: &candle_core::CpuStorage,
            lb: &candle_core::Layout,
        ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
            self.call(la.shape())?.$cpu([(a, la), (b, lb)])
        }

        #[cfg(feature = "cuda")]
        fn cuda_fwd(
            &self,
            a: &candle_core::CudaStorage,
            la: &candle_core::Layout,
            b: &candle_core::CudaStorage,
            lb: &candle_core::Layout,
        ) -> candle_core::Result<(candle_core::CudaStorage, candle_core::Shape)> {
            self.call(la.shape())?.$cuda([(a, la), (b, lb)])
        }
    };
}

/// As [`forward2`], of one argument.
macro_rules! forward1 {
    () => {
        fn cpu_fwd(
            &self,
            a: &candle_core::CpuStorage,
            la: &candle_core::Layout,
        ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
            self.call(la.shape())?.cpu([(a, la)])
        }

        #[cfg(feature = "cuda")]
        fn cuda_fwd(
            &self,
            a: &candle_core::CudaStorage,
            la: &candle_core::Layout,
        ) -> candle_core::Result<(candle_core::CudaStorage, candle_core::Shape)> {
            self.call(la.shape())?.cuda([(a, la)])
        }
    };
}

pub(super) use {forward1, forward2};

#[cfg(test)]
pub(super) use emulation::emulated;

/// Holds the kernels, run on the CPU, against the functions beside them.
#[cfg(test)]
mod emulation {
    use std::cell::Cell;

    use super::Call;
    use crate::kernels::cuda::emulation::emulator;

    thread_local! {
        static CHECKS: Cell<bool> = const { Cell::new(false) };
    }

    /// Runs `f`, in which every call is compared with its kernel.
    pub fn emulated<T>(f: impl FnOnce() -> T) -> T {
        CHECKS.set(true);
        let result = f();
        CHECKS.set(false);
        result
    }

    pub fn check(call: &Call, inputs: &[&[f32]], out: &[f32]) {
        let Some(emulator) = emulator().filter(|_| CHECKS.get()) else {
            return;
        };
        let found = emulator.run(call.kernel, call.grid, inputs, call.sizes, out.len());
        let largest = out
            .iter()
            .fold(1e-3, |largest: f32, v| largest.max(v.abs()));
        for (i, (found, want)) in found.iter().zip(out).enumerate() {
            let is_close = (found - want).abs() <= 2e-5 * largest;
            let kernel = call.kernel;
            assert!(is_close, "{kernel}, value {i}: {found}, on the CPU {want}");
        }
    }
}
