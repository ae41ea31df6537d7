//! The experiments: what is trained on what, and what it is good for.

use std::f64::consts::LN_2;
use std::path::PathBuf;

use candle_core::{D, DType, Device, Module, Result, Tensor};
use candle_nn::{VarBuilder, VarMap};
use rand_chacha::ChaCha8Rng;

use super::digits::{Digits, PIXELS};
use super::features::{neighbor_accuracy, principal_components};
use super::networks::{self, Autoencoder, CODE, WIDE_CODE};
use super::pictures::{Series, write_chart, write_digits};
use super::training::{Plan, cross_entropy, noise, train};

/// Digits in a row of the pictures.
const ROW: usize = 16;
/// Price of an active unit of a sparse code, in nats per unit of activity.
const PRICE: f64 = 0.1;

/// What an experiment found, by name.
pub type Figures = Vec<(String, f64)>;

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
type Build = fn(VarBuilder) -> Result<Autoencoder>;
/// The loss of a batch of pictures.
type Loss = fn(&Autoencoder, &Tensor, &mut ChaCha8Rng) -> Result<Tensor>;

impl Lab {
    /// Trains a network on `pixels` and draws its losses. Returns it with its loss on the test set.
    fn fit(
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
        let plan = Plan {
            train: pixels,
            test: &self.test.pixels,
            epochs: self.epochs.unwrap_or(epochs).max(1),
            batch: self.batch.unwrap_or(batch).max(1),
        };
        let loss = |batch: &Tensor, random: &mut _| loss(&network, batch, random);
        let losses = train(&weights, &plan, &mut self.random, loss)?;
        let curve = |i: usize, name: &str| Series {
            name: name.into(),
            points: (1..)
                .zip(&losses)
                .map(|(x, loss)| (f64::from(x), loss[i]))
                .collect(),
        };
        let curves = [curve(0, "train"), curve(1, "test")];
        write_chart(&self.out.join("loss.svg"), "Loss by epoch", &curves, true)?;
        Ok((network, losses[losses.len() - 1][1]))
    }

    /// Writes rows of digits as `name`.
    fn draw(&self, name: &str, rows: &[Tensor]) -> anyhow::Result<()> {
        write_digits(&self.out.join(name), rows)
    }

    /// Writes test pictures above what the network makes of them.
    fn draw_rebuilt(&self, network: &Autoencoder) -> anyhow::Result<()> {
        let inputs = first(&self.test.pixels)?;
        let outputs = network.rebuild(&inputs)?;
        self.draw("reconstructions.png", &[inputs, outputs])
    }
}

fn first(pictures: &Tensor) -> Result<Tensor> {
    pictures.narrow(0, 0, ROW.min(pictures.dim(0)?))
}

fn figure(name: impl Into<String>, value: f64) -> (String, f64) {
    (name.into(), value)
}

/// The loss of most: how badly the pixels are rebuilt.
fn rebuilding(network: &Autoencoder, pixels: &Tensor, _: &mut ChaCha8Rng) -> Result<Tensor> {
    cross_entropy(
        &network.decoder.forward(&network.encoder.forward(pixels)?)?,
        pixels,
    )
}

/// Compression of a picture to the 20 numbers of a dense or a convolutional network.
pub fn compression(lab: &mut Lab, build: Build) -> anyhow::Result<Figures> {
    let (network, loss) = lab.fit(&lab.train.pixels.clone(), build, (10, 128), rebuilding)?;
    lab.draw_rebuilt(&network)?;
    Ok(vec![figure("test loss", loss)])
}

/// One layer each way. Its loss is the mean over pixels, as it is usually quoted.
pub fn small(lab: &mut Lab) -> anyhow::Result<Figures> {
    let loss: Loss = |network, pixels, random| rebuilding(network, pixels, random)? / PIXELS as f64;
    let (network, loss) = lab.fit(&lab.train.pixels.clone(), networks::small, (50, 256), loss)?;
    lab.draw_rebuilt(&network)?;
    Ok(vec![figure("test loss per pixel", loss)])
}

/// The code has no room for noise, so that what comes out is the picture without it.
pub fn denoising(lab: &mut Lab) -> anyhow::Result<Figures> {
    let loss: Loss = |network, pixels, random| {
        let code = network.encoder.forward(&with_noise(pixels, random)?)?;
        cross_entropy(&network.decoder.forward(&code)?, pixels)
    };
    let (network, _) = lab.fit(&lab.train.pixels.clone(), networks::wide, (10, 128), loss)?;
    let clean = &lab.test.pixels;
    let noisy = with_noise(clean, &mut lab.random)?;
    let denoised = network.rebuild(&noisy)?;
    let rows = [first(clean)?, first(&noisy)?, first(&denoised)?];
    lab.draw("reconstructions.png", &rows)?;
    Ok(vec![
        figure("PSNR of noisy pictures, dB", psnr(&noisy, clean)?),
        figure("PSNR of denoised pictures, dB", psnr(&denoised, clean)?),
    ])
}

fn with_noise(pixels: &Tensor, random: &mut ChaCha8Rng) -> Result<Tensor> {
    (pixels + (noise(pixels.shape(), random)? * 0.5)?)?.clamp(0.0, 1.0)
}

/// Mean over the pictures of the peak signal-to-noise ratio.
fn psnr(pictures: &Tensor, clean: &Tensor) -> Result<f64> {
    let errors = squared_errors(pictures, clean)?;
    let psnr = |error: &f32| 10.0 * (PIXELS as f64 / f64::from(*error)).log10();
    Ok(errors.iter().map(psnr).sum::<f64>() / errors.len() as f64)
}

/// The sum of squared errors of every picture.
fn squared_errors(pictures: &Tensor, wanted: &Tensor) -> Result<Vec<f32>> {
    (pictures - wanted)?.sqr()?.sum(D::Minus1)?.to_vec1()
}

/// A price on every active unit of the code leaves a few that stand for something.
pub fn sparse(lab: &mut Lab) -> anyhow::Result<Figures> {
    let loss: Loss = |network, pixels, _| {
        let code = network.encoder.forward(pixels)?;
        let price = (code.sum_all()? * (PRICE / pixels.dim(0)? as f64))?;
        cross_entropy(&network.decoder.forward(&code)?, pixels)? + price
    };
    let (network, _) = lab.fit(&lab.train.pixels.clone(), networks::wide, (10, 128), loss)?;
    lab.draw_rebuilt(&network)?;
    let pixels = &lab.test.pixels;
    let loss = rebuilding(&network, pixels, &mut lab.random)?.to_scalar::<f32>()?;
    let active = network.encode(pixels)?.gt(0f32)?.to_dtype(DType::F32)?;
    let active = f64::from(active.mean_all()?.to_scalar::<f32>()?);
    Ok(vec![
        figure("test loss without the price", loss.into()),
        figure("active units of 128", active * WIDE_CODE as f64),
    ])
}

/// Codes that follow a known distribution can be drawn from it.
pub fn variational(lab: &mut Lab) -> anyhow::Result<Figures> {
    let loss: Loss = |network, pixels, random| {
        let (mean, log_variance) = posterior(network, pixels)?;
        let deviation = (&log_variance * 0.5)?.exp()?;
        let code = (&mean + (deviation * noise(mean.shape(), random)?)?)?;
        let rebuilding = cross_entropy(&network.decoder.forward(&code)?, pixels)?;
        rebuilding + divergence(&mean, &log_variance)?
    };
    let pixels = lab.train.pixels.clone();
    let (network, loss) = lab.fit(&pixels, networks::variational, (10, 128), loss)?;
    let (means, log_variances) = posterior(&network, &lab.test.pixels)?;
    let rate = f64::from(divergence(&means, &log_variances)?.to_scalar::<f32>()?);

    let rows = [first(&lab.test.pixels)?, network.decode(&first(&means)?)?];
    lab.draw("reconstructions.png", &rows)?;
    let draw = |_| network.decode(&noise((ROW, CODE), &mut lab.random)?);
    let samples = (0..10).map(draw).collect::<Result<Vec<_>>>()?;
    lab.draw("samples.png", &samples)?;
    let steps: Vec<f32> = (0..ROW).map(|i| i as f32 / (ROW - 1) as f32).collect();
    let steps = Tensor::from_vec(steps, (ROW, 1), &Device::Cpu)?;
    let walk = |pair: usize| {
        let (from, to) = (
            means.narrow(0, 2 * pair, 1)?,
            means.narrow(0, 2 * pair + 1, 1)?,
        );
        network.decode(&from.broadcast_add(&steps.matmul(&(to - &from)?)?)?)
    };
    let walks = (0..5).map(walk).collect::<Result<Vec<_>>>()?;
    lab.draw("walks.png", &walks)?;
    Ok(vec![
        figure("test loss (negative ELBO), nats", loss),
        figure("of it rate (KL divergence), nats", rate),
        figure("rate, bits per picture", rate / LN_2),
    ])
}

/// Mean and logarithm of the variance of the codes that a picture may have.
fn posterior(network: &Autoencoder, pixels: &Tensor) -> Result<(Tensor, Tensor)> {
    let both = network.encoder.forward(pixels)?;
    Ok((both.narrow(1, 0, CODE)?, both.narrow(1, CODE, CODE)?))
}

/// Kullback-Leibler divergence of these normal distributions from the standard one: what it
/// costs to tell a decoder the code, in nats, mean over pictures.
fn divergence(mean: &Tensor, log_variance: &Tensor) -> Result<Tensor> {
    let terms = ((mean.sqr()? + log_variance.exp()?)? - log_variance)?;
    (terms.sum_all()? * (0.5 / mean.dim(0)? as f64))? - 0.5 * CODE as f64
}

/// What was never seen is rebuilt badly: nine digits are the usual, the tenth is the anomaly.
pub fn anomaly(lab: &mut Lab) -> anyhow::Result<Figures> {
    let (mut figures, mut rows) = (Vec::new(), Vec::new());
    for digit in 0..10 {
        let usual = lab.train.only(|label| label != digit)?;
        println!("without the digit {digit}:");
        let (network, _) = lab.fit(&usual, networks::dense, (5, 128), rebuilding)?;
        let errors = squared_errors(&network.rebuild(&lab.test.pixels)?, &lab.test.pixels)?;
        let area = area_under_curve(&errors, |i| lab.test.labels[i] == digit);
        println!("area under the ROC curve {area:.4}");
        figures.push(figure(
            format!("area under the ROC curve, digit {digit}"),
            area,
        ));
        let unusual = first(&lab.test.only(|label| label == digit)?)?;
        rows.extend([unusual.clone(), network.rebuild(&unusual)?]);
    }
    lab.draw("reconstructions.png", &rows)?;
    let mean = figures.iter().map(|(_, area)| area).sum::<f64>() / figures.len() as f64;
    figures.push(figure("mean area", mean));
    Ok(figures)
}

/// The probability that an anomaly scores higher than something usual.
fn area_under_curve(scores: &[f32], is_anomaly: impl Fn(usize) -> bool) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let (mut usual, mut anomalies, mut pairs) = (0, 0, 0);
    for i in order {
        if is_anomaly(i) {
            anomalies += 1;
            pairs += usual;
        } else {
            usual += 1;
        }
    }
    f64::from(pairs) / (f64::from(anomalies) * f64::from(usual))
}

/// The code as a description: does it say which digit it is?
pub fn features(lab: &mut Lab) -> anyhow::Result<Figures> {
    let (train, test) = (lab.train.pixels.clone(), lab.test.pixels.clone());
    let (network, _) = lab.fit(&train, networks::dense, (10, 128), rebuilding)?;
    lab.draw_rebuilt(&network)?;
    let (mean, components) = principal_components(&train, CODE, &mut lab.random)?;
    let project = |pixels: &Tensor| pixels.broadcast_sub(&mean)?.matmul(&components);
    let described = [
        ("codes", network.encode(&train)?, network.encode(&test)?),
        ("components", project(&train)?, project(&test)?),
        ("pixels", train, test),
    ];
    let mut figures = Vec::new();
    for (name, train, test) in described {
        let labels = (&lab.train.labels[..], &lab.test.labels[..]);
        let accuracy = neighbor_accuracy(&train, &test, labels)?;
        figures.push(figure(
            format!("5-nearest-neighbor accuracy by {name}"),
            accuracy,
        ));
        if name != "pixels" {
            let path = lab.out.join(format!("{name}.svg"));
            let series = by_digit(&test.narrow(1, 0, 2)?.to_vec2()?, labels.1);
            write_chart(&path, &format!("First two {name}"), &series, false)?;
        }
    }
    Ok(figures)
}

/// Two features of up to 2,000 pictures, a series per digit.
fn by_digit(features: &[Vec<f32>], labels: &[u8]) -> Vec<Series> {
    let labelled = features.iter().zip(labels).take(2000);
    let of_digit = |digit: u8| {
        let own = labelled.clone().filter(|(_, label)| **label == digit);
        Series {
            name: digit.to_string(),
            points: own.map(|(f, _)| (f[0].into(), f[1].into())).collect(),
        }
    };
    (0..10).map(of_digit).collect()
}
