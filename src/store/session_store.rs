//! The operations, whatever stores the sessions.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::background::reaper::{OnRemoved, Reaper};
use crate::model::{
    Binding, Bound, Claim, Claimed, Cleaned, Created, Deleted, Departed, Direction, Expired, Export,
    Freezing, Frozen, Heartbeat, Import, Imported, LeaseStatus, Leftover, Migration, Migrations, NewSession,
    Node, NodeIdentity, OperationId, Page, PageRequest, Patch, Patched, Reaped, Refreshed, Result, Rotated,
    Rotation, Selector, Session, SessionId, SessionRef, TaskId, Thawed, Unbound, UserDeleted,
};
use crate::nodes::lease::{Lease, LeaseOptions};
use crate::nodes::recoverer::{OnRecovered, Recoverer};
use crate::store::join::together;

/// A store of sessions: every operation, usable as `Arc<dyn SessionStore>`.
///
/// A *live* session is one that was made, has not expired and was not deleted. Only `create` and `import` make one:
/// nothing else brings a session back that is gone.
///
/// # Errors
/// Each operation may fail with [`Error::NotExecuted`], one that writes also with [`Error::Ambiguous`], and with
/// [`Error::Corrupt`] when something foreign is stored under its keys. What else an operation may answer stands there.
/// "The server is down" is an error everywhere and never looks like "no such session".
///
/// Through [`as_node`](SessionStore::as_node) what a node writes may also be refused with
/// [`Fenced`](crate::Refusal::Fenced).
///
/// # Atomicity
/// Each operation that writes is one script, named there: all of its writes happen, or none, and no other call sees
/// some of them. The operations on many sessions say how much of them is one script.
#[async_trait]
pub trait SessionStore: Debug + Send + Sync + 'static {
    /// Makes a session.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field. Refused with [`Exists`](crate::Refusal::Exists), with
    /// [`Gone`](crate::Refusal::Gone) for an id that was deleted a moment ago, with
    /// [`Moved`](crate::Refusal::Rotated) for one that was rotated away, with [`Taken`](crate::Refusal::Taken) when the
    /// connection is another session's, with [`Limit`](crate::Refusal::Limit) when the user has too many sessions,
    /// with [`TooLarge`](crate::Refusal::TooLarge).
    ///
    /// # Atomicity
    /// `create.lua`: the session, all its index entries, and the evictions that it takes. A user who is more than 200
    /// sessions above the limit, or has more than 1,000 stored, is first brought near it by batches.
    async fn create(&self, new: NewSession) -> Result<Created>;

    /// Makes any number of sessions, and answers for each in order, as `create` would. What one is refused for is no
    /// matter of the others. Where users have a limit of sessions, theirs are made in order, a call each.
    ///
    /// The deadline is that of each batch, and of each session that is made alone. An ambiguous answer has that session's
    /// own operation id, under which `create` makes it alone; under that of the whole, the whole may be repeated.
    ///
    /// # Errors
    /// Those of [`create`](Self::create), of each session.
    ///
    /// # Atomicity
    /// `create_many.lua`: each session with all its index entries, 100 sessions at one instant. A session that something
    /// is in the way of is left to `create.lua`.
    async fn create_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>>;

    /// ReadBatcher a live session. An id that was rotated away a moment ago leads to the session under its new id.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn get(&self, id: &SessionId) -> Result<Option<Session>>;

    /// ReadBatcher any number of sessions together, and answers for each in order, as [`get`](Self::get) would.
    ///
    /// # Errors
    /// Those of [`get`](Self::get), of each session.
    async fn get_many(&self, ids: &[SessionId]) -> Vec<Result<Option<Session>>> {
        together(ids.iter().map(|id| self.get(id))).await
    }

    /// Saves a whole session, if nobody changed it since it was read. The copy in hand takes the new version and times.
    ///
    /// A new ttl starts a new idle time. The limit of sessions a user is not checked. An expired session that still has
    /// the new connection is reaped by this call, and reported to nobody.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field. Refused with [`Missing`](crate::Refusal::Missing), with
    /// [`Conflict`](crate::Refusal::Conflict) when it was changed, with [`Taken`](crate::Refusal::Taken) when the
    /// new connection is another session's, with [`TooLarge`](crate::Refusal::TooLarge), with
    /// [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `update.lua`: the record, and the index entries where user, connection or node changed.
    async fn update(&self, session: &mut Session) -> Result<()>;

    /// Changes single attributes and extensions, status or ttl of a live session. Patches of different attributes
    /// never conflict.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field. Refused with [`Missing`](crate::Refusal::Missing), with
    /// [`Conflict`](crate::Refusal::Conflict) when the patch expects another version, with
    /// [`TooLarge`](crate::Refusal::TooLarge), with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `patch.lua`: the record, and the expiry where the ttl changed.
    async fn patch(&self, target: &dyn SessionRef, patch: Patch) -> Result<Patched>;

    /// Notes that a live session is used, and extends it when enough of its idle time is gone. `None`: there is no
    /// live session.
    ///
    /// # Errors
    /// Refused with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `refresh.lua`: record and expiry.
    async fn refresh(&self, target: &dyn SessionRef) -> Result<Option<Refreshed>>;

    /// Refreshes any number of sessions together, and answers for each in order, as [`refresh`](Self::refresh) would.
    ///
    /// # Errors
    /// Those of [`refresh`](Self::refresh), of each session.
    ///
    /// # Atomicity
    /// `refresh.lua` for each session.
    async fn refresh_many(&self, targets: &[&dyn SessionRef]) -> Vec<Result<Option<Refreshed>>> {
        together(targets.iter().map(|target| self.refresh(*target))).await
    }

    /// Refreshes a session and returns it, in the same round trip: what a web request begins with.
    ///
    /// # Errors
    /// Refused with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `refresh.lua`: record and expiry.
    async fn refresh_and_get(&self, target: &dyn SessionRef) -> Result<Option<Session>>;

    /// Gives a live session a new id, keeping its data and deadline, and makes it a user's in the same step: what a
    /// login does. For a while the old id leads to the session. Two rotations at once end with one new id, which
    /// both callers learn.
    ///
    /// Not so when the user changes: from a login on the old id leads nowhere, or whoever planted it in the browser
    /// would be logged in too; only a delete still follows it. Of two logins at once the second is refused with [`Missing`](crate::Refusal::Missing).
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field. Refused with [`Missing`](crate::Refusal::Missing), with
    /// [`Exists`](crate::Refusal::Exists) when the new id is in use, with [`Limit`](crate::Refusal::Limit) when the
    /// new user has too many sessions, with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `rotate.lua`: both records, all index entries, and the evictions that a login takes.
    async fn rotate(&self, target: &dyn SessionRef, rotation: Rotation) -> Result<Rotated>;

    /// Attaches a connection, and the node that holds it, to a live session, which becomes active.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field. Refused with [`Missing`](crate::Refusal::Missing), with
    /// [`Taken`](crate::Refusal::Taken) when the connection is another session's and is not to be taken over, with
    /// [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `bind.lua`: the record, both connections, both nodes, and the session that loses the connection.
    async fn bind(&self, target: &dyn SessionRef, binding: Binding) -> Result<Bound>;

    /// Detaches a connection and its node from a session, which becomes suspended; but only if the session still has
    /// that connection, so the late disconnect of an old one does nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field. Refused with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `unbind.lua`: record, connection and node.
    async fn unbind(&self, target: &dyn SessionRef, connection: &str) -> Result<Unbound>;

    /// Deletes a live session with every index entry. For a while its id cannot be created again.
    ///
    /// # Errors
    /// Only those of all operations: a session that is not there is an answer.
    ///
    /// # Atomicity
    /// `delete.lua`: record, index entries, tombstone.
    async fn delete(&self, target: &dyn SessionRef) -> Result<Deleted>;

    /// Deletes any number of sessions together, and answers for each in order, as [`delete`](Self::delete) would.
    ///
    /// # Errors
    /// Those of [`delete`](Self::delete), of each session.
    ///
    /// # Atomicity
    /// `delete.lua` for each session.
    async fn delete_many(&self, targets: &[&dyn SessionRef]) -> Vec<Result<Deleted>> {
        together(targets.iter().map(|target| self.delete(*target))).await
    }

    /// ReadBatcher a live session whole, to be imported into another store: with what it remembers of its last changes. An id
    /// that was rotated away a moment ago leads to the session under its new id.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn export(&self, id: &SessionId) -> Result<Option<Export>>;

    /// Brings in a session that was exported, with its id, version, times and deadline; a repeated change that it
    /// remembers is recognized here too, all but the one before its last. Where the session is here already, a later
    /// version replaces an earlier one, with all that was changed here since: [`Import::if_at`] keeps that. The exported
    /// session stays where it is.
    ///
    /// Its times stay those that its server's clock told. One that has expired by this store's clock is not brought in,
    /// so nothing revives. The limit of sessions a user is not checked. An expired session that is in the way is reaped
    /// by this call, and reported to nobody.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field. Refused with [`Conflict`](crate::Refusal::Conflict) when another session
    /// has this id, or this one is at a version that is not to be replaced; with [`Gone`](crate::Refusal::Gone) for
    /// an id that was deleted here a moment ago, with [`Moved`](crate::Refusal::Rotated) for one that was rotated away
    /// here, with [`Taken`](crate::Refusal::Taken) when the connection is another live session's, with
    /// [`TooLarge`](crate::Refusal::TooLarge), with [`Frozen`](crate::Refusal::Frozen) when the session is being
    /// migrated, here or where it was exported.
    ///
    /// # Atomicity
    /// `import.lua`: the record, and all index entries, those of the version that it replaces included.
    async fn import(&self, import: Import) -> Result<Imported>;

    /// Freezes a live session that is to go over to another store: from now on it is read and deleted, and not changed.
    /// `None`: there is no live session. The freeze ends by itself after its span, unless the session departed. Again by
    /// the same task it happens once.
    ///
    /// This and the next three are the steps of a migration, with an [incoming](crate::Import::incoming) import, each safe to
    /// send again. [`MigrationManager`](crate::MigrationManager) takes them in their order.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field. Refused with [`Frozen`](crate::Refusal::Frozen) when another task moves it,
    /// with [`Departed`](crate::Refusal::Departed) when it has gone.
    ///
    /// # Atomicity
    /// `freeze.lua`: the record, and the list of the sessions that are on their way.
    async fn freeze(&self, target: &dyn SessionRef, freezing: Freezing) -> Result<Option<Frozen>>;

    /// Lets go of a frozen session, once its copy is in the other store: from here on the migration only goes on. Whoever
    /// asks for the session is [told](crate::Refusal::Departed) where it went, until it would have gone by itself or the
    /// migration is cleaned up. `until_ms` is what [`freeze`](Self::freeze) answered.
    ///
    /// # Errors
    /// Refused with [`Conflict`](crate::Refusal::Conflict) when that freeze is over, with
    /// [`Moved`](crate::Refusal::Rotated) when the session was rotated since, with
    /// [`Departed`](crate::Refusal::Departed) when it went by another task.
    ///
    /// # Atomicity
    /// `depart.lua`: the record, and all index entries.
    async fn depart(&self, target: &dyn SessionRef, task: TaskId, until_ms: u64) -> Result<Departed>;

    /// Ends the freeze of a session: at its source, where it stays after all, or at its target, but there only once it has
    /// [departed](Self::depart) from its source.
    ///
    /// # Errors
    /// Refused with [`Frozen`](crate::Refusal::Frozen) when it is by another task or goes the other way, with
    /// [`Moved`](crate::Refusal::Rotated), with [`Departed`](crate::Refusal::Departed).
    ///
    /// # Atomicity
    /// `thaw.lua`: the record, and the list of the sessions that are on their way.
    async fn thaw(&self, id: &SessionId, task: TaskId, direction: Direction) -> Result<Thawed>;

    /// Clears away what a migration leaves that is not the session.
    ///
    /// # Errors
    /// Only those of all operations.
    ///
    /// # Atomicity
    /// `clean.lua`: the record, and all index entries.
    async fn clean(&self, target: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<Cleaned>;

    /// ReadBatcher a page of the sessions that are on their way to or from another store, by the end of their freeze: at most
    /// 200 at once, `skip` passes over the first.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field.
    ///
    /// # Atomicity
    /// `migrations.lua`: the page is read as it is at one instant, and entries of others are dropped.
    async fn migrations(&self, skip: usize, limit: usize) -> Result<Migrations>;

    /// ReadBatcher how far one session is on its way. `None`: it is not, or no longer. Here a freeze that is over is none.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn migration(&self, id: &SessionId) -> Result<Option<Migration>>;

    /// ReadBatcher a page of the live sessions of a user or node, oldest first. One whose record is corrupt is left out.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field.
    ///
    /// # Atomicity
    /// `list.lua`: the page is read as it is at one instant, and index entries without a session are dropped.
    async fn list(&self, owner: &Selector, page: &PageRequest) -> Result<Page>;

    /// Counts the live sessions of a user or node: 1,000 at one instant.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field.
    async fn count(&self, owner: &Selector) -> Result<u64>;

    /// ReadBatcher the live session that has a connection.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field.
    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>>;

    /// Deletes all sessions that a user has when it begins, or all but one: log out everywhere. A session that is
    /// created meanwhile survives, and so does the one to keep if it was rotated a moment ago. The deadline is that of
    /// each batch.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field. After any other error some may be deleted: call it again.
    ///
    /// # Atomicity
    /// `delete_user.lua`: each session with its index entries, 200 sessions at one instant.
    async fn delete_user(&self, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted>;

    /// ReadBatcher which sessions expired before a time and were not reaped, oldest first; changes nothing. `before_ms` is in
    /// milliseconds since the epoch, `None` for now; `skip` passes over the oldest; at most 1,000 at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field.
    async fn expired(&self, before_ms: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>>;

    /// Removes a batch of expired sessions, 1 to 200, with all their index entries, and returns them. Any number of
    /// processes may: each expired session is returned to one of them. One that is refreshed meanwhile survives.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field. After [`Error::Ambiguous`] the sessions may be removed and their list is
    /// lost: the one call that does not answer the same when it is repeated.
    ///
    /// # Atomicity
    /// `reap.lua`: each session with its index entries, the batch at one instant.
    async fn reap(&self, batch: usize) -> Result<Reaped>;

    /// Registers a node under a lease, renews that, or releases it; [`lease`](Self::lease) does it in the background.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field. A lease that is another's or was lost is an answer.
    ///
    /// # Atomicity
    /// `heartbeat.lua`: the lease, and the list of the nodes.
    async fn heartbeat(&self, holder: &NodeIdentity, beat: Heartbeat) -> Result<LeaseStatus>;

    /// ReadBatcher which nodes hold a lease, or held one lately, by name, and how many live sessions each has.
    ///
    /// # Errors
    /// Only those of all operations. The deadline is that of all of it: one script for 1,000 nodes, and one for 1,000
    /// sessions of each.
    async fn nodes(&self) -> Result<Vec<Node>>;

    /// ReadBatcher the names of the nodes whose leases have run out, to be recovered.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn lapsed_nodes(&self) -> Result<Vec<String>>;

    /// Gives a batch of a node's sessions, the oldest, to another node that holds its lease: sessions of one whose lease
    /// has run out, or of one that is drained. Each gets the new node and a new version, loses its connection, and is
    /// suspended with some time left, so that its client may reconnect. Any number of processes may: each session is
    /// taken by one of them. One that its client bound elsewhere meanwhile stays there; an expired one is left to a
    /// reaper.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad field. Refused with [`Leased`](crate::Refusal::Leased) when the node holds its
    /// lease and is not to be drained, with [`Fenced`](crate::Refusal::Fenced) when the other does not hold its own.
    /// After any other error some may be taken, and their list is lost: the other node has them.
    ///
    /// # Atomicity
    /// `recover.lua`: each session with its index entries, the batch at one instant.
    async fn recover(&self, claim: Claim) -> Result<Claimed>;

    /// Lets go of all connections. Calls on their way end by themselves, later ones fail.
    async fn close(&self);

    /// The same store, with each call under this operation id: to repeat a call that ended in [`Error::Ambiguous`],
    /// and that call only. If it happened, it does not happen again, and answers as it would have.
    ///
    /// The last four changes of a session are recognized, for as long as it lives; a deletion as long as its
    /// [tombstone](crate::Rules::tombstone), a rotation as long as its [grace](crate::Rules::rotation_grace), an import
    /// until the third change after it. Give the same target and input. What the call told of other sessions (evicted,
    /// taken from, a user's) is not told again. Not for `modify`, which is several calls.
    ///
    /// ```
    /// # use cloakroom::{Error, SessionId, SessionStore};
    /// # async fn logout(store: &dyn SessionStore, id: &SessionId) -> Result<(), Error> {
    /// match store.delete(id).await {
    ///     Err(Error::Ambiguous { operation_id, .. }) => store.with_operation_id(operation_id).delete(id).await?,
    ///     answer => answer?,
    /// };
    /// # Ok(())
    /// # }
    /// ```
    fn with_operation_id(&self, id: OperationId) -> Arc<dyn SessionStore>;

    /// The same store for a node that writes as the owner of its sessions, while it holds its lease. `update`, `patch`,
    /// `refresh`, `rotate`, `unbind` and `delete` act on sessions of that node only; `create`, `create_many` and `bind` put sessions there
    /// and nowhere else, for a client may come from another node; `recover` gives it sessions. A write of a node whose
    /// lease ran out, or whose session is another's by now, is refused with [`Fenced`](crate::Refusal::Fenced), however
    /// late it comes and whatever lease the node holds by then; one that had happened is recognized by its operation id
    /// all the same. The other operations are anybody's.
    fn as_node(&self, holder: &NodeIdentity) -> Arc<dyn SessionStore>;

    /// Another handle of the same store.
    fn handle(&self) -> Arc<dyn SessionStore>;

    /// Registers a node under a lease, and renews that in the background.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the node's name is not 1 to 256 bytes or the lease not 1 ms to a day. Refused with
    /// [`Leased`](crate::Refusal::Leased) when another lease of this node is held.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    async fn lease(&self, node: &str, options: LeaseOptions) -> Result<Lease> {
        Lease::acquire(self.handle(), node, options).await
    }

    /// Recovers in the background: takes over the sessions of all nodes whose leases ran out, a batch after the other
    /// until none is left, then again after `every`, within a tenth more or less. It ends when the lease is lost. Any
    /// number of processes may.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `every` is not 1 ms to a week or the batch not 1 to 200.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    fn spawn_recoverer(&self, lease: &Lease, every: Duration, batch: usize) -> Result<Recoverer> {
        self.spawn_recoverer_with(lease, every, batch, Box::new(|_, _| {}))
    }

    /// The same, with each session that it took over handed out, and the name of the node that had it.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `every` is not 1 ms to a week or the batch not 1 to 200.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    fn spawn_recoverer_with(
        &self,
        lease: &Lease,
        every: Duration,
        batch: usize,
        on_recovered: OnRecovered,
    ) -> Result<Recoverer> {
        Recoverer::spawn(self.as_node(lease.holder()), lease, every, batch, on_recovered)
    }

    /// Reaps in the background, a batch after the other until none is left, then again after `every`, within a tenth
    /// more or less so that processes do not march in step. Any number of processes may.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `every` is not 1 ms to a week or the batch not 1 to 200.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    fn spawn_reaper(&self, every: Duration, batch: usize) -> Result<Reaper> {
        self.spawn_reaper_with(every, batch, Box::new(|_| {}))
    }

    /// The same, with each removed session handed out.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `every` is not 1 ms to a week or the batch not 1 to 200.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    fn spawn_reaper_with(&self, every: Duration, batch: usize, on_removed: OnRemoved) -> Result<Reaper> {
        Reaper::spawn(self.handle(), every, batch, on_removed)
    }
}
