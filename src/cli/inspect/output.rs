//! The files of `aec inspect --out`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use image::codecs::jpeg::JpegEncoder;

use super::exhibit::Exhibit;
use super::{MAX_FILES, maps, page, report};
use crate::cli::html::write_rgb;
use crate::cli::output::{Existing, Output, write_file};
use crate::cli::sheet::sheet;
use crate::cli::text;
use crate::picture::{Image, io};

/// Longest side of a picture in the overview.
const OVERVIEW_SIDE: u32 = 400;
/// Pixels between its pictures.
const GAP: u32 = 6;
/// JPEG quality of the overview.
const OVERVIEW_QUALITY: u8 = 88;

/// Where the page of `--out` goes: `out` itself if it is one, else into the folder.
pub(super) fn page_path(out: &Path) -> PathBuf {
    let is_page = out.extension().is_some_and(|extension| extension == "html");
    if is_page {
        out.into()
    } else {
        out.join("index.html")
    }
}

/// Files of the folder that show that an earlier run left it.
pub(super) const FILES: [&str; 3] = ["index.html", "overview.jpg", "inspect.json"];

/// Refuses an input that writing would replace.
pub(super) fn refuse_input(out: &Path, input: &Path) -> anyhow::Result<()> {
    let page = page_path(out);
    let mut names: Vec<String> = FILES.map(Into::into).into();
    for kind in ["bits", "error"] {
        names.push(map_name(kind, 0, 1));
        names.extend((0..MAX_FILES).map(|at| map_name(kind, at, MAX_FILES)));
    }
    let in_folder = names.into_iter().map(|name| out.join(name));
    let files: Vec<PathBuf> = if page == *out {
        vec![page]
    } else {
        in_folder.collect()
    };
    // What cannot be written says so when it is: there may be no folder yet.
    let written = files.iter().filter(|file| file.is_file());
    for file in written {
        Output::prepare(file, Existing::Replace)?.refuse_input(input)?;
    }
    Ok(())
}

/// The file of a map: `at` of so many exhibits.
fn map_name(kind: &str, at: usize, exhibits: usize) -> String {
    if exhibits > 1 {
        format!("{kind}-{}.png", at + 1)
    } else {
        format!("{kind}.png")
    }
}

/// Writes the page, and with a folder the maps and numbers beside it; files of the same name are
/// replaced.
pub(super) fn write(out: &Path, exhibits: &[Exhibit], blocks: usize) -> anyhow::Result<()> {
    let most = maps::most_bits(exhibits);
    let page = page::html(exhibits, most, blocks)?;
    let path = page_path(out);
    if path != out {
        std::fs::create_dir_all(out)
            .with_context(|| format!("cannot create {}", text::quoted(out)))?;
        write_folder(out, exhibits, most, blocks)?;
    }
    write_file(&path, page.as_bytes())
}

fn write_folder(out: &Path, exhibits: &[Exhibit], most: f64, blocks: usize) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (i, exhibit) in exhibits.iter().enumerate() {
        let file = |kind: &str| out.join(map_name(kind, i, exhibits.len()));
        let mut row = vec![maps::picture(exhibit)?, maps::bits(exhibit, most)?];
        write_png(&file("bits"), &row[1])?;
        if let Some(comparison) = &exhibit.comparison {
            row.push(maps::error(exhibit, comparison)?);
            write_png(&file("error"), &row[2])?;
        }
        let small = row
            .into_iter()
            .map(|image| maps::fitted(image, OVERVIEW_SIDE));
        rows.push(small.collect::<crate::error::Result<_>>()?);
    }
    write_file(&out.join("overview.jpg"), &jpeg(&sheet(&rows, GAP, 0)?)?)?;
    let lines = exhibits
        .iter()
        .map(|exhibit| format!("{}\n", report::json(exhibit, blocks)));
    write_file(
        &out.join("inspect.json"),
        lines.collect::<String>().as_bytes(),
    )
}

fn jpeg(image: &Image) -> crate::error::Result<Vec<u8>> {
    let mut file = Vec::new();
    write_rgb(
        image,
        JpegEncoder::new_with_quality(&mut file, OVERVIEW_QUALITY),
    )?;
    Ok(file)
}

fn write_png(path: &Path, image: &Image) -> anyhow::Result<()> {
    Output::prepare(path, Existing::Replace)?
        .commit(|out| io::write(image, io::OutputFormat::Png, out))
}
