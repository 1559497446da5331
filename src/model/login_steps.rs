//! A login in several steps, because the old id and the new one are in two partitions or in two stores.

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

/// The operation ids of the calls of such a login: import a copy, give up the old id under the login's own operation
/// id, bind the connection to the copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoginSteps {
    pub(crate) login: OperationId,
}

/// How long a copy lives at most if it does not become the session.
pub(crate) const COPY_LIVES: Duration = Duration::from_secs(60);

/// How long a copy must still live before the login gives up the old id.
pub(crate) const TIME_TO_LEAVE: Duration = Duration::from_secs(10);

/// How often a session may change between the copy and the login.
pub(crate) const ROUNDS: u32 = 32;

/// Stands in the place of a version; no session has this version.
const BINDING: usize = usize::MAX;

impl LoginSteps {
    /// The operation id under which the login imports its copy of a version. Each version has its own; otherwise the
    /// engine would take a later import for an earlier one. The login itself checks whether the session there is its
    /// own earlier copy, so the call needs no bound from before the login. With such a bound, a copy imported since
    /// could not prove anything.
    pub(crate) fn copy(&self, of: Version) -> OperationId {
        self.login.nth(usize::try_from(of.get()).unwrap_or(BINDING - 1)).of_a_first_call()
    }

    /// The operation id under which the copy gets the connection. The login first checks whether it has it
    /// already.
    pub(crate) fn binding(&self) -> OperationId {
        self.login.nth(BINDING).of_a_first_call()
    }

    /// Whether a session is a copy that the login imported, unchanged since.
    pub(crate) fn is_copy(&self, version: Version, changes: &RecentChanges) -> bool {
        // The change before the import is one of the session that was copied.
        self.is_noted(version, changes, 1)
    }

    fn is_noted(&self, version: Version, changes: &RecentChanges, age: usize) -> bool {
        let of = version.get().checked_sub(age as u64).map(Version::new);
        of.is_some_and(|of| changes[age] == *self.copy(of).as_bytes())
    }

    /// How many versions the login made, if it made all versions since the one that was copied; otherwise
    /// 0.
    pub(crate) fn own_changes(&self, version: Version, changes: &RecentChanges) -> u64 {
        let is_bound = changes[0] == *self.binding().as_bytes() && self.is_noted(version, changes, 2);
        if self.is_copy(version, changes) { 1 } else { u64::from(is_bound) * 2 }
    }

    /// The error of a login that fails before it gives up the old id. If the login may have happened earlier and no
    /// server answers, it stays ambiguous.
    pub(crate) fn unless_in_doubt(&self, error: Error) -> Error {
        match error {
            Error::NotExecuted { .. } if self.login.is_of_a_repeat() => {
                Error::ambiguous(self.login, cause(error))
            }
            error => error,
        }
    }

    /// The error of a login that fails after it gave up the old id. The login has happened, and the caller must repeat
    /// it before the session ends, unless the session is gone again.
    pub(crate) fn happened(&self, error: Error) -> Error {
        match error {
            Error::Refused(Refusal::Missing) | Error::Ambiguous { .. } => error,
            error => Error::ambiguous(self.login, cause(error)),
        }
    }
}

/// The session as it will be, except for its connection and its short life.
///
/// # Errors
/// Refused when its entries would be too large.
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

/// Requires that the copy still lives before the login gives up the old id. The copy of an earlier attempt may have
/// expired or been logged out. `expires_at` is that of the copy, if the copy is there.
pub(crate) fn require_copy(expires_at: Option<u64>, now: u64) -> Result<()> {
    match expires_at {
        Some(expires_at) if expires_at > now + ms(TIME_TO_LEAVE) => Ok(()),
        _ => Err(Error::obstacle(
            Obstacle::Contended,
            cause("the copy of an earlier attempt has expired: log in under another operation id"),
        )),
    }
}
