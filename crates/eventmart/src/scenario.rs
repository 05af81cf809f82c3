//! The engine of the demos: a scenario emits typed events into a sink, and asserts every fact it states.
//!
//! Nothing here prints. Renderers (pretty, plain, JSON lines) turn the events into text; a report or a web page can
//! read the same stream.

mod emit;
mod stage;

pub use emit::{Collected, Sink};
pub use stage::{Stage, Step};

use serde::{Deserialize, Serialize};

/// What a demo says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DemoEvent {
    /// The demo begins.
    DemoStarted {
        /// `day4`.
        demo: String,
        /// `Event consumers`.
        title: String,
        /// The seed everything invented comes from.
        seed: u64,
        /// `embedded`, `apache` or `external`.
        broker: String,
        /// Where the brokers listen.
        bootstrap: String,
        /// How many steps there are.
        steps: usize,
    },
    /// A step begins.
    StepStarted {
        /// Counted from 1.
        step: usize,
        /// What it is about.
        title: String,
    },
    /// Words for the reader.
    Explained {
        /// Which step.
        step: usize,
        /// What kind of words.
        kind: Explanation,
        /// The words.
        text: String,
    },
    /// How far a long action has come.
    Progress {
        /// Which step.
        step: usize,
        /// What is counted.
        label: String,
        /// How many are done.
        done: u64,
        /// How many there will be.
        total: u64,
    },
    /// A line that the course documents promise, word for word.
    Line {
        /// Which step; 0 before the first.
        step: usize,
        /// The line.
        text: String,
    },
    /// Rows of figures.
    Table {
        /// Which step.
        step: usize,
        /// What it shows.
        title: String,
        /// Its columns.
        columns: Vec<Column>,
        /// Its rows, one cell a column.
        rows: Vec<Vec<String>>,
    },
    /// A sentence that was checked.
    Fact {
        /// Which step.
        step: usize,
        /// The sentence.
        name: String,
        /// What must be the case.
        expected: String,
        /// What was measured.
        measured: String,
        /// Whether it held.
        held: bool,
        /// Whether the measured value may differ between two runs with one seed: durations and rates.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        varies: bool,
    },
    /// Something can be looked at.
    UrlReady {
        /// Which step.
        step: usize,
        /// What is there.
        name: String,
        /// Where.
        url: String,
    },
    /// A step ended, all its facts true.
    StepPassed {
        /// Which step.
        step: usize,
        /// How long it took, in milliseconds.
        millis: u64,
    },
    /// A step ended otherwise.
    StepFailed {
        /// Which step.
        step: usize,
        /// How long it took, in milliseconds.
        millis: u64,
        /// What happened.
        what: String,
        /// Why.
        why: String,
        /// What to do about it.
        fix: String,
    },
    /// The demo ended: always the last event.
    Summary {
        /// `day4`.
        demo: String,
        /// Steps that passed.
        passed: usize,
        /// Steps that did not, or were not reached.
        failed: usize,
        /// Facts that held.
        facts: usize,
        /// Facts that did not.
        facts_failed: usize,
        /// The seed.
        seed: u64,
        /// `embedded`, `apache` or `external`.
        broker: String,
        /// How long it took, in milliseconds.
        millis: u64,
    },
}

/// What kind of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Explanation {
    /// Why it is done so.
    Why,
    /// A command to try.
    Try,
    /// Something to know about this run.
    Note,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// Numbers stand at the right.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub right: bool,
    /// Whether its cells may differ between two runs with one seed: durations and rates.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub varies: bool,
}

impl Column {
    /// A column of words.
    pub fn text(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            right: false,
            varies: false,
        }
    }

    /// A column of numbers.
    pub fn number(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            right: true,
            varies: false,
        }
    }

    /// A column of durations, rates and the like.
    pub fn measured(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            right: true,
            varies: true,
        }
    }
}
