//! One call with all that it depends on, so that it can be made of every store, and repeated later.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cloakroom::migration::{Export, Import};
use cloakroom::{
    Binding, Cursor, Entries, NewSession, OperationId, PageRequest, Patch, Refreshed, Result, Rotation,
    Selector, Session, SessionId, SessionRef, SessionStore, Store, Version,
};

use super::plain::Kept;
use super::reply::{Reply, Seen, created, on_page};
use super::step::{Call, Entry, KEYS, Mode, NOBODY, On, Place, Replaces, VALUES, Whose};

static IDS: LazyLock<[SessionId; 5]> =
    LazyLock::new(|| [0, 1, 2, 3, 4].map(|number| SessionId::new(format!("id-{number}")).unwrap()));

pub(super) fn id(number: u8) -> &'static SessionId {
    &IDS[usize::from(number)]
}

fn name(kind: &str, number: u8) -> String {
    if number == 0 { String::new() } else { format!("{kind}-{number}") }
}

pub(super) fn user(number: u8) -> String {
    name("user", number)
}

pub(super) fn connection(number: u8) -> String {
    name("connection", number)
}

pub(super) fn node(number: u8) -> String {
    name("node", number)
}

/// The values as the API takes them.
static PARSED: LazyLock<[serde_json::Value; 4]> =
    LazyLock::new(|| VALUES.map(|text| serde_json::from_str(text).unwrap()));

fn value(number: u8) -> &'static serde_json::Value {
    &PARSED[usize::from(number)]
}

fn key(number: u8) -> &'static str {
    KEYS[usize::from(number)]
}

/// A call at a time, with the copies that were in hand.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) operation_id: OperationId,
    pub(super) place: Place,
    pub(super) call: Call,
    pub(super) now: u64,
    /// The latest first, as the next.
    pub(super) hand: Vec<Session>,
    pub(super) exports: Vec<Arc<Exported>>,
}

/// A session as each store exported it, and as the model has it.
#[derive(Debug)]
pub(super) struct Exported {
    pub(super) stores: [Export; 2],
    pub(super) plain: Kept,
}

/// What a store answered, and a session to keep in hand.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) reply: Reply,
    pub(super) session: Option<Session>,
    pub(super) export: Option<Export>,
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self { reply, session: None, export: None }
    }
}

impl Outcome {
    fn found(session: Option<Session>) -> Self {
        match session {
            None => Reply::word("missing").into(),
            Some(session) => {
                let reply = Reply::word("ok").with_session(Seen::of(&session));
                Self { reply, session: Some(session), export: None }
            }
        }
    }
}

impl Turn {
    pub(super) fn copy(&self, number: u8) -> Option<&Session> {
        self.hand.get(usize::from(number))
    }

    /// Without such a copy one of the ids stands in.
    pub(super) fn target(&self, on: On) -> &dyn SessionRef {
        match on {
            On::Id(number) => id(number),
            On::Copy(number) => self.copy(number).map_or(id(number) as _, |copy| copy as _),
            On::IdOf(number) => self.copy(number).map_or(id(number) as _, |copy| copy.id() as _),
        }
    }

    /// A copy in hand, as it is to be saved.
    pub(super) fn changed(&self) -> Option<Session> {
        let Call::Update { copy, user, connection, node, mode, ttl, entry } = &self.call else {
            return None;
        };
        let mut session = self.copy(*copy)?.clone();
        user.iter().for_each(|number| session.set_user(self::user(*number)));
        connection.iter().for_each(|number| session.set_connection(self::connection(*number)));
        node.iter().for_each(|number| session.set_node(self::node(*number)));
        ttl.iter().for_each(|ttl| session.set_ttl(ttl.duration()));
        match mode {
            Some(Mode::Active) => session.activate(),
            Some(Mode::Suspended) => session.suspend(),
            None => {}
        }
        match entry {
            Some(Entry::Attribute(at, to)) => set(session.attributes_mut(), *at, *to),
            Some(Entry::Extension(at, to)) => set(session.extensions_mut(), *at, *to),
            None => {}
        }
        Some(session)
    }

    /// What is to be imported, and what it may replace.
    pub(super) fn import(&self) -> Option<(&Exported, Replaces)> {
        let Call::Import { export, replaces, .. } = &self.call else {
            return None;
        };
        Some((self.exported(*export)?, *replaces))
    }

    /// One of the exports, the latest if there is none of that number.
    fn exported(&self, number: u8) -> Option<&Exported> {
        self.exports.get(usize::from(number)).or(self.exports.first()).map(|exported| &**exported)
    }

    /// The version of one of the exports.
    pub(super) fn exported_version(&self, number: u8) -> Version {
        self.exported(number).unwrap().stores[0].session().version()
    }

    /// Makes the call of one of the two stores. The cursor is the store's, of its last page.
    pub(super) async fn make(
        &self,
        number: usize,
        all: &dyn Store,
        cursor: &mut Option<(Whose, Cursor)>,
    ) -> Outcome {
        let store = all.with_operation_id(self.operation_id);
        let result = match &self.call {
            Call::List { .. } | Call::ListNext { .. } => self.list(&*store, cursor).await,
            Call::Create { .. } | Call::Rotate { .. } | Call::Update { .. } => self.whole(&*store).await,
            Call::Export(_) | Call::Import { .. } => self.carry(number, all).await,
            Call::Patch { .. } | Call::Bind { .. } => self.change(&*store).await.map(Outcome::from),
            _ => self.other(&*store).await,
        };
        result.unwrap_or_else(|error| Reply::error(&error).into())
    }

    /// What answers a whole session that is changed or new.
    async fn whole(&self, store: &dyn SessionStore) -> Result<Outcome> {
        let (reply, session) = match &self.call {
            Call::Create { .. } => {
                let made = store.create(self.new_session()?).await?;
                let reply = Reply::word(created(!made.evicted.is_empty(), !made.reaped.is_empty()));
                let reply = reply.with_removed(&made.evicted).with_session(Seen::of(&made.session));
                (reply.with_sessions(&made.reaped), made.session)
            }
            Call::Rotate { on, id, user } => {
                let mut rotation = match *user {
                    0 => Rotation::new(),
                    NOBODY => Rotation::new().anonymous(),
                    number => Rotation::new().user(self::user(number)),
                };
                if let Some(number) = id {
                    rotation = rotation.new_id(self::id(*number).clone());
                }
                let rotated = store.rotate(self.target(*on), rotation).await?;
                let word = match (rotated.by_another, rotated.evicted.is_empty()) {
                    (true, _) => "by another",
                    (false, true) => "ok",
                    (false, false) => "ok evicting",
                };
                let reply = Reply::word(word).with_removed(&rotated.evicted);
                (reply.with_session(Seen::of(&rotated.session)), rotated.session)
            }
            _ => {
                let Some(mut session) = self.changed() else {
                    return Ok(Reply::word("no copy").into());
                };
                store.update(&mut session).await?;
                (Reply::word("ok").with_session(Seen::of(&session)), session)
            }
        };
        Ok(Outcome { reply, session: Some(session), export: None })
    }

    fn new_session(&self) -> Result<NewSession> {
        let Call::Create { id, user, connection, node, mode, ttl, entries } = &self.call else {
            return Ok(NewSession::new());
        };
        let (mut attributes, mut extensions) = (Entries::default(), Entries::default());
        for entry in entries {
            match entry {
                Entry::Attribute(key, value) => set(&mut attributes, *key, *value),
                Entry::Extension(key, value) => set(&mut extensions, *key, *value),
            }
        }
        let mut new = NewSession::new().attributes(attributes).extensions(extensions);
        new = new.user(self::user(*user)).connection(self::connection(*connection)).node(self::node(*node));
        if let Some(number) = id {
            new = new.id(self::id(*number).clone());
        }
        if let Some(ttl) = ttl {
            new = new.ttl(ttl.duration());
        }
        Ok(match mode {
            Mode::Active => new,
            Mode::Suspended => new.suspended(),
        })
    }

    fn patch(&self) -> Result<Patch> {
        let Call::Patch { entries, mode, ttl, expect, .. } = &self.call else {
            return Ok(Patch::new());
        };
        let mut patch = Patch::new();
        for entry in entries {
            patch = match entry {
                Entry::Attribute(at, Some(to)) => patch.set(key(*at), value(*to))?,
                Entry::Attribute(at, None) => patch.remove(key(*at)),
                Entry::Extension(at, Some(to)) => patch.set_extension(key(*at), value(*to))?,
                Entry::Extension(at, None) => patch.remove_extension(key(*at)),
            };
        }
        patch = match mode {
            Some(Mode::Active) => patch.activate(),
            Some(Mode::Suspended) => patch.suspend(),
            None => patch,
        };
        if let Some(ttl) = ttl {
            patch = patch.ttl(ttl.duration());
        }
        let expected = expect.and_then(|number| self.copy(number));
        Ok(expected.map_or(patch.clone(), |copy| patch.expect(copy.version())))
    }

    async fn change(&self, store: &dyn SessionStore) -> Result<Reply> {
        if let Call::Bind { on, connection, node, take_over } = &self.call {
            let binding = Binding::new(self::connection(*connection)).node(self::node(*node));
            let binding = if *take_over { binding.take_over() } else { binding };
            let bound = store.bind(self.target(*on), binding).await?;
            let word = match (&bound.taken_from, bound.changed) {
                (Some(_), _) => "taking over",
                (None, true) => "ok",
                (None, false) => "unchanged",
            };
            let text = |text: Option<String>| text.unwrap_or_default();
            let taken_from = bound.taken_from.map(|id| id.as_str().to_owned());
            let reply = Reply::word(word).with("id", bound.id.as_str()).with("version", bound.version);
            let reply = reply.with("connection", text(bound.previous_connection));
            let reply = reply.with("node", text(bound.previous_node)).with("taken from", text(taken_from));
            return Ok(reply.with_sessions(&bound.reaped));
        }
        let Call::Patch { on, .. } = &self.call else {
            return Ok(Reply::default());
        };
        let patched = store.patch(self.target(*on), self.patch()?).await?;
        let reply = Reply::word(if patched.changed { "ok" } else { "unchanged" });
        let reply = reply.with("id", patched.id.as_str()).with("version", patched.version);
        Ok(reply.with("expires_at", patched.expires_at_ms))
    }

    async fn list(&self, store: &dyn SessionStore, cursor: &mut Option<(Whose, Cursor)>) -> Result<Outcome> {
        let (whose, request) = match (&self.call, cursor.take()) {
            (Call::List { whose, size }, _) => (*whose, PageRequest::first(*size)),
            (Call::ListNext { size }, Some((whose, after))) => (whose, PageRequest::after(after, *size)),
            _ => return Ok(Reply::word("no cursor").into()),
        };
        let mut page = store.list(&owner(whose), &request).await?;
        let reply = Reply::word(on_page(page.next.is_some())).with_sessions(&page.sessions);
        *cursor = page.next.map(|next| (whose, next));
        Ok(Outcome { reply, session: page.sessions.pop(), export: None })
    }

    /// What carries sessions from one place to the other.
    async fn carry(&self, number: usize, store: &dyn Store) -> Result<Outcome> {
        let (Some((exported, replaces)), Call::Import { crossed, .. }) = (self.import(), &self.call) else {
            let Call::Export(on) = &self.call else {
                return Ok(Reply::word("no export").into());
            };
            let export = store.export(self.target(*on).id()).await?;
            let found = Outcome::found(export.as_ref().map(|export| export.session().clone()));
            return Ok(Outcome { export, ..found });
        };
        let from = if *crossed { 1 - number } else { number };
        let import = Import::new(exported.stores[from].clone()).operation_id(self.operation_id);
        let import = match replaces {
            Replaces::Older => import,
            Replaces::At(number) => import.if_at(self.exported_version(number)),
            Replaces::Nothing => import.if_absent(),
        };
        Ok(Outcome::from(Reply::word(match store.import(import).await? {
            true => "ok",
            false => "unchanged",
        })))
    }

    async fn other(&self, store: &dyn SessionStore) -> Result<Outcome> {
        let reply = match &self.call {
            Call::Get(on) => return Ok(Outcome::found(store.get(self.target(*on).id()).await?)),
            Call::RefreshAndGet(on) => {
                return Ok(Outcome::found(store.refresh_and_get(self.target(*on)).await?));
            }
            Call::ByConnection(number) => {
                return Ok(Outcome::found(store.session_by_connection(&connection(*number)).await?));
            }
            Call::Refresh(on) => refreshed(store.refresh(self.target(*on)).await?),
            Call::Unbind { on, connection } => {
                Reply::word(match store.unbind(self.target(*on), &self::connection(*connection)).await? {
                    true => "ok",
                    false => "unchanged",
                })
            }
            Call::Delete(on) => Reply::word(match store.delete(self.target(*on)).await? {
                Some(_) => "ok",
                None => "missing",
            }),
            Call::Count(whose) => match store.count(&owner(*whose)).await? {
                0 => Reply::word("none"),
                live => Reply::word("ok").with("live", live),
            },
            Call::DeleteUser { user, keep } => {
                let keep = keep.map(|on| self.target(on).id());
                let deleted = store.delete_user(&self::user(*user), keep).await?;
                let word = if deleted.removed.is_empty() { "none" } else { "ok" };
                Reply::word(word).with_removed(&deleted.removed).with("corrupt", deleted.corrupt.len())
            }
            Call::Expired { ago_s, skip, limit } => {
                let expired = store.expired(self.before(*ago_s), *skip, *limit).await?;
                let word = if expired.is_empty() { "none" } else { "ok" };
                expired.iter().fold(Reply::word(word), |reply, found| {
                    reply.with("expired", format!("{} at {}", found.id.as_str(), found.expired_at_ms))
                })
            }
            Call::Reap(batch) => {
                let reaped = store.reap(*batch).await?;
                let word = if reaped.sessions.is_empty() { "none" } else { "ok" };
                let reply = Reply::word(word).with("more", reaped.more).with("dropped", reaped.dropped);
                reply.with("corrupt", reaped.corrupt.len()).with_sessions(&reaped.sessions)
            }
            call => unreachable!("{} is made elsewhere", call.name()),
        };
        Ok(reply.into())
    }

    /// The same instant when the call is repeated later.
    pub(super) fn before(&self, ago_s: Option<u64>) -> Option<u64> {
        ago_s.map(|seconds| self.now - crate::support::expect::ms(Duration::from_secs(seconds)))
    }
}

fn refreshed(refreshed: Option<Refreshed>) -> Reply {
    let Some(refreshed) = refreshed else {
        return Reply::word("missing");
    };
    let reply = Reply::word(if refreshed.changed { "ok" } else { "unchanged" });
    let reply = reply.with("id", refreshed.id.as_str()).with("version", refreshed.version);
    reply.with("last_active", refreshed.last_active_ms).with("expires_at", refreshed.expires_at_ms)
}

fn owner(whose: Whose) -> Selector {
    match whose {
        Whose::User(number) => Selector::user(user(number)),
        Whose::Node(number) => Selector::node(node(number)),
    }
}

fn set(entries: &mut Entries, at: u8, to: Option<u8>) {
    match to {
        Some(to) => entries.set(key(at), value(to)).unwrap(),
        None => {
            entries.remove(key(at));
        }
    }
}
