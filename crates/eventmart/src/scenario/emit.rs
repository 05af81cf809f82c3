//! Where the events of a scenario go.

use parking_lot::Mutex;

use crate::scenario::DemoEvent;

/// Takes the events of a scenario, in order.
pub trait Sink: Send + Sync {
    /// Takes one. Must not block for long: the scenario waits.
    fn emit(&self, event: &DemoEvent);
}

/// A sink that keeps everything, for tests and reports.
#[derive(Debug, Default)]
pub struct Collected {
    events: Mutex<Vec<DemoEvent>>,
}

impl Collected {
    /// What has been emitted so far.
    pub fn events(&self) -> Vec<DemoEvent> {
        self.events.lock().clone()
    }
}

impl Sink for Collected {
    fn emit(&self, event: &DemoEvent) {
        self.events.lock().push(event.clone());
    }
}

impl<S: Sink + ?Sized> Sink for std::sync::Arc<S> {
    fn emit(&self, event: &DemoEvent) {
        self.as_ref().emit(event);
    }
}
