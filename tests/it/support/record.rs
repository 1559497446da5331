//! A second reading of the record, apart from the crate's, so that the two can disagree.

pub(crate) const HEADER: usize = 101;

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
}

pub(crate) const LIVE: u8 = 1;
pub(crate) const MOVED: u8 = 2;
pub(crate) const DELETED: u8 = 3;

impl Stored {
    /// Panics on what is no record: in a test, that is the finding.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= HEADER && bytes[0] == 1, "no record: {bytes:?}");
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        let short = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        let body_length = u32::from_be_bytes(bytes[9..13].try_into().unwrap()) as usize;
        let mut at = HEADER;
        let mut take = |length: usize| {
            at += length;
            bytes[at - length..at].to_vec()
        };
        let mut text = |length: usize| String::from_utf8(take(length)).unwrap();
        let (user, connection, node) = (text(short(3)), text(short(5)), text(short(7)));
        let body = take(body_length);
        assert_eq!(at, bytes.len(), "a record with something behind it");
        Self {
            kind: bytes[1],
            status: bytes[2],
            user,
            connection,
            node,
            version: number(45),
            created_at: number(53),
            ttl: number(61),
            deadline: number(69),
            last_active: number(77),
            expires_at: number(85),
            stored_until: number(93),
            body,
        }
    }
}

/// Where the status byte stands.
pub(crate) const STATUS_AT: usize = 2;
pub(crate) const FROZEN: u8 = 3;
