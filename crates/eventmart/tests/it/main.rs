//! The platform seen from outside: the story a seed tells, and its encoding.

mod story;
