//! Codecs run as programs: `cwebp`, `avifenc`, `cjxl`, `cjpeg`, when they are installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use which::which;

use super::jpeg::decode_jpeg;
use super::{Codec, Coder, Source};
use crate::limits::Limits;
use crate::picture::{Image, io};

/// What is known about a codec's tools.
struct Recipe {
    name: &'static str,
    /// Asks the encoder for its version.
    version: &'static str,
    /// The encoder's command line; `{q}`, `{in}` and `{out}` are replaced.
    encode: &'static str,
    /// The decoder's command line; without one the file is read as a JPEG.
    decode: Option<&'static str>,
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
        version: "-version",
        encode: "cwebp -quiet -m 6 -q {q} {in} -o {out}",
        decode: Some("dwebp -quiet {in} -o {out}"),
        extension: "webp",
        takes_ppm: false,
        qualities: &[
            1.0, 5.0, 10.0, 20.0, 35.0, 50.0, 65.0, 80.0, 90.0, 95.0, 99.0,
        ],
    },
    Recipe {
        name: "avif",
        version: "--version",
        encode: "avifenc -s 6 -y 444 --min 0 --max 63 -a end-usage=q -a cq-level={q} {in} {out}",
        decode: Some("avifdec {in} {out}"),
        extension: "avif",
        takes_ppm: false,
        // cq-level: a smaller number is a better picture.
        qualities: &[60.0, 54.0, 48.0, 42.0, 36.0, 30.0, 24.0, 18.0, 12.0, 6.0],
    },
    Recipe {
        name: "jxl",
        version: "--version",
        encode: "cjxl --quiet -e 7 -q {q} {in} {out}",
        decode: Some("djxl --quiet {in} {out}"),
        extension: "jxl",
        takes_ppm: false,
        qualities: &[10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 96.0],
    },
    Recipe {
        name: "mozjpeg",
        version: "-version",
        encode: "cjpeg -optimize -progressive -quality {q} -outfile {out} {in}",
        decode: None,
        extension: "jpg",
        takes_ppm: true,
        qualities: &[
            5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0,
        ],
    },
];

/// A program that was found, and its arguments.
struct Tool {
    name: &'static str,
    path: PathBuf,
    arguments: Vec<&'static str>,
}

/// A codec whose programs were found.
struct ToolCoder {
    recipe: &'static Recipe,
    encoder: Tool,
    decoder: Option<Tool>,
}

/// The codecs whose programs are on the PATH, and of each other its name and the program that is not.
pub(in super::super) fn installed_tools() -> (Vec<Codec>, Vec<(&'static str, &'static str)>) {
    let (mut codecs, mut missing) = (Vec::new(), Vec::new());
    for recipe in &RECIPES {
        match recipe.find() {
            Ok(codec) => codecs.push(codec),
            Err(program) => missing.push((recipe.name, program)),
        }
    }
    (codecs, missing)
}

impl Recipe {
    /// Looks for the programs; fails with the name of a missing one.
    fn find(&'static self) -> Result<Codec, &'static str> {
        let encoder = Tool::find(self.encode)?;
        let decoder = self.decode.map(Tool::find).transpose()?;
        let version = version_line(&encoder.path, self.version);
        // `cjpeg` is also the name of libjpeg's and libjpeg-turbo's program.
        let is_mozjpeg = version.to_lowercase().contains("mozjpeg");
        let name = if self.name == "mozjpeg" && !is_mozjpeg {
            "libjpeg"
        } else {
            self.name
        };
        let is_setting = |argument: &&str| {
            !["{in}", "{out}", "-o", "-outfile", "-quiet", "--quiet"].contains(argument)
        };
        let settings: Vec<&str> = encoder
            .arguments
            .iter()
            .copied()
            .filter(is_setting)
            .collect();
        Ok(Codec {
            name: name.into(),
            encoder: format!("{}: {}", titled(encoder.name, &version), settings.join(" ")),
            qualities: self.qualities.into(),
            coder: Box::new(ToolCoder {
                recipe: self,
                encoder,
                decoder,
            }),
        })
    }
}

impl ToolCoder {
    /// Where an encoded file stands in a folder.
    fn coded(&self, folder: &Path) -> PathBuf {
        folder.join("coded").with_extension(self.recipe.extension)
    }
}

impl Coder for ToolCoder {
    fn encode(&self, source: &Source, quality: f64) -> anyhow::Result<Vec<u8>> {
        let input = if self.recipe.takes_ppm {
            source.ppm()?
        } else {
            source.png()?
        };
        let folder = tempfile::tempdir()?;
        let output = self.coded(folder.path());
        self.encoder.run(input, &output, quality)?;
        Ok(fs::read(output)?)
    }

    fn decode(&self, file: &[u8]) -> anyhow::Result<Image> {
        let Some(decoder) = &self.decoder else {
            return decode_jpeg(file);
        };
        let folder = tempfile::tempdir()?;
        let input = self.coded(folder.path());
        let output = folder.path().join("decoded.png");
        fs::write(&input, file)?;
        decoder.run(&input, &output, 0.0)?;
        let limits = Limits {
            max_pixels: u64::MAX,
            ..Limits::default()
        };
        Ok(io::read(&fs::read(output)?, &limits)?)
    }
}

impl Tool {
    /// Looks for the program of a command line; fails with its name.
    fn find(command: &'static str) -> Result<Self, &'static str> {
        let mut words = command.split(' ');
        let name = words.next().unwrap_or_default();
        Ok(Self {
            name,
            path: which(name).map_err(|_| name)?,
            arguments: words.collect(),
        })
    }

    /// Runs the program with the placeholders of its arguments filled in.
    fn run(&self, input: &Path, output: &Path, quality: f64) -> anyhow::Result<()> {
        let program = self.path.display();
        let mut command = Command::new(&self.path);
        for argument in &self.arguments {
            match *argument {
                "{in}" => command.arg(input),
                "{out}" => command.arg(output),
                other => command.arg(other.replace("{q}", &quality.to_string())),
            };
        }
        let result = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run '{program}'"))?;
        if !result.status.success() {
            let text = String::from_utf8_lossy(&result.stderr);
            let mut lines = text.lines().rev().map(str::trim);
            let last = lines.find(|line| !line.is_empty()).unwrap_or("no message");
            bail!("'{program}' failed: {last}");
        }
        Ok(())
    }
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
