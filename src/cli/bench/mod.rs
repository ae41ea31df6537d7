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

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use anyhow::bail;

use super::messages::{Complaint, GlobalOptions};
use super::output::{RESUME_OR_OVERWRITE, check_folder};
use super::{stdio, text};
use crate::codec::{Effort, EncodeOptions, Model, Tune};
use codec::{Codec, aec, installed_tools, jpeg};
use measure::Measurement;
use reference::Reference;
use session::{Findings, Session};
use summary::{Curve, Summary, bd_rates, complete_pictures};

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
    let anchor = anchor(args, &codecs);
    let references = chosen_references(args, &anchor, &codecs);
    check_names(&anchor, &codecs, &references, &other_runs)?;
    let session = Session {
        args,
        global,
        inputs: &inputs,
        codecs: &codecs,
        limits: args.resources.limits(),
    };
    let findings = session.run()?;

    let complete = complete_pictures(&codecs, &findings.rows);
    let measured = |codec| Curve::measured(codec, &findings.rows, &findings.timings, &complete);
    let mut curves: Vec<Curve> = codecs.iter().map(measured).collect();
    curves.extend(other_runs);
    curves.extend(references.iter().map(Curve::published));
    let mut summary = summarize(args, &findings, missing, &codecs[0], complete);
    summary.anchor = anchor;
    summary.bd_rates = bd_rates(&curves, &summary.anchor, &summary.metrics);
    summary.curves = curves;
    summary.remarks.extend(no_number_remarks(&summary));
    summary.remarks.extend(data_set_remark(&summary));
    publish(args, &session, &findings, &summary, global)?;
    match &findings.failures[..] {
        [] => Ok(()),
        [first, ..] if summary.pictures.is_empty() => bail!("nothing could be measured: {first}"),
        [first, ..] => {
            let count = findings.failures.len();
            bail!("{count} of the measurements failed; the first: {first}")
        }
    }
}

/// aec and the peers asked for, and a line for every peer that is missing.
fn line_up(args: &Args) -> anyhow::Result<(Vec<Codec>, Vec<String>)> {
    let options = EncodeOptions {
        limits: args.resources.limits(),
        ..EncodeOptions::default()
    };
    let mut qualities = args.quality.clone();
    qualities.sort_by(f64::total_cmp);
    qualities.dedup();
    let mut codecs = our_codecs(args, &options, &qualities)?;
    let is_wanted = |name: &str| {
        let peers = args.peers.as_ref();
        peers.is_none_or(|peers| peers.iter().any(|peer| peer == name))
    };
    if is_wanted("jpeg") {
        codecs.push(jpeg());
    }
    let (tools, missing) = installed_tools();
    codecs.extend(tools.into_iter().filter(|tool| is_wanted(&tool.name)));
    let missing = missing.into_iter().filter(|(name, _)| is_wanted(name));
    let missing =
        missing.map(|(name, tool)| format!("not measured: {name}: '{tool}' is not on the PATH"));
    Ok((codecs, missing.collect()))
}

/// aec at every effort and tune asked for, each tune with its model: `aec` if that is one, otherwise `aec-e4`,
/// `aec-e4-ssim`.
fn our_codecs(
    args: &Args,
    options: &EncodeOptions,
    qualities: &[f64],
) -> anyhow::Result<Vec<Codec>> {
    let (efforts, tunes) = (each_once(&args.effort), each_once(&args.tune));
    let models = tunes
        .into_iter()
        .map(|tune| Ok((tune, args.model.load(tune)?)));
    let models: Vec<(Tune, Arc<Model>)> = models.collect::<anyhow::Result<_>>()?;
    let is_alone = efforts.len() * models.len() == 1;
    let codec = |effort: Effort, tune: Tune, model: &Arc<Model>| {
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
        aec(name, Arc::clone(model), options, qualities.to_vec())
    };
    let of_effort = |effort| {
        let of_tune = move |(tune, model): &(Tune, Arc<Model>)| codec(effort, *tune, model);
        models.iter().map(of_tune)
    };
    Ok(efforts.into_iter().flat_map(of_effort).collect())
}

/// A list without repetitions.
fn each_once<T: Copy + PartialEq>(list: &[T]) -> Vec<T> {
    let mut once = Vec::new();
    for item in list {
        if !once.contains(item) {
            once.push(*item);
        }
    }
    once
}

/// The name of the curve that BD-rates are against.
fn anchor(args: &Args, codecs: &[Codec]) -> String {
    let jpeg = codecs.iter().find(|codec| codec.name == "jpeg");
    let usual = jpeg.or(codecs.last());
    let asked = args.anchor.as_ref();
    asked
        .or(usual.map(|codec| &codec.name))
        .cloned()
        .unwrap_or_default()
}

/// Published curves that the user asked for, with the anchor if it is none of the measured codecs.
fn chosen_references(args: &Args, anchor: &str, codecs: &[Codec]) -> Vec<Reference> {
    let is_measured = codecs.iter().any(|codec| codec.name == anchor);
    let is_wanted = |name: &str| {
        let is_anchor = anchor == name && !is_measured;
        let mut wanted = args.reference.iter();
        is_anchor || wanted.any(|wanted| wanted == name || wanted == "all")
    };
    let names = reference::NAMES.iter().filter(|name| is_wanted(name));
    names.filter_map(|name| reference::named(name)).collect()
}

/// aec's curves of the runs named by `--with`.
fn other_runs(args: &Args) -> anyhow::Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for (name, path) in &args.with {
        let mut by_codec: BTreeMap<String, Vec<Measurement>> = BTreeMap::new();
        for row in record::read::<Measurement>(path)? {
            if row.codec.starts_with("aec") {
                by_codec.entry(row.codec.clone()).or_default().push(row);
            }
        }
        if by_codec.is_empty() {
            bail!("there are no results of aec in {}", text::quoted(path));
        }
        for (codec, rows) in &by_codec {
            let name = match by_codec.len() {
                1 => name.clone(),
                _ => format!("{name} {codec}"),
            };
            curves.push(Curve::of_other_run(&name, rows));
        }
    }
    Ok(curves)
}

/// Checks the names of all curves: each stands for one, and that which BD-rates are against is among them.
fn check_names(
    anchor: &str,
    codecs: &[Codec],
    references: &[Reference],
    other_runs: &[Curve],
) -> Result<(), Complaint> {
    let measured = codecs.iter().map(|codec| &codec.name);
    let others = other_runs.iter().map(|curve| &curve.name);
    let published = references.iter().map(|reference| &reference.name);
    let known = measured.chain(others).chain(published);
    let known: Vec<&str> = known.map(String::as_str).collect();
    if !known.contains(&anchor) {
        let known = known.join(", ");
        let message = format!("there is no curve '{anchor}' to compare with, only {known}");
        return Err(Complaint::usage(message, "name one of these with --anchor"));
    }
    let is_second = |(i, name): &(usize, &&str)| known[..*i].contains(name);
    match known.iter().enumerate().find(is_second) {
        Some((_, name)) => Err(Complaint::usage(
            format!("two curves would be called '{name}'"),
            "give --with another name",
        )),
        None => Ok(()),
    }
}

/// The summary without its curves, over the pictures that are `complete`, whose sizes are those of `codec`'s files.
fn summarize(
    args: &Args,
    findings: &Findings,
    missing: Vec<String>,
    codec: &Codec,
    complete: BTreeSet<String>,
) -> Summary {
    let of_picture = |row: &&Measurement| {
        let is_own = row.codec == codec.name && row.quality == codec.qualities[0];
        is_own && complete.contains(&row.picture)
    };
    let one_each = findings.rows.iter().filter(of_picture);
    let pixels = one_each.map(|row| u64::from(row.width) * u64::from(row.height));
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
        pixels: pixels.sum(),
        pictures: complete.into_iter().collect(),
        metrics,
        curves: Vec::new(),
        anchor: String::new(),
        bd_rates: Vec::new(),
        remarks: [&missing[..], &findings.failures, &findings.remarks].concat(),
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
    let has_published = summary.published().next().is_some();
    let is_kodak = |name: &String| name.to_lowercase().starts_with("kodim");
    let is_comparable = summary.pictures.len() == 24 && summary.pictures.iter().all(is_kodak);
    (has_published && !is_comparable).then(|| {
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
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| quoted(argument.to_string_lossy().into_owned()));
    let words = std::iter::once("aec".to_owned()).chain(arguments);
    words.collect::<Vec<_>>().join(" ")
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
        let pictures = session.viewer_pictures(&findings.rows, &summary.pictures)?;
        output::write(folder, summary, &pictures)?;
        let page = text::quoted(&folder.join("index.html"));
        global.say(&format!("wrote {page}"));
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
