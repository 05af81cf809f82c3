//! The stage a scenario plays on: it numbers steps, counts facts and keeps time.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::scenario::{Column, DemoEvent, Explanation, Sink};

/// The run of one demo.
pub struct Stage {
    sink: Arc<dyn Sink>,
    demo: &'static str,
    seed: u64,
    broker: String,
    fast: bool,
    steps: usize,
    started: Instant,
    step_started: Instant,
    current: usize,
    passed: usize,
    facts: usize,
    facts_failed: usize,
}

/// One step under way. Facts stated on it decide whether it passes.
pub struct Step<'a> {
    stage: &'a mut Stage,
    number: usize,
    broken: Vec<String>,
}

/// How long a reader is given between two steps, unless `--fast` is set.
const PACE: Duration = Duration::from_millis(700);

impl Stage {
    /// Opens the stage and announces the demo.
    pub fn open(
        sink: Arc<dyn Sink>,
        (demo, title): (&'static str, &str),
        seed: u64,
        (broker, bootstrap): (&str, &str),
        steps: usize,
        fast: bool,
    ) -> Self {
        sink.emit(&DemoEvent::DemoStarted {
            demo: demo.to_owned(),
            title: title.to_owned(),
            seed,
            broker: broker.to_owned(),
            bootstrap: bootstrap.to_owned(),
            steps,
        });
        Self {
            sink,
            demo,
            seed,
            broker: broker.to_owned(),
            fast,
            steps,
            started: Instant::now(),
            step_started: Instant::now(),
            current: 0,
            passed: 0,
            facts: 0,
            facts_failed: 0,
        }
    }

    /// A line that the course documents promise, before the first step or between steps.
    pub fn line(&self, text: impl Into<String>) {
        self.sink.emit(&DemoEvent::Line {
            step: self.current,
            text: text.into(),
        });
    }

    /// Begins the next step.
    pub async fn step(&mut self, title: &str) -> Step<'_> {
        if !self.fast && self.current > 0 {
            tokio::time::sleep(PACE).await;
        }
        self.current += 1;
        self.step_started = Instant::now();
        let number = self.current;
        self.sink.emit(&DemoEvent::StepStarted {
            step: number,
            title: title.to_owned(),
        });
        Step {
            stage: self,
            number,
            broken: Vec::new(),
        }
    }

    /// Whether a fact stated so far did not hold.
    pub fn has_false_facts(&self) -> bool {
        self.facts_failed > 0
    }

    /// Says that the scenario could not go on; the summary counts the step under way and the rest as failed.
    pub fn broke_off(&mut self, error: &Error) {
        self.sink.emit(&DemoEvent::StepFailed {
            step: self.current,
            millis: self.step_started.elapsed().as_millis() as u64,
            what: error.what(),
            why: error.why(),
            fix: error.fix_text().to_owned(),
        });
    }

    /// Ends the demo: emits the summary and says whether all steps passed.
    pub fn close(self) -> bool {
        let all = self.passed == self.steps && self.facts_failed == 0;
        self.sink.emit(&DemoEvent::Summary {
            demo: self.demo.to_owned(),
            passed: self.passed,
            failed: self.steps.saturating_sub(self.passed),
            facts: self.facts,
            facts_failed: self.facts_failed,
            seed: self.seed,
            broker: self.broker,
            millis: self.started.elapsed().as_millis() as u64,
        });
        all
    }
}

impl Step<'_> {
    /// Why it is done so.
    pub fn why(&self, text: &str) {
        self.explain(Explanation::Why, text);
    }

    /// A command to try; only commands that exist.
    pub fn hint(&self, command: &str) {
        self.explain(Explanation::Try, command);
    }

    /// Something to know about this run.
    pub fn note(&self, text: &str) {
        self.explain(Explanation::Note, text);
    }

    fn explain(&self, kind: Explanation, text: &str) {
        self.emit(DemoEvent::Explained {
            step: self.number,
            kind,
            text: text.to_owned(),
        });
    }

    /// How far a long action has come.
    pub fn progress(&self, label: &str, done: u64, total: u64) {
        self.emit(DemoEvent::Progress {
            step: self.number,
            label: label.to_owned(),
            done,
            total,
        });
    }

    /// A line that the course documents promise.
    pub fn line(&self, text: impl Into<String>) {
        self.emit(DemoEvent::Line {
            step: self.number,
            text: text.into(),
        });
    }

    /// Rows of figures.
    pub fn table(&self, title: &str, columns: &[Column], rows: Vec<Vec<String>>) {
        debug_assert!(
            rows.iter().all(|row| row.len() == columns.len()),
            "{title}: a cell for each column"
        );
        self.emit(DemoEvent::Table {
            step: self.number,
            title: title.to_owned(),
            columns: columns.to_vec(),
            rows,
        });
    }

    /// Something can be looked at.
    pub fn url(&self, name: &str, url: &str) {
        self.emit(DemoEvent::UrlReady {
            step: self.number,
            name: name.to_owned(),
            url: url.to_owned(),
        });
    }

    /// States a fact: `measured` must equal `expected`.
    pub fn fact<T: PartialEq + Display>(&mut self, name: &str, expected: T, measured: T) {
        let held = expected == measured;
        self.state(
            name,
            expected.to_string(),
            measured.to_string(),
            held,
            false,
        );
    }

    /// States a fact that is a judgement: `held` says whether `measured` satisfies what `expected` describes.
    pub fn judged(&mut self, name: &str, expected: &str, measured: impl Display, held: bool) {
        self.state(name, expected.to_owned(), measured.to_string(), held, false);
    }

    /// States a lower bound; the measured number is not part of the normalised log.
    pub fn at_least<T: PartialOrd + Display>(&mut self, name: &str, least: T, measured: T) {
        let held = measured >= least;
        self.state(
            name,
            format!("at least {least}"),
            measured.to_string(),
            held,
            true,
        );
    }

    /// States that something took no longer than `limit`; the measured time is not part of the normalised log.
    pub fn within(&mut self, name: &str, limit: Duration, measured: Duration) {
        let shown = format!("{} ms", measured.as_millis());
        self.state(
            name,
            format!("at most {} ms", limit.as_millis()),
            shown,
            measured <= limit,
            true,
        );
    }

    fn state(&mut self, name: &str, expected: String, measured: String, held: bool, varies: bool) {
        if held {
            self.stage.facts += 1;
        } else {
            self.stage.facts_failed += 1;
            self.broken
                .push(format!("{name}: expected {expected}, measured {measured}"));
        }
        let (step, name) = (self.number, name.to_owned());
        self.emit(DemoEvent::Fact {
            step,
            name,
            expected,
            measured,
            held,
            varies,
        });
    }

    /// Ends the step: it passed if every fact held.
    ///
    /// # Errors
    /// When a fact did not hold, which ends the demo: later steps stand on it.
    pub fn done(self) -> Result<()> {
        if self.broken.is_empty() {
            self.stage.passed += 1;
            let millis = self.stage.step_started.elapsed().as_millis() as u64;
            self.emit(DemoEvent::StepPassed {
                step: self.number,
                millis,
            });
            return Ok(());
        }
        Err(Error::fact(self.broken.join("; ")))
    }

    fn emit(&self, event: DemoEvent) {
        self.stage.sink.emit(&event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Collected;

    fn stage(sink: &Arc<Collected>) -> Stage {
        Stage::open(
            Arc::new(Arc::clone(sink)),
            ("day0", "Test"),
            42,
            ("embedded", "127.0.0.1:1"),
            2,
            true,
        )
    }

    #[tokio::test]
    async fn a_demo_with_a_false_fact_does_not_pass() {
        let sink = Arc::new(Collected::default());
        let mut stage = stage(&sink);
        stage.step("one").await.done().unwrap();
        let mut step = stage.step("two").await;
        step.fact("answer", 42, 41);
        let error = step.done().unwrap_err();
        stage.broke_off(&error);
        assert!(!stage.close());
        let Some(DemoEvent::Summary {
            passed: 1,
            failed: 1,
            facts: 0,
            facts_failed: 1,
            ..
        }) = sink.events().pop()
        else {
            panic!("{:?}", sink.events().pop());
        };
    }

    #[tokio::test]
    async fn a_demo_that_stops_early_counts_the_missing_steps_as_failed() {
        let sink = Arc::new(Collected::default());
        let mut stage = stage(&sink);
        stage.step("one").await.done().unwrap();
        assert!(!stage.close());
        assert!(matches!(
            sink.events().pop(),
            Some(DemoEvent::Summary {
                passed: 1,
                failed: 1,
                ..
            })
        ));
    }

    #[tokio::test]
    async fn a_demo_whose_facts_all_hold_passes() {
        let sink = Arc::new(Collected::default());
        let mut stage = stage(&sink);
        for title in ["one", "two"] {
            let mut step = stage.step(title).await;
            step.fact("answer", 42, 42);
            step.done().unwrap();
        }
        assert!(stage.close());
    }
}
