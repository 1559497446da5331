//! Which map of a cluster's slots is older than what is known.
//!
//! Nodes agree on a number with each change, its epoch, and tell each other. One that was cut off tells the map of before, and
//! may be the first to answer. So the newest epoch that any node told stands: a map of an older one counts only if all nodes
//! that were asked tell no newer, so that somebody has set them up anew; or if none has told a newer one for so long that a
//! master which was cut off has stopped to serve.

use std::time::Duration;

use tokio::time::Instant;

/// Twice what `cluster-node-timeout` is by default, in which a master that is cut off finds that out.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(30);

/// Which of the nodes that were asked have answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    All,
    Some,
}

/// The epoch of the map that counts.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    newest: u64,
    /// Since when only older ones are told.
    outdated_since: Option<Instant>,
}

impl Epochs {
    /// Whether a map counts whose epoch is the newest that nodes told just now.
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
