//! The client against brokers: the embedded one over TCP, and a scripted one in memory.

#[cfg(test)]
mod embedded;
