//! Tables that stay readable at any width.

use std::fmt::Write as _;

use comfy_table::{
    Cell, CellAlignment, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle,
};
use eventmart_core::scenario::Column;

use crate::render::wrap;

/// A line under the headings and nothing else: lines between rows make long tables twice as long.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .content_lines(ContentLineStyle::none());

/// Below this width a table that does not fit is written as a list of records.
const NARROW: usize = 60;

/// A table of at most `width` columns; each line ends without blanks.
pub(crate) fn draw(columns: &[Column], rows: &[Vec<String>], width: usize) -> String {
    let table = build(columns, rows);
    let natural = table
        .lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    if natural <= width {
        return trimmed(&table);
    }
    if width < NARROW {
        return records(columns, rows, width);
    }
    let mut table = table;
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    trimmed(&table)
}

fn build(columns: &[Column], rows: &[Vec<String>]) -> Table {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(
        columns
            .iter()
            .map(|column| cell(&column.name, column.right)),
    );
    for row in rows {
        table.add_row(
            row.iter()
                .zip(columns)
                .map(|(text, column)| cell(text, column.right)),
        );
    }
    table
}

fn cell(text: &str, right: bool) -> Cell {
    let alignment = if right {
        CellAlignment::Right
    } else {
        CellAlignment::Left
    };
    Cell::new(text).set_alignment(alignment)
}

fn trimmed(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// One `heading: value` a line, a blank line between rows.
fn records(columns: &[Column], rows: &[Vec<String>], width: usize) -> String {
    let label = columns
        .iter()
        .map(|column| column.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        for (column, value) in columns.iter().zip(row) {
            text.push_str(&wrap::hanging(
                &format!("{:label$}  ", column.name),
                label + 2,
                value,
                width,
            ));
        }
    }
    text
}
