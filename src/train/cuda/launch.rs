//! Launching the kernels.
//!
//! All work goes to one stream, in order; nothing here waits for it. Device memory is reached through that
//! stream alone, so a kernel may write a buffer that Rust only holds a shared reference to.

use std::any::Any;
use std::sync::Mutex;

use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaView, LaunchConfig, PushKernelArg, result, sys,
};
use candle_core::cuda_backend::{CudaDevice, CudaStorage, WrapErr};
use candle_core::{Device, Layout, Result, Storage, Tensor, bail};

use super::{Kernel, THREADS};
use crate::sync::lock;
use crate::train::rule::Rule;

/// All kernels.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));

/// The first GPU.
///
/// # Errors
/// When there is none, or its driver cannot be loaded.
pub fn open() -> Result<Device> {
    // The libraries are loaded on first use, and their loader panics where one is missing. The hook is the process's,
    // so only one thread at a time may have it replaced.
    static HOOK: Mutex<()> = Mutex::new(());
    let opened = {
        let _guard = lock(&HOOK);
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let opened = std::panic::catch_unwind(|| Device::new_cuda_with_stream(0));
        std::panic::set_hook(loud);
        opened
    };
    let device = match opened {
        Ok(device) => device?,
        Err(panic) => bail!("a CUDA library cannot be loaded: {}", panic_text(&*panic)),
    };
    if let Device::Cuda(cuda) = &device {
        // SAFETY: there is only one stream: that of this device, which every tensor and kernel uses.
        unsafe { cuda.disable_event_tracking() };
        keep_memory(cuda)?;
    }
    Ok(device)
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given")
}

/// Keeps freed memory in the device's pool: by default it goes back to the driver whenever the stream is waited for,
/// which every log line does.
fn keep_memory(device: &CudaDevice) -> Result<()> {
    let context = device.cuda_stream().context().clone();
    let mut threshold = u64::MAX;
    // SAFETY: the device is the context's own, and the attribute's value is a 64-bit integer that outlives the call.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device()).w()?;
        let release = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        result::mem_pool::set_attribute(pool, release, (&raw mut threshold).cast()).w()?;
    }
    Ok(())
}

/// The f32 values behind a contiguous storage on a GPU.
///
/// # Errors
/// When it is of another kind.
pub fn view<'a>((storage, layout): (&'a CudaStorage, &Layout)) -> Result<CudaView<'a, f32>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(storage.as_cuda_slice::<f32>()?.slice(start..end)),
        None => bail!("expected a contiguous tensor on the GPU"),
    }
}

/// The kernel `name`. A macro, because its type cannot be named outside of candle.
macro_rules! function {
    ($device:expr, $name:expr) => {
        $device.get_or_load_custom_func($name, "aec", PTX)
    };
}

fn config(blocks: usize) -> Result<LaunchConfig> {
    let Ok(blocks) = i32::try_from(blocks) else {
        bail!("{blocks} blocks of threads are more than a GPU takes");
    };
    Ok(LaunchConfig {
        grid_dim: (blocks.unsigned_abs(), 1, 1),
        block_dim: (THREADS as u32, 1, 1),
        shared_mem_bytes: 0,
    })
}

/// Kernels count in 32 bits.
fn count(n: usize) -> Result<u32> {
    match u32::try_from(n) {
        Ok(n) => Ok(n),
        Err(_) => bail!("{n} values are more than a kernel takes"),
    }
}

/// Runs a kernel over its inputs; `outputs` values are its result.
///
/// # Errors
/// When a size is too large, memory does not suffice, or the launch fails.
pub fn launch(
    device: &CudaDevice,
    kernel: Kernel,
    inputs: &[CudaView<'_, f32>],
    outputs: usize,
) -> Result<CudaSlice<f32>> {
    count(outputs)?;
    // SAFETY: the kernel writes all of it (each is tested for that, on the CPU) before anything reads it.
    let mut out = unsafe { device.alloc::<f32>(outputs.max(1))? };
    if outputs == 0 {
        return Ok(out);
    }
    let (name, sizes) = kernel.launch(outputs);
    let function = function!(device, name)?;
    let absent = 0u64;
    let mut numbers = [0; 5];
    for (number, size) in numbers.iter_mut().zip(sizes) {
        *number = count(size)?;
    }
    let mut builder = function.builder();
    builder.arg(&mut out);
    for i in 0..3 {
        match inputs.get(i) {
            Some(view) => builder.arg(view),
            None => builder.arg(&absent),
        };
    }
    for number in &numbers {
        builder.arg(number);
    }
    // SAFETY: the arguments are those of every kernel of the signature `KERNEL`, whose callers pass sizes that agree
    // with the lengths of the inputs.
    unsafe { builder.launch(config(kernel.blocks(outputs))?) }.w()?;
    Ok(out)
}

/// Moves a layer's moments, and its parameters that are no matrices. The state, all of one length, is the parameters,
/// the first and the second moments, the running averages and the directions of matrices (all of which are written),
/// the gradient, and 1 for parameters of matrices and 0 for others. `squared_norm` is that of all gradients.
///
/// # Errors
/// When lengths differ or the launch fails.
pub fn move_moments(
    device: &CudaDevice,
    state: [&Tensor; 7],
    squared_norm: &Tensor,
    rule: &Rule,
) -> Result<()> {
    let [correction1, correction2] = rule.corrections;
    let numbers = [
        rule.clip_norm,
        rule.rate,
        rule.decay,
        correction1,
        correction2,
        rule.average,
    ];
    run(device, "moments", &state, squared_norm, &numbers)
}

/// Moves a matrix by `rate` times its direction. The state is the parameters and their running averages (both of which
/// are written) and the direction.
///
/// # Errors
/// When lengths differ or the launch fails.
pub fn move_matrix(
    device: &CudaDevice,
    state: [&Tensor; 3],
    squared_norm: &Tensor,
    rate: f32,
    rule: &Rule,
) -> Result<()> {
    let numbers = [rate, rule.decay, rule.average];
    run(device, "move_matrix", &state, squared_norm, &numbers)
}

/// Launches a kernel of the optimizer: its state (all of one length), the squared norm, the length, its scalars.
fn run(
    device: &CudaDevice,
    name: &str,
    state: &[&Tensor],
    squared_norm: &Tensor,
    numbers: &[f32],
) -> Result<()> {
    let n = state.first().map_or(0, |tensor| tensor.elem_count());
    if state.iter().any(|tensor| tensor.elem_count() != n) {
        bail!("{name}: parameters, state and gradient differ in length");
    }
    if n == 0 {
        return Ok(());
    }
    let arguments = state.iter().chain([&squared_norm]);
    let guards: Vec<_> = arguments
        .map(|tensor| tensor.storage_and_layout())
        .collect();
    let mut views = Vec::with_capacity(guards.len());
    for (storage, layout) in &guards {
        match &**storage {
            Storage::Cuda(storage) => views.push(view((storage, layout))?),
            _ => bail!("expected a tensor on the GPU"),
        }
    }
    let function = function!(device, name)?;
    let length = count(n)?;
    let mut builder = function.builder();
    for view in &views {
        builder.arg(view);
    }
    builder.arg(&length);
    for number in numbers {
        builder.arg(number);
    }
    // SAFETY: buffers of the same length (checked), scalars in the kernel's order; see the module about writing.
    unsafe { builder.launch(config(n.div_ceil(THREADS))?) }.w()?;
    Ok(())
}

/// Cuts crops of `side` x `side` pixels out of `pictures` (interleaved RGB, one after another) as patches
/// `[crops, side / 8, side / 8, 192]`. Each of `crops` is the first byte, the bytes per row, the side of the
/// square that is scaled down to `side`, and the turn (`train/crop.rs`).
///
/// # Errors
/// When a crop does not lie in the pictures or the launch fails.
pub fn cut_patches(
    device: &CudaDevice,
    pictures: &CudaSlice<u8>,
    crops: &[[i64; 4]],
    side: usize,
) -> Result<CudaSlice<f32>> {
    let lies_inside = |[start, stride, source, _]: &[i64; 4]| {
        *start >= 0
            && *source >= side as i64
            && *stride >= 3 * source
            && start + stride * (source - 1) + 3 * source <= pictures.len() as i64
    };
    if !side.is_multiple_of(8) || side == 0 || !crops.iter().all(lies_inside) {
        bail!("a crop does not lie in its picture");
    }
    let table = device.clone_htod(crops.as_flattened())?;
    let values = crops.len() * side * side * 3;
    let (length, side) = (count(values)?, count(side)?);
    // SAFETY: the kernel writes every value.
    let mut out = unsafe { device.alloc::<f32>(values.max(1))? };
    if values > 0 {
        let function = function!(device, "cut_patches")?;
        let mut builder = function.builder();
        builder.arg(&mut out).arg(pictures).arg(&table);
        builder.arg(&length).arg(&side);
        // SAFETY: every crop lies in the pictures (checked); `length` values are allocated.
        unsafe { builder.launch(config(values.div_ceil(THREADS))?) }.w()?;
    }
    Ok(out)
}

/// `n` numbers of the stream `seed` in -0.5..0.5: those of `train/noise.rs`.
///
/// # Errors
/// When memory does not suffice or the launch fails.
pub fn uniform_noise(device: &CudaDevice, seed: u64, n: usize) -> Result<CudaSlice<f32>> {
    let length = count(n)?;
    // SAFETY: the kernel writes every value.
    let mut out = unsafe { device.alloc::<f32>(n.max(1))? };
    if n > 0 {
        let function = function!(device, "uniform_noise")?;
        let mut builder = function.builder();
        builder.arg(&mut out).arg(&length).arg(&seed);
        // SAFETY: `length` values are allocated.
        unsafe { builder.launch(config(n.div_ceil(THREADS))?) }.w()?;
    }
    Ok(out)
}
