//! Tables as plain text, Markdown and HTML.

use super::html::escape;

/// Rows of cells; the first column is set left, all others right.
pub(super) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heading: Vec<String>) -> Self {
        Self {
            heading,
            rows: Vec::new(),
        }
    }

    /// Adds a row of as many cells as the heading has.
    pub(super) fn push(&mut self, row: Vec<String>) {
        debug_assert_eq!(row.len(), self.heading.len());
        self.rows.push(row);
    }

    /// Columns two spaces apart.
    pub(super) fn text(&self) -> String {
        let widths = self.widths();
        self.lines()
            .map(|row| format!("  {}\n", padded(row, &widths).join("  ").trim_end()))
            .collect()
    }

    /// A Markdown table whose source is aligned as well.
    pub(super) fn markdown(&self) -> String {
        let widths = self.widths();
        let rule = |(column, width): (usize, &usize)| {
            let dashes = "-".repeat(width + 1);
            match column {
                0 => format!(":{dashes}"),
                _ => format!("{dashes}:"),
            }
        };
        let rule: Vec<String> = widths.iter().enumerate().map(rule).collect();
        let mut lines: Vec<String> = self
            .lines()
            .map(|row| format!("| {} |\n", padded(row, &widths).join(" | ")))
            .collect();
        lines.insert(1, format!("|{}|\n", rule.join("|")));
        lines.concat()
    }

    /// An HTML table.
    pub(super) fn html(&self) -> String {
        let cells = |row: &[String], tag: &str| -> String {
            row.iter()
                .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)))
                .collect()
        };
        let rows = self.rows.iter();
        let rows = rows.map(|row| format!("<tr>{}</tr>\n", cells(row, "td")));
        let body: String = rows.collect();
        let heading = cells(&self.heading, "th");
        format!(
            "<div class=\"table\"><table><thead><tr>{heading}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"
        )
    }

    fn lines(&self) -> impl Iterator<Item = &Vec<String>> {
        std::iter::once(&self.heading).chain(&self.rows)
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.lines().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        (0..self.heading.len()).map(width).collect()
    }
}

fn padded(row: &[String], widths: &[usize]) -> Vec<String> {
    let pad = |(column, (cell, &width)): (usize, (&String, &usize))| {
        if column == 0 {
            format!("{cell:<width$}")
        } else {
            format!("{cell:>width$}")
        }
    };
    row.iter().zip(widths).enumerate().map(pad).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_of_one_table() {
        let mut table = Table::new(vec!["codec".into(), "bpp".into()]);
        table.push(vec!["a<b".into(), "0.125".into()]);
        assert_eq!(table.text(), "  codec    bpp\n  a<b    0.125\n");
        assert_eq!(
            table.markdown(),
            "| codec |   bpp |\n|:------|------:|\n| a<b   | 0.125 |\n"
        );
        assert!(table.html().contains("<td>a&lt;b</td><td>0.125</td>"));
    }
}
