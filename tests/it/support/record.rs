//! A second reading of the record, apart from the crate's, so that the two can disagree.

pub(crate) const HEADER: usize = 99;

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
        let body_length = u32::from_be_bytes(bytes[9..13].try_into().unwrap()) as usize;
        let mut at = HEADER;
        let mut take = |length: usize| {
            at += length;
            bytes[at - length..at].to_vec()
        };
        let mut text = |length: usize| String::from_utf8(take(length)).unwrap();
        let (user, connection, node) = (text(short(3)), text(short(5)), text(short(7)));
        let mut body = take(body_length);
        let mut status = bytes[2];
        let (mut freeze, mut copies_until, mut speaks_until) = (None, 0, time(93));
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
        if bytes[1] == LIVE {
            speaks_until = 0;
        }
        Self {
            kind: bytes[1],
            status,
            user,
            connection,
            node,
            version: number(&bytes[57..63]),
            created_at: time(63),
            ttl: time(69),
            deadline: time(75),
            last_active: time(81),
            expires_at: time(87),
            stored_until: time(93),
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
