//! The last changes of a session, as its record keeps them.

use crate::model::{OperationId, RecentChanges};

/// For this many milliseconds from its beginning, a call counts as a first attempt unless it says otherwise.
const ALONE_MS: u64 = 100;

/// The last four changes, with their times, none of which is before that of an older change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotedChanges {
    pub(crate) ids: RecentChanges,
    pub(crate) newest_at: u64,
    /// The milliseconds from each change to the one before, as far as they fit; or a mark that there was none.
    pub(crate) gaps: [u16; 3],
}

/// Marks that there was no change before.
const NO_GAP: u16 = u16::MAX;

impl NotedChanges {
    /// The changes of a session that is made at a given time.
    pub(crate) fn none(now: u64) -> Self {
        Self { ids: RecentChanges::default(), newest_at: now, gaps: [NO_GAP; 3] }
    }

    /// The changes that arrive with a session. They count as four changes at its arrival: their times come from another
    /// clock, and the import replaces one of them.
    pub(crate) fn arriving(ids: RecentChanges, now: u64) -> Self {
        Self { ids, newest_at: now, gaps: [0; 3] }
    }

    /// Records a change, which makes a version.
    pub(crate) fn note(&mut self, operation: Option<OperationId>, version: u64, now: u64) {
        self.ids.rotate_right(1);
        self.ids[0] = bytes(operation);
        let at = self.newest_at.max(now);
        let gap = u16::try_from(at - self.newest_at).unwrap_or(NO_GAP).min(NO_GAP - 1);
        self.gaps.rotate_right(1);
        self.gaps[0] = if version > 1 { gap } else { NO_GAP };
        self.newest_at = at;
    }

    /// Records an import among the changes that arrived with a session, as `record_note_import` does.
    pub(crate) fn note_import(&mut self, operation: Option<OperationId>) {
        self.ids[1] = bytes(operation);
    }

    /// How many changes ago a call was, if it is recorded.
    pub(crate) fn age_of(&self, operation: OperationId) -> Option<u64> {
        let age = self.ids.iter().position(|noted| noted == operation.as_bytes())?;
        Some(age as u64)
    }

    /// Whether a call that is not recorded may still have happened: four changes came since it began, or its beginning
    /// is unknown.
    pub(crate) fn may_have_lost(&self, operation: OperationId, began: Option<u64>, now: u64) -> bool {
        if self.gaps[2] == NO_GAP {
            return false;
        }
        let Some(began) = began else {
            return true;
        };
        let oldest = self.newest_at.saturating_sub(self.gaps.iter().map(|gap| u64::from(*gap)).sum());
        let is_first = !operation.is_of_a_repeat() && now.saturating_sub(began) < ALONE_MS;
        oldest >= began && !is_first
    }
}

fn bytes(operation: Option<OperationId>) -> [u8; 8] {
    operation.map_or([0; 8], |operation| *operation.as_bytes())
}
