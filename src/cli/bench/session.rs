//! One run: what is planned, what is known already, measuring the rest.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use rayon::prelude::*;

use super::codec::{Codec, jpeg};
use super::inputs::Input;
use super::measure::{Measurement, Timing, measure, time};
use super::options::Args;
use super::record::{self, Key, Recorder, Row, key};
use super::viewer::{ViewerPicture, ViewerPlan};
use crate::cli::messages::GlobalOptions;
use crate::cli::metric::Metric;
use crate::cli::progress::Bar;
use crate::cli::text;
use crate::codec::Progress;
use crate::limits::Limits;
use crate::metrics::BACKGROUND;

/// Everything a run needs to know.
pub(super) struct Session<'a> {
    pub(super) args: &'a Args,
    pub(super) global: &'a GlobalOptions,
    pub(super) inputs: &'a [Input],
    pub(super) codecs: &'a [Codec],
    pub(super) limits: Limits,
}

/// What a run found out.
#[derive(Default)]
pub(super) struct Findings {
    /// Rows of the plan, known before or measured now.
    pub(super) rows: Vec<Measurement>,
    pub(super) timings: Vec<Timing>,
    /// What went wrong, one line each.
    pub(super) failures: Vec<String>,
    /// What is worth knowing: pictures blended, pictures too small for a metric.
    pub(super) remarks: Vec<String>,
}

impl Session<'_> {
    /// Measures everything that is planned and not known.
    pub(super) fn run(&self) -> anyhow::Result<Findings> {
        if let Some(folder) = &self.args.out {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create folder {}", text::quoted(folder)))?;
        }
        let mut findings = self.measure_all()?;
        let too_small = self.size_remarks(&findings.rows);
        findings.remarks.extend(too_small);
        if !self.args.no_timing {
            self.time_all(&mut findings)?;
        }
        Ok(findings)
    }

    /// Rate and quality of all pictures, several pictures at a time.
    fn measure_all(&self) -> anyhow::Result<Findings> {
        let known = self.known("results.tsv", |row: &Measurement| {
            self.args.metric.iter().all(|&metric| row.covers(metric))
        })?;
        let rows = self.planned_rows(&known);
        let recorder = self.recorder("results.tsv", &rows)?;
        let work = Work {
            session: self,
            known: known.into_keys().collect(),
            recorder,
            bar: Bar::new("measuring", self.global),
            done: AtomicU64::new(0),
        };
        let inputs = self.inputs.par_iter();
        let measured = inputs.map(|input| work.measure_picture(input));
        let measured: Vec<Findings> = measured.collect::<anyhow::Result<_>>()?;
        let mut findings = Findings {
            rows,
            ..Findings::default()
        };
        for of_picture in measured {
            findings.rows.extend(of_picture.rows);
            findings.failures.extend(of_picture.failures);
            findings.remarks.extend(of_picture.remarks);
        }
        findings.remarks.sort();
        Ok(findings)
    }

    /// Speed on some of the pictures, one file at a time.
    fn time_all(&self, findings: &mut Findings) -> anyhow::Result<()> {
        let threads = rayon::current_num_threads();
        let known = self.known("timing.tsv", |row: &Timing| {
            row.threads == threads && row.runs == self.args.runs
        })?;
        let kept: Vec<Timing> = known.values().cloned().collect();
        let recorder = self.recorder("timing.tsv", &kept)?;
        let bar = Bar::new("timing", self.global);
        let inputs = spread(self.inputs, self.args.timed_pictures);
        let total = inputs.len() * self.planned();
        let mut done = 0;
        for input in inputs {
            // A picture that cannot be read was reported when it was measured.
            let Ok(source) = input.read(&self.limits) else {
                continue;
            };
            for (codec, quality) in self.points() {
                done += 1;
                bar.report(done, total as u64);
                if let Some(timing) = known.get(&key(&input.name, codec, quality)) {
                    findings.timings.push(timing.clone());
                } else if let Ok(timing) =
                    time(&input.name, &source, codec, quality, self.args.runs)
                {
                    recorder.append(&timing)?;
                    findings.timings.push(timing);
                }
            }
        }
        Ok(())
    }

    /// The viewer's pictures; none when the user wants none.
    pub(super) fn viewer_pictures(
        &self,
        rows: &[Measurement],
        complete: &[String],
    ) -> anyhow::Result<Vec<ViewerPicture>> {
        let inputs: Vec<&Input> = self
            .inputs
            .iter()
            .filter(|input| complete.contains(&input.name))
            .collect();
        let plan = ViewerPlan {
            ours: self
                .codecs
                .iter()
                .filter(|codec| codec.name.starts_with("aec"))
                .collect(),
            metrics: &self.args.metric,
            jpeg: jpeg(),
            rows,
            limits: self.limits,
            crop: self.args.viewer_crop,
        };
        plan.pictures(&inputs, self.args.viewer)
    }

    /// Rows of an earlier run that `--resume` keeps and `is_usable` accepts.
    fn known<R: Row>(
        &self,
        file: &str,
        is_usable: impl Fn(&R) -> bool,
    ) -> anyhow::Result<HashMap<Key, R>> {
        let path = self.out_path(file);
        let path = path.filter(|path| self.args.resume && path.exists());
        let rows: Vec<R> = path.map_or(Ok(Vec::new()), |path| record::read(&path))?;
        let usable = rows.into_iter().filter(is_usable);
        Ok(usable.map(|row| (row.key(), row)).collect())
    }

    /// Known rows that belong to this run, in the order of the plan.
    fn planned_rows(&self, known: &HashMap<Key, Measurement>) -> Vec<Measurement> {
        let planned = |input: &Input| {
            let row = |(codec, quality): (&Codec, f64)| {
                known.get(&key(&input.name, codec, quality)).cloned()
            };
            self.points().filter_map(row).collect::<Vec<_>>()
        };
        self.inputs.iter().flat_map(planned).collect()
    }

    fn recorder<R: Row>(&self, file: &str, rows: &[R]) -> anyhow::Result<Recorder> {
        match self.out_path(file) {
            Some(path) => Recorder::create(&path, rows, !self.args.resume),
            None => Ok(Recorder::none()),
        }
    }

    fn out_path(&self, file: &str) -> Option<PathBuf> {
        self.args.out.as_ref().map(|folder| folder.join(file))
    }

    /// All codecs at all of their qualities.
    fn points(&self) -> impl Iterator<Item = (&Codec, f64)> {
        self.codecs.iter().flat_map(|codec| {
            let qualities = codec.qualities.iter();
            qualities.map(move |&quality| (codec, quality))
        })
    }

    /// How many rows a picture has.
    fn planned(&self) -> usize {
        self.points().count()
    }

    /// Pictures that are too small for a metric.
    fn size_remarks(&self, rows: &[Measurement]) -> Vec<String> {
        let mut small: BTreeSet<String> = BTreeSet::new();
        for row in rows {
            let metrics = self.args.metric.iter().copied();
            let missing = metrics.filter(|&metric| row.value(metric).is_none());
            small.extend(missing.map(|metric| too_small(row, metric)));
        }
        small.into_iter().collect()
    }
}

fn alpha_remark(picture: &str) -> String {
    format!("{picture} has an alpha channel: measured without it, blended over gray {BACKGROUND}")
}

fn too_small(row: &Measurement, metric: Metric) -> String {
    format!(
        "{} is {}x{}: too small for {}, which needs {} pixels on each side",
        row.picture,
        row.width,
        row.height,
        metric.name(),
        metric.min_side()
    )
}

/// `count` items spread over the list.
pub(super) fn spread<T>(items: &[T], count: usize) -> Vec<&T> {
    let count = count.min(items.len());
    (0..count)
        .map(|i| &items[i * items.len() / count])
        .collect()
}

/// What the threads that measure share.
struct Work<'a> {
    session: &'a Session<'a>,
    known: BTreeSet<Key>,
    recorder: Recorder,
    bar: Bar,
    done: AtomicU64,
}

impl Work<'_> {
    /// All unknown rows of a picture. Failures of codecs are noted, those of the recorder end the run.
    fn measure_picture(&self, input: &Input) -> anyhow::Result<Findings> {
        let mut findings = Findings::default();
        let mut fail = |text: String| {
            self.session.global.warn(&text);
            findings.failures.push(text);
        };
        let is_missing = |(codec, quality): &(&Codec, f64)| {
            !self.known.contains(&key(&input.name, codec, *quality))
        };
        let missing: Vec<(&Codec, f64)> = self.session.points().filter(is_missing).collect();
        self.advance(self.session.planned() - missing.len());
        if missing.is_empty() {
            return Ok(findings);
        }
        let source = match input.read(&self.session.limits) {
            Ok(source) => source,
            Err(error) => {
                fail(format!("cannot read '{}': {error:#}", input.name));
                return Ok(findings);
            }
        };
        if source.is_blended {
            findings.remarks.push(alpha_remark(&input.name));
        }
        for (codec, quality) in missing {
            let metrics = &self.session.args.metric;
            match measure(&input.name, &source, codec, quality, metrics) {
                Ok(row) => {
                    self.recorder.append(&row)?;
                    findings.rows.push(row);
                }
                Err(error) => fail(format!(
                    "{} with {} at {quality}: {error:#}",
                    input.name, codec.name
                )),
            }
            self.advance(1);
        }
        Ok(findings)
    }

    fn advance(&self, steps: usize) {
        let done = self.done.fetch_add(steps as u64, Ordering::Relaxed) + steps as u64;
        let total = self.session.inputs.len() * self.session.planned();
        self.bar.report(done, total as u64);
    }
}
