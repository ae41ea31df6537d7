//! One elementwise operation or sum, on whichever device its tensors are: a plain function over
//! slices on the CPU, a kernel of the same name on a GPU.

#[cfg(feature = "cuda")]
use candle_core::cuda::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CpuStorage, Layout, Result, Shape, Storage, Tensor, bail};
#[cfg(feature = "cuda")]
use candle_core::{CudaDevice, CudaStorage, backend::BackendStorage};

use super::tape::Made;
use super::values;
use crate::train::cuda::Grid;
use crate::train::kernels::unwritten;

/// What a call computes on the CPU: inputs, sizes, output (unspecified at first).
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

    fn cpu<const N: usize>(self, inputs: [(&CpuStorage, &Layout); N]) -> Result<Made> {
        let mut slices = [&[][..]; N];
        for (slice, (storage, layout)) in slices.iter_mut().zip(inputs) {
            *slice = values(storage, layout)?;
        }
        let mut out = unwritten(self.shape.elem_count());
        (self.on_cpu)(&slices, self.sizes, &mut out);
        #[cfg(test)]
        emulation::check(&self, &slices, &out);
        Ok(Made::on_cpu(out, self.shape))
    }

    #[cfg(feature = "cuda")]
    fn gpu<const N: usize>(self, inputs: [(&CudaStorage, &Layout); N]) -> Result<Made> {
        let Some((first, _)) = inputs.first() else {
            bail!("{} needs an input", self.kernel);
        };
        let device: CudaDevice = first.device().clone();
        let views = inputs.into_iter().map(view).collect::<Result<Vec<_>>>()?;
        let outputs = self.shape.elem_count();
        let (grid, sizes) = (self.grid, self.sizes);
        let out = crate::train::cuda::launch(&device, self.kernel, grid, &views, sizes, outputs)?;
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
            return self.gpu(inputs);
        }
        let Ok(inputs) = <[_; N]>::try_from(cpu) else {
            bail!("{} of tensors on different devices", self.kernel);
        };
        self.cpu(inputs)
    }

    /// Runs the call on tensors, without a gradient.
    pub fn run<const N: usize>(self, tensors: [&Tensor; N]) -> Result<Tensor> {
        Ok(self.make(tensors)?.plain())
    }

    /// The sums of each sample (first dimension) of what the call makes.
    pub fn sums<const N: usize>(self, tensors: [&Tensor; N]) -> Result<Made> {
        let [parts, sums] = sample_sums(&self.shape)?;
        sums.make([&parts.run([&self.run(tensors)?])?])
    }
}

/// The two calls that sum up each sample of a tensor of the given shape.
fn sample_sums(shape: &Shape) -> Result<[Call; 2]> {
    let Some(samples) = shape.dims().first() else {
        bail!("a scalar has no samples");
    };
    Ok(super::elementwise::row_sums(*samples, shape.elem_count()))
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
    Made::new(Storage::Cuda(storage), shape.clone()).plain()
}

#[cfg(test)]
pub(super) use emulation::{emulated, repeatable};

/// Holds the kernels, run on the CPU, against the functions beside them.
#[cfg(test)]
mod emulation {
    use std::cell::Cell;

    use candle_core::{Device, Result, Shape, Tensor};

    use super::Call;
    use crate::train::cuda::emulation::emulator;

    thread_local! {
        static CHECKS: Cell<bool> = const { Cell::new(false) };
    }

    /// A tensor of repeatable values in -2.5..2.55.
    pub fn repeatable(shape: impl Into<Shape>, seed: usize) -> Result<Tensor> {
        let shape = shape.into();
        let value = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 200.0 - 2.5;
        let values: Vec<f32> = (0..shape.elem_count()).map(value).collect();
        Tensor::from_vec(values, shape, &Device::Cpu)
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
