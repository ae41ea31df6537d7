//! `aec compare`: quality and rate of one picture against another.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::messages::GlobalOptions;
use super::metric::{BACKGROUND, Metric, view};
use super::models::ModelOption;
use super::options::Resources;
use super::stdio;
use super::text;
use crate::codec::{self, DecodeOptions, NoProgress};
use crate::format::SIGNATURE;
use crate::metrics::mse;
use crate::picture::{Image, io};

/// Arguments of `aec compare`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Both pictures may be .aec files. The size of DISTORTED's file gives the rate. \
                  Pictures with alpha are blended over gray before they are measured; whether \
                  their alpha is the same is said."
)]
pub struct Args {
    /// Picture to compare with ('-' for stdin)
    reference: PathBuf,

    /// Picture to judge, or an .aec file ('-' for stdin)
    distorted: PathBuf,

    /// Quality measures, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values = ["psnr", "ms-ssim"])]
    metric: Vec<Metric>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    model: ModelOption,

    #[command(flatten)]
    resources: Resources,
}

/// A picture and the size of its file.
struct Loaded {
    image: Image,
    bytes: u64,
}

/// What can be said about the alpha channels of two pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AlphaMatch {
    /// Neither has one.
    None,
    Equal,
    Different,
}

impl AlphaMatch {
    fn of(a: &Image, b: &Image) -> Self {
        match (&a.alpha, &b.alpha) {
            (None, None) => Self::None,
            (a, b) if a == b => Self::Equal,
            _ => Self::Different,
        }
    }

    /// Name in tables and JSON.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Equal => Some("equal"),
            Self::Different => Some("different"),
        }
    }
}

/// A metric's value, or why it cannot be measured.
type Outcome = (Metric, Result<f64, String>);

/// Runs the command.
///
/// # Errors
/// When a picture cannot be read, the sizes differ, or no metric can be measured.
pub fn run(args: Args, global: &GlobalOptions) -> anyhow::Result<()> {
    let (distorted, alpha, outcomes, error) = args.resources.install(|| {
        let mut reference = load(&args.reference, &args, global)?;
        let mut distorted = load(&args.distorted, &args, global)?;
        let alpha = AlphaMatch::of(&reference.image, &distorted.image);
        reference.image.flatten(BACKGROUND);
        distorted.image.flatten(BACKGROUND);
        let (a, b) = (view(&reference.image)?, view(&distorted.image)?);
        // Says so when the sizes differ, before any metric does.
        let error = mse(&a, &b)?;
        let measure = |&metric: &Metric| {
            (
                metric,
                metric.measure(&a, &b).map_err(|error| error.to_string()),
            )
        };
        let outcomes: Vec<Outcome> = args.metric.iter().map(measure).collect();
        Ok((distorted, alpha, outcomes, error))
    })?;
    let mut out = stdio::stdout()?;
    if args.json {
        writeln!(
            out,
            "{}",
            to_json(&args, &distorted, alpha, &outcomes, error)
        )?;
    } else {
        out.write_all(to_text(&distorted, alpha, &outcomes).as_bytes())?;
    }
    let failures: Vec<&String> = outcomes
        .iter()
        .filter_map(|(_, value)| value.as_ref().err())
        .collect();
    if failures.len() == outcomes.len() {
        anyhow::bail!(
            "nothing could be measured: {}",
            failures.first().map_or("no metric", |text| text.as_str())
        );
    }
    failures.iter().for_each(|failure| global.warn(failure));
    Ok(())
}

/// Reads a picture or decodes an `.aec` file, by its content.
fn load(path: &Path, args: &Args, global: &GlobalOptions) -> anyhow::Result<Loaded> {
    let limits = args.resources.limits();
    let file = stdio::read_input(path, &limits)?;
    let name = stdio::input_name(path);
    let image = if file.starts_with(&SIGNATURE) {
        let model = args.model.for_files(global)?.of_file(&file)?;
        let options = DecodeOptions {
            limits,
            ..DecodeOptions::default()
        };
        codec::decode(&file, &model, &options, &NoProgress)
            .with_context(|| format!("cannot decode {name}"))?
    } else {
        io::read(&file, &limits).with_context(|| format!("cannot read {name}"))?
    };
    Ok(Loaded {
        image: image.into_upright()?,
        bytes: file.len() as u64,
    })
}

/// One line for the rate and one per metric.
fn to_text(distorted: &Loaded, alpha: AlphaMatch, outcomes: &[Outcome]) -> String {
    let image = &distorted.image;
    let mut text = format!(
        "{}x{}, {} bytes, {}\n",
        image.width,
        image.height,
        text::thousands(distorted.bytes),
        text::bits_per_pixel(distorted.bytes, image.pixels())
    );
    if let Some(name) = alpha.name() {
        text += &format!(
            "{:<12} {name}; measured blended over gray {BACKGROUND}\n",
            "alpha"
        );
    }
    for (metric, value) in outcomes {
        let value = match value {
            Ok(value) => metric.text(*value),
            Err(_) => "not measured".to_owned(),
        };
        text += &format!("{:<12} {value}\n", metric.name());
    }
    text
}

/// One object. Of equal pictures the PSNR is null, as JSON has no infinity, and `identical` is true.
fn to_json(
    args: &Args,
    distorted: &Loaded,
    alpha: AlphaMatch,
    outcomes: &[Outcome],
    error: f64,
) -> Value {
    let image = &distorted.image;
    let mut object = Map::new();
    object.insert("reference".into(), json!(args.reference.to_string_lossy()));
    object.insert("distorted".into(), json!(args.distorted.to_string_lossy()));
    object.insert("width_px".into(), json!(image.width));
    object.insert("height_px".into(), json!(image.height));
    object.insert("size_bytes".into(), json!(distorted.bytes));
    object.insert(
        "rate_bpp".into(),
        json!(distorted.bytes as f64 * 8.0 / image.pixels() as f64),
    );
    if let Some(name) = alpha.name() {
        object.insert("alpha".into(), json!(name));
        object.insert("blended_over".into(), json!(BACKGROUND));
    }
    object.insert("mse".into(), json!(error));
    object.insert("identical".into(), json!(error == 0.0));
    for (metric, value) in outcomes {
        let name = match metric {
            Metric::Psnr => "psnr_db",
            Metric::MsSsim => "ms_ssim",
            Metric::Ssimulacra2 => "ssimulacra2",
        };
        let value = match value {
            Ok(value) if value.is_finite() => json!(value),
            Ok(_) | Err(_) => Value::Null,
        };
        object.insert(name.into(), value);
    }
    Value::Object(object)
}
