//! `aec info`: what is in a file, and what is in a model.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

mod report;

use report::Report;

use super::damage::report_damage;
use super::messages::{Complaint, GlobalOptions};
use super::models::{ModelOption, Models};
use super::options::{Resources, StageClock};
use super::{stdio, text};
use crate::bitstream::Container;
use crate::codec::{self, Model, model_id};
use crate::network::Side;

/// Arguments of `aec info`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// .aec files ('-' for stdin)
    #[arg(value_name = "FILE", required_unless_present = "model")]
    files: Vec<PathBuf>,

    /// Describe the built-in model, or the weights of that file or name
    #[arg(long, value_name = "PATH|NAME", num_args = 0..=1, require_equals = true)]
    model: Option<Option<PathBuf>>,

    /// List every section with offset, length and checksum
    #[arg(long)]
    sections: bool,

    /// Also decode the latents and check every checksum
    #[arg(long)]
    verify: bool,

    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    resources: Resources,
}

/// Runs the command.
pub(super) fn run(args: Args, global: &GlobalOptions) -> anyhow::Result<()> {
    let option = ModelOption {
        model: args.model.clone().flatten(),
    };
    let needs_models = args.model.is_some() || args.verify;
    let models = needs_models.then(|| option.for_files(global)).transpose()?;
    if let (Some(_), Some(models)) = (&args.model, &models) {
        let description = describe_model(&*models.first()?);
        print(&if args.json {
            model_json(&description)
        } else {
            model_text(&description)
        })?;
    }
    let mut failed = 0;
    for path in &args.files {
        match describe_file(path, &args, models.as_ref(), global) {
            Err(error) if args.files.len() == 1 => return Err(error),
            Err(error) => {
                global.error(&error);
                failed += 1;
            }
            // Nobody who reads on: then that is the end, and no fault of a file.
            Ok(text) => {
                let mut out = stdio::stdout()?;
                out.write_all(&text)?;
                out.flush()?;
            }
        }
    }
    if failed > 0 {
        let message = format!("{failed} of {} files failed", args.files.len());
        bail!(Complaint::failure(message, ""));
    }
    Ok(())
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(stdio::stdout()?, "{text}")?)
}

/// What is shown of a model: key, value.
fn describe_model(model: &Model) -> Vec<(String, String)> {
    let c = model.config();
    let kmacs = |side| format!("{:.2}", c.macs_per_pixel(side) / 1e3);
    let stage = |blocks, channels| format!("{blocks} blocks of {channels} channels");
    let lines = [
        ("model", model.name().into()),
        ("id", model_id(model).to_string()),
        ("parameters", text::thousands(c.parameters() as u64)),
        ("weights bytes", text::thousands(model.bytes())),
        ("encoder kMAC/pixel", kmacs(Side::Encoder)),
        ("decoder kMAC/pixel", kmacs(Side::Decoder)),
        ("latent channels", c.latent_channels.to_string()),
        ("hyper-latent channels", c.hyper_channels.to_string()),
        ("stage at 1/8", stage(c.stage8_blocks, c.stage8_channels)),
        ("stage at 1/16", stage(c.stage16_blocks, c.stage16_channels)),
        ("context channels", c.context_channels.to_string()),
        ("quality rows", c.quality_rows.to_string()),
    ];
    lines.map(|(key, value)| (key.into(), value)).into()
}

fn model_text(lines: &[(String, String)]) -> String {
    let width = lines.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let line = |(key, value): &(String, String)| format!("{key:width$}  {value}");
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn model_json(lines: &[(String, String)]) -> String {
    let object: Map<String, Value> = lines
        .iter()
        .map(|(key, value)| (key.replace([' ', '/'], "_").to_lowercase(), json!(value)))
        .collect();
    Value::Object(object).to_string()
}

/// Parses, and on request decodes, one file: a text of what it contains.
fn describe_file(
    path: &Path,
    args: &Args,
    models: Option<&Models>,
    global: &GlobalOptions,
) -> anyhow::Result<Vec<u8>> {
    let name = stdio::input_name(path);
    let limits = args.resources.limits();
    let bytes = stdio::read_input(path, &limits)?;
    let model = models.map(|models| models.of_file(&bytes)).transpose()?;
    if let Some(model) = model.as_ref().filter(|_| args.verify) {
        verify(&bytes, model, args, global).with_context(|| format!("cannot decode {name}"))?;
    }
    let container =
        Container::parse(&bytes, &limits).with_context(|| format!("cannot read {name}"))?;
    let mut report = Report::new(&stdio::plain_name(path), &bytes, &container)?;
    report.model_name = model
        .filter(|model| model_id(model) == container.header.model)
        .map(|model| model.name().into());
    report.lists_sections = args.sections;
    report.is_verified = args.verify;
    let mut text = Vec::new();
    if args.json {
        report.write_json(&mut text)?;
    } else {
        report.write_text(&mut text)?;
    }
    Ok(text)
}

/// Decodes all latents, which checks every checksum on the way; names every tile that is damaged.
fn verify(bytes: &[u8], model: &Model, args: &Args, global: &GlobalOptions) -> anyhow::Result<()> {
    let mut clock = StageClock::start(global);
    let options = args.resources.decoding();
    let damage = args
        .resources
        .install(|| Ok(codec::verify(bytes, model, &options)?))?;
    clock.lap("decode latents");
    report_damage(&damage, global);
    match damage.len() {
        0 => Ok(()),
        parts => Err(Complaint::failure(
            format!(
                "{} of its parts {} damaged",
                text::thousands(parts as u64),
                if parts == 1 { "is" } else { "are" }
            ),
            "'aec decode --keep-going' writes what is left of the picture",
        )
        .into()),
    }
}
