//! The commands that cloakroom's scripts run for a session, as the server's MONITOR tells them: for those who run the same
//! commands and decide nothing. Whatever the scripts become, these stay their floor.

use std::time::{Duration, SystemTime};

use futures::StreamExt;
use redis::aio::Monitor;

use super::Contender;
use super::cloakroom::{Cloakroom, NAMESPACE};
use crate::operation::Operation;
use crate::subject::Subject;

/// The scripts' operations, in an order in which one session can have them.
const RECORDED: [Operation; 5] =
    [Operation::Create, Operation::Refresh, Operation::Patch, Operation::Rotate, Operation::Delete];
const READS: [&str; 12] = [
    "TIME", "GET", "GETRANGE", "MGET", "STRLEN", "EXISTS", "TYPE", "PTTL", "ZSCORE", "ZMSCORE", "ZCARD",
    "ZRANGE",
];

#[derive(Clone, Debug)]
pub(crate) struct Recording {
    operations: Vec<(Operation, Vec<Vec<Word>>)>,
}

/// A word of a command, in pieces.
pub(crate) type Word = Vec<Piece>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    Id,
    NewId,
    User,
    Connection,
    /// The server's time in milliseconds, and so much more.
    Time(i64),
}

/// A session whose commands are made of the recorded ones.
pub(crate) struct Actor {
    id: String,
    new_id: String,
    user: String,
    connection: String,
    now: i64,
}

impl Recording {
    pub(crate) async fn of(url: &str, cloakroom: &Cloakroom) -> Self {
        // One before: what only the first session of all does is not recorded.
        let (first, subject) = (Subject::sample(), Subject::sample());
        cloakroom.run(Operation::Create, first).await;
        let client = redis::Client::open(url).unwrap();
        let mut monitor = client.get_async_monitor().await.unwrap();
        let mut link = client.get_multiplexed_async_connection().await.unwrap();
        let mut operations = Vec::new();
        for operation in RECORDED {
            let turned = if operation == Operation::Delete { subject.rotated() } else { subject };
            // What comes within the same millisecond need not extend.
            tokio::time::sleep(Duration::from_millis(2)).await;
            cloakroom.run(operation, turned).await;
            redis::cmd("ECHO").arg(END).query_async::<String>(&mut link).await.unwrap();
            let actor = Actor::of(turned);
            let calls = by_scripts(&mut monitor).await;
            let templates = calls.iter().map(|call| call.iter().map(|word| actor.template(word)).collect());
            operations.push((operation, templates.collect()));
        }
        cloakroom.run(Operation::Delete, first).await;
        Self { operations }
    }

    pub(crate) fn has(&self, operation: Operation) -> bool {
        RECORDED.contains(&operation)
    }

    /// Those of an operation, the name of each first.
    pub(crate) fn commands(&self, operation: Operation) -> &[Vec<Word>] {
        &self.operations.iter().find(|(recorded, _)| *recorded == operation).expect("it is recorded").1
    }
}

/// Whether a command of that name does not write, in any case of its letters.
pub(crate) fn is_read(name: &str) -> bool {
    READS.iter().any(|read| read.eq_ignore_ascii_case(name))
}

const END: &str = "end-of-recording";

/// The commands that scripts ran until the end was called out.
async fn by_scripts(monitor: &mut Monitor) -> Vec<Vec<Vec<u8>>> {
    let mut calls = Vec::new();
    let mut lines = monitor.on_message::<String>();
    loop {
        let line = lines.next().await.expect("the server goes on");
        if line.contains(END) {
            return calls;
        }
        if let Some((_, words)) = line.split_once(" lua] ") {
            calls.push(unquoted(words));
        }
    }
}

/// The words of a line of MONITOR.
fn unquoted(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut bytes) = (Vec::new(), line.bytes());
    while bytes.any(|byte| byte == b'"') {
        let mut word = Vec::new();
        while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
            word.push(if byte == b'\\' { escaped(&mut bytes) } else { byte });
        }
        words.push(word);
    }
    words
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> u8 {
    let digit = |bytes: &mut dyn Iterator<Item = u8>| char::from(bytes.next().unwrap()).to_digit(16).unwrap();
    match bytes.next().unwrap() {
        b'x' => (digit(bytes) * 16 + digit(bytes)) as u8,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 7,
        b'b' => 8,
        itself => itself,
    }
}

impl Actor {
    pub(crate) fn of(subject: Subject) -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
        let (id, new_id) = (subject.id(), subject.rotated().id());
        Self { id, new_id, user: subject.user(), connection: subject.connection(), now }
    }

    /// What of a word is this session's own.
    fn template(&self, word: &[u8]) -> Word {
        let names = [
            (format!("{{{NAMESPACE}:0}}"), Piece::Bytes(b"{floor:0}".to_vec())),
            (self.id.clone(), Piece::Id),
            (self.new_id.clone(), Piece::NewId),
            (self.user.clone(), Piece::User),
            (self.connection.clone(), Piece::Connection),
        ];
        if let Some(time) = time(word) {
            return vec![Piece::Time(time - self.now)];
        }
        let (mut pieces, mut own, mut rest) = (Vec::new(), Vec::new(), word);
        while let [byte, behind @ ..] = rest {
            let name = names.iter().find(|(text, _)| rest.starts_with(text.as_bytes()));
            rest = name.map_or(behind, |(text, _)| &rest[text.len()..]);
            match name {
                Some((_, Piece::Bytes(bytes))) => own.extend_from_slice(bytes),
                Some((_, piece)) => {
                    pieces.push(Piece::Bytes(std::mem::take(&mut own)));
                    pieces.push(piece.clone());
                }
                None => own.push(*byte),
            }
        }
        pieces.push(Piece::Bytes(own));
        if pieces.len() > 1 {
            pieces.retain(|piece| *piece != Piece::Bytes(Vec::new()));
        }
        pieces
    }

    /// A word with what is this session's own.
    pub(crate) fn word(&self, template: &Word) -> Vec<u8> {
        let mut word = Vec::new();
        for piece in template {
            match piece {
                Piece::Bytes(bytes) => word.extend_from_slice(bytes),
                Piece::Id => word.extend_from_slice(self.id.as_bytes()),
                Piece::NewId => word.extend_from_slice(self.new_id.as_bytes()),
                Piece::User => word.extend_from_slice(self.user.as_bytes()),
                Piece::Connection => word.extend_from_slice(self.connection.as_bytes()),
                Piece::Time(more) => word.extend_from_slice((self.now + more).to_string().as_bytes()),
            }
        }
        word
    }
}

/// A time in milliseconds, if that is all of a word, and no whole hour: those are deadlines of an index, which few calls
/// move.
fn time(word: &[u8]) -> Option<i64> {
    let is_time = word.len() == 13 && word.iter().all(u8::is_ascii_digit);
    let time: i64 = std::str::from_utf8(word).ok().filter(|_| is_time)?.parse().ok()?;
    (time % 3_600_000 != 0).then_some(time)
}
