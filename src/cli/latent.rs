//! `aec latent export`: the quantized latent of a file as an array, for those who train on
//! compressed pictures.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use super::messages::{Complaint, GlobalOptions};
use super::models::ModelOption;
use super::options::Resources;
use super::output::{Kind, Output, OverwriteOptions};
use super::stdio;
use crate::bitstream::{Header, Reader};
use crate::codec;
use crate::network::Grid;
use crate::network::file::real_bytes;

/// Arguments of `aec latent`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write the quantized latent as an array: .npy or .safetensors
    Export(ExportArgs),
}

/// Arguments of `aec latent export`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The array is [rows, columns, channels] of 32-bit floats, little-endian: a position per 16x16 \
                  pixels of the stored picture, padded to multiples of 64, before its orientation. Values are \
                  what the synthesis network reads: comparable between positions and qualities, not between \
                  models. In .safetensors the array is called 'latent', and the metadata entry 'aec' holds width, \
                  height, orientation, quality and model id as JSON."
)]
struct ExportArgs {
    /// .aec file ('-' for stdin)
    file: PathBuf,

    /// Array to write: .npy or .safetensors
    #[arg(value_name = "OUT.npy|OUT.safetensors")]
    output: PathBuf,

    #[command(flatten)]
    overwrite: OverwriteOptions,

    #[command(flatten)]
    model: ModelOption,

    #[command(flatten)]
    resources: Resources,
}

/// Runs the command.
///
/// # Errors
/// When the file cannot be decoded or the array cannot be written.
pub(super) fn run(args: Args, global: &GlobalOptions) -> anyhow::Result<()> {
    match args.action {
        Action::Export(args) => export(&args, global),
    }
}

/// How the array is written: its bytes for a file's header and latent.
type Format = fn(&Header, &Grid) -> anyhow::Result<Vec<u8>>;

fn export(args: &ExportArgs, global: &GlobalOptions) -> anyhow::Result<()> {
    let format = format_of(&args.output)?;
    let existing = args.overwrite.existing(Kind::Data);
    let target = Output::prepare(&args.output, existing)?.refuse_input(&args.file)?;
    let options = args.resources.decoding();
    let bytes = stdio::read_input(&args.file, &options.limits)?;
    let latent = args.resources.install(|| {
        let models = args.model.for_files(global)?;
        let decode = || {
            let model = models.of_file(&bytes)?;
            anyhow::Ok(codec::quantized_latent(&bytes, &model, &options)?)
        };
        decode().with_context(|| format!("cannot decode {}", stdio::input_name(&args.file)))
    })?;
    let header = Header::read(&mut Reader::new(&bytes))?;
    let array = format(&header, &latent)?;
    target.commit(|out| Ok(out.write_all(&array)?))?;
    let [rows, columns, channels] = [latent.height, latent.width, latent.channels];
    let route = stdio::route(&args.file, &args.output);
    global.say(&format!(
        "{route}: {rows}x{columns}x{channels} 32-bit floats"
    ));
    Ok(())
}

/// The format that the extension names.
fn format_of(output: &Path) -> Result<Format, Complaint> {
    let extension = output.extension().unwrap_or_default().to_string_lossy();
    match extension.to_lowercase().as_str() {
        "npy" => Ok(npy),
        "safetensors" => Ok(safetensors),
        _ => {
            let name = stdio::output_name(output);
            let message = format!("cannot tell the array format from {name}");
            Err(Complaint::usage(message, "name it .npy or .safetensors"))
        }
    }
}

/// NumPy's format, version 1.0: magic, length of the header, a Python dictionary that is padded
/// so that the values start at a multiple of 64 bytes, and the values.
fn npy(_: &Header, latent: &Grid) -> anyhow::Result<Vec<u8>> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    let shape = format!("({}, {}, {})", latent.height, latent.width, latent.channels);
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let length = (MAGIC.len() + 2 + header.len() + 1).next_multiple_of(64) - MAGIC.len() - 2;
    header += &" ".repeat(length - 1 - header.len());
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend(u16::try_from(length)?.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(real_bytes(&latent.values));
    Ok(bytes)
}

fn safetensors(header: &Header, latent: &Grid) -> anyhow::Result<Vec<u8>> {
    let values = real_bytes(&latent.values);
    let shape = vec![latent.height, latent.width, latent.channels];
    let view = TensorView::new(Dtype::F32, shape, &values)?;
    let facts = json!({
        "width_px": header.width,
        "height_px": header.height,
        "orientation": header.orientation.to_exif(),
        "quality": header.quality.percent(),
        "model_id": header.model.to_string(),
    });
    // One entry: the order of several would differ from run to run.
    let metadata = HashMap::from([("aec".to_owned(), facts.to_string())]);
    let tensors = [("latent", view)];
    Ok(::safetensors::serialize(tensors, Some(metadata))?)
}
