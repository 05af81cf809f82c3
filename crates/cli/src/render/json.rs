//! One JSON object a line.

use std::io::{Stdout, Write};

use eventmart_core::scenario::{DemoEvent, Sink};

/// Writes each event as a line, and flushes it: a reader at the other end of a pipe sees it at once.
pub(super) struct JsonLines {
    out: Stdout,
}

impl JsonLines {
    pub(super) fn stdout() -> Self {
        Self {
            out: std::io::stdout(),
        }
    }
}

impl Sink for JsonLines {
    fn emit(&self, event: &DemoEvent) {
        let mut out = self.out.lock();
        // A reader that went away is no reason to stop: the demo cleans up, and the exit code still tells.
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            let _ = out.write_all(&line).and_then(|()| out.flush());
        }
    }
}
