//! From the events of a demo to text: pretty on a terminal, plain elsewhere, JSON lines for programs.

mod json;
mod layout;
mod screen;
pub(crate) mod table;
mod wrap;

use std::io::IsTerminal;
use std::sync::Arc;

use eventmart_core::scenario::Sink;

pub(crate) use layout::{Layout, text_width};

use crate::render::json::JsonLines;
use crate::render::screen::Screen;

/// The renderer that fits: JSON if asked, else pretty on a terminal and plain elsewhere, in CI or on a dumb one.
pub(crate) fn renderer(json: bool, no_color: bool) -> Arc<dyn Sink> {
    if json {
        return Arc::new(JsonLines::stdout());
    }
    let layout = Layout {
        width: text_width(),
        colour: !no_color && colour_wanted(),
    };
    Arc::new(Screen::new(layout, lively()))
}

/// Whether progress may move about on stderr.
fn lively() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty());
    std::io::stdout().is_terminal() && std::io::stderr().is_terminal() && !dumb && !ci
}

/// What NO_COLOR, CLICOLOR_FORCE and the terminal say together.
pub(crate) fn colour_wanted() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}
