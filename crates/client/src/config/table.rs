//! A table of configuration keys: one row per key, from which parsing, messages and documentation come.

use std::fmt::Write as _;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// One key of a configuration `T`.
pub struct ConfigRow<T> {
    /// Kafka's property name.
    pub name: &'static str,
    /// The type, in words: `duration in ms`, `list of host:port`, `boolean`, …
    pub kind: &'static str,
    /// The default, as it would be written.
    pub default: &'static str,
    /// Which values are allowed, in words.
    pub range: &'static str,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
    /// Parses and stores a value; the message of a failure says what is expected.
    pub set: fn(&mut T, &str) -> Result<(), String>,
}

/// The keys of a configuration `T`. Each crate owns the table of its keys.
pub struct ConfigTable<T: 'static> {
    /// Whose keys these are: `client`, `producer`, …
    pub title: &'static str,
    /// The rows, in the order of the documentation.
    pub rows: &'static [ConfigRow<T>],
}

impl<T> ConfigTable<T> {
    /// The row of a key.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&ConfigRow<T>> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// All key names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.rows.iter().map(|row| row.name)
    }

    /// Stores one value.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown key, naming the nearest one, and for a malformed value,
    /// saying what is expected.
    pub fn set(&self, config: &mut T, name: &str, value: &str) -> Result<(), Error> {
        let Some(row) = self.row(name) else {
            return Err(unknown_key(self.title, name, self.names()));
        };
        (row.set)(config, value.trim()).map_err(|expected| {
            Error::new(
                ErrorKind::Config,
                format!(
                    "{name} = {value:?}: {expected} ({}; {})",
                    row.kind, row.range
                ),
            )
        })
    }

    /// Stores many values; every key must be of this table.
    ///
    /// # Errors
    /// As [`ConfigTable::set`], for the first key that fails.
    pub fn set_all<K: AsRef<str>, V: AsRef<str>>(
        &self,
        config: &mut T,
        properties: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), Error> {
        for (name, value) in properties {
            self.set(config, name.as_ref(), value.as_ref())?;
        }
        Ok(())
    }

    /// Stores the values whose keys are of this table and hands back the others, for one property file
    /// that configures several parts. Pass what is left in the end to [`reject_unknown`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a malformed value.
    pub fn set_known(
        &self,
        config: &mut T,
        properties: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut rest = Vec::new();
        for (name, value) in properties {
            if self.row(&name).is_some() {
                self.set(config, &name, &value)?;
            } else {
                rest.push((name, value));
            }
        }
        Ok(rest)
    }

    /// The table as Markdown, for `docs/config.md`.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = format!(
            "## {}\n\n| key | type | default | range | what it does |\n|---|---|---|---|---|\n",
            self.title
        );
        for row in self.rows {
            let _ = writeln!(
                text,
                "| `{}` | {} | `{}` | {} | {} |",
                row.name, row.kind, row.default, row.range, row.doc
            );
        }
        text
    }
}

/// Fails if anything is left, naming the nearest of all keys that would have been known.
///
/// # Errors
/// [`ErrorKind::Config`] for the first key that is left.
pub fn reject_unknown(
    title: &str,
    rest: &[(String, String)],
    known: impl IntoIterator<Item = &'static str>,
) -> Result<(), Error> {
    match rest.first() {
        None => Ok(()),
        Some((name, _)) => Err(unknown_key(title, name, known)),
    }
}

/// The error for an unknown key, with the nearest known one.
#[must_use]
pub fn unknown_key(
    title: &str,
    name: &str,
    known: impl IntoIterator<Item = &'static str>,
) -> Error {
    let error = Error::new(ErrorKind::Config, format!("unknown {title} key {name:?}"));
    match nearest(name, known) {
        Some(nearest) => error.with_hint(format!("did you mean {nearest:?}?")),
        None => error,
    }
}

/// The known name most like `name`, if one is alike at all.
#[must_use]
pub fn nearest(name: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    // Underscores and capitals are the usual slips of those who come from another client.
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], ".");
    let wanted = plain(name);
    known
        .into_iter()
        .map(|candidate| {
            let score = strsim::jaro_winkler(&wanted, &plain(candidate)).max(
                strsim::normalized_damerau_levenshtein(&wanted, &plain(candidate)),
            );
            (candidate, score)
        })
        .filter(|(_, score)| *score >= 0.7)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(candidate, _)| candidate)
}

/// Parses `true` or `false`.
///
/// # Errors
/// What was expected, in words.
pub fn parse_bool(value: &str) -> Result<bool, String> {
    value
        .parse()
        .map_err(|_| "expected true or false".to_owned())
}

/// Parses a whole number within bounds.
///
/// # Errors
/// What was expected, in words.
pub fn parse_int<N>(value: &str, range: std::ops::RangeInclusive<N>) -> Result<N, String>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    value
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            format!(
                "expected a whole number from {} to {}",
                range.start(),
                range.end()
            )
        })
}

/// Parses milliseconds, at least `min`; at most what a signed 32-bit count of milliseconds holds.
///
/// # Errors
/// What was expected, in words.
pub fn parse_duration_ms(value: &str, min: u64) -> Result<Duration, String> {
    parse_int(value, min..=i32::MAX as u64).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Sample {
        linger: Duration,
        on: bool,
    }

    const TABLE: ConfigTable<Sample> = ConfigTable {
        title: "sample",
        rows: &[
            ConfigRow {
                name: "linger.ms",
                kind: "duration in ms",
                default: "5",
                range: "0 or more",
                doc: "Longest wait for a fuller batch.",
                set: |c, v| {
                    c.linger = parse_duration_ms(v, 0)?;
                    Ok(())
                },
            },
            ConfigRow {
                name: "enable.idempotence",
                kind: "boolean",
                default: "true",
                range: "true, false",
                doc: "No duplicates from retries.",
                set: |c, v| {
                    c.on = parse_bool(v)?;
                    Ok(())
                },
            },
        ],
    };

    #[test]
    fn known_keys_are_stored() {
        let mut sample = Sample::default();
        TABLE
            .set_all(
                &mut sample,
                [("linger.ms", " 7 "), ("enable.idempotence", "true")],
            )
            .unwrap();
        assert_eq!(sample.linger, Duration::from_millis(7));
        assert!(sample.on);
    }

    #[test]
    fn unknown_key_names_the_nearest() {
        for typo in ["lingre.ms", "linger_ms", "linger"] {
            let error = TABLE.set(&mut Sample::default(), typo, "1").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert_eq!(error.hint(), Some("did you mean \"linger.ms\"?"), "{typo}");
        }
        let error = TABLE.set(&mut Sample::default(), "zzz", "1").unwrap_err();
        assert_eq!(error.hint(), None);
    }

    #[test]
    fn malformed_value_says_what_is_expected() {
        let error = TABLE
            .set(&mut Sample::default(), "linger.ms", "soon")
            .unwrap_err();
        assert!(error.to_string().contains("linger.ms"), "{error}");
        assert!(error.to_string().contains("whole number"), "{error}");
    }

    #[test]
    fn keys_of_other_tables_are_handed_back() {
        let mut sample = Sample::default();
        let rest = TABLE
            .set_known(
                &mut sample,
                [
                    ("linger.ms".to_owned(), "1".to_owned()),
                    ("acks".to_owned(), "all".to_owned()),
                ],
            )
            .unwrap();
        assert_eq!(rest, [("acks".to_owned(), "all".to_owned())]);
        let error = reject_unknown("sample", &rest, TABLE.names()).unwrap_err();
        assert!(error.to_string().contains("acks"), "{error}");
    }
}
