//! Codecs run as programs: `cwebp`, `avifenc`, `cjxl`, `cjpeg`, when they are installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use which::which;

use super::jpeg::decode_jpeg;
use super::{Codec, Source};
use crate::limits::Limits;
use crate::picture::{Image, io};

/// What is known about a codec's tools.
struct Recipe {
    name: &'static str,
    encoder: &'static str,
    /// The decoder program; without one the file is read as a JPEG.
    decoder: Option<&'static str>,
    /// Asks the encoder for its version.
    version: &'static str,
    /// Encoder arguments; `{q}`, `{in}` and `{out}` are replaced.
    encode: &'static [&'static str],
    /// Decoder arguments.
    decode: &'static [&'static str],
    /// Kind of the encoded file, as its extension.
    extension: &'static str,
    /// Whether the encoder reads PPM; else PNG.
    takes_ppm: bool,
    /// From small files to large ones.
    qualities: &'static [f64],
}

const RECIPES: [Recipe; 4] = [
    Recipe {
        name: "webp",
        encoder: "cwebp",
        decoder: Some("dwebp"),
        version: "-version",
        encode: &["-quiet", "-m", "6", "-q", "{q}", "{in}", "-o", "{out}"],
        decode: &["-quiet", "{in}", "-o", "{out}"],
        extension: "webp",
        takes_ppm: false,
        qualities: &[
            1.0, 5.0, 10.0, 20.0, 35.0, 50.0, 65.0, 80.0, 90.0, 95.0, 99.0,
        ],
    },
    Recipe {
        name: "avif",
        encoder: "avifenc",
        decoder: Some("avifdec"),
        version: "--version",
        encode: &[
            "-s",
            "6",
            "-y",
            "444",
            "--min",
            "0",
            "--max",
            "63",
            "-a",
            "end-usage=q",
            "-a",
            "cq-level={q}",
            "{in}",
            "{out}",
        ],
        decode: &["{in}", "{out}"],
        extension: "avif",
        takes_ppm: false,
        // cq-level: a smaller number is a better picture.
        qualities: &[60.0, 54.0, 48.0, 42.0, 36.0, 30.0, 24.0, 18.0, 12.0, 6.0],
    },
    Recipe {
        name: "jxl",
        encoder: "cjxl",
        decoder: Some("djxl"),
        version: "--version",
        encode: &["--quiet", "-e", "7", "-q", "{q}", "{in}", "{out}"],
        decode: &["--quiet", "{in}", "{out}"],
        extension: "jxl",
        takes_ppm: false,
        qualities: &[10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 96.0],
    },
    Recipe {
        name: "mozjpeg",
        encoder: "cjpeg",
        decoder: None,
        version: "-version",
        encode: &[
            "-optimize",
            "-progressive",
            "-quality",
            "{q}",
            "-outfile",
            "{out}",
            "{in}",
        ],
        decode: &[],
        extension: "jpg",
        takes_ppm: true,
        qualities: &[
            5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0,
        ],
    },
];

/// A codec whose programs were found.
struct ToolCodec {
    recipe: &'static Recipe,
    name: &'static str,
    description: String,
    encoder: PathBuf,
    decoder: Option<PathBuf>,
}

/// The codecs whose programs are on the PATH, and a line for each that is not.
pub(in super::super) fn installed_tools() -> (Vec<Box<dyn Codec>>, Vec<String>) {
    let mut codecs: Vec<Box<dyn Codec>> = Vec::new();
    let mut missing = Vec::new();
    for recipe in &RECIPES {
        match ToolCodec::find(recipe) {
            Ok(codec) => codecs.push(Box::new(codec)),
            Err(program) => {
                missing.push(format!("{}: '{program}' is not on the PATH", recipe.name))
            }
        }
    }
    (codecs, missing)
}

impl ToolCodec {
    /// Looks for the programs of a recipe; fails with the name of a missing one.
    fn find(recipe: &'static Recipe) -> Result<Self, &'static str> {
        let encoder = which(recipe.encoder).map_err(|_| recipe.encoder)?;
        let decoder = recipe
            .decoder
            .map(|name| which(name).map_err(|_| name))
            .transpose()?;
        let version = version_line(&encoder, recipe.version);
        // `cjpeg` is also the name of libjpeg's and libjpeg-turbo's program.
        let is_mozjpeg = version.to_lowercase().contains("mozjpeg");
        let name = if recipe.name == "mozjpeg" && !is_mozjpeg {
            "libjpeg"
        } else {
            recipe.name
        };
        let is_setting = |argument: &&&str| {
            !["{in}", "{out}", "-o", "-outfile", "-quiet", "--quiet"].contains(*argument)
        };
        let settings: Vec<&str> = recipe.encode.iter().filter(is_setting).copied().collect();
        let description = format!(
            "{}: {}",
            titled(recipe.encoder, &version),
            settings.join(" ")
        );
        Ok(Self {
            recipe,
            name,
            description,
            encoder,
            decoder,
        })
    }
}

impl Codec for ToolCodec {
    fn name(&self) -> &str {
        self.name
    }

    fn encoder(&self) -> &str {
        &self.description
    }

    fn qualities(&self) -> &[f64] {
        self.recipe.qualities
    }

    fn encode(&self, source: &Source, quality: f64) -> anyhow::Result<Vec<u8>> {
        let input = if self.recipe.takes_ppm {
            source.ppm()?
        } else {
            source.png()?
        };
        let folder = tempfile::tempdir()?;
        let output = folder
            .path()
            .join("coded")
            .with_extension(self.recipe.extension);
        run(&self.encoder, self.recipe.encode, input, &output, quality)?;
        Ok(fs::read(output)?)
    }

    fn decode(&self, file: &[u8]) -> anyhow::Result<Image> {
        let Some(decoder) = &self.decoder else {
            return decode_jpeg(file);
        };
        let folder = tempfile::tempdir()?;
        let input = folder
            .path()
            .join("coded")
            .with_extension(self.recipe.extension);
        let output = folder.path().join("decoded.png");
        fs::write(&input, file)?;
        run(decoder, self.recipe.decode, &input, &output, 0.0)?;
        Ok(io::read(
            &fs::read(output)?,
            &Limits {
                max_pixels: u64::MAX,
                ..Limits::default()
            },
        )?)
    }
}

/// Runs a program with the placeholders of its arguments filled in.
fn run(
    program: &Path,
    arguments: &[&str],
    input: &Path,
    output: &Path,
    quality: f64,
) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    for argument in arguments {
        match *argument {
            "{in}" => command.arg(input),
            "{out}" => command.arg(output),
            other => command.arg(other.replace("{q}", &quality.to_string())),
        };
    }
    let result = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run '{}'", program.display()))?;
    if !result.status.success() {
        let text = String::from_utf8_lossy(&result.stderr);
        let last = text
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("no message");
        bail!("'{}' failed: {}", program.display(), last.trim());
    }
    Ok(())
}

/// A program with its version: "cjxl v0.7.0", "cwebp (1.2.4)", "cjpeg (mozjpeg version 4.1.1)".
fn titled(program: &str, version: &str) -> String {
    if version.starts_with(program) {
        version.into()
    } else {
        format!("{program} ({version})")
    }
}

/// What a program says about its version.
fn version_line(program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program)
        .arg(flag)
        .stdin(Stdio::null())
        .output()
    else {
        return "unknown version".into();
    };
    let text = [output.stdout, output.stderr].concat();
    first_line(&String::from_utf8_lossy(&text))
}

/// The first line of a text without what follows in square brackets: cjxl lists the instruction
/// sets it uses there, which are no part of its version.
fn first_line(text: &str) -> String {
    let line = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("unknown version");
    let line = line.split('[').next().unwrap_or(line);
    line.trim()
        .chars()
        .filter(|character| !character.is_control())
        .take(60)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_called_what_they_call_themselves() {
        let known = [
            ("cwebp", "1.2.4\nlibsharpyuv: 0.2.0\n", "cwebp (1.2.4)"),
            (
                "cjxl",
                "cjxl v0.7.0 [AVX3,AVX2,SSE4,SSSE3,Unknown]\nCopyright (c) the JPEG XL Project\n",
                "cjxl v0.7.0",
            ),
            (
                "cjpeg",
                "libjpeg-turbo version 2.1.5 (build 20230203)\n",
                "cjpeg (libjpeg-turbo version 2.1.5 (build 20230203))",
            ),
            (
                "cjpeg",
                "mozjpeg version 3.2 (build 20261121)\n",
                "cjpeg (mozjpeg version 3.2 (build 20261121))",
            ),
            ("cjxl", "", "cjxl (unknown version)"),
        ];
        for (program, output, expected) in known {
            assert_eq!(titled(program, &first_line(output)), expected);
        }
    }
}
