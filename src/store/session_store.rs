//! What a service does with its sessions, whatever stores them.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{
    Binding, Bound, Created, Expired, Health, NewId, NewSession, NodeIdentity, OperationId, Page,
    PageRequest, Patch, Patched, Reaped, Refreshed, Result, Rotated, Rotation, Rules, Selector, Session,
    SessionId, SessionRef, UserDeleted,
};
use crate::store::event_store::EventStore;
use crate::store::join::join;

/// A store of sessions: what a service does with them. Usable as `Arc<dyn SessionStore>`.
///
/// A *live* session is one that was made, has not expired and was not deleted. Only `create` and an import make one:
/// nothing else brings a session back that is gone.
///
/// # A session that is not there
/// "The server is down" is an error everywhere and never looks like "no such session". That is told like this, by every
/// operation of every store:
///
/// | an operation that | tells it by | which are |
/// | --- | --- | --- |
/// | asks for a session | `Ok(None)` | `get`, `session_by_connection`, `refresh`, `refresh_and_get`, `export` |
/// | changes one | [`Refusal::Missing`](crate::Refusal::Missing) | `update`, `modify`, `patch`, `rotate`, `bind`, `import`, `freeze`, `thaw` |
/// | ends something | `Ok(false)` | `delete`, `unbind`, `depart`, `clean` |
/// | is about a user or node without any | an empty answer | `list`, `count`, `delete_user`, `recover` |
///
/// # Errors
/// Each operation may fail with [`Error::NotExecuted`](crate::Error::NotExecuted), one that writes also with [`Error::Ambiguous`](crate::Error::Ambiguous), and with
/// [`Error::Corrupt`](crate::Error::Corrupt) when something foreign is stored under its keys. Each operation names its further errors.
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
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Exists`](crate::Refusal::Exists), with
    /// [`Gone`](crate::Refusal::Gone) for an id that was deleted a moment ago, with
    /// [`Rotated`](crate::Refusal::Rotated) for one that was rotated away, with [`Taken`](crate::Refusal::Taken) when the
    /// connection is another session's, with [`Limit`](crate::Refusal::Limit) when the user has too many sessions,
    /// with [`TooLarge`](crate::Refusal::TooLarge).
    ///
    /// # Atomicity
    /// `create.lua`: the session, all its index entries, and the evictions that it takes. A user who is more than 200
    /// sessions above the limit, or has more than 1,000 stored, is first brought near it by batches.
    async fn create(&self, new: NewSession) -> Result<Created>;

    /// Makes any number of sessions, and answers for each in order, as `create` would. The refusal of one does
    /// not affect the others. Where users have a limit of sessions, each of theirs is one call, in order.
    ///
    /// The deadline is that of each batch, and of each session that is made alone. An ambiguous answer has that session's
    /// own operation id, under which `create` makes it alone; under that of the whole, the whole may be repeated.
    ///
    /// # Errors
    /// Those of [`create`](Self::create), of each session.
    ///
    /// # Atomicity
    /// `create_many.lua`: each session with all its index entries, 100 sessions at one instant. Where an
    /// expired session or a used name is in the way, `create.lua` makes that session.
    async fn create_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>>;

    /// Reads a live session. An id that was rotated away a moment ago leads to the session under its new id.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn get(&self, session: &dyn SessionRef) -> Result<Option<Session>>;

    /// The same, and never from memory where the store has a
    /// [near cache](crate::RedisStoreBuilder::near_cache).
    ///
    /// # Errors
    /// Only those of all operations.
    async fn get_fresh(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.get(session).await
    }

    /// Reads any number of sessions together, and answers for each in order, as [`get`](Self::get) would.
    ///
    /// # Errors
    /// Those of [`get`](Self::get), of each session.
    async fn get_many(&self, ids: &[SessionId]) -> Vec<Result<Option<Session>>> {
        join(ids.iter().map(|id| self.get(id))).await
    }

    /// Saves a whole session, if nobody changed it since it was read. The copy in hand takes the new version and times.
    ///
    /// A new ttl starts a new idle time. The limit of sessions a user is not checked. An expired session that still has
    /// the new connection is reaped by this call, and reported to nobody.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Missing`](crate::Refusal::Missing), with
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
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Missing`](crate::Refusal::Missing), with
    /// [`Conflict`](crate::Refusal::Conflict) when the patch expects another version, with
    /// [`TooLarge`](crate::Refusal::TooLarge), with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `patch.lua`: the record, and the expiry where the ttl changed.
    async fn patch(&self, session: &dyn SessionRef, patch: Patch) -> Result<Patched>;

    /// Notes that a live session is used, and extends it when enough of its idle time is gone. `None`: there is no
    /// live session. Within the [touch interval](crate::Rules::touch_interval) it writes nothing and is a read. What was written by a clock that was ahead, and was set back since, is brought back: the last use to
    /// now, and an expiry that is further off than its idle time. One that waits to be reconnected after a recovery
    /// keeps what it was given.
    ///
    /// # Errors
    /// Refused with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `refresh.lua`: record and expiry, if there is something to write.
    async fn refresh(&self, session: &dyn SessionRef) -> Result<Option<Refreshed>>;

    /// Refreshes any number of sessions together, and answers for each in order, as [`refresh`](Self::refresh) would.
    ///
    /// # Errors
    /// Those of [`refresh`](Self::refresh), of each session.
    ///
    /// # Atomicity
    /// `refresh.lua` for each session.
    async fn refresh_many(&self, sessions: &[&dyn SessionRef]) -> Vec<Result<Option<Refreshed>>> {
        join(sessions.iter().map(|session| self.refresh(*session))).await
    }

    /// Refreshes a session and returns it: what a web request begins with. It takes one round trip with a copy in hand, and
    /// within the [touch interval](crate::Rules::touch_interval); with the id two, when a touch is due.
    ///
    /// # Errors
    /// Refused with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `refresh.lua`: record and expiry, if there is something to write.
    async fn refresh_and_get(&self, session: &dyn SessionRef) -> Result<Option<Session>>;

    /// Gives a live session a new id, keeping its data and deadline, and makes it a user's in the same step: what a
    /// login does. For a while the old id leads to the session. Two rotations at once end with one new id, which
    /// both callers learn.
    ///
    /// Not so when the user changes: from a login on the old id leads nowhere, or whoever planted it in the browser
    /// would be logged in too; only a delete still follows it. Of two logins at once the second is refused with [`Missing`](crate::Refusal::Missing).
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Missing`](crate::Refusal::Missing), with
    /// [`Exists`](crate::Refusal::Exists) when the new id is in use, with [`Limit`](crate::Refusal::Limit) when the
    /// new user has too many sessions, with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// One that is sent again answers with the session as the rotation left it. Once another call has changed that, it is
    /// [`Ambiguous`](crate::Error::Ambiguous): the old id leads to the session, or after a login the new id if the caller
    /// chose it.
    ///
    /// # Atomicity
    /// `rotate.lua`: both records, all index entries, and the evictions that a login takes. A login of a user who is in
    /// another [partition](crate::RedisStoreBuilder::partitions) is three scripts, each of which may be repeated:
    /// docs/partitions.md says what holds between them.
    async fn rotate(&self, session: &dyn SessionRef, rotation: Rotation) -> Result<Rotated>;

    /// Attaches a connection, and the node that holds it, to a live session, which becomes active.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Missing`](crate::Refusal::Missing), with
    /// [`Taken`](crate::Refusal::Taken) when the connection is another session's and is not to be taken over, with
    /// [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `bind.lua`: the record, both connections, both nodes, and the session that loses the connection.
    async fn bind(&self, session: &dyn SessionRef, binding: Binding) -> Result<Bound>;

    /// Detaches a connection and its node from a session, which becomes suspended; but only if the session still has
    /// that connection, so the late disconnect of an old one does nothing. Tells whether it did.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `unbind.lua`: record, connection and node.
    async fn unbind(&self, session: &dyn SessionRef, connection: &str) -> Result<bool>;

    /// Deletes a live session with every index entry. For a while its id cannot be created again.
    /// Tells whether there was one.
    ///
    /// # Errors
    /// Only those of all operations.
    ///
    /// # Atomicity
    /// `delete.lua`: record, index entries, tombstone.
    async fn delete(&self, session: &dyn SessionRef) -> Result<bool>;

    /// Deletes any number of sessions together, and answers for each in order, as [`delete`](Self::delete) would.
    ///
    /// # Errors
    /// Those of [`delete`](Self::delete), of each session.
    ///
    /// # Atomicity
    /// `delete.lua` for each session.
    async fn delete_many(&self, sessions: &[&dyn SessionRef]) -> Vec<Result<bool>> {
        join(sessions.iter().map(|session| self.delete(*session))).await
    }

    /// Reads a page of the live sessions of a user or node, oldest first. One whose record is corrupt is left out.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field.
    ///
    /// A page may end before its size: where its sessions have more than 2 MiB, or where it changes so fast that only its
    /// beginning can be read at one instant. `next` tells whether there is more. Several pages are several instants.
    ///
    /// # Atomicity
    /// `list.lua`: the page is read as it is at one instant, and index entries without a session are dropped.
    async fn list(&self, of: &Selector, page: &PageRequest) -> Result<Page>;

    /// Counts the live sessions of a user or node, in steps of 1,000: each step is one instant, the sum is not.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field.
    async fn count(&self, of: &Selector) -> Result<u64>;

    /// Reads the live session that has a connection.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field.
    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>>;

    /// Deletes all sessions that a user has when it begins, or all but one: log out everywhere. A session that is
    /// created meanwhile survives, and so does the one to keep if it was rotated a moment ago. The deadline is that of
    /// each batch.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. After any other error some may be deleted: call it again.
    ///
    /// # Atomicity
    /// `delete_user.lua`: each session with its index entries, 200 sessions at one instant.
    async fn delete_user(&self, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted>;

    /// Reads which sessions expired before a time and were not reaped, oldest first; changes nothing. `before_ms` is in
    /// milliseconds since the epoch, `None` for now; `skip` passes over the oldest; at most 1,000 at once.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field.
    async fn expired(&self, before_ms: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>>;

    /// Removes a batch of expired sessions, 1 to 200, with all their index entries, and returns them. Any number of
    /// processes may: each expired session is returned to one of them. One that is refreshed meanwhile survives.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. After [`Error::Ambiguous`](crate::Error::Ambiguous) the sessions may be removed and their list is
    /// lost: the one call that does not answer the same when it is repeated.
    ///
    /// # Atomicity
    /// `reap.lua`: each session with its index entries, the batch at one instant.
    async fn reap(&self, batch: usize) -> Result<Reaped>;

    /// What holds for all sessions of this store.
    fn rules(&self) -> &Rules;

    /// Makes an id for a session of a user, or of nobody, with its [`Token`](crate::Token) where the
    /// [scheme](crate::Rules::id_scheme) has them: one that this store takes. In a namespace of several
    /// [partitions](crate::RedisStoreBuilder::partitions) it is in that user's. Under an operation id it is the one that a
    /// `create` under that makes.
    fn new_id(&self, user: &str) -> NewId;

    /// Refuses an id of the caller's that this store would not take for a session of a user, or of nobody. `from`: the id that
    /// a rotation leaves, which keeps the user. In a namespace of several
    /// [partitions](crate::RedisStoreBuilder::partitions) it has to be in that of the user, or of the id that is left. Asks no
    /// server. Defaults to refusing none.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names both.
    fn check_id(&self, id: &SessionId, user: &str, from: Option<&SessionId>) -> Result<()> {
        let _ = (id, user, from);
        Ok(())
    }

    /// Tells how the store is, for a readiness probe: whether it serves calls, and of each server the role, how long it takes
    /// to answer, the contract and the scripts. It asks the servers, which takes no longer than one call may, and is never
    /// an error itself: what keeps calls from being served stands in the answer. Whoever asks whether the process is alive
    /// asks something else: restarting it brings no server back.
    ///
    /// ```
    /// # use cloakroom::SessionStore;
    /// async fn readyz(store: &dyn SessionStore) -> u16 {
    ///     if store.health().await.is_ready() { 200 } else { 503 }
    /// }
    /// ```
    async fn health(&self) -> Health;

    /// Lets go of all connections. Calls on their way end by themselves, later ones fail.
    async fn close(&self);

    /// The same store, with each call under this operation id: to repeat a call that ended in [`Error::Ambiguous`](crate::Error::Ambiguous),
    /// and that call only. If it happened, it does not happen again, and answers as it would have.
    ///
    /// A session notes its last four changes, its tombstone too, for [`Rules::tombstone`](crate::Rules::tombstone), and the
    /// old id of a rotation, for [`Rules::rotation_grace`](crate::Rules::rotation_grace). Where that proves neither that the
    /// call happened nor that it did not, it is ambiguous again. Repeat it under the id of the error, which knows that
    /// the call may have happened, and with the same arguments. What the call did to
    /// other sessions (evicted them, took a connection from one) is returned the first time only, and so is what a
    /// session had before a `bind`. Do not use it for `modify`, which makes several calls.
    ///
    /// An import takes its id by [`Import::operation_id`](crate::migration::Import::operation_id), a recovery by
    /// [`Claim::operation_id`](crate::nodes::Claim::operation_id); the other steps of a migration are repeated under the id
    /// of their task.
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

    /// What the store tells of its sessions, for whoever has it as a trait object. `None`: nothing by itself, as a
    /// [`DrainingStore`](crate::draining::DrainingStore), which is two: read from those.
    fn event_store(&self) -> Option<&dyn EventStore> {
        None
    }

    /// The same store, acting for one node while that node holds its lease:
    ///
    /// - `update`, `patch`, `refresh`, `rotate`, `unbind` and `delete` work only on sessions of that node.
    /// - `create`, `create_many` and `bind` put sessions only on that node. The session that `bind` takes may be
    ///   another node's, for a client may come from there.
    /// - A write after the lease was lost, or to a session that another node has by now, is refused with
    ///   [`Fenced`](crate::Refusal::Fenced), even where the node holds a newer lease. Only where a
    ///   [`Lease`](crate::nodes::Lease) was lost in some partitions of a namespace, and registered anew there, its node
    ///   goes on with the sessions that it still has.
    /// - A repeated write that had succeeded still returns its first answer.
    /// - All other operations ignore the node.
    fn as_node(&self, identity: &NodeIdentity) -> Arc<dyn SessionStore>;
}
