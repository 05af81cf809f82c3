//! The command as a shell sees it: help texts, wrong words, exit codes.

mod cmd;
