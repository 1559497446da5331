//! rotate: a new id for a live session, and a login in the same step.

use crate::batch::Removed;
use crate::declared::{Declared, Moved};
use crate::error::{Error, Refusal, Result};
use crate::id::SessionId;
use crate::operation::Operation;
use crate::routing::check_name;
use crate::rules::ms;
use crate::session::Session;
use crate::target::Target;
use crate::{lookup, script};

/// How to rotate a session.
///
/// ```
/// use cloakroom::Rotation;
///
/// let login = Rotation::new().user("ann");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rotation {
    pub(crate) new_id: Option<SessionId>,
    pub(crate) user: String,
}

impl Rotation {
    /// A new id, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The new id. Defaults to one that the engine makes.
    #[must_use]
    pub fn new_id(mut self, id: SessionId) -> Self {
        self.new_id = Some(id);
        self
    }

    /// Makes the session this user's: a login. Defaults to the user it has.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_name("user id", &self.user)
    }
}

/// What a rotation came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rotated {
    /// The session under its new id.
    pub session: Session,
    /// Sessions of the same user that were deleted to stay within the limit. Close their connections.
    pub evicted: Vec<Removed>,
    /// Another rotation was first: the new id is the one it made, and the user is as that one left it.
    pub by_another: bool,
}

pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn Target,
    rotation: Rotation,
) -> Result<Rotated> {
    rotation.check()?;
    let Rotation { new_id, user } = rotation;
    let new_id = new_id.unwrap_or_else(|| operation.rules().id_scheme.generate(&operation.id()));
    let mut declared = Declared::of(target, Moved::Answer).for_user(&user);
    let call = |declared: &Declared| call(operation, declared, &new_id, &user);
    let mut reply = declared.settle(operation, &script::ROTATE, call).await?;
    match reply.word.as_str() {
        "ok" => {
            let session = reply.session(&new_id)?;
            let evicted = declared.evicted(&mut reply)?;
            Ok(Rotated { session, evicted, by_another: false })
        }
        "moved" => {
            let session = lookup::session(operation, &reply.session_id()?).await?;
            let session = session.ok_or(Error::Refused(Refusal::Missing))?;
            Ok(Rotated { session, evicted: Vec::new(), by_another: true })
        }
        _ => Err(reply.into_error()),
    }
}

fn call(operation: &Operation<'_>, declared: &Declared, new_id: &SessionId, new_user: &str) -> redis::Cmd {
    let rules = operation.rules();
    let old = &declared.routing;
    let keys = operation.keys().of_session(declared.id.as_str(), old);
    let new_record = operation.keys().session(new_id.as_str());
    let new_user_key = operation.keys().user(if new_user.is_empty() { &old.user } else { new_user });
    let victim_keys = declared.victim_keys(operation);
    let lease = operation.fence_key();
    let keys =
        keys.iter().chain([&new_record, &new_user_key, &lease]).chain(&victim_keys).map(String::as_str);
    let (limit, policy) = rules.limit_arguments();
    let mut call = operation.call(&script::ROTATE, keys);
    call.arg(operation.id().as_bytes()).arg(declared.id.as_str());
    call.arg(&old.user).arg(&old.connection).arg(&old.node).arg(new_id.as_str()).arg(new_user);
    call.arg(ms(rules.grace)).arg(ms(rules.rotation_grace)).arg(ms(rules.tombstone)).arg(limit).arg(policy);
    operation.fence_arguments(&mut call);
    declared.victim_arguments(&mut call);
    call
}
