//! What is traced on the thread of a test.

use std::sync::{Arc, Mutex, OnceLock};

use tracing_subscriber::fmt::format::FmtSpan;

/// All that is traced on this thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traced(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Traced {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// While there is one subscriber only, tracing asks that of the thread which comes to a callsite first, and turns the
/// callsite off for all threads if that thread has none, as those of other tests have. With two it asks both.
static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();

/// Until the guard is dropped.
pub(crate) fn capture() -> (Traced, tracing::subscriber::DefaultGuard) {
    SECOND.get_or_init(|| tracing::Dispatch::new(tracing_subscriber::registry()));
    let traced = Traced::default();
    let writer = traced.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .finish();
    (traced, tracing::subscriber::set_default(subscriber))
}

/// What a span said last: the line at which it was closed.
pub(crate) fn closed<'t>(text: &'t str, operation: &str) -> &'t str {
    let name = format!("operation=\"{operation}\"");
    text.lines()
        .rfind(|line| line.contains(&name) && line.contains("close"))
        .unwrap_or_else(|| panic!("no span of {operation}"))
}
