//! The two directions between two stores, and the state that all workers share.

use std::sync::{Mutex, PoisonError};

use crate::background::callback::Callback;
use crate::migration::task::{Destination, Job, MigrationTask, Report};
use crate::migration::transfer::Transfer;

/// The state that the workers, the drains and a resumption share.
pub(crate) struct Directions {
    pub(crate) to_remote: Transfer,
    pub(crate) to_local: Transfer,
    pub(crate) on_report: Callback<Report>,
    /// The tasks that were not begun, once the manager begins no more.
    pub(crate) handed_back: Mutex<Option<Vec<MigrationTask>>>,
}

impl Directions {
    /// Keeps back a task, if the manager begins no more tasks.
    pub(crate) fn keep_back(&self, job: Job) -> Option<Job> {
        let mut kept = self.handed_back.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = kept.as_mut() else { return Some(job) };
        kept.extend(job.hand_back());
        None
    }

    /// The direction that a session takes. A session that goes to another node stays in its store.
    pub(crate) fn transfer(&self, destination: &Destination) -> &Transfer {
        match destination {
            Destination::Remote | Destination::RemoteNode(_) | Destination::Node(_) => &self.to_remote,
            Destination::Local | Destination::LocalNode(_) => &self.to_local,
        }
    }

    pub(crate) fn tell(&self, report: &Report) {
        self.on_report.call(report);
    }
}
