//! The kernels of training as operations on tensors, with gradients. Tensors are `[batch, height, width, channels]` f32.

pub mod call;
pub mod composed;
pub mod context;
pub mod elementwise;
mod on_cpu;
pub mod rearrange;
pub mod tape;
#[cfg(test)]
mod tests;
pub mod train;
#[cfg(any(feature = "cuda", test))]
pub mod visual;

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// The f32 values behind a contiguous storage.
pub(crate) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!(
            "expected a contiguous tensor, got strides {:?}",
            layout.stride()
        ),
    }
}

/// Runs `f` on the f32 values of CPU tensors (made contiguous where they are not).
pub(crate) fn with_values<const N: usize, R>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> R,
) -> Result<R> {
    let mut contiguous = Vec::with_capacity(N);
    for tensor in tensors {
        contiguous.push(tensor.contiguous()?);
    }
    let guards: Vec<_> = contiguous.iter().map(Tensor::storage_and_layout).collect();
    let mut slices = [&[][..]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        *slice = match &**storage {
            Storage::Cpu(cpu) => values(cpu, layout)?,
            _ => bail!("expected a tensor on the CPU"),
        };
    }
    Ok(f(slices))
}
