//! What changes a session that keeps its id.

use super::{Plain, bytes, clamp, put, status};
use crate::model::reply::{Reply, Seen};
use crate::model::step::Call;
use crate::model::turn::Turn;

impl Plain {
    pub(super) fn update(&mut self, turn: &Turn) -> Reply {
        let Some(copy) = turn.changed().map(|session| Seen::of(&session)) else {
            return Reply::word("no copy");
        };
        if bytes(&copy) > self.rules.session_bytes {
            return Reply::word("too large").with("bytes", bytes(&copy));
        }
        let saved = |version, kept: &Seen| {
            let (last_active, expires_at) = (kept.last_active, kept.expires_at);
            Reply::word("ok").with_session(Seen {
                id: kept.id.clone(),
                version,
                last_active,
                expires_at,
                ..copy.clone()
            })
        };
        if let Some((seen, version)) = self.noted(&copy.id, turn.operation_id) {
            self.recognize();
            return saved(version, &seen);
        }
        let Some(at) = self.follow(&copy.id) else {
            return self.absent(&copy.id);
        };
        let stored = self.sessions[at].seen.clone();
        if copy.version != stored.version {
            return Reply::word("conflict").with("version", stored.version);
        }
        if let Some(holder) = self.holder(&copy.connection).filter(|holder| *holder != at) {
            if self.is_live(holder) {
                return Reply::word("taken");
            }
            self.sessions.remove(holder);
        }
        let (now, grace) = (self.now, self.rules.grace);
        let at = self.sessions.iter().position(|kept| kept.seen.id == stored.id).unwrap();
        let kept = &mut self.sessions[at];
        kept.seen = Seen {
            id: stored.id,
            created_at: stored.created_at,
            deadline: stored.deadline,
            last_active: stored.last_active,
            expires_at: stored.expires_at,
            ..copy.clone()
        };
        if copy.ttl != stored.ttl {
            kept.begin(now, copy.ttl, grace);
        } else {
            self.touch(at);
        }
        let kept = &mut self.sessions[at];
        kept.count(turn.operation_id);
        saved(kept.seen.version, &kept.seen)
    }

    pub(super) fn patch(&mut self, turn: &Turn, id: &str) -> Reply {
        let Call::Patch { entries, mode, ttl, expect, .. } = &turn.call else {
            unreachable!("only of a patch");
        };
        let reply = |word, version: u64, seen: &Seen| {
            let reply = Reply::word(word).with("id", &seen.id).with("version", version);
            reply.with("expires_at", seen.expires_at)
        };
        if let Some((seen, version)) = self.noted(id, turn.operation_id) {
            self.recognize();
            return reply("ok", version, &seen);
        }
        let Some(at) = self.follow(id) else {
            return self.absent(id);
        };
        let kept = &mut self.sessions[at];
        let expected = expect.and_then(|number| turn.copy(number)).map(|copy| copy.version().get());
        if expected.is_some_and(|version| version != kept.seen.version) {
            return Reply::word("conflict").with("version", kept.seen.version);
        }
        let new_ttl = ttl.map(|ttl| ttl.duration().as_secs() * 1000).filter(|ttl| *ttl != kept.seen.ttl);
        if entries.is_empty() && mode.is_none_or(|mode| status(mode) == kept.seen.status) && new_ttl.is_none()
        {
            return reply("unchanged", kept.seen.version, &kept.seen);
        }
        let mut seen = kept.seen.clone();
        entries.iter().for_each(|entry| put(&mut seen, *entry));
        mode.iter().for_each(|mode| seen.status = status(*mode));
        if bytes(&seen) > self.rules.session_bytes {
            return Reply::word("too large").with("bytes", bytes(&seen));
        }
        kept.seen = seen;
        if let Some(ttl) = new_ttl {
            kept.begin(self.now, ttl, self.rules.grace);
        } else {
            self.touch(at);
        }
        let kept = &mut self.sessions[at];
        kept.count(turn.operation_id);
        reply("ok", kept.seen.version, &kept.seen)
    }

    pub(super) fn refresh(&mut self, id: &str) -> Reply {
        let Some(at) = self.follow(id) else {
            return self.absent(id);
        };
        let word = if self.touch(at) { "ok" } else { "unchanged" };
        let seen = &self.sessions[at].seen;
        let reply = Reply::word(word).with("id", &seen.id).with("version", seen.version);
        reply.with("last_active", seen.last_active).with("expires_at", seen.expires_at)
    }

    pub(super) fn refresh_and_get(&mut self, id: &str) -> Reply {
        match self.follow(id) {
            None => self.absent(id),
            Some(at) => {
                self.touch(at);
                Reply::word("ok").with_session(self.sessions[at].seen.clone())
            }
        }
    }

    /// Notes a use, and tells whether it came after the touch interval.
    pub(super) fn touch(&mut self, at: usize) -> bool {
        let (now, touch, part) = (self.now, self.rules.touch, self.rules.threshold_percent);
        let seen = &mut self.sessions[at].seen;
        let left = seen.expires_at - now;
        if now - seen.last_active < touch && left > touch {
            return false;
        }
        seen.last_active = now;
        if left * 100 < seen.ttl * part {
            seen.expires_at = clamp(now + seen.ttl, seen.deadline);
            self.sessions[at].keep(self.rules.grace);
        }
        true
    }
}
