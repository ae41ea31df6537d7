//! The training loop: a run folder with `config.toml`, `log.tsv`, `checkpoint.safetensors`,
//! `weights.safetensors` (the running average of the weights, to train on from) and
//! `model.safetensors` (the model made of it, ready to encode with).

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::batch::Batch;
use super::checkpoint;
use super::config::TrainConfig;
use super::data::{CropSource, Pictures};
use super::export::export;
use super::grow::grow;
use super::init::initial_weights;
use super::loss::rate_distortion;
use super::optimizer::{Optimizer, StepOutcome};
use super::parameters::Parameters;
use super::rule::Report;
use super::window::{Clock, StepTimes, Window};
use crate::atomic;
use crate::error::{Error, Result};
use crate::network::Weights;
use crate::network::weights::is_of_training;
use crate::picture::Image;
use crate::train::ops::tape::{Gradients, recorded};
use crate::train::{ComputeDevice, network::Network};

/// Steps in a row that may be skipped for non-finite gradients before the run stops.
const MAX_SKIPPED_IN_A_ROW: u64 = 20;
/// Crops of training pictures that a validation measures too.
const SEEN_CROPS: usize = 64;
/// Qualities (0.0..=1.0) at which a validation measures.
const VALIDATION_QUALITIES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
const CHECKPOINT: &str = "checkpoint.safetensors";
/// Name of the model file in a run folder.
pub const MODEL: &str = "model.safetensors";
/// Name of the file with the averaged weights in a run folder.
pub const WEIGHTS: &str = "weights.safetensors";
/// Name of the log in a run folder.
pub const LOG: &str = "log.tsv";
const CONFIG: &str = "config.toml";
/// The files of a run.
pub const RUN_FILES: [&str; 5] = [CHECKPOINT, WEIGHTS, MODEL, LOG, CONFIG];
/// Crops of validation pictures that a checkpoint's model is fitted to.
const EXPORT_CROPS: usize = 8;

/// Where a run's weights come from and go to.
pub struct RunOptions {
    /// The run folder.
    pub out: PathBuf,
    /// Go on from the run folder's checkpoint.
    pub resume: bool,
    /// Start from these weights with a fresh optimizer.
    pub init: Option<Weights>,
    /// Whether layers that `init` lacks are added to it, as the identity.
    pub grow: bool,
    /// Where to train.
    pub device: ComputeDevice,
}

/// What a run reports as it goes.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step is done.
    Step {
        /// Steps done.
        step: u64,
    },
    /// Averages over the last `log_every` steps.
    Progress {
        /// Steps done.
        step: u64,
        /// Loss.
        loss: f64,
        /// Bits per pixel over all qualities.
        bpp: f64,
        /// PSNR in dB over all qualities (of the mean over samples).
        psnr: f64,
        /// Steps per second.
        steps_per_second: f64,
        /// Where the time of a step went.
        times: StepTimes,
    },
    /// A validation of the averaged weights.
    Validation {
        /// Steps done.
        step: u64,
        /// Loss over all validation crops and qualities.
        loss: f64,
        /// Loss over as many fixed crops of training pictures: less than the other by more than
        /// at the start is what was memorized.
        seen_loss: f64,
        /// Bits per pixel and PSNR at each quality.
        points: Vec<(f64, f64)>,
    },
    /// A step whose gradient was not finite was skipped.
    Skipped {
        /// The step.
        step: u64,
    },
}

/// A training run.
pub struct Run {
    config: TrainConfig,
    parameters: Parameters,
    workers: Vec<ThreadPool>,
    optimizer: Optimizer,
    step: u64,
    out: PathBuf,
    log: File,
    device: Device,
}

impl Run {
    /// Prepares a run in `options.out`.
    ///
    /// # Errors
    /// When the folder cannot be written, the checkpoint does not fit, or the backend fails.
    pub fn new(config: TrainConfig, pictures: &Pictures, options: RunOptions) -> Result<Self> {
        config.validate()?;
        let large = config.large_crop;
        if config.large_fraction > 0.0 && !pictures.have_room_for(large) {
            let text = format!("no training picture has room for a crop of {large}x{large}");
            return Err(Error::Image(text));
        }
        std::fs::create_dir_all(&options.out)?;
        let weights = match options.init {
            Some(weights) if options.grow => grow(weights, &config.model, pictures, config.seed)?,
            Some(weights) if weights.config != config.model => {
                return Err(Error::Weights(
                    "the initial model's sizes differ from the configuration's (layers and latent channels can be added with --grow)".into(),
                ));
            }
            Some(weights) => weights,
            None if options.resume => weights_of_run(&options.out, &config)?,
            None => initial_weights(&config, pictures)?,
        };
        let device = options.device.open()?;
        let workers = workers(&device, config.batch)?;
        let parameters = Parameters::new(&weights, &device, workers.len())?;
        let mut optimizer = Optimizer::new(&parameters.variables, &config.model.layers())?;
        let mut step = 0;
        if options.resume {
            step = checkpoint::restore(
                &options.out.join(CHECKPOINT),
                &parameters.variables,
                &mut optimizer,
            )?;
        } else {
            forget_run(&options.out)?;
        }
        let text =
            toml::to_string(&config).map_err(|error| Error::InvalidOption(error.to_string()))?;
        atomic::write(&options.out.join(CONFIG), text.as_bytes())?;
        let log = open_log(&options.out, options.resume)?;
        Ok(Self {
            config,
            parameters,
            workers,
            optimizer,
            step,
            out: options.out,
            log,
            device,
        })
    }

    /// Steps done so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The run's configuration.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Where the trained model is written.
    pub fn model_path(&self) -> PathBuf {
        self.out.join(MODEL)
    }

    /// Trains to the last step; `report` returns false to save and stop early.
    ///
    /// # Errors
    /// When the backend or the run folder fails, or gradients stay non-finite.
    pub fn train(
        &mut self,
        pictures: &Pictures,
        validation: &Pictures,
        report: &mut dyn FnMut(Event) -> bool,
    ) -> Result<()> {
        let source = CropSource::new(pictures, &self.device)?;
        let mut window = Window::default();
        let mut skipped_in_a_row = 0;
        while self.step < self.config.steps {
            let outcome = self.one_step(&source, &mut window)?;
            self.step += 1;
            let mut go_on = report(Event::Step { step: self.step });
            match outcome {
                StepOutcome::Skipped => {
                    skipped_in_a_row += 1;
                    go_on &= report(Event::Skipped { step: self.step });
                }
                StepOutcome::Updated(_) => skipped_in_a_row = 0,
                StepOutcome::Launched => {}
            }
            if self.step.is_multiple_of(self.config.log_every) && window.steps > 0 {
                let logged = self.log_progress(&mut window)?;
                if logged.skipped > 0 {
                    skipped_in_a_row += logged.skipped;
                    go_on &= report(Event::Skipped { step: self.step });
                }
                if let Some(progress) = logged.progress {
                    // Launched steps: some of them moved.
                    skipped_in_a_row *= u64::from(outcome != StepOutcome::Launched);
                    go_on &= report(progress);
                }
            }
            if skipped_in_a_row > MAX_SKIPPED_IN_A_ROW {
                let advice =
                    "gradients stay non-finite: lower learning_rate or go on from an earlier model";
                return Err(Error::Compute(advice.into()));
            }
            let is_last = self.step == self.config.steps;
            let is_due = self.step.is_multiple_of(self.config.checkpoint_every) || is_last;
            if is_due || !go_on {
                self.save(validation)?;
            }
            // Who stops a run waits for what is lost otherwise, and not for this.
            if is_due && go_on {
                go_on = report(self.validate(pictures, validation)?);
            }
            if !go_on {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One optimizer step; `window` gets its numbers.
    fn one_step(&mut self, source: &CropSource<'_>, window: &mut Window) -> Result<StepOutcome> {
        let mut clock = Clock::start();
        let mut batch = Batch::random(&self.config, source, self.step)?;
        if self.config.chooses_symbols_at(self.step) {
            batch.patch_norms = Some(self.parameters.patch_norms()?);
            batch.search_rounds = self.config.search_rounds_at(self.step);
        }
        let data = clock.lap();
        let passes = self.forward_backward(&batch)?;
        let [forward, backward] = passes.seconds;
        clock.lap();
        let gradients = self.parameters.gradients(passes.stores)?;
        let sums = clock.lap();
        let variables = &self.parameters.variables;
        let outcome = self
            .optimizer
            .step(variables, &gradients, &self.config, self.step)?;
        let times = StepTimes {
            data,
            forward,
            backward,
            gradients: sums,
            optimizer: clock.lap(),
        };
        if outcome != StepOutcome::Skipped {
            window.add(passes.means, times, outcome)?;
        }
        Ok(outcome)
    }

    /// Loss and gradients of a batch, its samples shared out over the workers.
    /// Whole passes run side by side because much of one is not parallel in itself.
    fn forward_backward(&self, batch: &Batch) -> Result<Passes> {
        let parts = batch.split(self.workers.len())?;
        let results: Vec<Result<Pass>> = std::thread::scope(|scope| {
            let replicas = parts
                .iter()
                .zip(&self.parameters.replicas)
                .zip(&self.workers);
            let threads: Vec<_> = replicas
                .map(|((part, replica), worker)| {
                    scope.spawn(move || {
                        worker.install(|| part_gradients(replica, part, batch.samples()))
                    })
                })
                .collect();
            let lost = || Err(Error::Compute("a training worker panicked".into()));
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| lost()))
                .collect()
        });
        let mut all = Passes {
            stores: Vec::new(),
            means: Tensor::zeros(3, DType::F32, &self.device)?,
            seconds: [0.0; 2],
        };
        for result in results {
            let pass = result?;
            all.stores.push(pass.store);
            all.means = (all.means + pass.means)?;
            for (slowest, seconds) in all.seconds.iter_mut().zip(pass.seconds) {
                *slowest = slowest.max(seconds);
            }
        }
        Ok(all)
    }

    /// Writes a log line of the window's steps and starts it anew.
    fn log_progress(&mut self, window: &mut Window) -> Result<Logged> {
        let Report { norms, skipped } = self.optimizer.report()?;
        let window = std::mem::take(window);
        let (moved, seconds) = (
            window.steps - skipped.min(window.steps),
            window.since.elapsed(),
        );
        let Some(sums) = window.sums.filter(|_| moved > 0) else {
            let progress = None;
            return Ok(Logged { progress, skipped });
        };
        let means: Vec<f64> = sums
            .to_vec1::<f32>()?
            .into_iter()
            .map(|sum| f64::from(sum) / moved as f64)
            .collect();
        let &[loss, bpp, psnr] = &means[..] else {
            return Err(Error::Compute("three means are logged".into()));
        };
        let norm = (window.norms + norms) / moved as f64;
        let rate = window.steps as f64 / seconds.as_secs_f64();
        let lr = self.config.learning_rate_at(self.step);
        writeln!(
            self.log,
            "train\t{}\t{loss:.5}\t{bpp:.5}\t{psnr:.4}\t{norm:.4}\t{lr:.3e}\t{rate:.3}\t{}\t",
            self.step, self.optimizer.skipped
        )?;
        let progress = Some(Event::Progress {
            step: self.step,
            loss,
            bpp,
            psnr,
            steps_per_second: rate,
            times: window.times / window.steps as f64,
        });
        Ok(Logged { progress, skipped })
    }

    /// Saves the averaged weights, the model that they make and the checkpoint. The checkpoint comes last, so
    /// that where there is one there is what resuming needs besides.
    ///
    /// # Errors
    /// When the run folder cannot be written.
    fn save(&self, validation: &Pictures) -> Result<()> {
        let weights = self.parameters.averaged(&self.optimizer)?;
        atomic::write(&self.out.join(WEIGHTS), &weights.to_bytes()?)?;
        let model = export(&weights, &self.export_crops(validation)?)?;
        atomic::write(&self.model_path(), &model.to_bytes()?)?;
        checkpoint::save(
            &self.out.join(CHECKPOINT),
            self.step,
            &self.parameters.variables,
            &self.optimizer,
        )
    }

    /// What a checkpoint's model is fitted to.
    fn export_crops(&self, validation: &Pictures) -> Result<Vec<Image>> {
        let side = self.config.crop;
        let step = validation.count().div_ceil(EXPORT_CROPS).max(1);
        let crops = (0..validation.count()).step_by(step);
        let length = u32::try_from(side).unwrap_or(u32::MAX);
        let crop = |i| Image::new(length, length, validation.center_crop(i, side));
        crops.map(crop).collect()
    }

    /// Measures the averaged weights on the middle crops of the validation pictures, and of some
    /// of the training pictures.
    fn validate(&mut self, training: &Pictures, validation: &Pictures) -> Result<Event> {
        let averaged = self.parameters.averaged(&self.optimizer)?;
        let parameters = Parameters::new(&averaged, &self.device, 1)?;
        let network = &parameters.replicas[0];
        let side = self.config.crop;
        let crops = |pictures: &Pictures, step: usize| -> Vec<Vec<u8>> {
            let numbers = (0..pictures.count()).step_by(step.max(1));
            numbers.map(|i| pictures.center_crop(i, side)).collect()
        };
        let seen = crops(training, training.count() / SEEN_CROPS);
        let (seen_loss, _) = self.measure(network, "seen", &seen)?;
        let (loss, points) = self.measure(network, "valid", &crops(validation, 1))?;
        Ok(Event::Validation {
            step: self.step,
            loss,
            seen_loss,
            points: points.iter().map(|point| (point.bpp, point.psnr)).collect(),
        })
    }

    /// Measures crops at every quality, a log line each; the mean loss too.
    fn measure(
        &self,
        network: &Network,
        kind: &str,
        crops: &[Vec<u8>],
    ) -> Result<(f64, Vec<Point>)> {
        let mut points = Vec::new();
        for quality in VALIDATION_QUALITIES {
            let point = validate_at(network, &self.config, crops, quality, &self.device)?;
            writeln!(
                &self.log,
                "{kind}\t{}\t{:.5}\t{:.5}\t{:.4}\t{quality}\t\t\t\t{:.4}",
                self.step, point.loss, point.bpp, point.psnr, point.visual
            )?;
            points.push(point);
        }
        let total: f64 = points.iter().map(|point| point.loss).sum();
        Ok((total / points.len() as f64, points))
    }
}

/// The model of a run that is to go on: its sizes, and what training does not change.
fn weights_of_run(out: &Path, config: &TrainConfig) -> Result<Weights> {
    let shown = |name: &str| out.join(name).display().to_string();
    // Runs from before there were two files have the weights in the other.
    let is_old = || std::fs::read(out.join(MODEL)).is_ok_and(|bytes| is_of_training(&bytes));
    let weights_file = match out.join(WEIGHTS).exists() || !is_old() {
        true => WEIGHTS,
        false => MODEL,
    };
    for name in [weights_file, CHECKPOINT] {
        if !out.join(name).exists() {
            return Err(Error::Weights(format!(
                "there is no {}: the run ended before its first checkpoint and must start anew",
                shown(name)
            )));
        }
    }
    let read = || Weights::from_bytes(&std::fs::read(out.join(weights_file))?);
    let named = |error| Error::Weights(format!("{}: {error}", shown(weights_file)));
    let weights = read().map_err(named)?;
    if weights.config != config.model {
        return Err(Error::Weights(format!(
            "the model sizes in {} are not those of {}",
            shown(CONFIG),
            shown(weights_file)
        )));
    }
    Ok(weights)
}

/// Removes what an earlier run left that this one writes later, so that it cannot be taken for this one's.
fn forget_run(out: &Path) -> Result<()> {
    for name in [CHECKPOINT, WEIGHTS, MODEL] {
        match std::fs::remove_file(out.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// One worker's pass over its part of a batch.
struct Pass {
    store: Gradients,
    /// The part's share of the means of loss, bits per pixel and PSNR, `[3]`.
    means: Tensor,
    /// Of the forward and the backward pass.
    seconds: [f64; 2],
}

/// The passes of all workers over a batch.
struct Passes {
    stores: Vec<Gradients>,
    /// Means of loss, bits per pixel and PSNR, `[3]`.
    means: Tensor,
    /// Of the forward and the backward pass, of the slowest worker.
    seconds: [f64; 2],
}

/// Gradients of a part of a batch of `total` samples. Waits for no GPU.
fn part_gradients(network: &Network, part: &Batch, total: usize) -> Result<Pass> {
    let mut clock = Clock::start();
    let (losses, tape) = recorded(|| rate_distortion(network, part))?;
    let share = part.samples() as f64 / total as f64;
    let forward = clock.lap();
    let store = tape.backward(&losses.loss, share)?;
    let backward = clock.lap();
    let loss = (losses.loss.detach() * share)?;
    let psnr = (psnrs(&losses.mse)?.mean_all()? * share)?;
    let bpp = (losses.bpp.mean_all()? * share)?;
    Ok(Pass {
        store,
        means: Tensor::stack(&[loss, bpp, psnr], 0)?,
        seconds: [forward, backward],
    })
}

/// PSNR in dB of mean squared errors.
fn psnrs(mse: &Tensor) -> candle_core::Result<Tensor> {
    let decibels = -10.0 / std::f64::consts::LN_10;
    let peak = 20.0 * 255f64.log10();
    mse.maximum(1e-9)?.log()?.affine(decibels, peak)
}

/// Means over all crops at one quality.
fn validate_at(
    network: &Network,
    config: &TrainConfig,
    crops: &[Vec<u8>],
    quality: f64,
    device: &Device,
) -> Result<Point> {
    let mut sums = Point::default();
    for crops in crops.chunks(config.batch) {
        let batch = Batch::fixed(config, crops, quality, device)?;
        let losses = rate_distortion(network, &batch)?;
        let n = crops.len() as f64;
        sums.loss += f64::from(losses.loss.to_scalar::<f32>()?) * n;
        sums.bpp += f64::from(losses.bpp.sum_all()?.to_scalar::<f32>()?);
        sums.psnr += f64::from(psnrs(&losses.mse)?.sum_all()?.to_scalar::<f32>()?);
        sums.visual += f64::from(losses.visual.sum_all()?.to_scalar::<f32>()?);
    }
    let n = crops.len() as f64;
    Ok(Point {
        loss: sums.loss / n,
        bpp: sums.bpp / n,
        psnr: sums.psnr / n,
        visual: sums.visual / n,
    })
}

/// On the CPU a pool of one thread per worker: at most one per sample and core. On a GPU one worker, whose threads do
/// what is left to the CPU.
fn workers(device: &Device, batch: usize) -> Result<Vec<ThreadPool>> {
    let cores = rayon::current_num_threads();
    let (count, threads) = match device.is_cpu() {
        true => (cores.min(batch), 1),
        false => (1, cores),
    };
    let pool = |_| {
        ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| Error::Compute(error.to_string()))
    };
    (0..count).map(pool).collect()
}

fn open_log(out: &Path, resume: bool) -> Result<File> {
    let path = out.join(LOG);
    if resume {
        return Ok(OpenOptions::new().append(true).create(true).open(path)?);
    }
    let mut log = File::create(path)?;
    writeln!(
        log,
        "kind\tstep\tloss\trate_bpp\tpsnr_db\tgradient_norm_or_quality\tlearning_rate\tsteps_per_s\tskipped\tvisual_error"
    )?;
    Ok(log)
}

/// Loss, bits per pixel, PSNR and visual error.
#[derive(Debug, Default, Clone, Copy)]
struct Point {
    loss: f64,
    bpp: f64,
    psnr: f64,
    visual: f64,
}

/// What [`Run::log_progress`] found.
struct Logged {
    /// None when no step moved anything.
    progress: Option<Event>,
    /// Launched steps that turned out to be skipped.
    skipped: u64,
}
