//! `aec bench`: rate, quality and speed of aec and other codecs on real files.
//!
//! Every picture is encoded, decoded and compared at every quality; curves are means
//! over the pictures at each quality, rates are of whole files. Rows are written as
//! they are measured, so that a broken run loses nothing.

mod codec;
mod figure;
mod inputs;
mod machine;
mod measure;
mod options;
mod output;
mod page;
mod record;
mod reference;
mod report;
mod session;
mod summary;
mod viewer;

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use anyhow::bail;

use super::messages::{Complaint, GlobalOptions};
use super::output::{RESUME_OR_OVERWRITE, check_folder};
use super::{stdio, text};
use crate::codec::{Effort, EncodeOptions, Model, Tune};
use codec::{AecCodec, Codec, JpegCodec, installed_tools};
use reference::Reference;
use session::{Findings, Session};
use summary::{Curve, Origin, Summary, bd_rates, complete_pictures};

pub use options::Args;

/// Runs the command.
///
/// # Errors
/// When there is nothing to measure, a result cannot be written, or a picture failed.
pub fn run(args: Args, global: &GlobalOptions) -> anyhow::Result<()> {
    args.resources.install(|| bench(&args, global))
}

fn bench(args: &Args, global: &GlobalOptions) -> anyhow::Result<()> {
    if let Some(folder) = &args.out
        && !args.resume
        && !args.overwrite
    {
        check_folder(folder, &output::FILES, "results", RESUME_OR_OVERWRITE)?;
    }
    let inputs = inputs::collect(&args.images)?;
    let other_runs = other_runs(args)?;
    let (codecs, missing) = line_up(args)?;
    let codecs: Vec<&dyn Codec> = codecs.iter().map(AsRef::as_ref).collect();
    let references = chosen_references(args, &codecs);
    let anchor = find_anchor(args, &codecs, &references, &other_runs)?;
    let session = Session {
        args,
        global,
        inputs: &inputs,
        codecs: &codecs,
        limits: args.resources.limits(),
    };
    let findings = session.run()?;

    let mut curves = measured_curves(&codecs, &findings);
    curves.extend(other_runs);
    curves.extend(references.iter().map(Curve::published));
    let mut summary = summarize(args, &findings, &missing, &codecs);
    summary.bd_rates = bd_rates(&curves, &anchor, &summary.metrics);
    (summary.curves, summary.anchor) = (curves, anchor);
    summary.remarks.extend(no_number_remarks(&summary));
    summary.remarks.extend(data_set_remark(&summary));
    publish(args, &session, &findings, &summary, global)?;
    match findings.failures.len() {
        0 => Ok(()),
        _ if summary.pictures.is_empty() => {
            bail!("nothing could be measured: {}", findings.failures[0])
        }
        count => bail!(
            "{count} of the measurements failed; the first: {}",
            findings.failures[0]
        ),
    }
}

/// The codecs to run, and a line for each that is missing.
type LineUp = (Vec<Box<dyn Codec>>, Vec<String>);

/// aec and the peers asked for, and a line for every peer that is missing.
fn line_up(args: &Args) -> anyhow::Result<LineUp> {
    let options = EncodeOptions {
        limits: args.resources.limits(),
        ..EncodeOptions::default()
    };
    let mut qualities = args.quality.clone();
    qualities.sort_by(f64::total_cmp);
    qualities.dedup();
    let mut codecs = our_codecs(args, &options, &qualities)?;
    let is_wanted = |name: &str| {
        args.peers
            .as_ref()
            .is_none_or(|peers| peers.iter().any(|peer| peer == name))
    };
    if is_wanted("jpeg") {
        codecs.push(Box::new(JpegCodec));
    }
    let (tools, missing) = installed_tools();
    codecs.extend(tools.into_iter().filter(|tool| is_wanted(tool.name())));
    let missing = missing
        .into_iter()
        .filter(|line| line.split(':').next().is_some_and(is_wanted));
    Ok((
        codecs,
        missing
            .map(|line| format!("not measured: {line}"))
            .collect(),
    ))
}

/// aec at every effort and tune asked for, each tune with its model: `aec` if that is one, otherwise `aec-e4`,
/// `aec-e4-ssim`.
fn our_codecs(
    args: &Args,
    options: &EncodeOptions,
    qualities: &[f64],
) -> anyhow::Result<Vec<Box<dyn Codec>>> {
    let mut models: Vec<(Tune, Arc<Model>)> = Vec::new();
    for &tune in &args.tune {
        if models.iter().all(|(known, _)| *known != tune) {
            models.push((tune, args.model.load(tune)?));
        }
    }
    let mut settings: Vec<(Effort, Tune, &Arc<Model>)> = Vec::new();
    for &effort in &args.effort {
        for (tune, model) in &models {
            if !settings
                .iter()
                .any(|setting| (setting.0, setting.1) == (effort, *tune))
            {
                settings.push((effort, *tune, model));
            }
        }
    }
    let is_alone = settings.len() == 1;
    let codec = |(effort, tune, model): (Effort, Tune, &Arc<Model>)| -> Box<dyn Codec> {
        let name = match tune {
            _ if is_alone => "aec".to_owned(),
            Tune::Psnr => format!("aec-e{effort}"),
            Tune::Ssim => format!("aec-e{effort}-ssim"),
        };
        let options = EncodeOptions {
            effort,
            tune,
            ..*options
        };
        Box::new(AecCodec::new(
            name,
            Arc::clone(model),
            options,
            qualities.to_vec(),
        ))
    };
    Ok(settings.into_iter().map(codec).collect())
}

/// Published curves that the user asked for, with the anchor if it is none of the measured codecs.
fn chosen_references(args: &Args, codecs: &[&dyn Codec]) -> Vec<Reference> {
    let is_measured = codecs.iter().any(|codec| codec.name() == args.anchor);
    let is_wanted = |name: &str| {
        let is_anchor = args.anchor == name && !is_measured;
        is_anchor
            || args
                .reference
                .iter()
                .any(|wanted| wanted == name || wanted == "all")
    };
    let names = reference::NAMES.iter().filter(|name| is_wanted(name));
    names.filter_map(|name| reference::named(name)).collect()
}

/// aec's curves of the runs named by `--with`.
fn other_runs(args: &Args) -> anyhow::Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for (name, path) in &args.with {
        let mut rows: Vec<measure::Measurement> = record::read(path)?;
        rows.retain(|row| row.codec.starts_with("aec"));
        if rows.is_empty() {
            bail!("there are no results of aec in {}", text::quoted(path));
        }
        let codecs: BTreeSet<String> = rows.iter().map(|row| row.codec.clone()).collect();
        for codec in &codecs {
            let of_codec = rows.iter().filter(|row| row.codec == *codec);
            let of_codec: Vec<measure::Measurement> = of_codec.cloned().collect();
            let name = match codecs.len() {
                1 => name.clone(),
                _ => format!("{name} {codec}"),
            };
            curves.push(Curve::of_other_run(&name, &of_codec));
        }
    }
    Ok(curves)
}

/// Checks the names of all curves; gives that of the one that BD-rates are against.
fn find_anchor(
    args: &Args,
    codecs: &[&dyn Codec],
    references: &[Reference],
    other_runs: &[Curve],
) -> anyhow::Result<String> {
    let measured = codecs.iter().map(|codec| codec.name().to_owned());
    let others = other_runs.iter().map(|curve| curve.name.clone());
    let published = references.iter().map(|reference| reference.name.clone());
    let known: Vec<String> = measured.chain(others).chain(published).collect();
    if !known.contains(&args.anchor) {
        let message = format!(
            "there is no curve '{}' to compare with, only {}",
            args.anchor,
            known.join(", ")
        );
        return Err(Complaint::usage(message, "name one of these with --anchor").into());
    }
    if let Some(twice) = known
        .iter()
        .enumerate()
        .find(|(i, name)| known[..*i].contains(name))
    {
        let message = format!("two curves would be called '{}'", twice.1);
        return Err(Complaint::usage(message, "give --with another name").into());
    }
    Ok(args.anchor.clone())
}

fn measured_curves(codecs: &[&dyn Codec], findings: &Findings) -> Vec<Curve> {
    let complete = complete_pictures(codecs, &findings.rows);
    codecs
        .iter()
        .map(|codec| Curve::measured(*codec, &findings.rows, &findings.timings, &complete))
        .collect()
}

/// The summary without its curves.
fn summarize(
    args: &Args,
    findings: &Findings,
    missing: &[String],
    codecs: &[&dyn Codec],
) -> Summary {
    let complete = complete_pictures(codecs, &findings.rows);
    let one_codec = findings
        .rows
        .iter()
        .filter(|row| row.codec == codecs[0].name() && complete.contains(&row.picture));
    let sizes: std::collections::BTreeMap<&str, u64> = one_codec
        .map(|row| {
            (
                row.picture.as_str(),
                u64::from(row.width) * u64::from(row.height),
            )
        })
        .collect();
    let mut metrics = args.metric.clone();
    metrics.sort_by_key(|metric| *metric as u8);
    metrics.dedup();
    Summary {
        program: format!("aec {}", env!("CARGO_PKG_VERSION")),
        command: command_line(),
        date: machine::today(),
        machine: machine::Machine::this(),
        timing_threads: findings.timings.first().map(|timing| timing.threads),
        notes: args.note.clone(),
        pixels: sizes.values().sum(),
        pictures: complete.into_iter().collect(),
        metrics,
        curves: Vec::new(),
        anchor: String::new(),
        bd_rates: Vec::new(),
        remarks: missing
            .iter()
            .chain(&findings.failures)
            .chain(&findings.remarks)
            .cloned()
            .collect(),
    }
}

/// Why BD-rates are missing.
fn no_number_remarks(summary: &Summary) -> Vec<String> {
    let remark = |row: &summary::BdRow| {
        let reason = row.reason.as_ref()?;
        Some(format!(
            "no BD-rate of {} on {}: {reason}",
            row.name,
            row.metric.name()
        ))
    };
    summary.bd_rates.iter().filter_map(remark).collect()
}

/// A warning when published curves stand beside results on other pictures.
fn data_set_remark(summary: &Summary) -> Option<String> {
    let mut published = summary
        .curves
        .iter()
        .filter(|curve| curve.origin == Origin::Published);
    let is_kodak = |name: &String| name.to_lowercase().starts_with("kodim");
    let is_comparable = summary.pictures.len() == 24 && summary.pictures.iter().all(is_kodak);
    (published.next().is_some() && !is_comparable).then(|| {
        "published curves are means over the 24 Kodak pictures, the others are not".to_owned()
    })
}

/// The command line of this process, as a person would type it.
fn command_line() -> String {
    let quoted = |argument: String| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+".contains(c);
        if !argument.is_empty() && argument.chars().all(is_plain) {
            argument
        } else {
            format!("'{argument}'")
        }
    };
    let arguments = std::env::args_os()
        .skip(1)
        .map(|argument| quoted(argument.to_string_lossy().into_owned()));
    std::iter::once("aec".to_owned())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Writes the files of `--out` and prints the summary.
fn publish(
    args: &Args,
    session: &Session,
    findings: &Findings,
    summary: &Summary,
    global: &GlobalOptions,
) -> anyhow::Result<()> {
    if summary.pictures.is_empty() {
        return Ok(());
    }
    if let Some(folder) = &args.out {
        output::write(
            folder,
            summary,
            &session.viewer_pictures(&findings.rows, &summary.pictures)?,
        )?;
        global.say(&format!(
            "wrote {}",
            text::quoted(&folder.join("index.html"))
        ));
    }
    let mut out = stdio::stdout()?;
    if args.json {
        serde_json::to_writer_pretty(&mut out, summary).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        out.write_all(report::text(summary).as_bytes())?;
    }
    Ok(())
}
