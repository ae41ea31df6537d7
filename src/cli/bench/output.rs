//! The files that a benchmark leaves in its folder.

use std::path::Path;

use anyhow::Context;

use super::summary::Summary;
use super::viewer::ViewerPicture;
use super::{figure, page, report};
use crate::cli::output::write_file;

/// Their names, with those of the rows that are written as they are measured.
pub(super) const FILES: [&str; 6] = [
    "results.tsv",
    "timing.tsv",
    "summary.json",
    "summary.md",
    "rd.svg",
    "index.html",
];

/// Writes summary, plots and page; files of the same name are replaced.
pub(super) fn write(
    folder: &Path,
    summary: &Summary,
    pictures: &[ViewerPicture],
) -> anyhow::Result<()> {
    let json =
        serde_json::to_string_pretty(summary).context("cannot write the summary as JSON")? + "\n";
    let files = [
        ("summary.json", json.into_bytes()),
        ("summary.md", report::markdown(summary).into_bytes()),
        ("rd.svg", figure::figure(summary).svg().into_bytes()),
        ("index.html", page::html(summary, pictures)?.into_bytes()),
    ];
    for (name, bytes) in files {
        write_file(&folder.join(name), &bytes)?;
    }
    Ok(())
}
