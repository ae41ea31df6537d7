//! The experiments: what is trained on what, and what it is good for.

use std::f64::consts::LN_2;

use candle_core::{D, DType, Device, Module, Result, Tensor};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::digits::PIXELS;
use super::networks::{self, Autoencoder, CODE, WIDE_CODE};
use super::pictures::{Series, write_chart, write_digits};
use super::training::{Build, Lab, Loss, cross_entropy, noise};

/// Digits in a row of the pictures.
const ROW: usize = 16;
/// Price of an active unit of a sparse code, in nats per unit of activity.
const PRICE: f64 = 0.1;

/// What an experiment found, by name.
pub type Figures = Vec<(String, f64)>;

impl Lab {
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

/// The loss of most: how badly the pixels are rebuilt.
fn rebuilding(network: &Autoencoder, pixels: &Tensor, _: &mut ChaCha8Rng) -> Result<Tensor> {
    let logits = network.decoder.forward(&network.encoder.forward(pixels)?)?;
    cross_entropy(&logits, pixels)
}

/// Compression of a picture to 20 numbers.
pub fn dense(lab: &mut Lab) -> anyhow::Result<Figures> {
    compression(lab, networks::dense)
}

/// The same by a network of an eighth of the parameters.
pub fn convolutional(lab: &mut Lab) -> anyhow::Result<Figures> {
    compression(lab, networks::convolutional)
}

fn compression(lab: &mut Lab, build: Build) -> anyhow::Result<Figures> {
    let (network, loss) = lab.fit(&lab.train.pixels.clone(), build, (10, 128), rebuilding)?;
    lab.draw_rebuilt(&network)?;
    Ok(vec![("test loss".into(), loss)])
}

/// One layer each way. Its loss is the mean over pixels, as it is usually quoted.
pub fn small(lab: &mut Lab) -> anyhow::Result<Figures> {
    let loss: Loss = |network, pixels, random| rebuilding(network, pixels, random)? / PIXELS as f64;
    let (network, loss) = lab.fit(&lab.train.pixels.clone(), networks::small, (50, 256), loss)?;
    lab.draw_rebuilt(&network)?;
    Ok(vec![("test loss per pixel".into(), loss)])
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
        ("PSNR of noisy, dB".into(), psnr(&noisy, clean)?),
        ("PSNR of denoised, dB".into(), psnr(&denoised, clean)?),
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
        ("test loss without the price".into(), loss.into()),
        ("active units of 128".into(), active * WIDE_CODE as f64),
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
        let two = means.narrow(0, 2 * pair, 2)?.chunk(2, 0)?;
        let (from, to) = (&two[0], &two[1]);
        network.decode(&from.broadcast_add(&steps.matmul(&(to - from)?)?)?)
    };
    let walks = (0..5).map(walk).collect::<Result<Vec<_>>>()?;
    lab.draw("walks.png", &walks)?;
    Ok(vec![
        ("test loss (negative ELBO), nats".into(), loss),
        ("of it rate (KL divergence), nats".into(), rate),
        ("rate, bits per picture".into(), rate / LN_2),
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
    let (mut figures, mut rows) = (Figures::new(), Vec::new());
    for digit in 0..10 {
        let usual = lab.train.only(|label| label != digit)?;
        println!("without the digit {digit}:");
        let (network, _) = lab.fit(&usual, networks::dense, (3, 128), rebuilding)?;
        let errors = squared_errors(&network.rebuild(&lab.test.pixels)?, &lab.test.pixels)?;
        let area = area_under_curve(&errors, |i| lab.test.labels[i] == digit);
        println!("area under the ROC curve {area:.4}");
        figures.push((format!("area under the ROC curve, digit {digit}"), area));
        let unusual = first(&lab.test.only(|label| label == digit)?)?;
        rows.extend([unusual.clone(), network.rebuild(&unusual)?]);
    }
    lab.draw("reconstructions.png", &rows)?;
    let mean = figures.iter().map(|(_, area)| area).sum::<f64>() / figures.len() as f64;
    figures.push(("mean area".into(), mean));
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
    let (mean, components) = principal_components(&train, &mut lab.random)?;
    let project = |pixels: &Tensor| pixels.broadcast_sub(&mean)?.matmul(&components);
    let described = [
        ("codes", network.encode(&train)?, network.encode(&test)?),
        ("components", project(&train)?, project(&test)?),
        ("pixels", train, test),
    ];
    let mut figures = Figures::new();
    for (name, train, test) in described {
        let labels = (&lab.train.labels[..], &lab.test.labels[..]);
        let accuracy = neighbor_accuracy(&train, &test, labels)?;
        figures.push((format!("5-nearest-neighbor accuracy by {name}"), accuracy));
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
    let mut series: Vec<Series> = (0..10).map(|digit| (digit.to_string(), vec![])).collect();
    for (features, &label) in features.iter().zip(labels).take(2000) {
        let point = (features[0].into(), features[1].into());
        series[usize::from(label)].1.push(point);
    }
    series
}

/// Mean `[1, 784]` and the first principal components `[784, 20]` of pictures, by orthogonal
/// iteration: multiply by the covariance, take from each what lies along those before it, repeat.
fn principal_components(pixels: &Tensor, random: &mut ChaCha8Rng) -> Result<(Tensor, Tensor)> {
    let mean = pixels.mean_keepdim(0)?;
    let centered = pixels.broadcast_sub(&mean)?;
    let covariance = (centered.t()?.matmul(&centered)? / pixels.dim(0)? as f64)?;
    let mut components = noise((PIXELS, CODE), random)?;
    for _ in 0..100 {
        let mut columns = covariance.matmul(&components)?.chunk(CODE, 1)?;
        for i in 0..CODE {
            for j in 0..i {
                let along = columns[j].broadcast_mul(&(&columns[i] * &columns[j])?.sum_all()?)?;
                columns[i] = (&columns[i] - along)?;
            }
            let length = columns[i].sqr()?.sum_all()?.sqrt()?;
            columns[i] = columns[i].broadcast_div(&length)?;
        }
        components = Tensor::cat(&columns, 1)?;
    }
    Ok((mean, components))
}

/// The share of test pictures whose five nearest training pictures, by their features `[n, c]`,
/// are mostly of the same label. `labels` are those of training and test.
fn neighbor_accuracy(train: &Tensor, test: &Tensor, labels: (&[u8], &[u8])) -> Result<f64> {
    let lengths = train.sqr()?.sum(D::Minus1)?;
    let mut right = 0;
    for (block, wanted) in labels.1.chunks(500).enumerate() {
        let queries = test.narrow(0, block * 500, wanted.len())?;
        // |a - b|² less |a|², which is the same for all neighbors of a.
        let products = (queries.matmul(&train.t()?)? * 2.0)?;
        let distances = lengths.broadcast_sub(&products)?.to_vec2::<f32>()?;
        let votes = distances.par_iter().map(|row| vote(row, labels.0));
        right += votes
            .zip(wanted)
            .filter(|(vote, label)| vote == *label)
            .count();
    }
    Ok(right as f64 / labels.1.len() as f64)
}

/// The most frequent label of the five nearest.
fn vote(distances: &[f32], labels: &[u8]) -> u8 {
    let mut pairs: Vec<(&f32, &u8)> = distances.iter().zip(labels).collect();
    let nearest = 5.min(pairs.len() - 1);
    pairs.select_nth_unstable_by(nearest, |a, b| a.0.total_cmp(b.0));
    let of = |digit: &u8| pairs[..nearest].iter().filter(|p| p.1 == digit).count();
    (0..10).max_by_key(of).unwrap_or(0)
}
