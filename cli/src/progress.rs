//! How far something long has come, on a terminal; elsewhere nothing is shown.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// What is done of `total`, `None` where nobody knows that.
pub(crate) fn bar(what: &'static str, total: Option<u64>, is_of_bytes: Unit) -> ProgressBar {
    let counted = match is_of_bytes {
        Unit::Bytes => "{bytes}/{total_bytes}",
        Unit::Things => "{human_pos}/{human_len}",
    };
    let template = match total {
        Some(_) => format!("{{prefix}} {{wide_bar}} {counted} {{msg}} {{eta}}"),
        None => "{prefix} {spinner} {human_pos} {msg} {elapsed}".to_owned(),
    };
    // It goes to standard error, and nowhere where that is no terminal.
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_prefix(what);
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Bytes,
    Things,
}
