//! One file for each command.

pub(crate) mod cluster;
pub(crate) mod demo;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod group;
pub(crate) mod service;
pub(crate) mod topic;
