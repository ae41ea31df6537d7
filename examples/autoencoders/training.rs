//! How all of them are trained: Adam on the cross-entropy of pixels.

use std::path::PathBuf;
use std::time::Instant;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::digits::Digits;
use super::networks::Autoencoder;
use super::pictures::write_chart;

/// What an experiment works with.
pub struct Lab {
    pub train: Digits,
    pub test: Digits,
    pub out: PathBuf,
    /// Epochs and batch size instead of an experiment's own.
    pub epochs: Option<usize>,
    pub batch: Option<usize>,
    pub random: ChaCha8Rng,
}

/// Makes a network of fresh weights.
pub type Build = fn(VarBuilder) -> Result<Autoencoder>;
/// The loss of a batch of pictures.
pub type Loss = fn(&Autoencoder, &Tensor, &mut ChaCha8Rng) -> Result<Tensor>;

impl Lab {
    /// Trains a network on `pixels` with Adam at a rate of 1e-3, and prints and draws every epoch's
    /// losses: of the training pictures, during the epoch, and of the test pictures after it.
    /// Returns the network and the last test loss.
    pub fn fit(
        &mut self,
        pixels: &Tensor,
        build: Build,
        (epochs, batch): (usize, usize),
        loss: Loss,
    ) -> anyhow::Result<(Autoencoder, f64)> {
        let weights = VarMap::new();
        let network = build(VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu))?;
        let count: usize = weights.all_vars().iter().map(|var| var.elem_count()).sum();
        println!("{count} parameters, {} pictures", pixels.dim(0)?);
        let random = &mut self.random;
        draw_weights(&weights, random)?;
        let mut settings = ParamsAdamW::default();
        (settings.lr, settings.weight_decay) = (1e-3, 0.0);
        let mut adam = AdamW::new(weights.all_vars(), settings)?;
        let mut order: Vec<u32> = (0..pixels.dim(0)? as u32).collect();
        let all: Vec<u32> = (0..self.test.pixels.dim(0)? as u32).collect();
        let (mut curves, mut test) = ([("train".into(), vec![]), ("test".into(), vec![])], 0.0);
        let batch = self.batch.unwrap_or(batch).max(1);
        for number in 1..=self.epochs.unwrap_or(epochs).max(1) {
            let start = Instant::now();
            order.shuffle(random);
            let train = mean_loss(pixels, &order, batch, |batch| {
                let loss = loss(&network, batch, random)?;
                adam.backward_step(&loss)?;
                Ok(loss)
            })?;
            test = mean_loss(&self.test.pixels, &all, 500, |b| loss(&network, b, random))?;
            let time = start.elapsed().as_secs_f64();
            println!("epoch {number:2}: training {train:.4}, test {test:.4} ({time:.1} s)");
            curves[0].1.push((number as f64, train));
            curves[1].1.push((number as f64, test));
        }
        write_chart(&self.out.join("loss.svg"), "Loss by epoch", &curves, true)?;
        Ok((network, test))
    }
}

/// Binary cross-entropy between `pixels` and the sigmoid of `logits`, in nats: summed over the
/// pixels of a picture, mean over pictures.
///
/// `max(x, 0) - x t + ln(1 + exp(-|x|))`, which no logit makes infinite.
pub fn cross_entropy(logits: &Tensor, pixels: &Tensor) -> Result<Tensor> {
    let softplus = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    let loss = ((logits.relu()? - (logits * pixels)?)? + softplus)?;
    loss.sum_all()? / pixels.dim(0)? as f64
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

/// Draws the weights, which candle draws without a seed, anew: uniform up to the square root of six
/// over the sum of a unit's inputs and outputs (Glorot and Bengio). Biases start at zero.
fn draw_weights(weights: &VarMap, random: &mut ChaCha8Rng) -> Result<()> {
    let vars = weights.data().lock().expect("no thread panics with it");
    let mut names: Vec<&String> = vars.keys().collect();
    names.sort();
    for var in names.into_iter().map(|name| &vars[name]) {
        let bound = match var.dims() {
            [a, b, window @ ..] => {
                (6.0 / ((a + b) * window.iter().product::<usize>()) as f32).sqrt()
            }
            _ => 0.0,
        };
        let mut draw = || bound * random.random_range(-1.0..1.0f32);
        let values: Vec<f32> = (0..var.elem_count()).map(|_| draw()).collect();
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
