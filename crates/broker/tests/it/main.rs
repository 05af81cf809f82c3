//! The broker as clients see it: frames over a socket, no client library.

mod admin;
mod advertised;
mod crash;
mod driver;
mod fetch;
mod group_member;
mod group_nodes;
mod group_offsets;
mod group_restart;
mod group_rounds;
mod group_versions;
mod nodes;
mod process;
mod produce;
mod records;
mod third_party;
mod topics;
mod versions;
