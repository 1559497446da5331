//! What makes a session, and what gives it another id or user.

use cloakroom::{OperationId, Status};

use super::{End, Former, Found, Kept, Plain, bytes, clamp, put, status};
use crate::model::coverage::AMBIGUOUS;
use crate::model::reply::{Reply, Seen, created};
use crate::model::rules::Policy;
use crate::model::step::{Call, NOBODY};
use crate::model::turn::{self, Turn};

impl Plain {
    pub(super) fn create(&mut self, turn: &Turn, made: Option<&str>) -> Reply {
        let new = self.new_session(turn, made);
        if bytes(&new) > self.rules.session_bytes {
            return Reply::word("too large").with("bytes", bytes(&new));
        }
        // It answers as the first time, even where what it made has expired since.
        if let Some((made, _)) = self.noted_at(&new.id, turn.operation_id) {
            self.recognize();
            return Reply::word("ok").with_session(self.begun(new, made.created_at));
        }
        match self.find(&new.id) {
            Found::Live(_) => return Reply::word("exists"),
            Found::Former(Former { end: End::Rotated(to), .. }) => {
                return Reply::word("moved").with("to", to);
            }
            Found::Former(_) => return Reply::word("gone"),
            Found::Expired | Found::Nothing => {}
        }
        let holder = self.holder(&new.connection);
        if holder.is_some_and(|at| self.is_live(at)) {
            return Reply::word("taken");
        }
        let evicted = match self.over_limit(&new.user) {
            Err(live) => return Reply::word("limit").with("live", live),
            Ok(evicted) => evicted,
        };
        let mut in_the_way: Vec<String> =
            holder.map(|at| self.sessions[at].seen.id.clone()).into_iter().collect();
        if matches!(self.find(&new.id), Found::Expired) && !in_the_way.contains(&new.id) {
            in_the_way.insert(0, new.id.clone());
        }
        let reply = Reply::word(created(!evicted.is_empty(), !in_the_way.is_empty()));
        let reply = self.evict(reply, &evicted, turn.operation_id);
        let new = self.begun(new, self.now);
        let mut reply = reply.with_session(new.clone());
        for id in in_the_way {
            reply = reply.with_session(self.take(&id).seen);
        }
        self.made.push((turn.operation_id, new.id.clone()));
        let stored_until = new.expires_at + self.rules.grace;
        self.sessions.push(Kept { seen: new, stored_until, changes: vec![turn.operation_id] });
        reply
    }

    /// As it is given, without its times.
    fn new_session(&mut self, turn: &Turn, made: Option<&str>) -> Seen {
        let Call::Create { id, user, connection, node, mode, ttl, entries } = &turn.call else {
            unreachable!("only of a create");
        };
        let mut seen = Seen {
            id: match id {
                Some(number) => turn::id(*number).as_str().to_owned(),
                None => self.made_id(turn.operation_id, made),
            },
            user: turn::user(*user),
            connection: turn::connection(*connection),
            node: turn::node(*node),
            status: status(*mode),
            version: 1,
            ttl: ttl.map_or(self.rules.ttl, |ttl| ttl.duration().as_secs() * 1000),
            created_at: 0,
            last_active: 0,
            expires_at: 0,
            deadline: 0,
            attributes: Vec::new(),
            extensions: Vec::new(),
        };
        entries.iter().for_each(|entry| put(&mut seen, *entry));
        seen
    }

    fn begun(&self, new: Seen, created_at: u64) -> Seen {
        let deadline = self.rules.lifetime.map_or(0, |lifetime| created_at + lifetime);
        let expires_at = clamp(created_at + new.ttl, deadline);
        Seen { created_at, last_active: created_at, expires_at, deadline, ..new }
    }

    /// Whom a user's new session makes go, or how many live ones refuse it.
    fn over_limit(&self, user: &str) -> Result<Vec<String>, usize> {
        let Some((most, policy)) = self.rules.limit.filter(|_| !user.is_empty()) else {
            return Ok(Vec::new());
        };
        let mut live: Vec<&Seen> = self.sessions.iter().map(|kept| &kept.seen).collect();
        live.retain(|seen| seen.user == user && self.now < seen.expires_at);
        if live.len() < most {
            return Ok(Vec::new());
        }
        if policy == Policy::Reject {
            return Err(live.len());
        }
        live.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        Ok(live.iter().take(live.len() - most + 1).map(|seen| seen.id.clone()).collect())
    }

    fn evict(&mut self, reply: Reply, ids: &[String], operation_id: OperationId) -> Reply {
        ids.iter().fold(reply, |reply, id| {
            let gone = self.end(id, End::Deleted, operation_id).seen;
            reply.removed(id, &gone.connection, &gone.node)
        })
    }

    pub(super) fn rotate(&mut self, turn: &Turn, id: &str, made: Option<&str>) -> Reply {
        let Call::Rotate { id: wanted, user, .. } = &turn.call else {
            unreachable!("only of a rotate");
        };
        let at = match self.find(id) {
            Found::Live(at) => at,
            Found::Former(former) => return self.rotated_before(turn, &former),
            _ => return Reply::word("missing"),
        };
        let new_id = match wanted {
            Some(number) => turn::id(*number).as_str().to_owned(),
            None => self.made_id(turn.operation_id, made),
        };
        if !matches!(self.find(&new_id), Found::Nothing) {
            return Reply::word("exists");
        }
        let had = self.sessions[at].seen.user.clone();
        let (named, deadline) = match *user {
            0 => (had.clone(), self.sessions[at].seen.deadline),
            NOBODY => (String::new(), self.rules.lifetime.map_or(0, |lifetime| self.now + lifetime)),
            number => (turn::user(number), self.rules.lifetime.map_or(0, |lifetime| self.now + lifetime)),
        };
        let (user, login) = (named.clone(), named != had);
        let evicted = match if login { self.over_limit(&user) } else { Ok(Vec::new()) } {
            Err(live) => return Reply::word("limit").with("live", live),
            Ok(evicted) => evicted,
        };
        let reply = Reply::word(if evicted.is_empty() { "ok" } else { "ok evicting" });
        let reply = self.evict(reply, &evicted, turn.operation_id);
        let end = if login { End::LoggedIn(new_id.clone()) } else { End::Rotated(new_id.clone()) };
        let mut kept = self.end(id, end, turn.operation_id);
        self.made.push((turn.operation_id, new_id.clone()));
        kept.count(turn.operation_id);
        kept.seen.id = new_id;
        kept.seen.user = user;
        kept.seen.deadline = deadline;
        kept.seen.last_active = self.now;
        kept.seen.expires_at = clamp(kept.seen.expires_at.max(self.now + kept.seen.ttl), deadline);
        kept.keep(self.rules.grace);
        let reply = reply.with_session(kept.seen.clone());
        self.sessions.push(kept);
        reply
    }

    /// An id that was rotated away, by this call or another.
    fn rotated_before(&mut self, turn: &Turn, former: &Former) -> Reply {
        let own = former.last.changes[0] == turn.operation_id;
        let to = match &former.end {
            End::Rotated(to) => to,
            End::LoggedIn(to) if own => to,
            End::LoggedIn(_) => return Reply::word("rotated"),
            End::Deleted => return Reply::word("missing"),
        };
        if own {
            self.recognize();
            // The answer is the session of then, which nobody has changed since.
            return match self.find(to) {
                Found::Live(at) if self.sessions[at].seen.version == former.last.seen.version => {
                    Reply::word("ok").with_session(self.sessions[at].seen.clone())
                }
                _ => Reply::word(AMBIGUOUS),
            };
        }
        match self.follow(to) {
            // Its client is to hold a token, which the other rotation has.
            _ if self.rules.tokens => Reply::word("rotated"),
            Some(at) => Reply::word("by another").with_session(self.sessions[at].seen.clone()),
            None => self.absent(to),
        }
    }

    pub(super) fn bind(&mut self, turn: &Turn, id: &str) -> Reply {
        let Call::Bind { connection, node, take_over, .. } = &turn.call else {
            unreachable!("only of a bind");
        };
        let (connection, node) = (turn::connection(*connection), turn::node(*node));
        if let Some((seen, version)) = self.noted(id, turn.operation_id) {
            self.recognize();
            // Of what it had before, nothing is remembered.
            return Reply::word("ok").with("id", &seen.id).with("version", version);
        }
        let Some(at) = self.follow(id) else {
            return self.absent(id);
        };
        let had = self.sessions[at].seen.clone();
        let reply = |word, version: u64, from: &str| {
            let reply = Reply::word(word).with("id", &had.id).with("version", version);
            reply.with("connection", &had.connection).with("node", &had.node).with("taken from", from)
        };
        if had.connection == connection && had.node == node && had.status == Status::Active {
            return reply("unchanged", had.version, "");
        }
        let holder = self.holder(&connection).filter(|holder| *holder != at);
        let holder = holder.map(|holder| (self.sessions[holder].seen.id.clone(), self.is_live(holder)));
        let reply = match holder {
            Some((_, true)) if !take_over => return Reply::word("taken"),
            Some((loser, true)) => {
                self.detach(&loser, turn.operation_id);
                reply("taking over", had.version + 1, &loser)
            }
            Some((expired, false)) => reply("ok", had.version + 1, "").with_session(self.take(&expired).seen),
            None => reply("ok", had.version + 1, ""),
        };
        let at = self.sessions.iter().position(|kept| kept.seen.id == had.id).unwrap();
        let kept = &mut self.sessions[at];
        (kept.seen.connection, kept.seen.node, kept.seen.status) = (connection, node, Status::Active);
        kept.count(turn.operation_id);
        self.touch(at);
        reply
    }

    /// Takes connection and node from a session.
    fn detach(&mut self, id: &str, operation_id: OperationId) {
        let kept = self.sessions.iter_mut().find(|kept| kept.seen.id == id).unwrap();
        kept.seen.connection.clear();
        kept.seen.node.clear();
        kept.seen.status = Status::Suspended;
        kept.count(operation_id);
    }

    pub(super) fn unbind(&mut self, turn: &Turn, id: &str, connection: u8) -> Reply {
        if self.noted(id, turn.operation_id).is_some() {
            self.recognize();
            return Reply::word("ok");
        }
        let Some(at) = self.follow(id) else {
            if self.absent(id).word == "rotated" {
                return self.absent(id);
            }
            // The answer does not tell the two apart.
            self.noted = Some("missing");
            return Reply::word("unchanged");
        };
        if self.sessions[at].seen.connection != turn::connection(connection) {
            return Reply::word("unchanged");
        }
        let id = self.sessions[at].seen.id.clone();
        self.detach(&id, turn.operation_id);
        Reply::word("ok")
    }
}
