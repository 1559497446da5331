//! Lets a script judge suspects. It sees everything at one instant, so a concurrent change is no violation.

use redis::Cmd;

use crate::model::{IndexFields, Result};
use crate::redis::call::Call;
use crate::redis::mend::{Want, wrong};
use crate::redis::reply::Reply;
use crate::redis::script::{self, Script};
use crate::redis::verify::kind::ViolationKind;
use crate::redis::verify::subject::{Subject, Suspect};
use crate::redis::verify::violation::{Mend, Violation};
use crate::stored::keys::Keys;

/// How many suspects one round trip covers.
const BATCH: usize = 50;

/// How often a script may name another holder before the session is skipped this time.
const ROUNDS: usize = 4;

/// The violations among the suspects, by a script's verdict.
pub(crate) async fn judge(call: &Call, suspects: Vec<Suspect>) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for script in script::MENDING.iter().copied() {
        let asked = |suspect: &&Suspect| std::ptr::eq(suspect.subject.script(), script);
        let own: Vec<Suspect> = suspects.iter().filter(asked).cloned().collect();
        for batch in own.chunks(BATCH) {
            judge_batch(call, script, batch.to_vec(), &mut violations).await?;
        }
    }
    Ok(violations)
}

async fn judge_batch(
    call: &Call,
    script: &'static Script,
    mut batch: Vec<Suspect>,
    violations: &mut Vec<Violation>,
) -> Result<()> {
    for _ in 0..ROUNDS {
        if batch.is_empty() {
            break;
        }
        let cmds: Vec<Cmd> = batch
            .iter()
            .map(|suspect| suspect.subject.command(call, suspect.partition, Want::Tell))
            .collect();
        let (replies, mut again) = (call.run_each(script, &cmds).await?, Vec::new());
        for (suspect, reply) in batch.into_iter().zip(replies) {
            match Verdict::of(reply)? {
                Verdict::Wrong(words) => {
                    let keys = call.partitions().keys(suspect.partition);
                    violations.extend(told(keys, &suspect, words));
                }
                Verdict::Holder(holder) => {
                    again.push(Suspect { subject: suspect.subject.with_holder(holder), ..suspect });
                }
                Verdict::Unread => {}
            }
        }
        batch = again;
    }
    Ok(())
}

/// The verdict of a script.
pub(crate) enum Verdict {
    /// Its words for what is wrong; an empty list: nothing is.
    Wrong(Vec<String>),
    /// It needs to see this session too.
    Holder(Vec<u8>),
    /// Something foreign or corrupt is in the way, which is a violation of its own; or a migration moves the
    /// session.
    Unread,
}

impl Verdict {
    pub(crate) fn of(mut reply: Reply) -> Result<Self> {
        match reply.word.as_str() {
            "corrupt" | "frozen" => Ok(Self::Unread),
            "need" => match reply.text()?.as_str() {
                "holder" => reply.bytes().map(Self::Holder),
                // It has other owners by now, and the walk will meet it again.
                _ => Ok(Self::Unread),
            },
            _ => wrong(reply).map(Self::Wrong),
        }
    }
}

/// The violations that a script's words name.
fn told(keys: &Keys, suspect: &Suspect, words: Vec<String>) -> Vec<Violation> {
    let Suspect { partition, subject, about } = suspect;
    let words = words.into_iter().filter(|word| about.covers(word));
    let violation = |word: String| {
        let (kind, key) = named(keys, subject, &word);
        let mend = Mend { partition: *partition, subject: subject.clone(), word };
        Violation { kind, key, mend: Some(mend) }
    };
    words.map(violation).collect()
}

fn named(keys: &Keys, subject: &Subject, word: &str) -> (ViolationKind, Vec<u8>) {
    match subject {
        Subject::Session { id, .. } if word == "record_short" => (ViolationKind::ShortTtl, keys.session(id)),
        Subject::Session { named, .. } => of_word(word, |name| of_session(keys, named, name)),
        Subject::Node { .. } => {
            of_word(word, |name| if name == "nodes" { keys.nodes() } else { keys.kept() })
        }
        Subject::Record { id, kind, .. } => (*kind, keys.session(id)),
        Subject::Key { rest, found, .. } => {
            let kind = match word {
                "ttl" => ViolationKind::NoTtl,
                _ if found.is_empty() => ViolationKind::ForeignType,
                _ => ViolationKind::Corrupt,
            };
            (kind, keys.of_rest(rest))
        }
    }
}

fn of_session(keys: &Keys, named: &IndexFields<Vec<u8>>, name: &str) -> Vec<u8> {
    match name {
        "user" => keys.user(&named.user),
        "node" => keys.node(&named.node),
        "connection" => keys.connection(&named.connection),
        "migrations" => keys.migrations(),
        _ => keys.expiry(),
    }
}

/// The name of a key, and what is wrong there.
fn of_word(word: &str, key: impl Fn(&str) -> Vec<u8>) -> (ViolationKind, Vec<u8>) {
    let (name, what) = word.split_once('_').unwrap_or((word, ""));
    let kind = match what {
        "missing" => ViolationKind::MissingEntry,
        "stray" => ViolationKind::StrayEntry,
        "elsewhere" => ViolationKind::WrongPointer,
        "held" => ViolationKind::TwoHolders,
        "short" => ViolationKind::ShortTtl,
        _ => ViolationKind::WrongScore,
    };
    (kind, key(name))
}

#[cfg(test)]
mod tests {
    use crate::redis::verify::subject::About;

    #[test]
    fn what_leads_from_elsewhere_is_not_of_the_record() {
        assert!(About::Record.covers("user_missing") && !About::Record.covers("user_stray"));
        assert!(About::Entry("user_stray").covers("user_stray"));
        assert!(!About::Entry("user_stray").covers("expiry_stray"));
    }
}
