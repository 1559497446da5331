//! Shows progress on a terminal; elsewhere shows nothing.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of `total`, or a spinner if `total` is `None`.
pub(crate) fn bar(what: &'static str, total: Option<u64>, is_of_bytes: Unit) -> ProgressBar {
    let counted = match is_of_bytes {
        Unit::Bytes => "{bytes}/{total_bytes}",
        Unit::Things => "{human_pos}/{human_len}",
    };
    let template = match total {
        Some(_) => format!("{{prefix}} {{wide_bar}} {counted} {{msg}} {{eta}}"),
        None => "{prefix} {spinner} {human_pos} {msg} {elapsed}".to_owned(),
    };
    // It goes to standard error, and nowhere if that is not a terminal.
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_prefix(what);
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The unit of the count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Bytes,
    Things,
}
