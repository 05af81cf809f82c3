//! The part of a run's log that two runs with one seed must share.
//!
//! Left out: durations and rates (columns and facts marked as varying, `millis`), addresses and URLs, and progress on
//! the way, which is emitted when time allows. Everything else stays: counts, partition moves, generations, ids.

use serde_json::{Value, json};

use crate::scenario::DemoEvent;

/// The events without what may differ.
pub fn normalise(events: &[DemoEvent]) -> Vec<Value> {
    events.iter().filter_map(normalised).collect()
}

fn normalised(event: &DemoEvent) -> Option<Value> {
    let mut value = match event {
        DemoEvent::Progress { done, total, .. } if done < total => return None,
        DemoEvent::UrlReady { .. } => return None,
        DemoEvent::Table {
            step,
            title,
            columns,
            rows,
        } => {
            let kept: Vec<usize> = (0..columns.len())
                .filter(|at| !columns[*at].varies)
                .collect();
            let names: Vec<&str> = kept.iter().map(|at| columns[*at].name.as_str()).collect();
            let rows: Vec<Vec<&str>> = rows
                .iter()
                .map(|row| {
                    kept.iter()
                        .filter_map(|at| row.get(*at))
                        .map(String::as_str)
                        .collect()
                })
                .collect();
            return Some(
                json!({ "event": "table", "step": step, "title": title, "columns": names, "rows": rows }),
            );
        }
        other => serde_json::to_value(other).ok()?,
    };
    if let Some(fields) = value.as_object_mut() {
        fields.remove("millis");
        fields.remove("bootstrap");
        if fields.get("varies") == Some(&Value::Bool(true)) {
            fields.remove("measured");
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Column;

    #[test]
    fn durations_go_and_counts_stay() {
        let table = |pause: &str| DemoEvent::Table {
            step: 1,
            title: "moves".into(),
            columns: vec![Column::number("moved"), Column::measured("pause")],
            rows: vec![vec!["8".into(), pause.into()]],
        };
        let passed = |millis| DemoEvent::StepPassed { step: 1, millis };
        let progress = |done| DemoEvent::Progress {
            step: 1,
            label: "sent".into(),
            done,
            total: 9,
        };
        let one = normalise(&[table("3 ms"), passed(10), progress(4), progress(9)]);
        let two = normalise(&[
            table("5 ms"),
            passed(12),
            progress(5),
            progress(6),
            progress(9),
        ]);
        assert_eq!(one, two);
        assert_eq!(one[0]["rows"], json!([["8"]]));
        assert_eq!(one.len(), 3);
    }

    #[test]
    fn another_count_is_another_log() {
        let fact = |measured: &str| DemoEvent::Fact {
            step: 1,
            name: "lag".into(),
            expected: "0".into(),
            measured: measured.into(),
            held: true,
            varies: false,
        };
        assert_ne!(normalise(&[fact("0")]), normalise(&[fact("1")]));
    }
}
