//! What only reads.

use super::Plain;
use crate::model::reply::{Reply, Seen, on_page};
use crate::model::step::Whose;
use crate::model::turn;

impl Plain {
    fn show(&self, at: Option<usize>) -> Reply {
        match at {
            None => Reply::word("missing"),
            Some(at) => Reply::word("ok").with_session(self.sessions[at].seen.clone()),
        }
    }

    pub(super) fn get(&self, id: &str) -> Reply {
        let found = self.follow(id);
        if found.is_none() { self.absent(id) } else { self.show(found) }
    }

    pub(super) fn by_connection(&self, number: u8) -> Reply {
        self.show(self.holder(&turn::connection(number)).filter(|at| self.is_live(*at)))
    }

    /// All sessions of an owner, expired ones too, oldest first.
    fn of(&self, whose: Whose) -> Vec<&Seen> {
        let mut of: Vec<&Seen> = self.sessions.iter().map(|kept| &kept.seen).collect();
        of.retain(|seen| match whose {
            Whose::User(number) => seen.user == turn::user(number),
            Whose::Node(number) => seen.node == turn::node(number),
        });
        of.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        of
    }

    pub(super) fn count(&self, whose: Whose) -> Reply {
        match self.of(whose).iter().filter(|seen| self.now < seen.expires_at).count() {
            0 => Reply::word("none"),
            live => Reply::word("ok").with("live", live),
        }
    }

    /// A page is of entries, and shows those that are live.
    pub(super) fn list(&mut self, from: Option<(Whose, (u64, String))>, size: usize) -> Reply {
        let Some((whose, after)) = from else {
            return Reply::word("no cursor");
        };
        let mut page = self.of(whose);
        page.retain(|seen| (seen.created_at, &seen.id) > (after.0, &after.1));
        page.truncate(size);
        let next = page.last().filter(|_| page.len() == size);
        let next = next.map(|last| (whose, (last.created_at, last.id.clone())));
        let reply = page.iter().filter(|seen| self.now < seen.expires_at);
        let reply = reply
            .fold(Reply::word(on_page(next.is_some())), |reply, seen| reply.with_session((*seen).clone()));
        self.cursor = next;
        reply
    }

    /// What expired by a time and is still stored, oldest first.
    pub(super) fn expired_by(&self, time: u64) -> Vec<Seen> {
        let mut expired: Vec<Seen> = self.sessions.iter().map(|kept| kept.seen.clone()).collect();
        expired.retain(|seen| seen.expires_at <= time);
        expired.sort_by(|one, other| (one.expires_at, &one.id).cmp(&(other.expires_at, &other.id)));
        expired
    }

    pub(super) fn expired(&self, before: Option<u64>, skip: usize, limit: usize) -> Reply {
        let mut expired = self.expired_by(before.unwrap_or(self.now).min(self.now));
        expired = expired.into_iter().skip(skip).take(limit).collect();
        let reply = Reply::word(if expired.is_empty() { "none" } else { "ok" });
        expired
            .iter()
            .fold(reply, |reply, seen| reply.with("expired", format!("{} at {}", seen.id, seen.expires_at)))
    }
}
