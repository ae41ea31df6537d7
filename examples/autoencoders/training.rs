//! How all of them are trained: Adam on the cross-entropy of pixels.

use std::time::Instant;

use candle_core::{Device, Result, Shape, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarMap};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Binary cross-entropy between `pixels` and the sigmoid of `logits`, in nats: summed over the
/// pixels of a picture, mean over pictures.
///
/// `max(x, 0) - x t + ln(1 + exp(-|x|))`, which no logit makes infinite.
pub fn cross_entropy(logits: &Tensor, pixels: &Tensor) -> Result<Tensor> {
    let softplus = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    let loss = ((logits.relu()? - (logits * pixels)?)? + softplus)?;
    loss.sum_all()? / pixels.dim(0)? as f64
}

/// The pictures of a training, and how often and how many at once they are shown.
pub struct Plan<'a> {
    pub train: &'a Tensor,
    pub test: &'a Tensor,
    pub epochs: usize,
    pub batch: usize,
}

/// Adam at a rate of 1e-3 on `loss`, a function of a batch of pictures. Prints and returns every
/// epoch's losses: of the training pictures, during the epoch, and of the test pictures after it.
pub fn train(
    weights: &VarMap,
    plan: &Plan,
    random: &mut ChaCha8Rng,
    loss: impl Fn(&Tensor, &mut ChaCha8Rng) -> Result<Tensor>,
) -> Result<Vec<[f64; 2]>> {
    draw_weights(weights, random)?;
    let adam = ParamsAdamW {
        lr: 1e-3,
        weight_decay: 0.0,
        ..Default::default()
    };
    let mut adam = AdamW::new(weights.all_vars(), adam)?;
    let mut order: Vec<u32> = (0..plan.train.dim(0)? as u32).collect();
    let mut epochs = Vec::new();
    for number in 1..=plan.epochs {
        let start = Instant::now();
        order.shuffle(random);
        let train = mean_loss(plan.train, &order, plan.batch, |batch| {
            let loss = loss(batch, random)?;
            adam.backward_step(&loss)?;
            Ok(loss)
        })?;
        let all: Vec<u32> = (0..plan.test.dim(0)? as u32).collect();
        let test = mean_loss(plan.test, &all, 500, |batch| loss(batch, random))?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "epoch {number:2}: training loss {train:.4}, test loss {test:.4} ({seconds:.1} s)"
        );
        epochs.push([train, test]);
    }
    Ok(epochs)
}

/// The mean over all pictures of `loss`, taken batch by batch in `order`.
fn mean_loss(
    pixels: &Tensor,
    order: &[u32],
    batch: usize,
    mut loss: impl FnMut(&Tensor) -> Result<Tensor>,
) -> Result<f64> {
    let mut sum = 0.0;
    for indices in order.chunks(batch) {
        let batch = pixels.index_select(&Tensor::new(indices, &Device::Cpu)?, 0)?;
        sum += f64::from(loss(&batch)?.to_scalar::<f32>()?) * indices.len() as f64;
    }
    Ok(sum / order.len() as f64)
}

/// Draws the weights, which candle draws without a seed, anew: uniform up to one over the square
/// root of a unit's inputs, as PyTorch does. Biases start at zero.
fn draw_weights(weights: &VarMap, random: &mut ChaCha8Rng) -> Result<()> {
    let vars = weights
        .data()
        .lock()
        .expect("no thread panics with the lock");
    let mut names: Vec<&String> = vars.keys().collect();
    names.sort();
    for name in names {
        let var = &vars[name];
        let bound = match var.dims() {
            [_] => 0.0,
            dims => 1.0 / (dims[1..].iter().product::<usize>() as f32).sqrt(),
        };
        let values: Vec<f32> = (0..var.elem_count())
            .map(|_| bound * random.random_range(-1.0..1.0f32))
            .collect();
        var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu)?)?;
    }
    Ok(())
}

/// Standard normal noise, by Box and Muller.
pub fn noise(shape: impl Into<Shape>, random: &mut ChaCha8Rng) -> Result<Tensor> {
    let shape = shape.into();
    let mut normal = || {
        let radius = (-2.0 * (1.0 - random.random::<f32>()).ln()).sqrt();
        radius * (std::f32::consts::TAU * random.random::<f32>()).cos()
    };
    let values: Vec<f32> = (0..shape.elem_count()).map(|_| normal()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}
