//! Finds out which map of a cluster's slots is outdated.
//!
//! With each change the nodes agree on a number, its epoch, and spread it. A node that was cut off reports the old map,
//! and may answer first. So the newest reported epoch stands. A map of an older epoch counts only in two cases: all
//! asked nodes report nothing newer, so somebody has set the cluster up again; or no node has reported a newer one for
//! so long that a master which was cut off has stopped serving.

use std::time::Duration;

use tokio::time::Instant;

/// Twice the default `cluster-node-timeout`, within which a master that is cut off notices that.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(30);

/// How many of the asked nodes have answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    All,
    Some,
}

/// The epoch of the map that counts.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    newest: u64,
    /// Since when nodes report only older epochs.
    outdated_since: Option<Instant>,
}

impl Epochs {
    /// Whether a map counts, given the newest epoch that nodes have just reported.
    pub(crate) fn admits(&mut self, told: u64, heard: Heard, now: Instant) -> bool {
        if told < self.newest && heard == Heard::Some {
            let since = *self.outdated_since.get_or_insert(now);
            if now.duration_since(since) < GIVEN_UP_AFTER {
                return false;
            }
        }
        (self.newest, self.outdated_since) = (told, None);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_epoch_counts_only_where_all_tell_it_or_none_has_told_the_newer_for_long() {
        let (mut epochs, now) = (Epochs::default(), Instant::now());
        assert!(epochs.admits(7, Heard::Some, now));
        assert!(!epochs.admits(6, Heard::Some, now));
        assert!(epochs.admits(7, Heard::Some, now), "the same is no older one");
        assert!(epochs.admits(6, Heard::All, now), "they were set up anew");
        assert!(epochs.admits(8, Heard::Some, now));
        assert!(!epochs.admits(6, Heard::Some, now));
        assert!(!epochs.admits(6, Heard::Some, now + GIVEN_UP_AFTER / 2));
        assert!(epochs.admits(8, Heard::Some, now + GIVEN_UP_AFTER / 2));
        assert!(!epochs.admits(6, Heard::Some, now + GIVEN_UP_AFTER), "the newer was told meanwhile");
        assert!(epochs.admits(6, Heard::Some, now + 2 * GIVEN_UP_AFTER));
    }
}
