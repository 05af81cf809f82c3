//! The services at work: members of real groups that read, decide, write and commit by hand.
//!
//! A service is a [`Handler`]: a function from an event to the events it leads to. The rest is the same for all and
//! lives in [`member`]: decode, attempt, retry, dead-letter, commit what was processed and nothing else.

mod alone;
mod handler;
pub(crate) mod history;
pub mod member;
mod observe;
mod publish;

pub use alone::Alone;
pub(crate) use handler::stock_keeper;
pub use handler::{Figures, Gateway, HandleError, Handler, Watching, handler_of};
pub use member::{Member, MemberConfig, MemberReport, Stop};
pub use observe::{Change, Handled, Observer, Outcome, Rebalance};
pub use publish::{Publisher, dead_letter_header};
