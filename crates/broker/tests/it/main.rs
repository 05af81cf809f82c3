//! The broker as clients see it: frames over a socket, no client library.

mod driver;
mod topics;
mod versions;
