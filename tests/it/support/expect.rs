//! Checks of replies and of the stored state, in one line each.

use std::fmt::Debug;
use std::time::Duration;

use cloakroom::migration::{Freezing, TaskId};
use cloakroom::{Error, Obstacle, Refusal, Result, Rules, SessionId};

use super::context::{Context, Store};

/// Why a call was refused. Anything else fails the test.
pub(crate) fn refusal<T: Debug>(result: Result<T>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// What a read finds under an id that a login may have left.
pub(crate) fn unless_left<T>(found: Result<Option<T>>) -> Option<T> {
    match found {
        Err(Error::Refused(Refusal::Rotated { to: None })) => None,
        found => found.unwrap(),
    }
}

/// What kept a call from being executed.
pub(crate) fn reason(error: &Error) -> Obstacle {
    match error {
        Error::NotExecuted { reason, .. } => *reason,
        other => panic!("{other:?}"),
    }
}

/// An error with all of its causes, as it is shown.
pub(crate) fn causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// The same, and as it is debugged.
pub(crate) fn all_that_is_told(error: &Error) -> String {
    let mut text = format!("{error:?}");
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        text += &format!("\n{error}\n{error:?}");
        cause = error.source();
    }
    text
}

pub(crate) fn session_id(text: &str) -> SessionId {
    SessionId::new(text).unwrap()
}

pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

impl Context {
    /// Ids without a live session: one that expired and is stored, one that was deleted, one that never was.
    pub(crate) async fn not_live(&self, store: &Store, ttl: Duration) -> [SessionId; 3] {
        let expired = self.session(store, "expired").await;
        self.clock.advance(ttl);
        let deleted = self.session(store, "deleted").await;
        store.delete(&deleted).await.unwrap();
        [expired.id().clone(), deleted.id().clone(), session_id("never")]
    }

    /// Freezes a session as a migration does.
    pub(crate) async fn freeze(&self, id: &SessionId) {
        let store = self.store_at(Rules::new()).await;
        let frozen = store
            .freeze(id, Freezing::new(TaskId::random(), "elsewhere").span(Duration::from_secs(3600)))
            .await;
        frozen.unwrap();
    }

    pub(crate) fn user_key(&self, user: &str) -> String {
        self.key(format!("user:{user}:sessions"))
    }

    pub(crate) fn connection_key(&self, connection: &str) -> String {
        self.key(format!("connection:{connection}:session"))
    }

    pub(crate) fn node_key(&self, node: &str) -> String {
        self.key(format!("node:{node}:sessions"))
    }

    /// Which session a connection points to.
    pub(crate) async fn pointer(&self, connection: &str) -> Option<String> {
        let id = self.string(&self.connection_key(connection)).await;
        id.map(|id| String::from_utf8(id).unwrap())
    }

    /// What the expiry index says of a session.
    pub(crate) async fn expiry_of(&self, id: &SessionId) -> Option<u64> {
        self.members(&self.key("expiry")).await.get(id.as_str()).copied()
    }

    /// In Redis, a TTL was set to this a moment ago. The moment may be long on a busy machine. In memory there are none.
    pub(crate) async fn assert_ttl(&self, key: &str, expected: Duration) {
        if self.snapshot().is_some() {
            return;
        }
        let left = self.pttl(key).await;
        let expected = i64::try_from(expected.as_millis()).unwrap();
        assert!(
            left > 0 && left <= expected && left > expected - 60_000,
            "{key} goes in {left} ms, not {expected}"
        );
    }
}
