//! The admin client against the embedded broker.

#[cfg(test)]
mod configs;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod journey;
#[cfg(test)]
mod offsets;
#[cfg(test)]
mod topics;
