//! The producer against a scripted cluster in memory, where time can be paused, and against the embedded
//! broker over TCP.
// Helpers of tests count as tests.
#![cfg(test)]

mod backpressure;
mod batching;
mod embedded;
mod fake;
mod faults;
mod log;
mod shutdown;
