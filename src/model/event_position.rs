//! The position of a reader of events.

use std::fmt;

use crate::model::invalid::Invalid;
use crate::model::serde_text::serde_as_text;

/// The id of an event in its stream, as the server makes it: a time, and a count within that millisecond.
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

/// The position of a reader of events: one entry per partition. A reader stores it and goes on from there, also in
/// another process.
///
/// `Display` and serde write it as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsPosition(pub(crate) Vec<Option<EntryId>>);

/// The entries, separated by commas. A partition that was not read yet is an empty text.
impl fmt::Display for EventsPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, entry) in self.0.iter().enumerate() {
            f.write_str(if place > 0 { "," } else { "" })?;
            entry.iter().try_for_each(|entry| entry.fmt(f))?;
        }
        Ok(())
    }
}

/// Reads what `Display` writes.
impl std::str::FromStr for EventsPosition {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let entry = |text: &str| match text {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|()| Invalid::new("events position", "is not one that this library wrote")),
        };
        text.split(',').map(entry).collect::<Result<_, _>>().map(Self)
    }
}

serde_as_text!(EventsPosition, to_string);

/// Where to begin reading events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventsFrom {
    /// From the first event that is kept. If earlier events were trimmed, the stream begins with
    /// [`Told::Lagged`](super::Told::Lagged). It does not if the whole stream expired, a week or two after its last
    /// event, and started again.
    Beginning,
    /// From the next event on.
    Now,
    /// From behind this position.
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
