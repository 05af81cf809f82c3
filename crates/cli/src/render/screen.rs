//! Text on a terminal or in a file: lines on stdout, moving progress on stderr or milestones in the text.

use std::io::{Stdout, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use eventmart_core::scenario::{DemoEvent, Sink};
use indicatif::{ProgressBar, ProgressStyle};

use crate::render::layout::Layout;

/// Renders events as text.
pub(super) struct Screen {
    layout: Layout,
    lively: bool,
    out: Stdout,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    steps: usize,
    bar: Option<(String, ProgressBar)>,
    /// What the last milestone of a plain progress was about, and how many quarters it told.
    milestone: (String, u64),
}

impl Screen {
    /// `lively`: progress moves on stderr; otherwise a line at each quarter.
    pub(super) fn new(layout: Layout, lively: bool) -> Self {
        Self {
            layout,
            lively,
            out: std::io::stdout(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, text: &str) {
        let mut out = self.out.lock();
        // A reader that went away is no reason to stop: the demo cleans up, and the exit code still tells.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn progress(&self, state: &mut State, label: &str, done: u64, total: u64) {
        if !self.lively {
            if let Some(line) = milestone(&mut state.milestone, label, done, total) {
                self.write(&line);
            }
            return;
        }
        if state.bar.as_ref().is_none_or(|(of, _)| of != label) {
            state.bar = Some((label.to_owned(), bar(label, total)));
        }
        if let Some((_, bar)) = &state.bar {
            bar.set_length(total);
            bar.set_position(done);
        }
        if done >= total {
            if let Some((_, bar)) = state.bar.take() {
                bar.finish_and_clear();
            }
            self.write(&format!("    {label} {done}/{total}\n"));
        }
    }
}

fn bar(label: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let style = ProgressStyle::with_template("    {msg} {bar:28} {pos}/{len}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(label.to_owned());
    bar
}

/// A line when another quarter is reached.
fn milestone(told: &mut (String, u64), label: &str, done: u64, total: u64) -> Option<String> {
    if told.0 != label {
        *told = (label.to_owned(), 0);
    }
    let quarters = done.saturating_mul(4).checked_div(total).unwrap_or(4);
    if quarters <= told.1 {
        return None;
    }
    told.1 = quarters;
    Some(format!("    {label} {done}/{total}\n"))
}

impl Sink for Screen {
    fn emit(&self, event: &DemoEvent) {
        let mut state = self.state();
        if let DemoEvent::Progress {
            label, done, total, ..
        } = event
        {
            return self.progress(&mut state, label, *done, *total);
        }
        match event {
            DemoEvent::DemoStarted { steps, .. } => state.steps = *steps,
            DemoEvent::StepStarted { .. } => state.milestone = Default::default(),
            _ => {}
        }
        let text = self.layout.text(event, state.steps);
        match &state.bar {
            Some((_, bar)) => bar.suspend(|| self.write(&text)),
            None => self.write(&text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_progress_tells_each_quarter_once() {
        let mut told = Default::default();
        let lines: Vec<_> = (0..=100)
            .filter_map(|done| milestone(&mut told, "sent", done, 100))
            .collect();
        assert_eq!(
            lines,
            [
                "    sent 25/100\n",
                "    sent 50/100\n",
                "    sent 75/100\n",
                "    sent 100/100\n"
            ]
        );
        assert!(milestone(&mut told, "read", 100, 100).is_some());
    }
}
