//! The trait for moving sessions between stores.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::model::{
    Direction, Export, Fate, Freezing, Frozen, Import, Leaving, Leftover, Migration, Migrations, Result,
    Session, SessionId, SessionRef, TaskId,
};

/// A store that can send sessions to another store and receive them from one. Each step can be retried
/// safely.
///
/// A [`MigrationManager`](crate::migration::MigrationManager) takes the steps in their order.
///
/// # Errors
/// As with [`SessionStore`](crate::SessionStore).
#[async_trait]
pub trait MigrationStore: Debug + Send + Sync + 'static {
    /// Reads a whole live session, to import it into another store. The export includes the operation ids of its last
    /// changes. An id that was rotated a moment ago leads to the session under its new id.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn export(&self, id: &SessionId) -> Result<Option<Export>>;

    /// Imports an exported session. It keeps its id, version, times and deadline, and the store that exported it keeps
    /// it too. The operation ids of its last four changes come along, except that the import's own id replaces the
    /// second newest. An import overwrites an older version that is stored here, with all changes made here since;
    /// [`Import::if_at`] prevents that.
    ///
    /// Returns whether the session was imported; `false`: this version with this content is here already. The store
    /// does not compare the times of use, and keeps its own.
    ///
    /// The session's times stay those of its old server's clock. The store does not import a session that has expired
    /// by its own clock, so none comes back to life. It does not check the session limit per user. The call reaps an
    /// expired session that is in the way, and reports it to nobody.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Missing`](crate::Refusal::Missing)
    /// when the session has expired by this store's clock, or when the version to replace is not here; with
    /// [`Conflict`](crate::Refusal::Conflict) when another session has this id, or when this session is at a version
    /// that must not be replaced; with [`Gone`](crate::Refusal::Gone) for an id that was deleted here a moment ago,
    /// with [`Rotated`](crate::Refusal::Rotated) for one that was rotated here, with [`Taken`](crate::Refusal::Taken)
    /// when the connection is another live session's, with [`TooLarge`](crate::Refusal::TooLarge), with
    /// [`Frozen`](crate::Refusal::Frozen) when the session is being migrated, here or where it was exported.
    ///
    /// # Atomicity
    /// `import.lua`: the record, and all index entries, those of the version that it replaces included.
    async fn import(&self, import: Import) -> Result<bool>;

    /// Freezes a live session that will move to another store. From now on callers can read and delete it, but not
    /// change it. The freeze ends by itself after its span, unless the session has departed. A repeated freeze by the
    /// same task has no further effect.
    ///
    /// Together with an [incoming](crate::migration::Import::incoming) import, this and the next three calls are the
    /// steps of a migration. Each can be retried safely. [`MigrationManager`](crate::migration::MigrationManager) takes
    /// them in their order.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Missing`](crate::Refusal::Missing),
    /// with [`Frozen`](crate::Refusal::Frozen) when another task moves it, with [`Departed`](crate::Refusal::Departed)
    /// when it has departed.
    ///
    /// # Atomicity
    /// `freeze.lua`: the record, and the list of the sessions that are on their way.
    async fn freeze(&self, session: &dyn SessionRef, freezing: Freezing) -> Result<Frozen>;

    /// Removes a frozen session from this store once its copy is in the other one. From here on the migration
    /// can only go forward. This store [answers](crate::Refusal::Departed) callers with the place where the
    /// session went, until the session would have expired or the migration is cleaned up. `until_ms` is the
    /// one that [`freeze`](Self::freeze) returned. Returns whether there was such a session; `false`: it was
    /// deleted, or has expired.
    ///
    /// # Errors
    /// Refused with [`Conflict`](crate::Refusal::Conflict) when that freeze is over, with
    /// [`Rotated`](crate::Refusal::Rotated) when the session was rotated since, with
    /// [`Departed`](crate::Refusal::Departed) when another task moved it.
    ///
    /// # Atomicity
    /// `depart.lua`: the record, and all index entries.
    async fn depart(&self, session: &dyn SessionRef, task: TaskId, until_ms: u64) -> Result<bool>;

    /// Ends the freeze of a session: at its source, to keep it there after all; or at its target, but only once it has
    /// [departed](Self::depart) from its source. Returns whether it was frozen.
    ///
    /// # Errors
    /// Refused with [`Missing`](crate::Refusal::Missing), with [`Frozen`](crate::Refusal::Frozen) when another task
    /// froze it or it moves the other way, with [`Rotated`](crate::Refusal::Rotated), with
    /// [`Departed`](crate::Refusal::Departed).
    ///
    /// # Atomicity
    /// `thaw.lua`: the record, and the list of the sessions that are on their way.
    async fn thaw(&self, id: &SessionId, task: TaskId, direction: Direction) -> Result<bool>;

    /// Removes what a finished migration left behind, see [`Leftover`]. Returns whether there was any.
    ///
    /// # Errors
    /// Only those of all operations.
    ///
    /// # Atomicity
    /// `clean.lua`: the record, and all index entries.
    async fn clean(&self, session: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<bool>;

    /// Reads a page of the sessions that are on their way to or from another store, ordered by the end of their freeze:
    /// at most 200 at once, without the first `skip`.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field.
    ///
    /// # Atomicity
    /// `migrations.lua`: reads the page at one instant, and drops the entries of sessions that are not on
    /// their way.
    async fn migrations(&self, skip: usize, limit: usize) -> Result<Migrations>;

    /// Reads how far the migration of one session is. `None`: no migration moves it. A freeze that is over counts as no
    /// migration.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn migration(&self, id: &SessionId) -> Result<Option<Migration>>;

    /// Returns whether anything is stored under an id: a session, live or expired, or a trace of one. When a session
    /// ends while another store may hold its copy, this store keeps a trace for as long as that copy could be stored.
    /// So `false` for a session that was about to leave means that this store has lost its data.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn knows(&self, id: &SessionId) -> Result<bool>;

    /// The second step of a login into another store: gives up a live session whose copy is in that store
    /// under another id. The session must still be at the version that was copied. The old id then answers as
    /// if it were deleted; only a delete learns the other id. A repeat under the operation id of the login
    /// has no further effect.
    ///
    /// This, [`now`](Self::now), [`fate`](Self::fate) and [`extend`](Self::extend) are the calls that a
    /// [`DrainingStore`](crate::draining::DrainingStore) makes.
    ///
    /// # Errors
    /// Refused with [`Missing`](crate::Refusal::Missing), with [`Conflict`](crate::Refusal::Conflict) at another version, with
    /// [`Frozen`](crate::Refusal::Frozen), with [`Rotated`](crate::Refusal::Rotated) when another rotation was first, with
    /// [`Departed`](crate::Refusal::Departed), with [`Fenced`](crate::Refusal::Fenced).
    ///
    /// # Atomicity
    /// `delete.lua`: record, index entries, tombstone.
    async fn leave(&self, session: &dyn SessionRef, leaving: Leaving) -> Result<()>;

    /// Gives a live session its full idle time again. `None`: there is no live session.
    ///
    /// # Errors
    /// Refused with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `refresh.lua`: record and expiry.
    async fn extend(&self, session: &dyn SessionRef) -> Result<Option<Session>>;

    /// Reads what became of an id. It does not follow a rotation.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn fate(&self, id: &SessionId) -> Result<Fate>;

    /// Reads the clock by which this store's sessions expire, in milliseconds since the epoch.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn now(&self) -> Result<u64>;

    /// Counts the stored sessions: live ones, and expired ones that are not reaped. Each partition is counted at an
    /// instant of its own.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn stored(&self) -> Result<u64>;
}
