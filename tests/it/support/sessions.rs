//! Sessions in number, the keys that lead to them, and foreign things in the place of those keys.

use std::fmt::Debug;
use std::sync::Arc;

use cloakroom::{Error, NewSession, Result, Session, SessionId, SessionStore};
use futures::StreamExt as _;

use super::context::Context;

pub(crate) fn ids<'a>(sessions: impl IntoIterator<Item = &'a Session>) -> Vec<SessionId> {
    sessions.into_iter().map(|session| session.id().clone()).collect()
}

/// Makes many sessions, 64 at once, and returns them in the order of their numbers. Those made by a clock that
/// stands still sort by their ids.
pub(crate) async fn create_many<S: SessionStore + ?Sized>(
    store: &Arc<S>,
    count: usize,
    new: impl Fn(usize) -> NewSession,
) -> Vec<Session> {
    futures::stream::iter(0..count)
        .map(|number| store.create(new(number)))
        .buffered(64)
        .map(|created| created.unwrap().session)
        .collect()
        .await
}

impl Context {
    /// The ids in an index, without the note that the expiry index keeps of itself.
    pub(crate) async fn entries(&self, index: &str) -> Vec<String> {
        let mut members: Vec<(String, u64)> = self.members(index).await.into_iter().collect();
        members.sort_by(|(one, at), (other, then)| (at, one).cmp(&(then, other)));
        members.into_iter().map(|(member, _)| member).filter(|member| !member.is_empty()).collect()
    }

    /// What a call says is corrupt when something of a foreign type stands in the place of a key. It must change
    /// nothing; afterwards everything is as before.
    pub(crate) async fn foreign_at<T: Debug>(
        &self,
        key: &str,
        call: impl Future<Output = Result<T>>,
    ) -> String {
        let aside = format!("aside:{key}");
        let there = self.exists(key).await;
        if there {
            let _: () = self.command(&["RENAME", key, &aside]).await;
        }
        let _: i64 = self.command(&["LPUSH", key, "foreign"]).await;
        let before = self.dump().await;
        let error = call.await.unwrap_err();
        assert_eq!(self.dump().await, before, "a refused call changed something");
        let _: i64 = self.command(&["DEL", key]).await;
        if there {
            let _: () = self.command(&["RENAME", &aside, key]).await;
        }
        match error {
            Error::Corrupt { what } => what,
            error => panic!("not corrupt: {error:?}"),
        }
    }
}
