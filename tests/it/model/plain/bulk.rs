//! What removes sessions.

use super::{End, Former, Found, Plain};
use crate::model::reply::{Reply, Seen};
use crate::model::turn::{self, Turn};

impl Plain {
    pub(super) fn delete(&mut self, turn: &Turn, id: &str) -> Reply {
        let found = match self.find(id) {
            Found::Former(Former { end: End::Rotated(to) | End::LoggedIn(to), .. }) => self.find(&to),
            found => found,
        };
        match found {
            Found::Live(at) => {
                let id = self.sessions[at].seen.id.clone();
                self.end(&id, End::Deleted, turn.operation_id);
                Reply::word("ok")
            }
            Found::Former(former)
                if former.end == End::Deleted && former.last.changes[0] == turn.operation_id =>
            {
                self.recognize();
                Reply::word("ok")
            }
            _ => Reply::word("missing"),
        }
    }

    pub(super) fn delete_user(&mut self, turn: &Turn, user: u8, keep: Option<&str>) -> Reply {
        let user = turn::user(user);
        let rotated = keep.and_then(|keep| self.follow(keep)).map(|at| self.sessions[at].seen.id.clone());
        let mut gone: Vec<Seen> = self.sessions.iter().map(|kept| kept.seen.clone()).collect();
        gone.retain(|seen| seen.user == user && keep != Some(&seen.id) && rotated.as_ref() != Some(&seen.id));
        gone.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        let mut reply = Reply::word(if gone.is_empty() { "none" } else { "ok" });
        for seen in gone {
            self.end(&seen.id, End::Deleted, turn.operation_id);
            reply = reply.removed(&seen.id, &seen.connection, &seen.node);
        }
        reply.with("corrupt", 0)
    }

    pub(super) fn reap(&mut self, batch: usize) -> Reply {
        let mut expired = self.expired_by(self.now);
        expired.truncate(batch);
        let reply = Reply::word(if expired.is_empty() { "none" } else { "ok" });
        let reply = reply.with("more", expired.len() == batch).with("dropped", 0).with("corrupt", 0);
        expired.into_iter().fold(reply, |reply, seen| {
            self.take(&seen.id);
            reply.with_session(seen)
        })
    }
}
