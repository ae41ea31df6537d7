//! Results on disk: one TSV row per measured file, appended as soon as it is known.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, anyhow, bail};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};

use super::codec::Codec;
use super::measure::{Measurement, Timing};
use crate::atomic;
use crate::cli::text;
use crate::sync;

/// What identifies a row: picture, codec, encoder, and the quality's bits.
pub(super) type Key = (String, String, String, u64);

/// The key of a codec's row of a picture.
pub(super) fn key(picture: &str, codec: &Codec, quality: f64) -> Key {
    new_key([picture, &codec.name, &codec.encoder], quality)
}

fn new_key(names: [&str; 3], quality: f64) -> Key {
    let [picture, codec, encoder] = names.map(str::to_owned);
    (picture, codec, encoder, quality.to_bits())
}

/// A kind of row, which is read by the names of its columns.
pub(super) trait Row: DeserializeOwned {
    /// Column names with units, separated by tabs.
    const HEADING: &'static str;
    /// The row's text, without a line end.
    fn to_line(&self) -> String;
    /// What identifies the row.
    fn key(&self) -> Key;
}

impl Row for Measurement {
    const HEADING: &'static str = "picture\twidth_px\theight_px\tcodec\tencoder\tquality\tsize_bytes\trate_bpp\t\
                                   psnr_db\tms_ssim\tssimulacra2";

    fn to_line(&self) -> String {
        let optional = |value: Option<f64>, decimals: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
        };
        format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{:.6}\t{}\t{}\t{}",
            self.picture,
            self.width,
            self.height,
            self.codec,
            self.encoder,
            self.quality,
            self.bytes,
            self.bits_per_pixel(),
            optional(self.psnr, 6),
            optional(self.ms_ssim, 8),
            optional(self.ssimulacra2, 4),
        )
    }

    fn key(&self) -> Key {
        new_key([&self.picture, &self.codec, &self.encoder], self.quality)
    }
}

impl Row for Timing {
    const HEADING: &'static str = "picture\tcodec\tencoder\tquality\tpixels\tthreads\truns\tencode_s\tdecode_s\tencode_mp_per_s\tdecode_mp_per_s";

    fn to_line(&self) -> String {
        let megapixels = self.pixels as f64 / 1e6;
        format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{:.6}\t{:.6}\t{:.3}\t{:.3}",
            self.picture,
            self.codec,
            self.encoder,
            self.quality,
            self.pixels,
            self.threads,
            self.runs,
            self.encode_s,
            self.decode_s,
            megapixels / self.encode_s,
            megapixels / self.decode_s,
        )
    }

    fn key(&self) -> Key {
        new_key([&self.picture, &self.codec, &self.encoder], self.quality)
    }
}

/// A number above 0.
pub(super) fn positive<'de, D: Deserializer<'de>>(field: D) -> Result<u32, D::Error> {
    NonZero::deserialize(field).map(NonZero::get)
}

/// A number, or `-` for none.
pub(super) fn optional<'de, D: Deserializer<'de>>(field: D) -> Result<Option<f64>, D::Error> {
    match String::deserialize(field)?.as_str() {
        "-" => Ok(None),
        text => text.parse().map(Some).map_err(D::Error::custom),
    }
}

/// Reads a results file. A last line cut short by a crash is left out.
pub(super) fn read<R: Row>(path: &Path) -> anyhow::Result<Vec<R>> {
    let read = || {
        let text = fs::read_to_string(path)?;
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(b'\t')
            .quoting(false)
            .from_reader(text.as_bytes());
        if reader.headers()? != R::HEADING.split('\t').collect::<Vec<_>>() {
            bail!("the heading is not that of this version's results");
        }
        let mut rows: Vec<csv::Result<R>> = reader.deserialize().collect();
        if !text.ends_with('\n') {
            rows.pop();
        }
        let not_a_result = |error: csv::Error| {
            let line = error.position().map_or(0, csv::Position::line);
            anyhow!("line {line} is not a result")
        };
        let rows = rows.into_iter().map(|row| row.map_err(not_a_result));
        rows.collect()
    };
    read().with_context(|| format!("cannot read results {}", text::quoted(path)))
}

/// A file that rows are appended to, from any thread.
pub(super) struct Recorder {
    file: Option<Mutex<File>>,
}

impl Recorder {
    /// A recorder that keeps nothing.
    pub(super) fn none() -> Self {
        Self { file: None }
    }

    /// Starts `path` anew with `rows`; an older file is kept with `.old` added to its name.
    pub(super) fn create<R: Row>(path: &Path, rows: &[R], keep_old: bool) -> anyhow::Result<Self> {
        let write = || {
            if keep_old && path.exists() {
                fs::rename(path, path.with_extension("old.tsv"))?;
            }
            let mut text = format!("{}\n", R::HEADING);
            text.extend(rows.iter().map(|row| row.to_line() + "\n"));
            // A crash here must not lose the rows that were read.
            atomic::write(path, text.as_bytes())?;
            OpenOptions::new().append(true).open(path)
        };
        let file = write().with_context(|| format!("cannot write {}", text::quoted(path)))?;
        Ok(Self {
            file: Some(Mutex::new(file)),
        })
    }

    /// Appends a row.
    pub(super) fn append<R: Row>(&self, row: &R) -> anyhow::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut file = sync::lock(file);
        file.write_all((row.to_line() + "\n").as_bytes())
            .context("cannot append to the results")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(quality: f64) -> Measurement {
        Measurement {
            picture: "a.png".into(),
            width: 3,
            height: 2,
            codec: "jpeg".into(),
            encoder: "test 1.0".into(),
            quality,
            bytes: 12,
            psnr: Some(f64::INFINITY),
            ms_ssim: None,
            ssimulacra2: Some(99.5),
        }
    }

    #[test]
    fn rows_survive_a_round_trip_and_a_cut_last_line() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("results.tsv");
        let recorder = Recorder::create(&path, &[row(10.0)], true).expect("writable");
        recorder.append(&row(12.5)).expect("writable");
        let mut text = fs::read_to_string(&path).expect("readable");
        assert!(text.contains("\tinf\t-\t99.5000\n"), "{text}");
        text.push_str("a.png\t3\t2\tjp");
        fs::write(&path, text).expect("writable");
        assert_eq!(
            read::<Measurement>(&path).expect("valid"),
            [row(10.0), row(12.5)]
        );
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("results.tsv");
        fs::write(&path, "hello\n").expect("writable");
        let message = format!("{:#}", read::<Measurement>(&path).expect_err("no heading"));
        assert!(message.contains("heading"), "{message}");
        fs::write(&path, format!("{}\nx\ty\n", Measurement::HEADING)).expect("writable");
        let message = format!("{:#}", read::<Measurement>(&path).expect_err("bad row"));
        assert!(message.contains("line 2"), "{message}");
    }
}
