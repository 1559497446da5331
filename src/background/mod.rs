//! Background tasks: how they sweep, report and stop, and the reaper.

pub(crate) mod callback;
pub(crate) mod reaper;
pub(crate) mod shutdown;
pub(crate) mod sweeper;

pub use crate::model::{Expired, Reaped};
pub use reaper::{Reaper, ReaperBuilder, ReaperStats};
