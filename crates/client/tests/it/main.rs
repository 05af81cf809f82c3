//! The client against brokers: the embedded one over TCP, and a scripted one in memory.

#[cfg(test)]
mod fake;

#[cfg(test)]
mod embedded;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod negotiation;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod time;
