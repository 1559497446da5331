//! One task of the random run: it does something and judges the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::migration::{Export, Import};
use cloakroom::{
    Binding, Error, NewSession, Obstacle, PageRequest, Patch, Refusal, Result, Rotation, Selector, Session,
    SessionId, SessionRef,
};
use fastrand::Rng;

use super::{CONNECTIONS, IDS, NODES, Pace, USERS};
use crate::support::Context;
use crate::support::context::Store;

/// What a task does, and how often in relation to the others.
const CHOICES: &[(&str, u32)] = &[
    ("create", 20),
    ("get", 10),
    ("update", 10),
    ("patch", 12),
    ("refresh", 12),
    ("rotate", 8),
    ("login", 5),
    ("bind", 10),
    ("take over", 6),
    ("unbind", 8),
    ("delete", 6),
    ("import", 8),
    ("delete_user", 2),
    ("list", 5),
    ("count", 3),
    ("by connection", 5),
    ("reap", 3),
    ("advance", 3),
    ("flush", 1),
];

pub(super) fn user(number: u64) -> String {
    format!("user-{number}")
}

#[derive(Debug)]
pub(super) struct Actor {
    context: Arc<Context>,
    store: Store,
    pace: Arc<Pace>,
    random: Rng,
    /// Copies in hand, mostly out of date.
    hand: Vec<Session>,
    /// Sessions as they were, to be imported once they are something else.
    exports: Vec<Export>,
    /// What calls came to: to see that a run reached what it was to reach.
    outcomes: BTreeMap<String, u64>,
}

impl Actor {
    pub(super) fn new(context: Arc<Context>, store: Store, pace: Arc<Pace>, random: Rng) -> Self {
        Self {
            context,
            store,
            pace,
            random,
            hand: Vec::new(),
            exports: Vec::new(),
            outcomes: BTreeMap::new(),
        }
    }

    /// Prints the counts (seen with `--nocapture`), and fails where a kind of operation never succeeded.
    pub(super) fn report(actors: &[Self], operations: u64, took: Duration) {
        let mut sum: BTreeMap<&str, u64> = BTreeMap::new();
        for (outcome, count) in actors.iter().flat_map(|actor| &actor.outcomes) {
            *sum.entry(outcome).or_default() += count;
        }
        let seconds = took.as_secs_f64();
        let pace = operations as f64 / seconds;
        eprintln!("{operations} operations in {seconds:.1} s, {pace:.0} a second: {sum:#?}");
        for (choice, _) in CHOICES {
            let ok = sum.get(format!("{choice}: ok").as_str());
            assert!(ok.is_some_and(|count| *count > 0), "{choice} never succeeded");
        }
    }

    /// One operation.
    pub(super) async fn act(&mut self) {
        self.pace.keep();
        let total: u32 = CHOICES.iter().map(|(_, weight)| weight).sum();
        let mut at = self.random.u32(0..total);
        let mut chosen = CHOICES[0].0;
        for (choice, weight) in CHOICES {
            if at < *weight {
                chosen = choice;
                break;
            }
            at -= weight;
        }
        let outcome = match chosen {
            "create" => self.create().await,
            "get" | "by connection" | "list" | "count" => self.read(chosen).await,
            "update" => self.update().await,
            "patch" => self.patch().await,
            "refresh" => self.refresh().await,
            "rotate" | "login" => self.rotate(chosen == "login").await,
            "bind" | "take over" => self.bind(chosen == "take over").await,
            "unbind" | "delete" | "delete_user" => self.end(chosen).await,
            "import" => self.import().await,
            "reap" => self.store.reap(self.random.usize(1..20)).await.map(drop),
            "advance" => {
                self.pace.jump(Duration::from_millis(self.random.u64(0..90_000)));
                Ok(())
            }
            _ => {
                // In memory there is nothing to flush.
                if self.context.snapshot().is_none() {
                    self.context.command::<()>(&["SCRIPT", "FLUSH"]).await;
                }
                Ok(())
            }
        };
        self.note(chosen, outcome);
    }

    /// A refusal is an answer; of errors only the one that says that others were always first.
    fn note(&mut self, choice: &str, outcome: Result<()>) {
        let word = match outcome {
            Ok(()) => "ok".to_owned(),
            Err(Error::Refused(Refusal::Conflict { .. })) => "conflict".to_owned(),
            Err(Error::Refused(Refusal::Rotated { .. })) => "moved".to_owned(),
            Err(Error::Refused(refusal)) => refusal.to_string(),
            Err(Error::NotExecuted { reason: Obstacle::Contended, .. }) => "contended".to_owned(),
            Err(Error::Invalid(invalid)) if self.context.partitions().count > 1 => {
                assert!(invalid.to_string().contains("is in partition"), "{choice}: {invalid}");
                "misfit".to_owned()
            }
            Err(error) => panic!("{choice}: {error:?}"),
        };
        *self.outcomes.entry(format!("{choice}: {word}")).or_default() += 1;
    }

    fn user(&mut self) -> String {
        user(self.random.u64(0..USERS))
    }

    fn node(&mut self) -> String {
        format!("node-{}", self.random.u64(0..NODES))
    }

    fn connection(&mut self) -> String {
        format!("connection-{}", self.random.u64(0..CONNECTIONS))
    }

    fn id(&mut self) -> SessionId {
        // With several partitions each is one that some user may have.
        let number = self.random.u64(0..IDS);
        self.context.partitions().id_near(&format!("id-{number}"), &user(number % USERS))
    }

    /// An id, or a session in hand.
    fn target(&mut self) -> Box<dyn SessionRef + Send> {
        match self.copy() {
            Some(session) if self.random.bool() => Box::new(session),
            Some(session) if self.random.bool() => Box::new(session.id().clone()),
            _ => Box::new(self.id()),
        }
    }

    fn copy(&mut self) -> Option<Session> {
        self.random.choice(&self.hand).cloned()
    }

    fn keep(&mut self, session: Session) {
        if self.hand.len() < 8 {
            self.hand.push(session);
        } else {
            let at = self.random.usize(0..self.hand.len());
            self.hand[at] = session;
        }
    }

    async fn create(&mut self) -> Result<()> {
        let mut new = NewSession::new().set("made", &self.random.u32(..))?;
        if self.random.u8(0..4) > 0 {
            new = new.id(self.id());
        }
        if self.random.u8(0..8) > 0 {
            new = new.user(self.user());
        }
        if self.random.bool() {
            new = new.connection(self.connection());
        }
        if self.random.bool() {
            new = new.node(self.node());
        }
        if self.random.u8(0..4) == 0 {
            new = new.ttl(Duration::from_secs(self.random.u64(30..1200)));
        }
        let created = self.store.create(new).await?;
        assert!(!created.evicted.iter().any(|evicted| evicted.id == *created.session.id()));
        self.keep(created.session);
        Ok(())
    }

    async fn read(&mut self, choice: &str) -> Result<()> {
        match choice {
            "get" => {
                let id = self.target();
                if let Some(session) = self.store.get(id.id()).await? {
                    self.keep(session);
                }
            }
            "by connection" => {
                let connection = self.connection();
                if let Some(session) = self.store.session_by_connection(&connection).await? {
                    assert_eq!(session.connection(), Some(connection.as_str()));
                    self.keep(session);
                }
            }
            "count" => {
                let owner = Selector::node(self.node());
                self.store.count(&owner).await?;
            }
            _ => {
                let (user, node) = (self.user(), self.node());
                let page = PageRequest::first(self.random.usize(1..20));
                for session in self.store.list(&Selector::user(&user), &page).await?.sessions {
                    assert_eq!(session.user(), Some(user.as_str()));
                    self.keep(session);
                }
                for session in self.store.list(&Selector::node(&node), &page).await?.sessions {
                    assert_eq!(session.node(), Some(node.as_str()));
                }
            }
        }
        Ok(())
    }

    async fn update(&mut self) -> Result<()> {
        let Some(mut session) = self.copy() else {
            return Ok(());
        };
        // Half of them from a fresh copy, or all would conflict.
        if self.random.bool()
            && let Some(fresh) = self.store.get(session.id()).await?
        {
            session = fresh;
        }
        session.set("saved", &self.random.u32(..))?;
        match self.random.u8(0..6) {
            0 => session.set_user(self.user()),
            1 => session.set_connection(self.connection()),
            2 => session.set_node(self.node()),
            3 => session.set_connection(""),
            4 => session.set_ttl(Duration::from_secs(self.random.u64(30..1200))),
            _ => session.set_user(""),
        }
        let before = session.version().get();
        self.store.update(&mut session).await?;
        assert_eq!(session.version().get(), before + 1);
        self.keep(session);
        Ok(())
    }

    async fn patch(&mut self) -> Result<()> {
        let target = self.target();
        let key = format!("key-{}", self.random.u8(0..6));
        let mut patch = Patch::new();
        patch = match self.random.u8(0..3) {
            0 => patch.remove(key),
            1 => patch.set_extension(key, &self.random.u32(..))?,
            _ => patch.set(key, "x".repeat(self.random.usize(0..100)).as_str())?,
        };
        match self.random.u8(0..8) {
            0 => patch = patch.suspend(),
            1 => patch = patch.ttl(Duration::from_secs(self.random.u64(30..1200))),
            _ => {}
        }
        self.store.patch(target.as_ref(), patch).await.map(drop)
    }

    async fn refresh(&mut self) -> Result<()> {
        let target = self.target();
        if self.random.bool() {
            self.store.refresh(target.as_ref()).await.map(drop)
        } else {
            if let Some(session) = self.store.refresh_and_get(target.as_ref()).await? {
                self.keep(session);
            }
            Ok(())
        }
    }

    async fn rotate(&mut self, login: bool) -> Result<()> {
        let target = self.target();
        let mut rotation = Rotation::new();
        if self.random.bool() {
            rotation = rotation.new_id(self.id());
        }
        if login {
            rotation = rotation.user(self.user());
        }
        let rotated = self.store.rotate(target.as_ref(), rotation).await?;
        self.keep(rotated.session);
        Ok(())
    }

    async fn bind(&mut self, take_over: bool) -> Result<()> {
        let target = self.target();
        let mut binding = Binding::new(self.connection());
        if self.random.bool() {
            binding = binding.node(self.node());
        }
        if take_over {
            binding = binding.take_over();
        }
        let bound = self.store.bind(target.as_ref(), binding).await?;
        assert_ne!(bound.taken_from.as_ref(), Some(&bound.id));
        Ok(())
    }

    /// Brings in what was exported some time ago, and exports something for a later time.
    async fn import(&mut self) -> Result<()> {
        let target = self.target();
        let export = self.store.export(target.id()).await?;
        self.exports.extend(export);
        if self.exports.len() < 3 {
            return Ok(());
        }
        let export = self.exports.swap_remove(self.random.usize(0..3));
        let version = export.session().version();
        let import = Import::new(export);
        let import = match self.random.u8(0..4) {
            0 => import.if_absent(),
            1 => import.if_at(version),
            _ => import,
        };
        let imported = self.store.import(import).await?;
        *self.outcomes.entry(format!("import: {imported:?}")).or_default() += 1;
        Ok(())
    }

    async fn end(&mut self, choice: &str) -> Result<()> {
        let target = self.target();
        match choice {
            "unbind" => {
                let connection = self.connection();
                self.store.unbind(target.as_ref(), &connection).await.map(drop)
            }
            "delete" => self.store.delete(target.as_ref()).await.map(drop),
            _ => {
                let user = self.user();
                let keep = self.random.bool().then(|| target.id());
                let deleted = self.store.delete_user(&user, keep).await?;
                assert!(deleted.corrupt.is_empty());
                assert!(!deleted.removed.iter().any(|removed| Some(&removed.id) == keep));
                Ok(())
            }
        }
    }
}
