//! Lists on stdout: a table for reading, JSON for programs, names for shells.

use eventmart_core::scenario::Column;
use serde_json::Value;

use crate::args::Output;
use crate::render::{table, text_width};

/// One row, both ways.
pub(crate) struct Row {
    /// Its cells in the table; the first is its name.
    pub(crate) cells: Vec<String>,
    /// The same for programs.
    pub(crate) json: Value,
}

/// Prints rows in the form asked for. An empty table prints its headings, so that it can be told from a failure.
pub(crate) fn print(columns: &[Column], rows: Vec<Row>, form: Output) {
    anstream::print!("{}", text(columns, rows, form, text_width()));
}

fn text(columns: &[Column], rows: Vec<Row>, form: Output, width: usize) -> String {
    match form {
        Output::Table => {
            let cells: Vec<Vec<String>> = rows.into_iter().map(|row| row.cells).collect();
            table::draw(columns, &cells, width)
        }
        Output::Json => format!(
            "{:#}\n",
            rows.into_iter().map(|row| row.json).collect::<Value>()
        ),
        Output::Jsonl => rows.iter().map(|row| format!("{}\n", row.json)).collect(),
        Output::Name => {
            let mut names: Vec<String> = rows
                .into_iter()
                .filter_map(|row| row.cells.into_iter().next())
                .collect();
            names.dedup();
            names.iter().map(|name| format!("{name}\n")).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_has_all_rows() {
        let columns = [Column::text("name"), Column::number("lag")];
        let rows = || {
            [("a", 1), ("b", 22)]
                .map(|(name, lag)| Row {
                    cells: vec![name.to_owned(), lag.to_string()],
                    json: json!({ "name": name, "lag": lag }),
                })
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            text(&columns, rows(), Output::Table, 80),
            " name   lag\n────────────\n a        1\n b       22\n"
        );
        assert_eq!(text(&columns, rows(), Output::Name, 80), "a\nb\n");
        assert_eq!(
            text(&columns, rows(), Output::Jsonl, 80),
            "{\"lag\":1,\"name\":\"a\"}\n{\"lag\":22,\"name\":\"b\"}\n"
        );
        assert!(text(&columns, rows(), Output::Json, 80).starts_with("[\n"));
        assert!(text(&columns, Vec::new(), Output::Table, 80).contains("name"));
    }
}
