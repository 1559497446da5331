//! LocalOnly when the server is back: sessions are written back, and the server's version wins.

mod brought;
mod busy;
mod callback;
mod connections;
mod interrupted;
mod logouts;
mod partitions;
mod rotated_meanwhile;
mod rotations;
mod unsure;

use std::time::Duration;

use cloakroom::fallback::FallbackPolicy;
use cloakroom::{NewSession, Patch, Rotation, Session, SessionId, SessionStore as _};

use super::World;
use crate::support::expect::unless_left;

const TTL: Duration = Duration::from_secs(60);
const POLICY: FallbackPolicy = FallbackPolicy::LocalOnly { ttl: TTL };
const MOMENT: Duration = Duration::from_millis(1);

fn red() -> Patch {
    Patch::new().set("color", "red").unwrap()
}

fn blue() -> Patch {
    Patch::new().set("color", "blue").unwrap()
}

/// An attribute of what the server has under an id.
fn color(session: &Session) -> String {
    session.get("color").unwrap().unwrap_or_default()
}

/// A login, or with an empty text a new id alone.
fn to_user(user: &str) -> Rotation {
    if user.is_empty() { Rotation::new() } else { Rotation::new().user(user) }
}

impl World {
    /// What the server has under an id, as another process sees it.
    async fn there(&self, id: &SessionId) -> Option<Session> {
        unless_left(self.other.get(id).await)
    }

    /// A session of the server that this process has seen, and changed since it is away.
    async fn changed_here(&self, name: &str) -> Session {
        let session = self.context.session(&self.handle(), name).await;
        self.cut_off().await;
        self.store.patch(&session, red()).await.unwrap();
        session
    }

    /// An anonymous one that this process has seen.
    async fn anonymous(&self) -> Session {
        self.store.create(NewSession::new()).await.unwrap().session
    }

    /// The color of what both this process and another get under an id.
    async fn seen_color(&self, id: &SessionId) -> String {
        let (here, there) = (self.store.get(id).await.unwrap().unwrap(), self.there(id).await.unwrap());
        assert_eq!(here, there);
        color(&there)
    }

    /// Nobody has a live session under an id.
    async fn assert_gone(&self, id: &SessionId) {
        assert!(self.there(id).await.is_none());
        assert!(unless_left(self.store.get(id).await).is_none());
    }
}
