//! A login that no one script can do: the old id and the new one are in two partitions, or in two stores.

use std::time::Duration;

use crate::model::duration::ms;
use crate::model::error::{Error, Obstacle, Result, cause};
use crate::model::login::Rotation;
use crate::model::operation_id::OperationId;
use crate::model::recent_changes::RecentChanges;
use crate::model::refusal::Refusal;
use crate::model::rules::Rules;
use crate::model::session::Session;
use crate::model::session_id::SessionId;
use crate::model::version::Version;

/// The calls of such a login, by its operation id: a copy is brought in, the old id is left under the id of the login, and
/// the copy gets the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoginSteps {
    pub(crate) login: OperationId,
}

/// How long a copy lives at most that does not become the session.
pub(crate) const COPY_LIVES: Duration = Duration::from_secs(60);

/// How long a copy has to live on at least for the old id to be left.
pub(crate) const TIME_TO_LEAVE: Duration = Duration::from_secs(10);

/// How often a session may change between the copy and the login.
pub(crate) const ROUNDS: u32 = 32;

/// In the place of a version, which no session has.
const BINDING: usize = usize::MAX;

impl LoginSteps {
    /// Under which the copy of a version is brought in. Each has its own, or a later one would be taken for an earlier. That
    /// what is there is its own earlier copy the login looks up, so the call needs no bound from before the login: by such a
    /// one a copy that was brought in since could not tell of it.
    pub(crate) fn copy(&self, of: Version) -> OperationId {
        self.login.nth(usize::try_from(of.get()).unwrap_or(BINDING - 1)).of_a_first_call()
    }

    /// Under which the copy gets the connection, after a look whether it did.
    pub(crate) fn binding(&self) -> OperationId {
        self.login.nth(BINDING).of_a_first_call()
    }

    /// Whether a session is a copy that the login brought in, as it was then.
    pub(crate) fn is_copy(&self, version: Version, changes: &RecentChanges) -> bool {
        // The change before it is that of the session that was copied.
        self.is_noted(version, changes, 1)
    }

    fn is_noted(&self, version: Version, changes: &RecentChanges, age: usize) -> bool {
        let of = version.get().checked_sub(age as u64).map(Version::new);
        of.is_some_and(|of| changes[age] == *self.copy(of).as_bytes())
    }

    /// How many versions the login made, if it made all since the one that was copied; else 0.
    pub(crate) fn own_changes(&self, version: Version, changes: &RecentChanges) -> u64 {
        let is_bound = changes[0] == *self.binding().as_bytes() && self.is_noted(version, changes, 2);
        if self.is_copy(version, changes) { 1 } else { u64::from(is_bound) * 2 }
    }

    /// An error before the old id is left. A login that may have happened stays in doubt where nobody can be asked.
    pub(crate) fn unless_in_doubt(&self, error: Error) -> Error {
        match error {
            Error::NotExecuted { .. } if self.login.is_of_a_repeat() => {
                Error::ambiguous(self.login, cause(error))
            }
            error => error,
        }
    }

    /// An error after the old id is left: the login has happened, and is to be repeated before the session ends; unless that is
    /// gone again.
    pub(crate) fn happened(&self, error: Error) -> Error {
        match error {
            Error::Refused(Refusal::Missing) | Error::Ambiguous { .. } => error,
            error => Error::ambiguous(self.login, cause(error)),
        }
    }
}

/// The session as it will be, but for its connection and its short life.
///
/// # Errors
/// Its entries would be too large.
pub(crate) fn copy_of(
    session: &Session,
    id: &SessionId,
    rotation: &Rotation,
    rules: &Rules,
    now: u64,
) -> Result<Session> {
    let mut copy = session.clone();
    rotation.patch.apply_entries(&mut copy);
    copy.ttl = rotation.patch.ttl.unwrap_or(copy.ttl);
    match rotation.lifetime_ms(rules) {
        None => {}
        Some(0) => copy.times.deadline = 0,
        Some(lifetime) => copy.times.deadline = now + lifetime,
    }
    copy.id = id.clone();
    rotation.named_user().clone_into(&mut copy.index_fields.user);
    copy.index_fields.connection.clear();
    copy.version = Version::new(session.version.get() + 1);
    copy.times.expires_at = copy.times.expires_at.min(now + ms(COPY_LIVES));
    if copy.times.deadline > 0 {
        copy.times.expires_at = copy.times.expires_at.min(copy.times.deadline);
    }
    if !rotation.patch.changes.is_empty() {
        copy.check(rules)?;
    }
    Ok(copy)
}

/// Nothing is left for a copy that has expired: one of an earlier attempt of a login that is repeated after long, or one that
/// was logged out. `expires_at` is that of the copy, if it is there.
pub(crate) fn require_copy(expires_at: Option<u64>, now: u64) -> Result<()> {
    match expires_at {
        Some(expires_at) if expires_at > now + ms(TIME_TO_LEAVE) => Ok(()),
        _ => Err(Error::obstacle(
            Obstacle::Contended,
            cause("the copy of an earlier attempt has expired: log in under another operation id"),
        )),
    }
}
