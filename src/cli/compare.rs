//! `aec compare`: quality and rate of one picture against another.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

use super::messages::GlobalOptions;
use super::metric::{Metric, view};
use super::models::ModelOption;
use super::options::Resources;
use super::stdio;
use super::text;
use crate::codec::{self, NoProgress};
use crate::format::SIGNATURE;
use crate::metrics::{BACKGROUND, mse};
use crate::picture::Image;
use crate::picture::io::{self, Warning};

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
    /// Whether these are all its colors: those of more than 8 bits are rounded.
    is_exact: bool,
}

/// Whether the alpha channels of two pictures are equal, in a word; none if neither has one.
fn alpha_match(a: &Image, b: &Image) -> Option<&'static str> {
    match (&a.alpha, &b.alpha) {
        (None, None) => None,
        (a, b) if a == b => Some("equal"),
        _ => Some("different"),
    }
}

/// How far two pictures are apart.
struct Difference {
    /// Mean squared error of samples of 8 bits.
    mse: f64,
    /// Whether they are known to be identical, colors of more than 8 bits included.
    is_none: bool,
}

/// A metric's value, or why it cannot be measured.
type Outcome = (Metric, Result<f64, String>);

/// Runs the command.
///
/// # Errors
/// When a picture cannot be read, the sizes differ, or no metric can be measured.
pub fn run(args: Args, global: &GlobalOptions) -> anyhow::Result<()> {
    let (distorted, alpha, outcomes, difference) = args.resources.install(|| {
        let mut reference = load(&args.reference, &args, global)?;
        let mut distorted = load(&args.distorted, &args, global)?;
        let alpha = alpha_match(&reference.image, &distorted.image);
        reference.image.flatten(BACKGROUND);
        distorted.image.flatten(BACKGROUND);
        let (a, b) = (view(&reference.image)?, view(&distorted.image)?);
        // Says so when the sizes differ, before any metric does.
        let error = mse(&a, &b)?;
        let measure = |&metric: &Metric| {
            let value = metric.measure(&a, &b);
            (metric, value.map_err(|error| error.to_string()))
        };
        let outcomes: Vec<Outcome> = args.metric.iter().map(measure).collect();
        let difference = Difference {
            mse: error,
            is_none: error == 0.0 && reference.is_exact && distorted.is_exact,
        };
        Ok((distorted, alpha, outcomes, difference))
    })?;
    let mut out = stdio::stdout()?;
    if args.json {
        let object = to_json(&args, &distorted, alpha, &outcomes, difference);
        writeln!(out, "{object}")?;
    } else {
        out.write_all(to_text(&distorted, alpha, &outcomes).as_bytes())?;
    }
    let values = outcomes.iter().map(|(_, value)| value.as_ref());
    let failures = values.filter_map(Result::err);
    if outcomes.iter().all(|(_, value)| value.is_err()) {
        let first = failures.map(String::as_str).next().unwrap_or("no metric");
        anyhow::bail!("nothing could be measured: {first}");
    }
    failures.for_each(|failure| global.warn(failure));
    Ok(())
}

/// Reads a picture or decodes an `.aec` file, by its content.
fn load(path: &Path, args: &Args, global: &GlobalOptions) -> anyhow::Result<Loaded> {
    let limits = args.resources.limits();
    let file = stdio::read_input(path, &limits)?;
    let name = stdio::input_name(path);
    let (image, warnings) = if file.starts_with(&SIGNATURE) {
        let models = args.model.for_files(global)?;
        let options = args.resources.decoding();
        let decode = || {
            let model = models.of_file(&file)?;
            anyhow::Ok(codec::decode(&file, &model, &options, &NoProgress)?)
        };
        (
            decode().with_context(|| format!("cannot decode {name}"))?,
            Vec::new(),
        )
    } else {
        io::read_with_warnings(&file, &limits).with_context(|| format!("cannot read {name}"))?
    };
    // Of metadata nothing is compared.
    let of_colors = |warning: &Warning| !matches!(warning, Warning::NotKept(_));
    let warnings: Vec<Warning> = warnings.into_iter().filter(of_colors).collect();
    global.warn_about(&name, &warnings);
    Ok(Loaded {
        is_exact: !warnings.contains(&Warning::Rounded),
        image: image.into_upright()?,
        bytes: file.len() as u64,
    })
}

/// One line for the rate and one per metric.
fn to_text(distorted: &Loaded, alpha: Option<&str>, outcomes: &[Outcome]) -> String {
    let image = &distorted.image;
    let mut text = format!(
        "{}x{}, {} bytes, {}\n",
        image.width,
        image.height,
        text::thousands(distorted.bytes),
        text::bits_per_pixel(distorted.bytes, image.pixels())
    );
    if let Some(word) = alpha {
        text += &format!("alpha        {word}; measured blended over gray {BACKGROUND}\n");
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

/// One object. Of pictures equal in 8 bits the PSNR is null, as JSON has no infinity.
fn to_json(
    args: &Args,
    distorted: &Loaded,
    alpha: Option<&str>,
    outcomes: &[Outcome],
    difference: Difference,
) -> Value {
    let image = &distorted.image;
    let mut object = json!({
        "reference": args.reference.to_string_lossy(),
        "distorted": args.distorted.to_string_lossy(),
        "width_px": image.width,
        "height_px": image.height,
        "size_bytes": distorted.bytes,
        "rate_bpp": distorted.bytes as f64 * 8.0 / image.pixels() as f64,
        "mse": difference.mse,
        "identical": difference.is_none,
    });
    if let Some(word) = alpha {
        object["alpha"] = json!(word);
        object["blended_over"] = json!(BACKGROUND);
    }
    for (metric, value) in outcomes {
        let name = match metric {
            Metric::Psnr => "psnr_db",
            Metric::MsSsim => "ms_ssim",
            Metric::Ssimulacra2 => "ssimulacra2",
        };
        object[name] = json!(value.as_ref().ok().filter(|value| value.is_finite()));
    }
    object
}
