//! The admin client against the embedded broker.

#[cfg(test)]
mod topics;
