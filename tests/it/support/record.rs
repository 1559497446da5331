//! A second decoder of the record, independent of the crate's, so that the two can disagree.

use std::collections::BTreeMap;

pub(crate) const HEADER: usize = 102;

/// What is stored under a session's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) kind: u8,
    pub(crate) status: u8,
    pub(crate) user: String,
    pub(crate) connection: String,
    pub(crate) node: String,
    pub(crate) version: u64,
    pub(crate) created_at: u64,
    pub(crate) ttl: u64,
    pub(crate) deadline: u64,
    pub(crate) last_active: u64,
    pub(crate) expires_at: u64,
    pub(crate) stored_until: u64,
    /// Of a session its entries, sorted: what the changes in it come to.
    pub(crate) body: Vec<u8>,
    /// That of a migrating one, which its body begins with.
    pub(crate) freeze: Option<Freeze>,
    /// Until when a copy may wait elsewhere that was made under an earlier freeze; 0: none.
    pub(crate) copies_until: u64,
    /// Of what is no session, until when it speaks; 0 of one.
    pub(crate) speaks_until: u64,
}

/// How a session is frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Freeze {
    pub(crate) task: [u8; 8],
    pub(crate) until: u64,
    pub(crate) span: u64,
    pub(crate) status: u8,
    pub(crate) direction: u8,
    pub(crate) place: String,
    pub(crate) node: String,
}

pub(crate) const LIVE: u8 = 1;
pub(crate) const MOVED: u8 = 2;
pub(crate) const DELETED: u8 = 3;
pub(crate) const DEPARTED: u8 = 4;

impl Stored {
    /// Panics on what is no record: in a test, that is the finding.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= HEADER && bytes[0] == 2, "no record: {bytes:?}");
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let time = |at: usize| number(&bytes[at..at + 6]);
        let short = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        let (compacted, body_length, listed) = (length(bytes, 9), length(bytes, 12), short(15));
        let mut at = HEADER;
        let mut take = |length: usize| {
            at += length;
            bytes[at - length..at].to_vec()
        };
        let mut text = |length: usize| String::from_utf8(take(length)).unwrap();
        let (user, connection, node) = (text(short(3)), text(short(5)), text(short(7)));
        let mut body = take(body_length);
        let mut status = bytes[2];
        let (mut freeze, mut copies_until, mut speaks_until) = (None, 0, time(96));
        if status == FROZEN {
            let (block, copies) = Freeze::split_off(&mut body);
            copies_until = copies;
            if block.direction == OVER {
                (status, speaks_until) = (block.status, block.until);
            } else {
                freeze = Some(block);
            }
        }
        assert_eq!(at, bytes.len(), "a record with something behind it");
        let size = body.len();
        let mut changes = 0;
        if bytes[1] == LIVE {
            speaks_until = 0;
            (body, changes) = made(&body);
        }
        assert_eq!(listed, changes.min(65_535), "so many changes are listed");
        let is_grown = size >= compacted + 512 && size * 2 >= compacted * 3;
        assert!(
            bytes[1] != LIVE || (compacted <= size && !is_grown),
            "{size} bytes, {compacted} when compacted"
        );
        Self {
            kind: bytes[1],
            status,
            user,
            connection,
            node,
            version: number(&bytes[61..67]),
            created_at: time(67),
            ttl: number(&bytes[73..78]),
            deadline: time(78),
            last_active: time(84),
            expires_at: time(90),
            stored_until: time(96),
            body,
            freeze,
            copies_until,
            speaks_until,
        }
    }

    /// The task by which it is on its way to or from another store, or went.
    pub(crate) fn task(&self) -> Option<[u8; 8]> {
        let departed = || self.body[..8].try_into().unwrap();
        let task = if self.kind == DEPARTED {
            Some(departed())
        } else {
            self.freeze.as_ref().map(|freeze| freeze.task)
        };
        task.filter(|task| *task != [0; 8])
    }
}

/// A length of three bytes.
fn length(bytes: &[u8], at: usize) -> usize {
    u32::from_be_bytes([0, bytes[at], bytes[at + 1], bytes[at + 2]]) as usize
}

/// What the changes in a body come to, sorted, and how many they are.
fn made(mut body: &[u8]) -> (Vec<u8>, usize) {
    let (mut entries, mut changes) = (BTreeMap::new(), 0);
    while !body.is_empty() {
        let key_end = 5 + usize::from(body[1]);
        let value_size = length(body, 2);
        let (entry, rest) = body.split_at(key_end + value_size);
        let name = (entry[0], &entry[5..key_end]);
        if value_size > 0 {
            entries.insert(name, entry);
        } else {
            entries.remove(&name);
        }
        (body, changes) = (rest, changes + 1);
    }
    (entries.into_values().collect::<Vec<_>>().concat(), changes)
}

/// A record with its changes made, so that two that tell the same are the same, to the byte.
pub(crate) fn compacted(record: &[u8]) -> Vec<u8> {
    let stored = Stored::parse(record);
    if stored.kind != LIVE {
        return record.to_vec();
    }
    let body_size = length(record, 12);
    let (front, body) = record.split_at(record.len() - body_size);
    let block = if record[2] == FROZEN {
        let size = |at: usize| usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
        &body[..32 + size(28) + size(30)]
    } else {
        &[]
    };
    let (entries, _) = made(&body[block.len()..]);
    let mut front = front.to_vec();
    front[9..12].copy_from_slice(&(entries.len() as u32).to_be_bytes()[1..]);
    front[12..15].copy_from_slice(&((block.len() + entries.len()) as u32).to_be_bytes()[1..]);
    front[15..17].copy_from_slice(&(made(&entries).1 as u16).to_be_bytes());
    [&front, block, &entries].concat()
}

impl Freeze {
    /// And until when copies may wait.
    fn split_off(body: &mut Vec<u8>) -> (Self, u64) {
        let size = |at| usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
        let (place_end, node_size) = (32 + size(28), size(30));
        let rest = body.split_off(place_end + node_size);
        let block = std::mem::replace(body, rest);
        let time =
            |at: usize| block[at..at + 6].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let freeze = Self {
            task: block[..8].try_into().unwrap(),
            until: time(8),
            span: time(14),
            status: block[26],
            direction: block[27],
            place: String::from_utf8(block[32..place_end].to_vec()).unwrap(),
            node: String::from_utf8(block[place_end..].to_vec()).unwrap(),
        };
        (freeze, time(20))
    }
}

pub(crate) const FROZEN: u8 = 3;
/// The direction of a freeze that is over.
pub(crate) const OVER: u8 = 3;
