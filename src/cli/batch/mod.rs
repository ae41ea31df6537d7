//! Many files in one run: the files of `encode` and `decode` with `--out-dir`.
//!
//! As many pictures are worked on at once as there are threads. All share one pool, so that a
//! picture that is alone has every thread for itself.

mod files;
mod gate;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub(super) use files::{FileKinds, Task};

use anyhow::{Context, bail};

use super::memory::{self, Work};
use super::messages::{Complaint, GlobalOptions};
use super::output::{self, Kind, Output, OverwriteOptions};
use super::progress::Bar;
use super::{stdio, text};
use crate::codec::Progress;
use crate::limits::Limits;
use crate::sync;
use gate::Gate;

/// Most pixels of the pictures worked on at once; a larger one is alone. Coding takes up to 100
/// bytes per pixel, and a large picture keeps all threads busy by itself.
const MAX_PIXELS_AT_ONCE: u64 = 1 << 24;

/// Where the results of many inputs go.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct BatchOptions {
    /// Write one file per input into this folder
    ///
    /// Inputs may then be files and folders, any number of them. A folder is searched with its
    /// sub-folders, whose names are kept below DIR; hidden files are left out and links to
    /// folders not followed. DIR is made if it is missing. A failure does not stop the other
    /// files; the exit status is then 1.
    #[arg(long, value_name = "DIR", help_heading = "Batch")]
    pub out_dir: Option<PathBuf>,

    /// Add the new extension to the old one: a.jpg.aec
    ///
    /// So that pictures of one name and different formats can lie in one folder.
    #[arg(long, requires = "out_dir", help_heading = "Batch")]
    pub keep_extension: bool,
}

/// Every positional argument of a run: without one output, all are inputs.
pub(super) fn inputs(first: &Path, second: Option<&Path>, more: &[PathBuf]) -> Vec<PathBuf> {
    let named = [first].into_iter().chain(second);
    named
        .map(Path::to_path_buf)
        .chain(more.iter().cloned())
        .collect()
}

/// A run over many files.
pub(super) struct Batch<'a> {
    /// What the progress bar says, such as `encoding`.
    pub label: &'static str,
    /// What is read and written.
    pub kinds: FileKinds,
    /// Width and height of an input, told by its bytes without decoding it; 0 if they do not say.
    pub size: fn(&[u8]) -> (u32, u32),
    /// What is written, and so may be replaced.
    pub writes: Kind,
    pub overwrite: OverwriteOptions,
    pub limits: Limits,
    /// What is done with each input.
    pub work: Work,
    pub global: &'a GlobalOptions,
}

/// What became of one input.
pub(super) struct Done {
    /// Pixels that were worked on.
    pub pixels: u64,
    /// Pixels of the whole picture that the `.aec` file holds.
    pub whole_pixels: u64,
    /// Size of the `.aec` file.
    pub bytes: u64,
    /// Its summary, for `--verbose`.
    pub line: String,
    pub warning: Option<String>,
    /// Whether it was compressed with loss before.
    pub is_lossy: bool,
}

/// What became of all inputs.
#[derive(Default)]
struct Tally {
    done: u64,
    skipped: u64,
    failed: u64,
    lossy: u64,
    pixels: u64,
    whole_pixels: u64,
    bytes: u64,
}

impl Batch<'_> {
    /// Calls `work` with each input and its bytes, on the threads of `pool`, and sums up.
    ///
    /// # Errors
    /// When there is nothing to do or outputs collide, before any work is done; when an input
    /// failed, after all the work.
    pub(super) fn run(
        &self,
        inputs: &[PathBuf],
        out_dir: &Path,
        pool: &rayon::ThreadPool,
        work: impl Fn(&Task, &[u8]) -> anyhow::Result<Done> + Sync,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        let plan = files::plan(inputs, out_dir, &self.kinds)?;
        let mut tally = Tally::default();
        for failure in &plan.failures {
            self.global.error(failure);
            tally.failed += 1;
        }
        let tally = Mutex::new(tally);
        let bar = Bar::new(self.label, self.global);
        let gate = Gate::new(MAX_PIXELS_AT_ONCE);
        let next = AtomicUsize::new(0);
        let work_through = || {
            while let Some(task) = plan.tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = self.one(task, &gate, pool, &work);
                let mut tally = sync::lock(&tally);
                bar.suspend(|| tally.add(outcome, self.global));
                bar.report(tally.finished(), plan.tasks.len() as u64);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..pool.current_num_threads().min(plan.tasks.len()) {
                scope.spawn(work_through);
            }
            work_through();
        });
        drop(bar);
        let tally = sync::into_inner(tally);
        tally.sum_up(started, self.global)
    }

    /// Works on one input; `None` if its output exists and is to be left alone.
    fn one(
        &self,
        task: &Task,
        gate: &Gate,
        pool: &rayon::ThreadPool,
        work: &(impl Fn(&Task, &[u8]) -> anyhow::Result<Done> + Sync),
    ) -> anyhow::Result<Option<Done>> {
        if self.overwrite.no_clobber && task.output.exists() {
            return Ok(None);
        }
        output::check_existing(&task.output, self.overwrite.existing(self.writes))?;
        let bytes = stdio::read_input(&task.input, &self.limits)?;
        let size = (self.size)(&bytes);
        let mut place = gate.enter(u64::from(size.0) * u64::from(size.1));
        if memory::check(size, self.work, &self.limits).is_err() {
            // What the others take now may be enough for it later.
            drop(place);
            place = gate.enter(u64::MAX);
            memory::check(size, self.work, &self.limits)
                .with_context(|| format!("cannot work on {}", stdio::input_name(&task.input)))?;
        }
        let _place = place;
        pool.install(|| work(task, &bytes)).map(Some)
    }

    /// The output of a task, in a folder that is made for it.
    pub(super) fn output(&self, task: &Task) -> anyhow::Result<Output> {
        if let Some(folder) = task.output.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", text::quoted(folder)))?;
        }
        Output::prepare(&task.output, self.overwrite.existing(self.writes))
    }
}

impl Tally {
    fn finished(&self) -> u64 {
        self.done + self.skipped + self.failed
    }

    /// Counts an outcome, and says what it was.
    fn add(&mut self, outcome: anyhow::Result<Option<Done>>, global: &GlobalOptions) {
        match outcome {
            Ok(Some(done)) => {
                self.done += 1;
                self.pixels += done.pixels;
                self.whole_pixels += done.whole_pixels;
                self.bytes += done.bytes;
                self.lossy += u64::from(done.is_lossy);
                if let Some(warning) = &done.warning {
                    global.warn(warning);
                }
                global.detail(|| done.line);
            }
            Ok(None) => self.skipped += 1,
            Err(error) => {
                self.failed += 1;
                global.error(&error);
            }
        }
    }

    /// The last line: a summary, or an error that is one.
    fn sum_up(&self, started: Instant, global: &GlobalOptions) -> anyhow::Result<()> {
        let mut line = format!("{} done", self.done);
        if self.skipped > 0 {
            line += &format!(", {} skipped", self.skipped);
        }
        line += &format!(", {} failed", self.failed);
        if self.done > 0 {
            line += &format!(
                ": {} bytes, {}, {}",
                text::thousands(self.bytes),
                text::bits_per_pixel(self.bytes, self.whole_pixels),
                text::speed(self.pixels, started.elapsed())
            );
        }
        if self.lossy > 0 {
            global.warn(&format!(
                "{} already lossy; encoding again can only lower the quality",
                match self.lossy {
                    1 => "1 input is".into(),
                    count => format!("{count} inputs are"),
                }
            ));
        }
        if self.failed > 0 {
            bail!(Complaint::failure(line, ""));
        }
        global.say(&line);
        Ok(())
    }
}
