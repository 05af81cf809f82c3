//! The trait through which measurements leave the stack.

/// Receives measurements. Every method does nothing unless it is overridden, so that a sink takes only
/// what it wants.
///
/// Names are Kafka-like, in `snake_case`, units last (`request_latency_seconds`). Labels are few and
/// bounded: node, lane, api, topic.
pub trait Metrics: Send + Sync + 'static {
    /// Adds to a counter.
    fn add(&self, name: &'static str, labels: &[(&'static str, &str)], value: u64) {
        let _ = (name, labels, value);
    }

    /// Sets a gauge.
    fn set(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let _ = (name, labels, value);
    }

    /// Notes one observation of a distribution.
    fn observe(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let _ = (name, labels, value);
    }
}

/// Drops every measurement.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetrics;

impl Metrics for NoMetrics {}
