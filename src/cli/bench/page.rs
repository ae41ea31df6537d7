//! The HTML page: plots, tables and a viewer in one file that needs no network.

use super::report::{bd_table, bd_title, conditions, points_table, sources};
use super::summary::Summary;
use super::viewer::ViewerPicture;
use crate::cli::html::{STYLE, escape, fill};

const TEMPLATE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");

/// The whole page.
pub(super) fn html(summary: &Summary, pictures: &[ViewerPicture]) -> anyhow::Result<String> {
    let embedded: usize = pictures.iter().map(ViewerPicture::count).sum();
    // "<" inside strings would end the script element.
    let data = serde_json::to_string(pictures)?.replace('<', "\\u003c");
    Ok(fill(
        TEMPLATE,
        &[
            ("style", STYLE),
            ("script", SCRIPT),
            ("conditions", &escape(&conditions(summary))),
            ("command", &escape(&summary.command)),
            ("plots", &super::figure::figure(summary).svg()),
            ("bd_title", &escape(&bd_title(summary))),
            ("bd_table", &bd_table(summary).html()),
            ("tables", &tables(summary)),
            ("remarks", &list("Notes", &summary.remarks)),
            (
                "sources",
                &list("Sources of published curves", &sources(summary)),
            ),
            ("embedded", &embedded.to_string()),
            ("pictures", &data),
        ],
    ))
}

/// The table of every measured codec.
fn tables(summary: &Summary) -> String {
    let section = |curve| {
        let table = points_table(curve, summary).html();
        format!(
            "<h3>{}</h3>\n<p class=\"small\">{}</p>\n{table}",
            escape(&curve.name),
            escape(&curve.encoder)
        )
    };
    summary.measured().map(section).collect()
}

/// A heading and a list; nothing when the list is empty.
fn list(title: &str, items: &[String]) -> String {
    let items: String = items
        .iter()
        .map(|item| format!("<li>{}</li>\n", escape(item)))
        .collect();
    if items.is_empty() {
        items
    } else {
        format!("<h2>{title}</h2>\n<ul class=\"small\">\n{items}</ul>\n")
    }
}
