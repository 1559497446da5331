//! The steps of a migration, whatever stores the sessions.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::model::{
    Direction, Export, Fate, Freezing, Frozen, Import, Leaving, Leftover, Migration, Migrations, Result,
    Session, SessionId, SessionRef, TaskId,
};

/// A store that sessions leave for another, and come to from another. Each step may be sent again.
///
/// A [`MigrationManager`](crate::migration::MigrationManager) takes the steps in their order.
///
/// # Errors
/// As of [`SessionStore`](crate::SessionStore).
#[async_trait]
pub trait MigrationStore: Debug + Send + Sync + 'static {
    /// Reads a live session whole, to be imported into another store: with what it remembers of its last changes. An id
    /// that was rotated away a moment ago leads to the session under its new id.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn export(&self, id: &SessionId) -> Result<Option<Export>>;

    /// Brings in a session that was exported. It keeps its id, version, times and deadline, and it stays where it was
    /// exported. The operation ids of its last four changes come too, all but the second newest, whose place the import's
    /// own takes. An older version that is stored here is overwritten, with all that was changed here since;
    /// [`Import::if_at`] prevents that.
    ///
    /// Tells whether it was brought in; `false`: this version with this content is here already. The times of its use
    /// are not compared, and stay as they are here.
    ///
    /// Its times stay those that its server's clock told. One that has expired by this store's clock is not brought in,
    /// so nothing revives. The limit of sessions a user is not checked. An expired session that is in the way is reaped
    /// by this call, and reported to nobody.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Missing`](crate::Refusal::Missing) when it has expired by this
    /// store's clock, or when what it was to replace is not here; with [`Conflict`](crate::Refusal::Conflict) when another session
    /// has this id, or this one is at a version that is not to be replaced; with [`Gone`](crate::Refusal::Gone) for
    /// an id that was deleted here a moment ago, with [`Rotated`](crate::Refusal::Rotated) for one that was rotated away
    /// here, with [`Taken`](crate::Refusal::Taken) when the connection is another live session's, with
    /// [`TooLarge`](crate::Refusal::TooLarge), with [`Frozen`](crate::Refusal::Frozen) when the session is being
    /// migrated, here or where it was exported.
    ///
    /// # Atomicity
    /// `import.lua`: the record, and all index entries, those of the version that it replaces included.
    async fn import(&self, import: Import) -> Result<bool>;

    /// Freezes a live session that is to go over to another store: from now on it is read and deleted, and not changed.
    /// The freeze ends by itself after its span, unless the session departed. A repeated
    /// freeze by the same task has no further effect.
    ///
    /// This and the next three are the steps of a migration, with an [incoming](crate::migration::Import::incoming) import, each safe to
    /// send again. [`MigrationManager`](crate::migration::MigrationManager) takes them in their order.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Missing`](crate::Refusal::Missing), with [`Frozen`](crate::Refusal::Frozen) when another task moves it,
    /// with [`Departed`](crate::Refusal::Departed) when it has gone.
    ///
    /// # Atomicity
    /// `freeze.lua`: the record, and the list of the sessions that are on their way.
    async fn freeze(&self, session: &dyn SessionRef, freezing: Freezing) -> Result<Frozen>;

    /// Lets go of a frozen session, once its copy is in the other store: from here on the migration only goes on. Whoever
    /// asks for the session is [told](crate::Refusal::Departed) where it went, until it would have gone by itself or the
    /// migration is cleaned up. `until_ms` is what [`freeze`](Self::freeze) answered.
    /// Tells whether there was a session to let go of; `false`: it was deleted, or has expired.
    ///
    /// # Errors
    /// Refused with [`Conflict`](crate::Refusal::Conflict) when that freeze is over, with
    /// [`Rotated`](crate::Refusal::Rotated) when the session was rotated since, with
    /// [`Departed`](crate::Refusal::Departed) when it went by another task.
    ///
    /// # Atomicity
    /// `depart.lua`: the record, and all index entries.
    async fn depart(&self, session: &dyn SessionRef, task: TaskId, until_ms: u64) -> Result<bool>;

    /// Ends the freeze of a session: at its source, where it stays after all, or at its target, but there only once it has
    /// [departed](Self::depart) from its source. Tells whether it was frozen.
    ///
    /// # Errors
    /// Refused with [`Missing`](crate::Refusal::Missing), with [`Frozen`](crate::Refusal::Frozen) when it is by another task or goes the other way, with
    /// [`Rotated`](crate::Refusal::Rotated), with [`Departed`](crate::Refusal::Departed).
    ///
    /// # Atomicity
    /// `thaw.lua`: the record, and the list of the sessions that are on their way.
    async fn thaw(&self, id: &SessionId, task: TaskId, direction: Direction) -> Result<bool>;

    /// Removes what a finished migration left, see [`Leftover`]. Tells whether there was any.
    ///
    /// # Errors
    /// Only those of all operations.
    ///
    /// # Atomicity
    /// `clean.lua`: the record, and all index entries.
    async fn clean(&self, session: &dyn SessionRef, task: TaskId, what: Leftover) -> Result<bool>;

    /// Reads a page of the sessions that are on their way to or from another store, by the end of their freeze: at most
    /// 200 at once, `skip` passes over the first.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field.
    ///
    /// # Atomicity
    /// `migrations.lua`: the page is read as it is at one instant, and entries of others are dropped.
    async fn migrations(&self, skip: usize, limit: usize) -> Result<Migrations>;

    /// Reads how far one session is on its way. `None`: it is not, or no longer. A freeze that is over counts as no migration.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn migration(&self, id: &SessionId) -> Result<Option<Migration>>;

    /// Tells whether anything is stored under an id: a session, live or expired, or what is left of one. What ends a session
    /// of which a copy may wait in another store leaves word for as long as that copy could be stored; so of a session that
    /// was to leave from here, `false` means that this store has lost what it knew.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn knows(&self, id: &SessionId) -> Result<bool>;

    /// Leaves a live session, at the version that was copied, for the copy that another store has of it under another id:
    /// the second step of a login into that store. The old id answers as if deleted, and only a delete is told the other
    /// one. Under the operation id of the login it happens once.
    ///
    /// This, [`now`](Self::now), [`fate`](Self::fate) and [`extend`](Self::extend) are what a
    /// [`DrainingStore`](crate::draining::DrainingStore) is made of.
    ///
    /// # Errors
    /// Refused with [`Missing`](crate::Refusal::Missing), with [`Conflict`](crate::Refusal::Conflict) at another version, with
    /// [`Frozen`](crate::Refusal::Frozen), with [`Rotated`](crate::Refusal::Rotated) when another rotation was first, with
    /// [`Departed`](crate::Refusal::Departed), with [`Fenced`](crate::Refusal::Fenced).
    ///
    /// # Atomicity
    /// `delete.lua`: record, index entries, tombstone.
    async fn leave(&self, session: &dyn SessionRef, leaving: Leaving) -> Result<()>;

    /// Gives a live session its whole idle time, whatever is left of that. `None`: there is no live session.
    ///
    /// # Errors
    /// Refused with [`Frozen`](crate::Refusal::Frozen).
    ///
    /// # Atomicity
    /// `refresh.lua`: record and expiry.
    async fn extend(&self, session: &dyn SessionRef) -> Result<Option<Session>>;

    /// Reads what became of an id. It follows no new id.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn fate(&self, id: &SessionId) -> Result<Fate>;

    /// Reads the time by which its sessions live, in milliseconds since the epoch.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn now(&self) -> Result<u64>;

    /// Counts the sessions that are stored, live or expired and not reaped. Several partitions are several instants.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn stored(&self) -> Result<u64>;
}
