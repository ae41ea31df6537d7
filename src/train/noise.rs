//! Quantization noise as a function of a seed and an index, the same on every device:
//! SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").

use candle_core::{Result, Tensor};

/// SplitMix64's increment.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Number `index` of the stream `seed`, in -0.5..0.5.
pub fn uniform(seed: u64, index: u64) -> f32 {
    let mut z = seed.wrapping_add((index.wrapping_add(1)).wrapping_mul(GAMMA));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    // 24 bits: exact in binary32, as is the whole expression.
    ((z >> 40) as f32).mul_add(1.0 / 16_777_216.0, -0.5)
}

/// Noise of the shape of `x`, whose first dimension are samples from number `first` of
/// the batch on: the parts of a batch get what the whole would.
///
/// # Errors
/// When a tensor cannot be made.
pub fn like(x: &Tensor, seed: u64, first: usize) -> Result<Tensor> {
    let n = x.elem_count();
    let start = first as u64 * (n / x.dim(0)?.max(1)) as u64;
    #[cfg(feature = "cuda")]
    if let candle_core::Device::Cuda(device) = x.device() {
        let seed = seed.wrapping_add(start.wrapping_mul(GAMMA));
        let noise = crate::train::cuda::uniform_noise(device, seed, n)?;
        return Ok(crate::train::ops::call::from_gpu(device, noise, x.shape()));
    }
    let noise: Vec<f32> = (0..n as u64).map(|i| uniform(seed, start + i)).collect();
    Tensor::from_vec(noise, x.shape(), x.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn noise_is_uniform() {
        let values: Vec<f64> = (0..100_000).map(|i| f64::from(uniform(7, i))).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|v| v * v).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.005 && (variance - 1.0 / 12.0).abs() < 0.001);
        assert!(values.iter().all(|v| (-0.5..0.5).contains(v)));
    }

    #[test]
    fn parts_of_a_batch_get_what_the_whole_would() -> Result<()> {
        let whole = like(&Tensor::zeros((4, 3, 5), DType::F32, &Device::Cpu)?, 3, 0)?;
        let part = like(&Tensor::zeros((2, 3, 5), DType::F32, &Device::Cpu)?, 3, 2)?;
        assert_eq!(
            whole.narrow(0, 2, 2)?.to_vec3::<f32>()?,
            part.to_vec3::<f32>()?
        );
        Ok(())
    }
}
