//! The trait of every store of sessions.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{
    Binding, Bound, Created, Expired, Explanation, Health, NewId, NewSession, NodeIdentity, OperationId,
    Page, PageRequest, Patch, Patched, Reaped, Refreshed, Removed, Result, Rotated, Rotation, Rules,
    Selector, Session, SessionId, SessionRef, UserDeleted,
};
use crate::store::event_store::EventStore;
use crate::store::join::join;

/// A store of sessions, with every operation on them. Usable as `Arc<dyn SessionStore>`.
///
/// A *live* session was created, has not expired and was not deleted. Only `create` and an import make a session: no
/// other call brings back one that is gone.
///
/// # A session that is not there
/// "The server is down" is always an error and never looks like "no such session". Every operation of every store
/// answers for a missing session like this:
///
/// | an operation that | answers | operations |
/// | --- | --- | --- |
/// | asks for a session | `Ok(None)` | `get`, `session_by_connection`, `refresh`, `refresh_and_get`, `export` |
/// | changes one | [`Refusal::Missing`](crate::Refusal::Missing) | `update`, `modify`, `patch`, `rotate`, `bind`, `import`, `freeze`, `thaw` |
/// | deletes one | `Ok(None)` | `delete` |
/// | ends something else | `Ok(false)` | `unbind`, `depart`, `clean` |
/// | is about a user or node without sessions | an empty answer | `list`, `count`, `delete_user`, `recover` |
///
/// A login gives a session a new id. For a while after it, the store refuses every operation under the old id with
/// [`Refusal::Rotated`](crate::Refusal::Rotated) and does not reveal the new id. Two kinds of calls differ: `delete`
/// follows to the new id, and a call that would create a session under the old id is refused with
/// [`Refusal::Gone`](crate::Refusal::Gone).
///
/// # Errors
/// Each operation may fail with [`Error::NotExecuted`](crate::Error::NotExecuted), one that writes also with [`Error::Ambiguous`](crate::Error::Ambiguous), and with
/// [`Error::Corrupt`](crate::Error::Corrupt) when something foreign is stored under its keys. Each operation names its further errors.
///
/// The store may also refuse a node's writes through [`as_node`](SessionStore::as_node) with
/// [`Fenced`](crate::Refusal::Fenced). It refuses calls on a session that a migration moved to another store
/// with [`Departed`](crate::Refusal::Departed).
///
/// # Atomicity
/// Each operation that writes is one script, named there: all of its writes happen, or none, and no other call sees
/// some of them. Operations on many sessions say how many sessions one script covers.
#[async_trait]
pub trait SessionStore: Debug + Send + Sync + 'static {
    /// Makes a session.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with
    /// [`Exists`](crate::Refusal::Exists), with [`Gone`](crate::Refusal::Gone) for an id that was deleted or
    /// left by a login a moment ago, with [`Rotated`](crate::Refusal::Rotated) for one left by another
    /// rotation, with [`Taken`](crate::Refusal::Taken) when the connection is another session's, with
    /// [`Limit`](crate::Refusal::Limit) when the user has too many sessions, with
    /// [`TooLarge`](crate::Refusal::TooLarge).
    ///
    /// # Atomicity
    /// `create.lua`: the session, all its index entries, and the evictions that make room for it. If a user is more
    /// than 200 sessions above the limit, or has more than 1,000 stored, batches first bring the user close to the
    /// limit.
    async fn create(&self, new: NewSession) -> Result<Created>;

    /// Makes any number of sessions, and returns a result per session in order, as `create` would. Refusing
    /// one does not affect the others. Where the rules limit the sessions per user, each session that has a
    /// user is one call, in order.
    ///
    /// The deadline applies to each batch, and to each session that is made alone. An ambiguous result
    /// carries that session's own operation id: retry that session by `create` under it. If you made the
    /// whole call under an operation id, you may also repeat the whole call under that id.
    ///
    /// # Errors
    /// Those of [`create`](Self::create), for each session.
    ///
    /// # Atomicity
    /// `create_many.lua`: each session with all its index entries, 100 sessions at one instant. Where an
    /// expired session or a used connection is in the way, `create.lua` makes that session.
    async fn create_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>>;

    /// Reads a live session. An id that was rotated a moment ago leads to the session under its new id.
    ///
    /// # Errors
    /// Only those of all operations, such as [`Rotated`](crate::Refusal::Rotated) for an id that a login left a moment ago.
    async fn get(&self, session: &dyn SessionRef) -> Result<Option<Session>>;

    /// Reads a live session as [`get`](Self::get) does, but never from the store's [near
    /// cache](crate::RedisStoreBuilder::near_cache).
    ///
    /// # Errors
    /// Only those of all operations.
    async fn get_fresh(&self, session: &dyn SessionRef) -> Result<Option<Session>> {
        self.get(session).await
    }

    /// Reads any number of sessions together, and returns a result per session in order, as
    /// [`get`](Self::get) would.
    ///
    /// # Errors
    /// Those of [`get`](Self::get), for each session.
    async fn get_many(&self, ids: &[SessionId]) -> Vec<Result<Option<Session>>> {
        join(ids.iter().map(|id| self.get(id))).await
    }

    /// Saves a whole session, if nobody changed it since you read it. The call gives your copy the new version and
    /// times.
    ///
    /// It counts as a use of the session, as a refresh does; a new ttl starts a new idle time. The store does not check
    /// the session limit per user. The call reaps an expired session that still has the new connection, and reports it
    /// to nobody.
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

    /// Changes single attributes and extensions, status, ttl or lifetime of a live session. Patches of different
    /// attributes never conflict. A patch counts as a use of the session, as a refresh does. [`Session::apply`] brings
    /// your copy up to date.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Missing`](crate::Refusal::Missing), with
    /// [`Conflict`](crate::Refusal::Conflict) when the patch expects another version, with
    /// [`TooLarge`](crate::Refusal::TooLarge), with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `patch.lua`: the record, and the expiry if the session now lives longer or the ttl changed.
    async fn patch(&self, session: &dyn SessionRef, patch: Patch) -> Result<Patched>;

    /// Records a use of a live session, and extends the session when enough of its idle time has passed.
    /// `None`: there is no live session. Within the [touch interval](crate::Rules::touch_interval) it writes
    /// nothing and is a read. If the server's clock was ahead and was set back, a refresh corrects the times:
    /// a last use in the future becomes now, and an expiry more than the idle time ahead becomes one idle
    /// time from now. A session that waits for its client after a recovery keeps the time that the recovery
    /// gave it.
    ///
    /// # Errors
    /// Refused with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `refresh.lua`: the record and the expiry, if there is something to write.
    async fn refresh(&self, session: &dyn SessionRef) -> Result<Option<Refreshed>>;

    /// Refreshes any number of sessions together, and returns a result per session in order, as
    /// [`refresh`](Self::refresh) would.
    ///
    /// # Errors
    /// Those of [`refresh`](Self::refresh), for each session.
    ///
    /// # Atomicity
    /// `refresh.lua` for each session.
    async fn refresh_many(&self, sessions: &[&dyn SessionRef]) -> Vec<Result<Option<Refreshed>>> {
        join(sessions.iter().map(|session| self.refresh(*session))).await
    }

    /// Refreshes a session and returns it: the first call of a web request. It takes one round trip if you pass a copy,
    /// or within the [touch interval](crate::Rules::touch_interval). It takes two if you pass the id and a write is
    /// due.
    ///
    /// # Errors
    /// Refused with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `refresh.lua`: the record and the expiry, if there is something to write.
    async fn refresh_and_get(&self, session: &dyn SessionRef) -> Result<Option<Session>>;

    /// Gives a live session a new id, and in the same step a user: the call for a login. The session keeps its data. A
    /// rotation counts as a use and starts a new idle time; it starts a new deadline too if the user changes. For a
    /// while the old id leads to the session. Two rotations at once end with one new id, and both callers learn it.
    ///
    /// When the user changes, the old id leads nowhere: otherwise an attacker who planted the old id in the browser
    /// would be logged in too. Only a delete still follows it. For the same time the store refuses every other
    /// operation under the old id with [`Rotated`](crate::Refusal::Rotated), which says only that there is a newer id:
    /// a request that was in flight must not look like a logout. The second of two logins at once gets the same
    /// refusal, and so does the second of any two rotations where clients hold [tokens](crate::IdScheme::Token).
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Missing`](crate::Refusal::Missing),
    /// with [`Exists`](crate::Refusal::Exists) when the new id is in use, with [`Limit`](crate::Refusal::Limit) when
    /// the new user has too many sessions, with [`TooLarge`](crate::Refusal::TooLarge), and with
    /// [`Frozen`](crate::Refusal::Frozen).
    ///
    /// A retried rotation returns the session as the rotation left it. If another call has changed the session since,
    /// the retry ends in [`Ambiguous`](crate::Error::Ambiguous). Then read the session by the old id, or after a login
    /// by the new id if you chose it.
    ///
    /// # Atomicity
    /// `rotate.lua`: both records, the attributes that the rotation changes, all index entries, and the evictions that
    /// make room for a login. A login of a user who is in another [partition](crate::RedisStoreBuilder::partitions)
    /// takes three scripts, each of which can be repeated: docs/partitions.md says what holds between them.
    async fn rotate(&self, session: &dyn SessionRef, rotation: Rotation) -> Result<Rotated>;

    /// Attaches a connection, and the node that holds it, to a live session, and makes the session active. It counts as
    /// a use, as a refresh does. A session has one connection: the reply names the one that this call replaced, so that
    /// you can close it (docs/guide.md).
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Missing`](crate::Refusal::Missing),
    /// with [`Taken`](crate::Refusal::Taken) when the connection is another session's and the call does not take it
    /// over, with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `bind.lua`: the record, the entries of both connections and both nodes, and the session that loses
    /// the connection.
    async fn bind(&self, session: &dyn SessionRef, binding: Binding) -> Result<Bound>;

    /// Detaches a connection and its node from a session, and suspends the session. It does so only if the session
    /// still has that connection, so the late disconnect of an old connection does nothing. Returns whether it did.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `unbind.lua`: the record, and the entries of connection and node.
    async fn unbind(&self, session: &dyn SessionRef, connection: &str) -> Result<bool>;

    /// Deletes a live session with every index entry, and returns what it had: close its connection. `None`:
    /// there was no live session. For a while nobody can create a session under the same id. Only the first
    /// call knows what the session had: a repeat under its operation id returns at most what you passed in.
    ///
    /// # Errors
    /// Only those of all operations.
    ///
    /// # Atomicity
    /// `delete.lua`: record, index entries, tombstone.
    async fn delete(&self, session: &dyn SessionRef) -> Result<Option<Removed>>;

    /// Deletes any number of sessions together, and returns a result per session in order, as
    /// [`delete`](Self::delete) would.
    ///
    /// # Errors
    /// Those of [`delete`](Self::delete), for each session.
    ///
    /// # Atomicity
    /// `delete.lua` for each session.
    async fn delete_many(&self, sessions: &[&dyn SessionRef]) -> Vec<Result<Option<Removed>>> {
        join(sessions.iter().map(|session| self.delete(*session))).await
    }

    /// Reads a page of the live sessions of a user or node, oldest first. It leaves out sessions whose records are
    /// corrupt.
    ///
    /// A page may hold fewer sessions than its size: because together they have more than 2 MiB, or because
    /// they change so fast that the store can read only the first ones at one instant. `next` says whether
    /// there are more. Each page is an instant of its own.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field.
    ///
    /// # Atomicity
    /// `list.lua`: reads the page at one instant, and drops index entries without a session.
    async fn list(&self, of: &Selector, page: &PageRequest) -> Result<Page>;

    /// Counts the live sessions of a user or node, in steps of 1,000. Each step is one instant; the sum is not.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field.
    async fn count(&self, of: &Selector) -> Result<u64>;

    /// Reads the live session that has a connection.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field.
    async fn session_by_connection(&self, connection: &str) -> Result<Option<Session>>;

    /// Logs a user out everywhere: deletes all sessions that the user has when the call begins, or all except one. A
    /// session that is created meanwhile survives. The one to keep survives too if it was rotated a moment ago. The
    /// deadline applies to each batch.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. After any other error some sessions may be deleted:
    /// call it again.
    ///
    /// # Atomicity
    /// `delete_user.lua`: each session with its index entries, 200 sessions at one instant.
    async fn delete_user(&self, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted>;

    /// Lists sessions that expired before a time and were not reaped, oldest first. It changes nothing.
    /// `before_ms` is in milliseconds since the epoch, `None` for now. The list leaves out the first `skip`
    /// and has at most `limit`, which is 1 to 1,000.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field.
    async fn expired(&self, before_ms: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>>;

    /// Removes a batch of expired sessions, 1 to 200, with all their index entries, and returns them. Any number of
    /// processes may call this at once: exactly one of them gets each expired session.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. After [`Error::Ambiguous`](crate::Error::Ambiguous)
    /// the sessions may be removed, and the list of them is lost. This is the one call that does not give the same
    /// answer when it is repeated.
    ///
    /// # Atomicity
    /// `reap.lua`: each session with its index entries, the batch at one instant.
    async fn reap(&self, batch: usize) -> Result<Reaped>;

    /// Says what became of an id, in one round trip: for support staff, or for a page that says why the user must log
    /// in again. It reports an expiry until the session is reaped, and a deletion or a rotation while the old id stays
    /// closed.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn explain(&self, id: &SessionId) -> Result<Explanation>;

    /// The rules for all sessions of this store.
    fn rules(&self) -> &Rules;

    /// Makes an id that this store accepts for a session of a user, or of no user, with its [`Token`](crate::Token)
    /// where the [scheme](crate::Rules::id_scheme) has tokens. In a namespace of several
    /// [partitions](crate::RedisStoreBuilder::partitions) the id is in that user's partition. Under an operation id it
    /// is the id that `create` makes under the same operation id.
    fn new_id(&self, user: &str) -> NewId;

    /// Checks that this store accepts an id for a session of a user, or of no user. `from` is the old id of a rotation
    /// that keeps the user. In a namespace of several [partitions](crate::RedisStoreBuilder::partitions) the id must be
    /// in the partition of the user, or of the old id. It asks no server. The default accepts every id.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names the id and the user.
    fn check_id(&self, id: &SessionId, user: &str, from: Option<&SessionId>) -> Result<()> {
        let _ = (id, user, from);
        Ok(())
    }

    /// Reports the health of the store, for a readiness probe: whether it serves calls, and for each server its role,
    /// its latency, its contract and its scripts. It asks the servers within the deadline of one call. It never returns
    /// an error: the reason that calls fail is in the answer. Do not use it as a liveness probe: a restart of the
    /// process brings no server back.
    ///
    /// ```
    /// # use cloakroom::SessionStore;
    /// async fn readyz(store: &dyn SessionStore) -> u16 {
    ///     if store.health().await.is_ready() { 200 } else { 503 }
    /// }
    /// ```
    async fn health(&self) -> Health;

    /// Closes all connections. Calls on their way still end by themselves; later calls fail.
    async fn close(&self);

    /// Returns the same store, which makes each call under this operation id: an idempotency key. Use it only to repeat
    /// a call that ended in [`Error::Ambiguous`](crate::Error::Ambiguous). If that call happened, it does not happen
    /// again, and the repeat returns its answer.
    ///
    /// A session keeps the operation ids of its last four changes. So does its tombstone, for
    /// [`Rules::tombstone`](crate::Rules::tombstone), and the old id of a rotation, for
    /// [`Rules::rotation_grace`](crate::Rules::rotation_grace). Where these cannot prove whether the call happened, the
    /// repeat is ambiguous again. Repeat the call with the same arguments, under the operation id that the error
    /// carries: that one records that the call may have happened. Only the first answer lists the effects on other
    /// sessions (evictions, a connection taken over) and the connection that a `bind` replaced. Do not use it for
    /// `modify`, which makes several calls.
    ///
    /// An import takes its id by [`Import::operation_id`](crate::migration::Import::operation_id), a recovery by
    /// [`Claim::operation_id`](crate::nodes::Claim::operation_id); repeat the other steps of a migration under the id
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

    /// The store's events, for callers that hold it as a trait object. `None`: the store has none of its own. A
    /// [`DrainingStore`](crate::draining::DrainingStore), for example, is two stores: read the events of each.
    fn event_store(&self) -> Option<&dyn EventStore> {
        None
    }

    /// Returns the same store, acting for one node while that node holds its lease:
    ///
    /// - `update`, `patch`, `refresh`, `rotate`, `unbind` and `delete`, and what calls them (`modify`, `refresh_many`,
    ///   `delete_many`), work only on sessions of that node.
    /// - `create`, `create_many` and `bind` put sessions only on that node. The session that `bind` takes may be
    ///   another node's, because its client may come from there.
    /// - A write after the lease was lost, or to a session that another node has by now, is refused with
    ///   [`Fenced`](crate::Refusal::Fenced), even where the node holds a newer lease. There is one exception: where a
    ///   [`Lease`](crate::nodes::Lease) was lost in some partitions of a namespace and registered again there, its node
    ///   goes on with the sessions that it still has.
    /// - A repeated write that had succeeded still returns its first answer.
    /// - All other operations ignore the node.
    fn as_node(&self, identity: &NodeIdentity) -> Arc<dyn SessionStore>;
}
