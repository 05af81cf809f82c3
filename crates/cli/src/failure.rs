//! What a command ends with when it fails: what, why, how to mend it, and the exit code.

use std::fmt::Write as _;

use eventmart_core::ErrorKind;

/// Exit codes of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    Error = 1,
    Usage = 2,
    NotFound = 3,
    CheckFailed = 4,
    Timeout = 5,
    Denied = 6,
    Interrupted = 130,
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Fact => Self::CheckFailed,
            ErrorKind::Usage => Self::Usage,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::Denied => Self::Denied,
            _ => Self::Error,
        }
    }
}

/// The text of a failure, for stderr: each hint on its own line, readable without colour.
pub(crate) fn text(error: &eventmart_core::Error) -> String {
    let mut text = format!("error: {}\n", error.what());
    for (label, words) in [("why", error.why()), ("fix", error.fix_text().to_owned())] {
        if !words.is_empty() {
            let _ = writeln!(text, "  {label}  {words}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventmart_core::Error;

    #[test]
    fn a_failure_says_what_why_and_fix() {
        let error = Error::new(ErrorKind::Broker, "no broker at 127.0.0.1:9092")
            .because("connection refused")
            .fix("start one: eventmart dev");
        assert_eq!(
            text(&error),
            "error: no broker at 127.0.0.1:9092\n  why  connection refused\n  fix  start one: eventmart dev\n"
        );
        assert_eq!(Exit::from(error.kind()), Exit::Error);
        assert_eq!(Exit::from(ErrorKind::Fact) as i32, 4);
    }
}
