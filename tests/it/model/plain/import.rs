//! What brings sessions in.

use super::{End, Former, Found, Kept, Plain, bytes};
use crate::model::reply::{Reply, Seen};
use crate::model::step::Replaces;
use crate::model::turn::Turn;

/// Where among the operations of a session an import is noted.
const NOTED_AT: usize = 1;

impl Plain {
    /// A live session as it is here now.
    pub(in crate::model) fn exported(&self, id: &str) -> Kept {
        self.sessions[self.follow(id).unwrap()].clone()
    }

    pub(super) fn import(&mut self, turn: &Turn) -> Reply {
        let Some((exported, replaces)) = turn.import() else {
            return Reply::word("no export");
        };
        let mut new = exported.plain.clone();
        let seen = &new.seen;
        if bytes(seen) > self.rules.session_bytes {
            return Reply::word("too large").with("bytes", bytes(seen));
        }
        if self.changes_of(&seen.id).contains(&turn.operation_id) {
            self.recognize();
            return Reply::word("ok");
        }
        if seen.expires_at <= self.now {
            return Reply::word("missing");
        }
        let old = match self.find(&seen.id) {
            Found::Former(Former { end: End::Rotated(to), .. }) => {
                return Reply::word("moved").with("to", to);
            }
            Found::Former(_) => return Reply::word("gone"),
            Found::Live(at) => Some(&self.sessions[at]),
            Found::Expired | Found::Nothing => None,
        };
        match old {
            None if matches!(replaces, Replaces::At(_)) => return Reply::word("missing"),
            Some(old) if is_same(&old.seen, seen) => return Reply::word("unchanged"),
            Some(old) if !self.gives_way(&old.seen, turn) => {
                return Reply::word("conflict").with("version", old.seen.version);
            }
            _ => {}
        }
        let other = self.holder(&seen.connection).filter(|at| self.sessions[*at].seen.id != seen.id);
        if other.is_some_and(|at| self.is_live(at)) {
            return Reply::word("taken");
        }
        if let Some(old) = old {
            new.stored_until = old.stored_until;
            self.noted = Some(match replaces {
                Replaces::At(_) => "replacing that version",
                _ => "replacing",
            });
        } else {
            new.stored_until = 0;
        }
        let gone = |kept: &Kept| {
            kept.seen.id == new.seen.id
                || !new.seen.connection.is_empty() && kept.seen.connection == new.seen.connection
        };
        self.sessions.retain(|kept| !gone(kept));
        new.changes.splice(NOTED_AT..new.changes.len().min(NOTED_AT + 1), [turn.operation_id]);
        new.keep(self.rules.grace);
        self.sessions.push(new);
        Reply::word("ok")
    }

    /// Whether the session that is here makes way for the one that is brought in.
    fn gives_way(&self, old: &Seen, turn: &Turn) -> bool {
        let Some((exported, replaces)) = turn.import() else {
            return false;
        };
        let new = &exported.plain.seen;
        let may = match replaces {
            Replaces::Older => true,
            Replaces::At(number) => turn.exported_version(number).get() == old.version,
            Replaces::Nothing => false,
        };
        may && old.created_at == new.created_at && old.version < new.version
    }

    /// What is remembered of an id.
    fn changes_of(&self, id: &str) -> &[cloakroom::OperationId] {
        let session = self.sessions.iter().find(|kept| kept.seen.id == id).map(|kept| &kept.changes);
        let former = || self.former.iter().find(|former| former.id == id).map(|former| &former.last.changes);
        session.or_else(former).map_or(&[], Vec::as_slice)
    }
}

/// The same version with the same content, whenever it was used.
fn is_same(one: &Seen, other: &Seen) -> bool {
    let unused = |seen: &Seen| Seen { last_active: 0, expires_at: 0, ..seen.clone() };
    unused(one) == unused(other)
}
