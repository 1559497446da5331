//! A small store for the tests of this crate, the answers of its calls, and the checks of its state. It works only
//! where shuttle runs, as under `shuttle::check_random`.

use std::collections::BTreeMap;
use std::fmt::Debug;

use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};

use crate::memory::call::{Call, Memory};
use crate::memory::index::Index;
use crate::memory::locked_shards::LockedShards;
use crate::memory::ops::{
    bind, create, delete, delete_user, get, heartbeat, import, list, patch, reap, recover, refresh, rotate,
    unbind, update,
};
use crate::memory::record::Record;
use crate::memory::shards::Shards;
use crate::memory::snapshot;
use crate::memory::snapshot::Stored;
use crate::model::{
    Binding, Claim, Error, Export, Heartbeat, Import, NewSession, NodeIdentity, PageRequest, Patch, Refusal,
    Result, Rotation, Rules, Selector, Session, SessionId, TestClock, Version,
};
use crate::stored::keys::Keys;

pub(crate) const TTL: Duration = Duration::from_secs(60);

pub(crate) fn id(text: &str) -> SessionId {
    SessionId::new(text).unwrap()
}

/// The answer of a call, to compare.
pub(crate) fn told<T: Debug>(answer: Result<T>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => error.to_string(),
    }
}

/// A small store by a clock that stands still. Sessions are named by their ids.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) rules: Rules,
    pub(crate) clock: TestClock,
    /// An export of another store, to import.
    pub(crate) export: Option<Export>,
}

impl World {
    /// A call locks one to four of these shards, and meets others in them.
    pub(crate) fn new(rules: Rules, capacity: usize) -> Self {
        let clock = TestClock::new();
        clock.set_ms(1_000_000);
        let shards = Shards::new(thread_rng().gen_range(2..=4));
        let memory = Memory {
            shards,
            capacity,
            clock: Some(clock.clone()),
            closed: false.into(),
            events: Default::default(),
        };
        Self { memory, rules: rules.ttl(TTL), clock, export: None }
    }

    pub(crate) fn call(&self) -> Call<'_> {
        Call::new(&self.memory, &self.rules, None)
    }

    pub(crate) fn snapshot(&self) -> BTreeMap<String, Stored> {
        snapshot::take(&self.memory, &Keys::new("t").unwrap())
    }

    pub(crate) fn create(&self, session: &str, user: &str, connection: &str) -> String {
        let new = NewSession::new().id(id(session)).user(user).connection(connection).node("gateway");
        told(create::run(self.call(), new))
    }

    /// Also `None` for an id that a login gave up.
    pub(crate) fn get(&self, session: &str) -> Option<Session> {
        match get::run(&self.call(), &id(session)) {
            Err(Error::Refused(Refusal::Rotated { to: None })) => None,
            found => found.unwrap(),
        }
    }

    pub(crate) fn by_connection(&self, connection: &str) -> String {
        told(get::by_connection(self.call(), connection))
    }

    pub(crate) fn list(&self, user: &str) -> String {
        told(list::run(self.call(), &Selector::user(user), &PageRequest::first(100)))
    }

    pub(crate) fn refresh(&self, session: &str) -> String {
        told(refresh::run(self.call(), &id(session)))
    }

    pub(crate) fn patch(&self, session: &str, key: &str) -> String {
        told(patch::run(self.call(), &id(session), Patch::new().set(key, &true).unwrap()))
    }

    /// Makes it another user's, with a connection, if it is still at its first version.
    pub(crate) fn update(&self, session: &str, user: &str, connection: &str) -> String {
        let Some(mut session) = self.get(session) else {
            return "nothing to save".to_owned();
        };
        session.version = Version::new(1);
        session.set_user(user);
        session.set_connection(connection);
        told(update::run(self.call(), &mut session))
    }

    pub(crate) fn rotate(&self, session: &str, to: &str, user: &str) -> String {
        let rotation = Rotation::new().new_id(id(to));
        let rotation = if user.is_empty() { rotation } else { rotation.user(user) };
        told(rotate::run(self.call(), &id(session), rotation))
    }

    pub(crate) fn take_over(&self, session: &str, connection: &str) -> String {
        told(bind::run(self.call(), &id(session), &Binding::new(connection).node("other").take_over()))
    }

    pub(crate) fn unbind(&self, session: &str, connection: &str) -> String {
        told(unbind::run(self.call(), &id(session), connection))
    }

    pub(crate) fn delete(&self, session: &str) -> String {
        told(delete::run(self.call(), &id(session)))
    }

    pub(crate) fn delete_user(&self, user: &str) -> String {
        told(delete_user::run(&self.call(), user, None))
    }

    pub(crate) fn reap(&self) -> String {
        told(reap::run(self.call(), 10))
    }

    pub(crate) fn import(&self) -> String {
        told(import::run(self.call(), &Import::new(self.export.clone().unwrap())))
    }

    pub(crate) fn register(&self, node: &str) -> String {
        told(heartbeat::run(self.call(), &NodeIdentity::known(node), &Heartbeat::register()))
    }

    /// Takes the sessions of the node at which they were made.
    pub(crate) fn recover(&self, to: &str) -> String {
        told(recover::run(self.call(), &Claim::new("gateway", to)))
    }

    /// Exports a session as if it had been changed a few times elsewhere.
    pub(crate) fn export_newer(&mut self, session: &str) {
        let mut newer = self.get(session).unwrap();
        newer.version = Version::new(10);
        newer.set_connection("of elsewhere");
        self.export = Some(Export::new(newer, Default::default()));
    }

    /// Fails if an index entry has no session, a session lacks an entry, or the count of sessions is wrong.
    pub(crate) fn check(&self) {
        let shards = &self.memory.shards;
        let locked = LockedShards::lock(shards, shards.whole(), 0);
        let mut sessions = Counts::default();
        for (at, shard) in locked.shards().enumerate() {
            for (id, record) in &shard.records {
                assert_eq!(shards.shard_of(id.as_str()), at, "a record in a foreign shard");
                if record.is_session() {
                    assert!(shard.expiry.contains(&(record.expires_at, id.clone())), "no expiry entry");
                    sessions.add(&locked, id, record);
                } else {
                    assert!(shard.leftovers.contains(&(record.stored_until, id.clone())), "never swept");
                }
            }
        }
        let entries = Counts::of_entries(&locked);
        assert_eq!(sessions, entries, "sessions and their index entries");
        assert_eq!(shards.stored(), sessions.sessions, "the count of sessions");
        assert!(sessions.sessions <= self.memory.capacity, "{} sessions", sessions.sessions);
    }
}

/// How many there are of each kind. If each session has its entries, equal numbers mean that there are no others.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    sessions: usize,
    with_user: usize,
    with_node: usize,
    with_connection: usize,
}

impl Counts {
    /// Counts a session, and fails if it lacks an entry.
    fn add(&mut self, locked: &LockedShards<'_>, id: &SessionId, record: &Record) {
        let entry = (record.created_at, id.clone());
        let has =
            |index: Option<&Index>| index.is_some_and(|index| index.iter().any(|other| *other == entry));
        self.sessions += 1;
        if let Some(user) = record.user.get() {
            assert!(has(locked.index(&Selector::user(&**user))), "not in its user's index");
            self.with_user += 1;
        }
        if let Some(node) = record.node.get() {
            assert!(has(locked.index(&Selector::node(&**node))), "not in its node's index");
            self.with_node += 1;
        }
        if let Some(connection) = record.connection.get() {
            assert_eq!(locked.pointer(connection), Some(id), "its connection leads elsewhere");
            self.with_connection += 1;
        }
    }

    fn of_entries(locked: &LockedShards<'_>) -> Self {
        let mut counts = Self::default();
        for shard in locked.shards() {
            assert!(shard.users.values().chain(shard.nodes.values()).all(|index| index.len() > 0));
            counts.sessions += shard.expiry.len();
            counts.with_user += shard.users.values().map(Index::len).sum::<usize>();
            counts.with_node += shard.nodes.values().map(Index::len).sum::<usize>();
            counts.with_connection += shard.connections.len();
        }
        counts
    }
}
