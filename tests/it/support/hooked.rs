//! A store whose calls a test stops at a chosen moment, makes fail, or only writes down.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cloakroom::background::{Expired, Reaped};
use cloakroom::migration::{
    Direction, Export, Fate, Freezing, Frozen, Import, Leaving, Leftover, Migration, MigrationStore,
    Migrations, TaskId,
};
use cloakroom::nodes::{Claim, Claimed, Heartbeat, HeartbeatReply, Node, NodeIdentity, NodeRegistry};
use cloakroom::{
    Binding, Bound, Created, Error, Explanation, Health, NewId, NewSession, Obstacle, OperationId, Page,
    PageRequest, Patch, Patched, Refreshed, Removed, Result, Rotated, Rotation, Rules, Selector, Session,
    SessionId, SessionRef, SessionStore, Store, UserDeleted,
};
use tokio::sync::Semaphore;

/// A store that does what another does, but for what a test plans. It implements as many of the three traits as the
/// other.
pub(crate) struct Hooked<S: ?Sized = dyn Store> {
    inner: Arc<S>,
    plan: Arc<Mutex<Plan>>,
}

impl<S: ?Sized> Clone for Hooked<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), plan: self.plan.clone() }
    }
}

#[derive(Default)]
struct Plan {
    /// The first that fits a call is used up by it.
    hooks: Vec<Hook>,
    /// Each call, when it was answered.
    calls: Vec<&'static str>,
    /// How many calls are still answered. The next is done and its answer lost, and then nothing reaches the store.
    left: Option<u64>,
    /// In how many calls this process kills itself.
    death: Option<(u64, Death)>,
}

/// At which moment of a call a process dies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    Before,
    /// When it is on its way: whether the server does it, nobody knows.
    During,
    After,
}

/// Ends this process as a crash does: by SIGKILL, in this moment, with nothing tidied up.
fn die() -> ! {
    let id = std::process::id().to_string();
    let _ = std::process::Command::new("kill").args(["-KILL", &id]).status();
    unreachable!("killed");
}

struct Hook {
    call: &'static str,
    moment: Moment,
    then: Then,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

enum Then {
    Fail,
    Wait(Gate),
    WaitAndFail(Gate),
}

/// A moment in which a call stands still.
#[derive(Clone)]
pub(crate) struct Gate {
    reached: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        Self { reached: Arc::new(Semaphore::new(0)), opened: Arc::new(Semaphore::new(0)) }
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        self.opened.acquire().await.unwrap().forget();
    }

    /// Waits until the call stands there.
    pub(crate) async fn reached(&self) {
        let reached = tokio::time::timeout(Duration::from_secs(30), self.reached.acquire()).await;
        reached.expect("no call came").unwrap().forget();
    }

    /// Lets it go on.
    pub(crate) fn open(&self) {
        self.opened.add_permits(1);
    }
}

impl<S: ?Sized> fmt::Debug for Hooked<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooked").finish_non_exhaustive()
    }
}

impl Hooked {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, plan: Arc::default() }
    }

    fn plan(&self, call: &'static str, moment: Moment, then: Then) {
        self.plan.lock().unwrap().hooks.push(Hook { call, moment, then });
    }

    /// The next such call is done, and its answer is lost.
    pub(crate) fn lose_answer(&self, call: &'static str) {
        self.plan(call, Moment::After, Then::Fail);
    }

    /// The next such call stands still before it is done.
    pub(crate) fn stop_before(&self, call: &'static str) -> Gate {
        self.stop(call, Moment::Before)
    }

    /// The next such call stands still when it is done and not yet answered.
    pub(crate) fn stop_after(&self, call: &'static str) -> Gate {
        self.stop(call, Moment::After)
    }

    /// The next such call stands still when it is done, and then its answer is lost.
    pub(crate) fn stop_and_lose(&self, call: &'static str) -> Gate {
        let gate = Gate::new();
        self.plan(call, Moment::After, Then::WaitAndFail(gate.clone()));
        gate
    }

    fn stop(&self, call: &'static str, moment: Moment) -> Gate {
        let gate = Gate::new();
        self.plan(call, moment, Then::Wait(gate.clone()));
        gate
    }

    /// After so many calls the store is away: one more is done, and its answer is lost.
    pub(crate) fn away_after(&self, calls: u64) {
        self.plan.lock().unwrap().left = Some(calls + 1);
    }

    pub(crate) fn is_away(&self) -> bool {
        self.plan.lock().unwrap().left == Some(0)
    }

    /// This process dies at the call that is so many calls away, of this handle and its clones.
    pub(crate) fn die_at(&self, calls: u64, moment: Death) {
        self.plan.lock().unwrap().death = Some((calls, moment));
    }

    /// Counts the calls of another store too: what is planned for this one is planned for both.
    pub(crate) fn beside(&self, inner: Arc<dyn Store>) -> Self {
        Self { inner, plan: self.plan.clone() }
    }

    /// It is there again.
    pub(crate) fn back(&self) {
        self.plan.lock().unwrap().left = None;
    }

    /// The names of the calls since this was asked last, in the order of their answers.
    pub(crate) fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.plan.lock().unwrap().calls)
    }
}

impl<S: ?Sized> Hooked<S> {
    fn comes_death(&self) -> Option<Death> {
        let mut plan = self.plan.lock().unwrap();
        let (left, moment) = plan.death.as_mut()?;
        *left = left.saturating_sub(1);
        (*left == 0).then_some(*moment)
    }

    async fn at(&self, call: &'static str, moment: Moment) -> Result<()> {
        let then = {
            let mut plan = self.plan.lock().unwrap();
            match (&mut plan.left, moment) {
                (Some(0), _) => return Err(lost(moment)),
                (Some(left), Moment::After) => {
                    *left -= 1;
                    if *left == 0 {
                        return Err(lost(moment));
                    }
                }
                _ => {}
            }
            let fits = |hook: &Hook| hook.call == call && hook.moment == moment;
            plan.hooks.iter().position(fits).map(|at| plan.hooks.remove(at).then)
        };
        match (then, moment) {
            (None, _) => Ok(()),
            (Some(Then::Fail), moment) => Err(lost(moment)),
            (Some(Then::Wait(gate)), _) => {
                gate.pass().await;
                Ok(())
            }
            (Some(Then::WaitAndFail(gate)), moment) => {
                gate.pass().await;
                Err(lost(moment))
            }
        }
    }

    async fn call<T>(&self, name: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.at(name, Moment::Before).await?;
        let death = self.comes_death();
        let answer = match death {
            Some(Death::Before) => die(),
            Some(Death::During) => {
                let _ = tokio::time::timeout(Duration::from_micros(fastrand::u64(..300)), call).await;
                die()
            }
            Some(Death::After) | None => call.await,
        };
        if death.is_some() {
            die();
        }
        self.plan.lock().unwrap().calls.push(name);
        self.at(name, Moment::After).await?;
        answer
    }
}

/// How a call ends before or after it was done.
fn lost(moment: Moment) -> Error {
    match moment {
        Moment::Before => Error::NotExecuted { reason: Obstacle::Connect, source: None },
        Moment::After => {
            let source = Box::<dyn std::error::Error + Send + Sync>::from("lost by a test");
            Error::Ambiguous { operation_id: OperationId::random(), source: source.into() }
        }
    }
}

#[async_trait]
impl<S: SessionStore + ?Sized> SessionStore for Hooked<S> {
    async fn create(&self, new: NewSession) -> Result<Created> {
        self.call("create", self.inner.create(new)).await
    }

    async fn create_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>> {
        if let Err(error) = self.at("create_many", Moment::Before).await {
            return vec![Err(error)];
        }
        let answers = self.inner.create_many(new).await;
        self.plan.lock().unwrap().calls.push("create_many");
        match self.at("create_many", Moment::After).await {
            Ok(()) => answers,
            Err(error) => vec![Err(error)],
        }
    }

    async fn get(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.call("get", self.inner.get(session)).await
    }

    async fn update(&self, session: &mut Session) -> Result<()> {
        self.call("update", self.inner.update(session)).await
    }

    async fn patch(&self, session: &dyn SessionRef, patch: Patch) -> Result<Patched> {
        self.call("patch", self.inner.patch(session, patch)).await
    }

    async fn refresh(&self, session: &dyn SessionRef) -> Result<Option<Refreshed>> {
        self.call("refresh", self.inner.refresh(session)).await
    }

    async fn refresh_and_get(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.call("refresh_and_get", self.inner.refresh_and_get(session)).await
    }

    async fn rotate(&self, session: &dyn SessionRef, rotation: Rotation) -> Result<Rotated> {
        self.call("rotate", self.inner.rotate(session, rotation)).await
    }

    async fn bind(&self, session: &dyn SessionRef, binding: Binding) -> Result<Bound> {
        self.call("bind", self.inner.bind(session, binding)).await
    }

    async fn unbind(&self, session: &dyn SessionRef, connection: &str) -> Result<bool> {
        self.call("unbind", self.inner.unbind(session, connection)).await
    }

    async fn delete(&self, session: &dyn SessionRef) -> Result<Option<Removed>> {
        self.call("delete", self.inner.delete(session)).await
    }

    async fn list(&self, of: &Selector, page: &PageRequest) -> Result<Page> {
        self.call("list", self.inner.list(of, page)).await
    }

    async fn count(&self, of: &Selector) -> Result<u64> {
        self.call("count", self.inner.count(of)).await
    }

    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>> {
        self.call("session_by_connection", self.inner.session_by_connection(connection)).await
    }

    async fn delete_user(&self, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted> {
        self.call("delete_user", self.inner.delete_user(user, keep)).await
    }

    async fn expired(&self, before_ms: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
        self.call("expired", self.inner.expired(before_ms, skip, limit)).await
    }

    async fn reap(&self, batch: usize) -> Result<Reaped> {
        self.call("reap", self.inner.reap(batch)).await
    }

    async fn explain(&self, id: &SessionId) -> Result<Explanation> {
        self.call("explain", self.inner.explain(id)).await
    }

    fn rules(&self) -> &Rules {
        self.inner.rules()
    }

    fn new_id(&self, user: &str) -> NewId {
        self.inner.new_id(user)
    }

    fn check_id(&self, id: &SessionId, user: &str, from: Option<&SessionId>) -> Result<()> {
        self.inner.check_id(id, user, from)
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    fn with_operation_id(&self, id: OperationId) -> Arc<dyn SessionStore> {
        Arc::new(Hooked { inner: self.inner.with_operation_id(id), plan: self.plan.clone() })
    }

    fn as_node(&self, identity: &NodeIdentity) -> Arc<dyn SessionStore> {
        Arc::new(Hooked { inner: self.inner.as_node(identity), plan: self.plan.clone() })
    }
}

#[async_trait]
impl<S: NodeRegistry + ?Sized> NodeRegistry for Hooked<S> {
    async fn heartbeat(&self, identity: &NodeIdentity, beat: Heartbeat) -> Result<HeartbeatReply> {
        self.call("heartbeat", self.inner.heartbeat(identity, beat)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        self.call("nodes", self.inner.nodes()).await
    }

    async fn lapsed_nodes(&self) -> Result<Vec<String>> {
        self.call("lapsed_nodes", self.inner.lapsed_nodes()).await
    }

    async fn recover(&self, claim: Claim) -> Result<Claimed> {
        self.call("recover", self.inner.recover(claim)).await
    }
}

#[async_trait]
impl<S: MigrationStore + ?Sized> MigrationStore for Hooked<S> {
    async fn export(&self, id: &SessionId) -> Result<Option<Export>> {
        self.call("export", self.inner.export(id)).await
    }

    async fn import(&self, import: Import) -> Result<bool> {
        self.call("import", self.inner.import(import)).await
    }

    async fn freeze(&self, session: &dyn SessionRef, freezing: Freezing) -> Result<Frozen> {
        self.call("freeze", self.inner.freeze(session, freezing)).await
    }

    async fn depart(&self, session: &dyn SessionRef, task: TaskId, until_ms: u64) -> Result<bool> {
        self.call("depart", self.inner.depart(session, task, until_ms)).await
    }

    async fn thaw(&self, id: &SessionId, task: TaskId, direction: Direction) -> Result<bool> {
        self.call("thaw", self.inner.thaw(id, task, direction)).await
    }

    async fn clean(&self, session: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<bool> {
        self.call("clean", self.inner.clean(session, task, what)).await
    }

    async fn migrations(&self, skip: usize, limit: usize) -> Result<Migrations> {
        self.call("migrations", self.inner.migrations(skip, limit)).await
    }

    async fn migration(&self, id: &SessionId) -> Result<Option<Migration>> {
        self.call("migration", self.inner.migration(id)).await
    }

    async fn knows(&self, id: &SessionId) -> Result<bool> {
        self.call("knows", self.inner.knows(id)).await
    }

    async fn leave(&self, session: &dyn SessionRef, leaving: Leaving) -> Result<()> {
        self.call("leave", self.inner.leave(session, leaving)).await
    }

    async fn extend(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.call("extend", self.inner.extend(session)).await
    }

    async fn fate(&self, id: &SessionId) -> Result<Fate> {
        self.call("fate", self.inner.fate(id)).await
    }

    async fn now(&self) -> Result<u64> {
        self.call("now", self.inner.now()).await
    }

    async fn stored(&self) -> Result<u64> {
        self.call("stored", self.inner.stored()).await
    }
}
