//! The stored form of a session, as `lua/lib/record.lua` writes it. docs/internals.md has the layout.

use std::time::Duration;

use crate::model::{
    Direction, Freeze, IndexFields, Migration, Origin, Phase, RecentChanges, Session, SessionId, Status,
    TaskId, Times, Version, decode_entries,
};

/// The one format there is.
const FORMAT: u8 = 2;

/// The kinds of records.
const SESSION: u8 = 1;
const ROTATED: u8 = 2;
const DELETED: u8 = 3;
const DEPARTED: u8 = 4;

/// Format, kind, status, five lengths, the count of changes in the body, four operation ids with a time and three gaps,
/// the version, the creation, the ttl, four times.
const HEADER_BYTES: usize = CHANGED_AT + 6 + 3 * 2 + 6 + 6 + 5 + 4 * 6;

/// Where the time of the newest change stands: behind the lengths and four operation ids.
const CHANGED_AT: usize = 3 + 3 * 2 + 2 * 3 + 2 + 4 * 8;

/// Where the length of the body stands.
const BODY_LENGTH: std::ops::Range<usize> = 12..15;

/// The block that the body of a migrating record begins with.
enum Block {
    Freeze(Freeze),
    /// The freeze is over, and copies that were made under it may wait.
    Over {
        /// The session's status.
        status: Status,
        /// Of a leftover: until when it counts.
        speaks_until: u64,
    },
}

fn take_block(input: &mut Input<'_>) -> Option<Block> {
    let task = input.take()?;
    let [until, span, _copies_until] = input.six_bytes()?;
    let [status, direction] = input.take()?;
    let status = status_of(status).filter(|status| *status != Status::Migrating)?;
    let (place, node) = (input.u16()?, input.u16()?);
    let (place, node) = (input.text(place)?, input.text(node)?);
    let direction = match direction {
        1 => Direction::Outgoing,
        2 => Direction::Incoming,
        3 => return Some(Block::Over { status, speaks_until: until }),
        _ => return None,
    };
    Some(Block::Freeze(Freeze { task: TaskId::stored(task)?, until, span, status, direction, place, node }))
}

fn status_of(number: u8) -> Option<Status> {
    match number {
        1 => Some(Status::Active),
        2 => Some(Status::Suspended),
        3 => Some(Status::Migrating),
        _ => None,
    }
}

/// The beginning of a record: enough to remove a session, whatever it holds and however large it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// The index fields of a session. A record that is not a session is in no index.
    pub(crate) index_fields: IndexFields<Vec<u8>>,
    pub(crate) expires_at: u64,
    /// How long the whole record is.
    pub(crate) size: usize,
    /// When the session was created. Other records have no such time.
    pub(crate) created_at: Option<u64>,
    /// Until when its key is kept.
    pub(crate) stored_until: u64,
}

impl Head {
    /// How many bytes of a record hold it: `record_find_head` of the scripts reads as many.
    pub(crate) const BYTES: usize = 1414;

    /// `None` if the bytes are not a record of ours.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let header = Header::take(&mut input)?;
        let [user, connection, node] = header.lengths;
        let mut name = |length| input.bytes(length).map(<[u8]>::to_vec);
        let index_fields =
            IndexFields { user: name(user)?, connection: name(connection)?, node: name(node)? };
        let size = HEADER_BYTES + user + connection + node + header.body_length;
        let [created_at, _, _, _, expires_at, stored_until] = header.times;
        if header.kind != SESSION {
            return Some(Self { size, stored_until, ..Self::default() });
        }
        Some(Self { index_fields, expires_at, size, created_at: Some(created_at), stored_until })
    }
}

impl Head {
    /// Whether there is something behind the names, and no freeze is in it.
    fn has_plain_body(record: &[u8]) -> bool {
        let header = Header::take(&mut Input(record));
        header.is_some_and(|header| header.body_length > 0 && header.status != Status::Migrating)
    }
}

/// The last use and the expiry of a session that is not frozen: what a refresh looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) version: Version,
    pub(crate) last_active: u64,
    pub(crate) expires_at: u64,
}

impl Usage {
    /// How many bytes of a record hold it.
    pub(crate) const BYTES: usize = HEADER_BYTES;

    /// `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let Header { kind, status, version, times, .. } = Header::take(&mut Input(bytes))?;
        let [_, _, _, last_active, expires_at, _] = times;
        let is_open = kind == SESSION && status != Status::Migrating;
        is_open.then_some(Self { version: Version::new(version), last_active, expires_at })
    }
}

/// When the session of a record was changed last, other than by a refresh.
pub(crate) fn changed_at(record: &[u8]) -> Option<u64> {
    let mut input = Input(record);
    input.bytes(CHANGED_AT)?;
    let [changed_at] = input.six_bytes()?;
    Some(changed_at)
}

/// The fixed beginning of a record.
struct Header {
    kind: u8,
    status: Status,
    lengths: [usize; 3],
    body_length: usize,
    changes: RecentChanges,
    version: u64,
    /// Created, ttl, deadline, last active, expires, stored until.
    times: [u64; 6],
}

impl Header {
    fn take(input: &mut Input<'_>) -> Option<Self> {
        let [format, kind, status] = input.take()?;
        let lengths = [input.u16()?, input.u16()?, input.u16()?];
        // The sizes by which a patch decides whether to compact. Readers do not need them.
        let _compacted = input.u24()?;
        let body_length = input.u24()?;
        let _listed = input.u16()?;
        let changes = [input.take()?, input.take()?, input.take()?, input.take()?];
        let _times_of_changes: [u8; 12] = input.take()?;
        let [version, created_at] = input.six_bytes()?;
        let ttl = input.ttl()?;
        let [deadline, last_active, expires_at, stored_until] = input.six_bytes()?;
        let times = [created_at, ttl, deadline, last_active, expires_at, stored_until];
        let status = status_of(status)?;
        let is_known = format == FORMAT && (SESSION..=DEPARTED).contains(&kind);
        let is_outlived = kind == SESSION && stored_until < expires_at;
        let header = Self { kind, status, lengths, body_length, changes, version, times };
        (is_known && !is_outlived).then_some(header)
    }
}

/// What a record says about its id.
#[derive(Debug)]
pub(crate) enum Record {
    /// A session, live or expired.
    Session {
        /// As the application sees it.
        session: Box<Session>,
        /// What the application does not see.
        changes: RecentChanges,
        freeze: Option<Freeze>,
    },
    /// The session has this id now.
    Rotated {
        /// The id.
        to: SessionId,
        lasts: Lasts,
    },
    /// The session has gone to another store.
    Departed {
        /// The migration, until it is cleaned up.
        task: Option<TaskId>,
        place: String,
        lasts: Lasts,
    },
    /// The session was deleted a moment ago.
    Deleted {
        /// The freeze of an incoming copy.
        freeze: Option<Freeze>,
        /// The id that a login gave it.
        to: Option<SessionId>,
        lasts: Lasts,
    },
}

/// How long a record that is not a session lasts. Its key may last longer: the TTL runs by the server's clock,
/// whatever a test's clock shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lasts {
    /// From then on it counts as absent.
    speaks_until: u64,
    /// Later, if a copy may wait in another store: until then it says that its id is known.
    stored_until: u64,
}

impl Record {
    /// `None` if the bytes are not a record of ours.
    pub(crate) fn decode(id: &SessionId, bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let Header { kind, status, lengths, body_length, changes, version, times } =
            Header::take(&mut input)?;
        let [created_at, ttl, deadline, last_active, expires_at, stored_until] = times;
        let [user, connection, node] = lengths;
        let index_fields = IndexFields {
            user: input.text(user)?,
            connection: input.text(connection)?,
            node: input.text(node)?,
        };
        let mut body = Input(input.bytes(body_length)?);
        if !input.0.is_empty() {
            return None;
        }
        let (status, freeze, speaks_until) = match status {
            Status::Migrating => match take_block(&mut body)? {
                Block::Freeze(freeze) => (status, Some(freeze), stored_until),
                Block::Over { status, speaks_until } => (status, None, speaks_until),
            },
            Status::Active | Status::Suspended => (status, None, stored_until),
        };
        let lasts = Lasts { speaks_until, stored_until };
        match kind {
            SESSION => {
                let (attributes, extensions) = decode_entries(body.0)?;
                let session = Box::new(Session {
                    id: id.clone(),
                    status,
                    version: Version::new(version),
                    ttl: Duration::from_millis(ttl),
                    times: Times { created_at, last_active, expires_at, deadline },
                    stored: None,
                    index_fields,
                    attributes: attributes.into(),
                    extensions: extensions.into(),
                    origin: Origin::Store,
                });
                Some(Self::Session { session, changes, freeze })
            }
            ROTATED => {
                let to = SessionId::new(std::str::from_utf8(body.0).ok()?).ok()?;
                Some(Self::Rotated { to, lasts })
            }
            DELETED => {
                let to = std::str::from_utf8(body.0).ok().and_then(|to| SessionId::new(to).ok());
                Some(Self::Deleted { freeze, to, lasts })
            }
            DEPARTED => {
                let task = TaskId::stored(body.take()?);
                let place = std::str::from_utf8(body.0).ok()?.to_owned();
                Some(Self::Departed { task, place, lasts })
            }
            _ => None,
        }
    }
}

impl Record {
    /// Reads the beginning of a record, as `Head` does: the session then has no entries.
    pub(crate) fn decode_head(id: &SessionId, head: &[u8]) -> Option<Self> {
        let mut input = Input(head);
        let header = Header::take(&mut input)?;
        if header.kind != SESSION {
            return Self::decode(id, head);
        }
        input.bytes(header.lengths.iter().sum())?;
        let body = input.0.len();
        if header.status == Status::Migrating {
            take_block(&mut input)?;
        }
        let [_, body_length @ ..] = u32::try_from(body - input.0.len()).ok()?.to_be_bytes();
        let mut without_entries = head[..head.len() - input.0.len()].to_vec();
        without_entries[BODY_LENGTH].copy_from_slice(&body_length);
        Self::decode(id, &without_entries)
    }

    /// The id that a record leads to, if it is no longer a session's. `Err`: the text there is not an id.
    pub(crate) fn leads_to(&self, record: &[u8]) -> std::result::Result<Option<&SessionId>, ()> {
        match self {
            Self::Rotated { to, .. } => Ok(Some(to)),
            // Only a login leaves an id behind, and a freeze would stand before it. Nothing else can be followed.
            Self::Deleted { to: None, freeze: None, .. } if Head::has_plain_body(record) => Err(()),
            Self::Deleted { to, .. } => Ok(to.as_ref()),
            Self::Session { .. } | Self::Departed { .. } => Ok(None),
        }
    }

    /// Its score in the list of sessions on their way, or any score. `None`: it is not on its way.
    pub(crate) fn listed(&self) -> Option<Option<u64>> {
        match self {
            Self::Session { freeze, .. } | Self::Deleted { freeze, .. } => {
                freeze.as_ref().map(|freeze| Some(freeze.until))
            }
            Self::Departed { task, .. } => task.as_ref().map(|_| None),
            Self::Rotated { .. } => None,
        }
    }

    /// How far a session is on its way to or from another store, if it is.
    pub(crate) fn into_migration(self, id: SessionId) -> Option<Migration> {
        match self {
            Self::Session { freeze, .. } => Some(Migration::frozen(id, freeze?, false)),
            Self::Deleted { freeze, .. } => Some(Migration::frozen(id, freeze?, true)),
            Self::Departed { task, place, .. } => {
                Some(Migration { id, task: task?, place, node: None, phase: Phase::Departed })
            }
            Self::Rotated { .. } => None,
        }
    }

    /// Whether it is stored at a time, even if it counts as absent. A session always is, live or expired.
    pub(crate) fn is_stored(&self, now: u64) -> bool {
        match self {
            Self::Session { .. } => true,
            Self::Rotated { lasts, .. } | Self::Departed { lasts, .. } | Self::Deleted { lasts, .. } => {
                lasts.stored_until > now
            }
        }
    }

    /// The record, unless it is over at a time, as in `record_unless_over` of the scripts. An expired session counts as
    /// over.
    pub(crate) fn unless_over(mut self, now: u64) -> Option<Self> {
        let until = match &mut self {
            Self::Session { session, freeze, .. } => {
                if let Some(lapsed) = freeze.take_if(|freeze| freeze.has_lapsed(now)) {
                    session.status = lapsed.status;
                }
                session.times.expires_at
            }
            Self::Rotated { lasts, .. } | Self::Departed { lasts, .. } | Self::Deleted { lasts, .. } => {
                lasts.speaks_until
            }
        };
        (until > now).then_some(self)
    }
}

/// The rest of a record to read.
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

    fn u24(&mut self) -> Option<usize> {
        self.take().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]) as usize)
    }

    /// An integer of five bytes.
    fn ttl(&mut self) -> Option<u64> {
        self.take().map(|[a, b, c, d, e]| u64::from_be_bytes([0, 0, 0, a, b, c, d, e]))
    }

    /// Integers of six bytes each.
    fn six_bytes<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            let [a, b, c, d, e, f] = self.take()?;
            *number = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
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

    const OPERATIONS: RecentChanges = [[4; 8], [3; 8], [2; 8], [0; 8]];

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![FORMAT, kind, 1, 0, 3, 0, 0, 0, 0];
        let [_, length @ ..] = (body.len() as u32).to_be_bytes();
        bytes.extend([length; 2].as_flattened());
        bytes.extend([0, 1]);
        bytes.extend(OPERATIONS.as_flattened());
        bytes.extend([0; 12]);
        for (number, size) in [(7, 6), (1000, 6), (60_000, 5), (0, 6), (1500, 6), (61_500, 6), (3_661_500, 6)]
        {
            bytes.extend(&u64::to_be_bytes(number)[8 - size..]);
        }
        assert_eq!(bytes.len(), HEADER_BYTES);
        bytes.extend(b"ann");
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_record_is_read_field_by_field() {
        let id = SessionId::new("s").unwrap();
        let body = [&[1, 1, 0, 0, 2][..], b"a42", &[2, 1, 0, 0, 2], b"b[]"].concat();
        let Some(Record::Session { session, changes, freeze: None }) = Record::decode(&id, &record(1, &body))
        else {
            panic!("no session")
        };
        assert_eq!((session.version().get(), session.user(), session.connection()), (7, Some("ann"), None));
        assert_eq!(changes, OPERATIONS);
        assert_eq!(session.created_at_ms(), 1000);
        assert_eq!((session.ttl(), session.deadline_ms()), (Duration::from_secs(60), None));
        assert_eq!((session.last_active_ms(), session.expires_at_ms()), (1500, 61_500));
        assert_eq!(session.get::<u32>("a").unwrap(), Some(42));
        assert_eq!(session.extensions().iter().collect::<Vec<_>>(), [("b", "[]")]);
    }

    #[test]
    fn a_freeze_is_read_off_the_front_of_the_body() {
        let id = SessionId::new("s").unwrap();
        let freeze = |task: [u8; 8], status, direction| {
            let times: Vec<u8> =
                [7_000_u64, 1_000, 9_000].iter().flat_map(|time| time.to_be_bytes()[2..].to_vec()).collect();
            [&task[..], &times, &[status, direction, 0, 1, 0, 1], b"bn", &[1, 1, 0, 0, 2], b"a42"].concat()
        };
        let frozen = |body: &[u8]| {
            let mut bytes = record(1, body);
            bytes[2] = 3;
            Record::decode(&id, &bytes)
        };
        let Some(Record::Session { session, freeze: Some(found), .. }) = frozen(&freeze([9; 8], 2, 1)) else {
            panic!("no frozen session")
        };
        assert_eq!((session.status(), session.get::<u32>("a").unwrap()), (Status::Migrating, Some(42)));
        assert_eq!((found.task, found.until), (TaskId::new([9; 8]).unwrap(), 7_000));
        assert_eq!(
            (found.status, found.direction, &*found.place, &*found.node),
            (Status::Suspended, Direction::Outgoing, "b", "n")
        );
        assert!(found.has_lapsed(7_000) && !found.has_lapsed(6_999));
        assert!(found.has_lapsed(5_999) && !found.has_lapsed(6_000), "a clock that was set back");
        for (task, status, direction) in
            [([0; 8], 1, 1), ([9; 8], 0, 1), ([9; 8], 3, 1), ([9; 8], 1, 0), ([9; 8], 1, 4)]
        {
            assert!(frozen(&freeze(task, status, direction)).is_none());
        }
        assert!(frozen(&freeze([9; 8], 1, 1)[..31]).is_none());
        let Some(Record::Session { session, freeze: None, .. }) = frozen(&freeze([0; 8], 2, 3)) else {
            panic!("no session whose freeze is over")
        };
        assert_eq!((session.status(), session.get::<u32>("a").unwrap()), (Status::Suspended, Some(42)));
    }

    #[test]
    fn of_the_changes_of_a_key_the_last_counts_and_an_empty_value_removes() {
        let id = SessionId::new("s").unwrap();
        let entry = |kind: u8, key: &str, json: &str| {
            let sizes = [key.len() as u8, 0, 0, json.len() as u8];
            [&[kind][..], &sizes, key.as_bytes(), json.as_bytes()].concat()
        };
        let changes = [
            entry(1, "a", "1"),
            entry(1, "b", "2"),
            entry(2, "a", "3"),
            entry(1, "a", "44"),
            entry(1, "b", ""),
            entry(1, "c", "5"),
            entry(1, "c", ""),
            entry(1, "c", "6"),
            entry(2, "never there", ""),
        ];
        let read = |body: &[u8]| match Record::decode(&id, &record(1, body)) {
            Some(Record::Session { session, .. }) => {
                let told = |entries: &crate::model::Entries| {
                    entries.iter().map(|(key, json)| format!("{key}{json}")).collect::<Vec<_>>().join(" ")
                };
                Some((told(session.attributes()), told(session.extensions())))
            }
            _ => None,
        };
        assert_eq!(read(&changes.concat()), Some(("a44 c6".to_owned(), "a3".to_owned())));
        let no_text = [changes.concat(), [&[1, 1, 0, 0, 0], &b"\xff"[..]].concat()].concat();
        assert_eq!(read(&no_text), None, "the key of a removal is text too");
    }

    #[test]
    fn the_head_of_a_record_is_all_but_the_entries_of_a_session() {
        let id = SessionId::new("s").unwrap();
        let session = record(1, &[&[1, 1, 0, 0, 9][..], b"a"].concat());
        let Some(Record::Session { session, changes, freeze: None }) = Record::decode_head(&id, &session)
        else {
            panic!("no session")
        };
        assert_eq!((session.version().get(), session.user(), changes), (7, Some("ann"), OPERATIONS));
        assert!(session.attributes().is_empty());
        let block = [&[9; 8][..], &[0; 18], &[2, 1, 0, 1, 0, 1], b"bn", b"entries, cut off"].concat();
        let mut frozen = record(1, &block);
        frozen[2] = 3;
        let Some(Record::Session { freeze: Some(freeze), .. }) = Record::decode_head(&id, &frozen) else {
            panic!("no frozen session")
        };
        assert_eq!((&*freeze.place, &*freeze.node), ("b", "n"));
        let rotated = record(2, b"t");
        assert!(matches!(Record::decode_head(&id, &rotated), Some(Record::Rotated { .. })));
        assert!(Record::decode_head(&id, &rotated[..rotated.len() - 1]).is_none());
        assert!(Record::decode_head(&id, &frozen[..HEADER_BYTES + 3 + 33]).is_none());
    }

    #[test]
    fn a_broken_record_is_none_wherever_it_is_cut_or_changed() {
        let id = SessionId::new("s").unwrap();
        let whole = record(1, &[1, 1, 0, 0, 2, b'a', b'4', b'2']);
        assert!(Record::decode(&id, &whole).is_some());
        for end in 0..whole.len() {
            assert!(Record::decode(&id, &whole[..end]).is_none(), "cut at {end}");
        }
        assert!(Record::decode(&id, &[&whole[..], b"x"].concat()).is_none());
        // The last is a byte of `stored_until`, which is before `expires_at` then.
        for (at, value) in [(0, 1), (1, 0), (1, 5), (2, 0), (2, 4), (HEADER_BYTES - 3, 0)] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            assert!(Record::decode(&id, &bytes).is_none(), "byte {at} set to {value}");
        }
    }
}
