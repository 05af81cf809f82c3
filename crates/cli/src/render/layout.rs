//! How each event looks as text.

use std::fmt::Write as _;

use eventmart_core::scenario::{DemoEvent, Explanation};
use owo_colors::{OwoColorize, Style};

use crate::render::{table, wrap};

/// Width and colour of the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Columns to use.
    pub(crate) width: usize,
    /// Whether to colour.
    pub(crate) colour: bool,
}

const INDENT: &str = "    ";
const UNKNOWN_WIDTH: usize = 80;
const WIDEST: usize = 120;

/// The width to write for: the terminal's, or 80 where there is none or it says nonsense (a pty may report 0, and a
/// table of one-character columns is of no use to anybody).
pub(crate) fn text_width() -> usize {
    let columns = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    clamp(columns)
}

pub(super) fn clamp(columns: Option<usize>) -> usize {
    match columns {
        Some(columns) if columns >= 40 => columns.min(WIDEST),
        _ => UNKNOWN_WIDTH,
    }
}

impl Layout {
    /// The text of an event, with its line ends; empty for progress, which the screen shows in its own way.
    pub(crate) fn text(&self, event: &DemoEvent, steps: usize) -> String {
        match event {
            DemoEvent::DemoStarted {
                demo,
                title,
                seed,
                broker,
                bootstrap,
                steps,
            } => {
                let head = format!(" EventMart · {} · {title}", day(demo));
                let facts = format!(" seed {seed} · broker {broker} {bootstrap} · {steps} steps");
                format!(
                    "{}\n{}\n",
                    self.paint(&head, Style::new().bold()),
                    self.paint(&facts, Style::new().dimmed())
                )
            }
            DemoEvent::StepStarted { step, title } => {
                format!(
                    "\n{}\n",
                    self.paint(&format!("{step}/{steps} {title}"), Style::new().bold())
                )
            }
            DemoEvent::Explained { kind, text, .. } => {
                let label = match kind {
                    Explanation::Why => "why ",
                    Explanation::Try => "try ",
                    Explanation::Note => "note",
                };
                self.labelled(label, text, Style::new().dimmed())
            }
            DemoEvent::Line { text, .. } => format!("{}\n", self.paint(text, Style::new().cyan())),
            DemoEvent::Table {
                title,
                columns,
                rows,
                ..
            } => {
                let drawn = table::draw(columns, rows, self.width.saturating_sub(INDENT.len()));
                let mut text = format!("{INDENT}{}\n", self.paint(title, Style::new().underline()));
                for line in drawn.lines() {
                    let _ = writeln!(text, "{}", format!("{INDENT}{line}").trim_end());
                }
                text
            }
            DemoEvent::Fact {
                name,
                expected,
                measured,
                held: true,
                ..
            } => {
                let judged = if expected == measured {
                    String::new()
                } else {
                    format!(" ({expected})")
                };
                self.hanging(
                    "✔",
                    &format!("{name}: {measured}{judged}"),
                    Style::new().green(),
                )
            }
            DemoEvent::Fact {
                name,
                expected,
                measured,
                ..
            } => self.hanging(
                "✘",
                &format!("{name}: measured {measured}, expected {expected}"),
                Style::new().red(),
            ),
            DemoEvent::UrlReady { name, url, .. } => {
                self.labelled("look", &format!("{name} {url}"), Style::new())
            }
            DemoEvent::StepPassed { millis, .. } => {
                format!(
                    "{INDENT}{}\n",
                    self.paint(
                        &format!("passed in {}", seconds(*millis)),
                        Style::new().dimmed()
                    )
                )
            }
            DemoEvent::StepFailed { what, why, fix, .. } => {
                let mut text = self.hanging("✘", what, Style::new().red().bold());
                for (label, words) in [("why ", why), ("fix ", fix)] {
                    if !words.is_empty() {
                        text.push_str(&self.labelled(label, words, Style::new()));
                    }
                }
                text
            }
            DemoEvent::Summary {
                demo,
                passed,
                failed,
                facts,
                facts_failed,
                seed,
                millis,
                ..
            } => {
                let all = passed + failed;
                let (mark, verb, style) = if *failed == 0 && *facts_failed == 0 {
                    ("✔", "passed", Style::new().green().bold())
                } else {
                    ("✘", "failed:", Style::new().red().bold())
                };
                let head = format!(
                    " {mark} {} {verb} {passed}/{all} in {}",
                    day(demo),
                    seconds(*millis)
                );
                let stated = facts + facts_failed;
                format!(
                    "\n{}\n   {facts} of {stated} facts held\n   Again  eventmart demo {demo} --seed {seed}\n",
                    self.paint(&head, style)
                )
            }
            _ => String::new(),
        }
    }

    fn paint(&self, text: &str, style: Style) -> String {
        if self.colour {
            text.style(style).to_string()
        } else {
            text.to_owned()
        }
    }

    /// `    why   words`, wrapped under the words.
    fn labelled(&self, label: &str, words: &str, style: Style) -> String {
        self.wrapped(
            &format!("{INDENT}{}  ", self.paint(label, style)),
            INDENT.len() + label.len() + 2,
            words,
        )
    }

    /// `    ✔ words`, wrapped under the words.
    fn hanging(&self, mark: &str, words: &str, style: Style) -> String {
        self.wrapped(
            &format!("{INDENT}{} ", self.paint(mark, style)),
            INDENT.len() + 2,
            words,
        )
    }

    fn wrapped(&self, head: &str, indent: usize, words: &str) -> String {
        wrap::hanging(head, indent, words, self.width)
    }
}

/// `day4` → `Day 4`.
fn day(demo: &str) -> String {
    demo.strip_prefix("day")
        .map_or_else(|| demo.to_owned(), |number| format!("Day {number}"))
}

fn seconds(millis: u64) -> String {
    format!("{}.{:02} s", millis / 1000, millis % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventmart_core::scenario::Column;

    fn events() -> Vec<DemoEvent> {
        let fact = |name: &str, expected: &str, measured: &str, held| DemoEvent::Fact {
            step: 2,
            name: name.into(),
            expected: expected.into(),
            measured: measured.into(),
            held,
            varies: false,
        };
        let explained = |kind, text: &str| DemoEvent::Explained {
            step: 2,
            kind,
            text: text.into(),
        };
        vec![
            DemoEvent::DemoStarted {
                demo: "day4".into(),
                title: "Event consumers".into(),
                seed: 42,
                broker: "embedded".into(),
                bootstrap: "127.0.0.1:9092".into(),
                steps: 2,
            },
            DemoEvent::Line {
                step: 0,
                text: "=== EventMart Consumer Demo ===".into(),
            },
            DemoEvent::StepStarted {
                step: 2,
                title: "A second member joins the group".into(),
            },
            explained(
                Explanation::Why,
                "partitions are the unit of sharing: a member that joins takes some of them, and cooperative members \
                 keep working on the others meanwhile",
            ),
            explained(
                Explanation::Try,
                "eventmart group describe eventmart-notification",
            ),
            DemoEvent::Table {
                step: 2,
                title: "assignment by generation".into(),
                columns: vec![
                    Column::number("gen"),
                    Column::text("member"),
                    Column::text("partitions"),
                    Column::measured("pause"),
                ],
                rows: vec![
                    vec![
                        "1".into(),
                        "m1".into(),
                        "orders 0 1 2 3 4 5 6 7 8 9 payments 0 1 2 users 0 1 2".into(),
                        "-".into(),
                    ],
                    vec![
                        "3".into(),
                        "m2".into(),
                        "orders 5 6 7 8 9 payments 1 2 users 2".into(),
                        "22 ms".into(),
                    ],
                ],
            },
            fact("partitions moved", "8", "8", true),
            fact("lag of the group", "0", "3", false),
            fact("every event processed", "at least once", "321", true),
            DemoEvent::StepFailed {
                step: 2,
                millis: 40,
                what: "lag of the group: expected 0, measured 3".into(),
                why: String::new(),
                fix: "run again with the same --seed".into(),
            },
            DemoEvent::Summary {
                demo: "day4".into(),
                passed: 1,
                failed: 1,
                facts: 2,
                facts_failed: 1,
                seed: 42,
                broker: "embedded".into(),
                millis: 11_834,
            },
        ]
    }

    fn rendered(width: usize, colour: bool) -> String {
        let layout = Layout { width, colour };
        events().iter().map(|event| layout.text(event, 2)).collect()
    }

    #[test]
    fn readable_at_40_columns() {
        insta::assert_snapshot!(rendered(40, false));
    }

    #[test]
    fn readable_at_80_columns() {
        insta::assert_snapshot!(rendered(80, false));
    }

    #[test]
    fn readable_at_200_columns() {
        insta::assert_snapshot!(rendered(200, false));
    }

    #[test]
    fn without_colour_there_is_no_escape() {
        assert!(!rendered(80, false).contains('\u{1b}'));
        assert!(rendered(80, true).contains('\u{1b}'));
    }

    #[test]
    fn nothing_is_wider_than_the_screen() {
        for width in [40, 80, 120] {
            // Addresses are left whole, and so is what the course documents promise.
            for line in rendered(width, false)
                .lines()
                .filter(|line| !line.contains("seed 42 ·"))
            {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_width_of_nothing_is_no_width() {
        assert_eq!(
            [
                clamp(None),
                clamp(Some(0)),
                clamp(Some(40)),
                clamp(Some(80)),
                clamp(Some(200))
            ],
            [80, 80, 40, 80, 120]
        );
    }
}
