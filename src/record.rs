//! The stored form of a session, as `lua/lib/record.lua` writes it. ARCHITECTURE.md has the layout.

use std::time::Duration;

use crate::entries::decode_entries;
use crate::id::{SessionId, Version};
use crate::routing::Routing;
use crate::session::{Session, Status, Times};

/// The one format there is.
const FORMAT: u8 = 1;
/// Format, kind, status, four lengths, four operation ids, seven numbers.
#[cfg(test)]
const HEADER_BYTES: usize = 3 + 3 * 2 + 4 + 4 * 8 + 7 * 8;

/// What a record says about its id.
#[derive(Debug)]
pub(crate) enum Record {
    /// A session, live or expired.
    Session(Box<Session>),
    /// The session has this id now.
    Moved(SessionId),
    /// The session was deleted a moment ago.
    Deleted,
}

impl Record {
    /// `None` for what is no record of ours.
    pub(crate) fn decode(id: &SessionId, bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let [format, kind, status] = input.take()?;
        let lengths = [input.u16()?, input.u16()?, input.u16()?];
        let body_length = input.u32()?;
        input.take::<32>()?;
        let [version, created_at, ttl, deadline, last_active, expires_at, _stored_until] = input.numbers()?;
        let status = match status {
            1 => Status::Active,
            2 => Status::Suspended,
            3 => Status::Migrating,
            _ => return None,
        };
        let [user, connection, node] = lengths;
        let routing =
            Routing { user: input.text(user)?, connection: input.text(connection)?, node: input.text(node)? };
        let body = input.bytes(body_length)?;
        if format != FORMAT || !input.0.is_empty() {
            return None;
        }
        match kind {
            1 => {
                let (attributes, extensions) = decode_entries(body)?;
                Some(Self::Session(Box::new(Session {
                    id: id.clone(),
                    status,
                    version: Version::new(version),
                    ttl: Duration::from_millis(ttl),
                    times: Times { created_at, last_active, expires_at, deadline },
                    stored: routing.clone(),
                    routing,
                    attributes,
                    extensions,
                })))
            }
            2 => Some(Self::Moved(SessionId::new(std::str::from_utf8(body).ok()?).ok()?)),
            3 => Some(Self::Deleted),
            _ => None,
        }
    }
}

/// What is left of a record to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn u16(&mut self) -> Option<usize> {
        self.take().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    fn u32(&mut self) -> Option<usize> {
        self.take().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    fn numbers<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = u64::from_be_bytes(self.take()?);
        }
        Some(numbers)
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn text(&mut self, length: usize) -> Option<String> {
        std::str::from_utf8(self.bytes(length)?).ok().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1, kind, 1, 0, 3, 0, 0, 0, 0];
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend([0; 32]);
        for number in [7_u64, 1000, 60_000, 0, 1500, 61_500, 3_661_500] {
            bytes.extend(number.to_be_bytes());
        }
        assert_eq!(bytes.len(), HEADER_BYTES);
        bytes.extend(b"ann");
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_record_is_read_field_by_field() {
        let id = SessionId::new("s").unwrap();
        let body = [&[1, 0, 1, 0, 0, 0, 2][..], b"a42", &[2, 0, 1, 0, 0, 0, 2], b"b[]"].concat();
        let Some(Record::Session(session)) = Record::decode(&id, &record(1, &body)) else {
            panic!("no session")
        };
        assert_eq!((session.version().get(), session.user(), session.connection()), (7, Some("ann"), None));
        assert_eq!(session.created_at_ms(), 1000);
        assert_eq!((session.ttl(), session.deadline_ms()), (Duration::from_secs(60), None));
        assert_eq!((session.last_active_ms(), session.expires_at_ms()), (1500, 61_500));
        assert_eq!(session.get::<u32>("a").unwrap(), Some(42));
        assert_eq!(session.extensions().iter().collect::<Vec<_>>(), [("b", "[]")]);
    }

    #[test]
    fn a_broken_record_is_none_wherever_it_is_cut_or_changed() {
        let id = SessionId::new("s").unwrap();
        let whole = record(1, &[1, 0, 1, 0, 0, 0, 2, b'a', b'4', b'2']);
        assert!(Record::decode(&id, &whole).is_some());
        for end in 0..whole.len() {
            assert!(Record::decode(&id, &whole[..end]).is_none(), "cut at {end}");
        }
        assert!(Record::decode(&id, &[&whole[..], b"x"].concat()).is_none());
        for (at, value) in [(0, 2), (1, 0), (1, 4), (2, 0), (2, 4)] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            assert!(Record::decode(&id, &bytes).is_none(), "byte {at} set to {value}");
        }
    }
}
