//! Output of all subcommands: aligned tables for people, JSON and YAML for programs.

use std::io::{self, Write};

use serde::Serialize;

/// More ranges than this are counted instead of listed.
const LISTED: usize = 4;

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned text for people; may change between releases.
    #[default]
    Text,
    /// JSON; fields are only ever added.
    Json,
    /// The same as YAML.
    Yaml,
}

/// The option `-o`, shared by all subcommands that print.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct OutputArgs {
    /// text for people; json or yaml for programs
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub output: Format,
}

/// Why a result could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Standard output is closed or full.
    #[error("cannot write to standard output: {0}")]
    Io(#[from] io::Error),
    /// A value cannot be written in this format.
    #[error("cannot format the result: {0}")]
    Format(String),
}

impl Format {
    /// Prints `value` as JSON or YAML, or `text` for people.
    pub fn print(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), OutputError> {
        let text = match self {
            Self::Text => text(),
            Self::Json => serde_json::to_string_pretty(value)
                .map_err(|error| OutputError::Format(error.to_string()))?,
            Self::Yaml => to_yaml(value)?,
        };
        print(&text)
    }
}

/// A value as YAML.
pub fn to_yaml(value: &impl Serialize) -> Result<String, OutputError> {
    serde_saphyr::to_string(value).map_err(|error| OutputError::Format(error.to_string()))
}

/// Prints text, with a newline at its end. A closed pipe (`| head`) is no error.
pub fn print(text: &str) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Columns aligned by spaces, two between them; the last column is not padded.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut table = Self::default();
        table.row(headings);
        table
    }

    /// Indents every line by `indent` spaces.
    pub fn indented(mut self, indent: usize) -> Self {
        self.indent = indent;
        self
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [impl Into<String>; N]) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The table as text, one line per row.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(self.indent);
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Ranges of addresses for people.
pub fn short(ranges: &[String]) -> String {
    match ranges.get(..LISTED) {
        Some(first) if ranges.len() > LISTED => {
            format!("{},… ({} ranges)", first.join(","), ranges.len())
        }
        Some(_) | None => ranges.join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let mut table = Table::new(["VIP", "HOLDER"]).indented(1);
        table.row(["10.0.0.100", "node-a"]);
        table.row(["fd00::1", ""]);
        assert_eq!(
            table.render(),
            " VIP         HOLDER\n 10.0.0.100  node-a\n fd00::1\n"
        );
    }
}
