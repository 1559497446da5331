//! Up to where events were read.

use std::fmt;

use crate::model::invalid::Invalid;
use crate::model::serde_text::serde_as_text;

/// The place of an event in its stream, as a server gives it: a time, and a count within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryId {
    pub(crate) ms: u64,
    pub(crate) count: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.count)
    }
}

impl std::str::FromStr for EntryId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ms, count) = text.split_once('-').ok_or(())?;
        Ok(Self { ms: ms.parse().map_err(drop)?, count: count.parse().map_err(drop)? })
    }
}

/// Up to where events were read: an entry of each partition. A reader stores it, and goes on from there, in another process
/// too.
///
/// By `Display` and by serde it is a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsPosition(pub(crate) Vec<Option<EntryId>>);

/// The entries, with commas between them; of a partition of which nothing was read, nothing.
impl fmt::Display for EventsPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, entry) in self.0.iter().enumerate() {
            f.write_str(if place > 0 { "," } else { "" })?;
            entry.iter().try_for_each(|entry| entry.fmt(f))?;
        }
        Ok(())
    }
}

/// What `Display` writes.
impl std::str::FromStr for EventsPosition {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let entry = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|()| Invalid::new("events position", "is none")),
        };
        text.split(',').map(entry).collect::<Result<_, _>>().map(Self)
    }
}

serde_as_text!(EventsPosition, to_string);

/// From where on events are read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventsFrom {
    /// From the first that is kept. Where earlier ones were trimmed, that is told ([`Told::Lagged`](super::Told::Lagged)); not
    /// where a stream went whole, a week or two after its last event, and began anew.
    Beginning,
    /// What happens from now on.
    Now,
    /// Behind what was read.
    Position(EventsPosition),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_text_and_comes_back() {
        let entry = |ms, count| Some(EntryId { ms, count });
        for (position, text) in [
            (vec![None], ""),
            (vec![entry(1, 2)], "1-2"),
            (vec![None, entry(1_700_000_000_000, 0), None], ",1700000000000-0,"),
        ] {
            let position = EventsPosition(position);
            assert_eq!(position.to_string(), text);
            assert_eq!(text.parse::<EventsPosition>().unwrap(), position);
            let json = serde_json::to_string(&position).unwrap();
            assert_eq!(serde_json::from_str::<EventsPosition>(&json).unwrap(), position);
        }
        for text in ["x", "1", "1-", "1-2-3", "-1"] {
            assert!(text.parse::<EventsPosition>().is_err(), "{text}");
        }
    }
}
