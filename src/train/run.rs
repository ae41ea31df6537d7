//! The training loop: a run folder with `config.toml`, `log.tsv`, `checkpoint.safetensors`
//! and `model.safetensors` (the running average of the weights, ready to encode with).

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;
use candle_core::backprop::GradStore;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::batch::Batch;
use super::checkpoint;
use super::config::TrainConfig;
use super::data::Pictures;
use super::init::initial_weights;
use super::loss::rate_distortion;
use super::optimizer::{Optimizer, StepOutcome};
use super::parameters::{Parameters, Replica};
use crate::error::{Error, Result};
use crate::model::Weights;

/// Steps in a row that may be skipped for non-finite gradients before the run stops.
const MAX_SKIPPED_IN_A_ROW: u64 = 20;
/// Qualities (0.0..=1.0) at which a validation measures.
const VALIDATION_QUALITIES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
const CHECKPOINT: &str = "checkpoint.safetensors";
/// Name of the model file in a run folder.
pub const MODEL: &str = "model.safetensors";
/// Name of the log in a run folder.
pub const LOG: &str = "log.tsv";

/// Where a run's weights come from and go to.
pub struct RunOptions {
    /// The run folder.
    pub out: PathBuf,
    /// Go on from the run folder's checkpoint.
    pub resume: bool,
    /// Start from these weights with a fresh optimizer.
    pub init: Option<Weights>,
}

/// What a run reports as it goes.
#[derive(Debug, Clone)]
pub enum Event {
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
        /// Gradient norm before clipping.
        gradient_norm: f64,
        /// Steps per second.
        steps_per_second: f64,
    },
    /// A validation of the averaged weights.
    Validation {
        /// Steps done.
        step: u64,
        /// Loss over all validation crops and qualities.
        loss: f64,
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
        std::fs::create_dir_all(&options.out)?;
        let weights = match options.init {
            Some(weights) if weights.config != config.model => {
                return Err(Error::Weights(
                    "the initial model's sizes differ from the configuration's".into(),
                ));
            }
            Some(weights) => weights,
            None if options.resume => {
                Weights::from_bytes(&std::fs::read(options.out.join(MODEL))?)?
            }
            None => initial_weights(&config, pictures)?,
        };
        let device = Device::Cpu;
        let workers = workers(config.batch)?;
        let parameters = Parameters::new(&weights, &device, workers.len())?;
        let mut optimizer = Optimizer::new(&parameters.variables, &config.model.layers())?;
        let mut step = 0;
        if options.resume {
            step = checkpoint::restore(
                &options.out.join(CHECKPOINT),
                &parameters.variables,
                &mut optimizer,
            )?;
        }
        let text =
            toml::to_string(&config).map_err(|error| Error::InvalidOption(error.to_string()))?;
        checkpoint::write_atomically(&options.out.join("config.toml"), text.as_bytes())?;
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
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The run's configuration.
    #[must_use]
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Where the trained model is written.
    #[must_use]
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
        let mut window = Window::default();
        let mut skipped_in_a_row = 0;
        while self.step < self.config.steps {
            let sums = self.one_step(pictures)?;
            self.step += 1;
            let mut go_on = true;
            match sums {
                Some(sums) => {
                    skipped_in_a_row = 0;
                    window.add(sums);
                }
                None => {
                    skipped_in_a_row += 1;
                    go_on &= report(Event::Skipped { step: self.step });
                }
            }
            if skipped_in_a_row > MAX_SKIPPED_IN_A_ROW {
                let advice =
                    "gradients stay non-finite: lower learning_rate or go on from an earlier model";
                return Err(Error::Compute(advice.into()));
            }
            if self.step.is_multiple_of(self.config.log_every) && window.count > 0.0 {
                go_on &= report(self.log_progress(&mut window)?);
            }
            let last = self.step == self.config.steps;
            if self.step.is_multiple_of(self.config.checkpoint_every) || last || !go_on {
                self.save()?;
                go_on &= report(self.validate(validation)?);
            }
            if !go_on {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One optimizer step; none when it was skipped.
    fn one_step(&mut self, pictures: &Pictures) -> Result<Option<StepSums>> {
        let batch = Batch::random(&self.config, pictures, self.step, &self.device)?;
        let (stores, mut sums) = self.forward_backward(&batch)?;
        let gradients = self.parameters.gradients(&stores)?;
        drop(stores);
        match self.optimizer.step(
            &self.parameters.variables,
            &gradients,
            &self.config,
            self.step,
        )? {
            StepOutcome::Updated(norm) => sums.norm = norm,
            StepOutcome::Skipped => return Ok(None),
        }
        Ok(Some(sums))
    }

    /// Loss and gradients of a batch, its samples shared out over the workers.
    /// Whole passes run side by side because much of one is not parallel in itself.
    fn forward_backward(&self, batch: &Batch) -> Result<(Vec<GradStore>, StepSums)> {
        let parts = batch.split(self.workers.len())?;
        let results: Vec<Result<(GradStore, StepSums)>> = std::thread::scope(|scope| {
            let replicas = parts
                .iter()
                .zip(&self.parameters.replicas)
                .zip(&self.workers);
            let threads: Vec<_> = replicas
                .map(|((part, replica), worker)| {
                    scope.spawn(move || {
                        worker.install(|| part_gradients(replica, part, batch.len()))
                    })
                })
                .collect();
            let lost = || Err(Error::Compute("a training worker panicked".into()));
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| lost()))
                .collect()
        });
        let mut stores = Vec::new();
        let mut sums = StepSums::default();
        for result in results {
            let (store, part) = result?;
            stores.push(store);
            sums.add(part);
        }
        Ok((stores, sums))
    }

    fn log_progress(&mut self, window: &mut Window) -> Result<Event> {
        let n = window.count;
        let rate = n / window.since.elapsed().as_secs_f64();
        let (loss, bpp, psnr, norm) = (
            window.sums.loss / n,
            window.sums.bpp / n,
            window.sums.psnr / n,
            window.sums.norm / n,
        );
        let lr = self.config.learning_rate_at(self.step);
        writeln!(
            self.log,
            "train\t{}\t{loss:.5}\t{bpp:.5}\t{psnr:.4}\t{norm:.4}\t{lr:.3e}\t{rate:.3}\t{}",
            self.step, self.optimizer.skipped
        )?;
        *window = Window::default();
        Ok(Event::Progress {
            step: self.step,
            loss,
            bpp,
            psnr,
            gradient_norm: norm,
            steps_per_second: rate,
        })
    }

    /// Saves the checkpoint and the averaged model.
    ///
    /// # Errors
    /// When the run folder cannot be written.
    pub fn save(&self) -> Result<()> {
        checkpoint::save(
            &self.out.join(CHECKPOINT),
            self.step,
            &self.parameters.variables,
            &self.optimizer,
        )?;
        let weights = self.parameters.averaged(&self.optimizer);
        checkpoint::write_atomically(&self.model_path(), &weights.to_bytes()?)
    }

    /// Measures the averaged weights on the middle crops of the validation pictures.
    fn validate(&mut self, pictures: &Pictures) -> Result<Event> {
        let averaged = self.parameters.averaged(&self.optimizer);
        let parameters = Parameters::new(&averaged, &self.device, 1)?;
        let network = &parameters.replicas[0].network;
        let crops: Vec<Vec<u8>> = (0..pictures.len())
            .map(|i| pictures.center_crop(i, self.config.crop))
            .collect();
        let (mut points, mut total) = (Vec::new(), 0.0);
        for quality in VALIDATION_QUALITIES {
            let point = validate_at(network, &self.config, &crops, quality, &self.device)?;
            writeln!(
                self.log,
                "valid\t{}\t{:.5}\t{:.5}\t{:.4}\t{quality}\t\t\t",
                self.step, point.loss, point.bpp, point.psnr
            )?;
            total += point.loss;
            points.push((point.bpp, point.psnr));
        }
        #[allow(clippy::cast_precision_loss)]
        let loss = total / VALIDATION_QUALITIES.len() as f64;
        Ok(Event::Validation {
            step: self.step,
            loss,
            points,
        })
    }
}

/// Gradients of a part of a batch of `total` samples, and its share of the means.
#[allow(clippy::cast_precision_loss)]
fn part_gradients(replica: &Replica, part: &Batch, total: usize) -> Result<(GradStore, StepSums)> {
    let losses = rate_distortion(&replica.network, part)?;
    let share = part.len() as f64 / total as f64;
    let loss = (&losses.loss * share)?;
    let store = loss.backward()?;
    let mse: Vec<f32> = losses.mse.to_vec1()?;
    let psnr = mse.iter().map(|mse| psnr(f64::from(*mse))).sum::<f64>() / total as f64;
    let bpp = f64::from(losses.bpp.mean_all()?.to_scalar::<f32>()?) * share;
    Ok((
        store,
        StepSums {
            loss: f64::from(loss.to_scalar::<f32>()?),
            bpp,
            psnr,
            norm: 0.0,
        },
    ))
}

/// Means over all crops at one quality.
#[allow(clippy::cast_precision_loss)]
fn validate_at(
    network: &crate::model::Network,
    config: &TrainConfig,
    crops: &[Vec<u8>],
    quality: f64,
    device: &Device,
) -> Result<StepSums> {
    let mut sums = StepSums::default();
    for crops in crops.chunks(config.batch) {
        let batch = Batch::fixed(config, crops, quality, device)?;
        let losses = rate_distortion(network, &batch)?;
        let n = crops.len() as f64;
        sums.loss += f64::from(losses.loss.to_scalar::<f32>()?) * n;
        sums.bpp += f64::from(losses.bpp.sum_all()?.to_scalar::<f32>()?);
        sums.psnr += losses
            .mse
            .to_vec1::<f32>()?
            .iter()
            .map(|mse| psnr(f64::from(*mse)))
            .sum::<f64>();
    }
    let n = crops.len() as f64;
    Ok(StepSums {
        loss: sums.loss / n,
        bpp: sums.bpp / n,
        psnr: sums.psnr / n,
        norm: 0.0,
    })
}

fn psnr(mse: f64) -> f64 {
    10.0 * (255.0 * 255.0 / mse.max(1e-9)).log10()
}

/// One pool of one thread per worker: at most one per sample and core.
fn workers(batch: usize) -> Result<Vec<ThreadPool>> {
    let count = rayon::current_num_threads().min(batch);
    let pool = |_| {
        ThreadPoolBuilder::new()
            .num_threads(1)
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
        "kind\tstep\tloss\trate_bpp\tpsnr_db\tgradient_norm_or_quality\tlearning_rate\tsteps_per_s\tskipped"
    )?;
    Ok(log)
}

#[derive(Debug, Default, Clone, Copy)]
struct StepSums {
    loss: f64,
    bpp: f64,
    psnr: f64,
    norm: f64,
}

impl StepSums {
    fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.bpp += other.bpp;
        self.psnr += other.psnr;
        self.norm += other.norm;
    }
}

/// Sums since the last log line.
struct Window {
    sums: StepSums,
    count: f64,
    since: Instant,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            sums: StepSums::default(),
            count: 0.0,
            since: Instant::now(),
        }
    }
}

impl Window {
    fn add(&mut self, step: StepSums) {
        self.sums.add(step);
        self.count += 1.0;
    }
}
