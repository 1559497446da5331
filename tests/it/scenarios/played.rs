//! The calls of the scenarios, in the words of this crate.

use cloakroom::{
    Binding, Error, NewSession, PageRequest, Patch, Refusal, Result, Rotation, Selector, Session, SessionId,
    SessionStore,
};
use serde_json::{Map, Value, json};

/// Makes a call, and tells what it came to.
pub(super) async fn call(
    store: &dyn SessionStore,
    operation: &str,
    with: &Map<String, Value>,
) -> Result<Value> {
    let text = |name: &str| with.get(name).and_then(Value::as_str).unwrap_or_default();
    let id = || SessionId::new(text("id")).map_err(Error::from);
    Ok(match operation {
        "connect" => json!({}),
        "get" => shown(&found(store.get(&id()?).await?)?),
        "refresh" => {
            let refreshed = found(store.refresh(&id()?).await?)?;
            json!({ "id": refreshed.id.as_str(), "version": refreshed.version.get(), "changed": refreshed.changed })
        }
        "create" => {
            let created = store.create(NewSession::new().id(id()?).user(text("user"))).await?;
            let evicted: Vec<_> = created.evicted.iter().map(|removed| removed.id.as_str()).collect();
            let session = &created.session;
            json!({ "id": session.id().as_str(), "version": session.version().get(), "evicted": evicted })
        }
        "patch" => {
            let mut patch = Patch::new();
            for (key, value) in with["set"].as_object().unwrap() {
                patch = patch.set(key, value)?;
            }
            let patched = store.patch(&id()?, patch).await?;
            json!({ "id": patched.id.as_str(), "version": patched.version.get() })
        }
        "update" => {
            let mut session = found(store.get(&id()?).await?)?;
            for (key, value) in with["set"].as_object().unwrap() {
                session.set(key, value)?;
            }
            store.update(&mut session).await?;
            json!({ "id": session.id().as_str(), "version": session.version().get() })
        }
        "rotate" => {
            let rotation = Rotation::new().new_id(SessionId::new(text("new_id"))?);
            let rotated = store.rotate(&id()?, rotation).await?;
            let mut told = shown(&rotated.session);
            told["by_another"] = rotated.by_another.into();
            told
        }
        "bind" => {
            let binding = Binding::new(text("connection"));
            let takes_over = with.get("take_over").is_some_and(|take_over| take_over == true);
            let bound = store.bind(&id()?, if takes_over { binding.take_over() } else { binding }).await?;
            let reaped = ids(bound.reaped.iter().map(Session::id));
            json!({ "id": bound.id.as_str(), "version": bound.version.get(), "reaped": reaped })
        }
        "delete" => json!({ "deleted": store.delete(&id()?).await?.is_some() }),
        "delete_user" => {
            let deleted = store.delete_user(text("user"), None).await?;
            json!({ "ids": ids(deleted.removed.iter().map(|removed| &removed.id)) })
        }
        "list" => json!({ "ids": list(store, text("user"), with["page"].as_u64().unwrap()).await? }),
        "expired" => {
            let expired = store.expired(None, 0, 1000).await?;
            json!({ "ids": ids(expired.iter().map(|expired| &expired.id)) })
        }
        "reap" => {
            let reaped = store.reap(100).await?;
            json!({ "ids": ids(reaped.sessions.iter().map(Session::id)), "corrupt": ids(&reaped.corrupt) })
        }
        other => panic!("the scenarios have no operation {other}"),
    })
}

/// All pages.
async fn list(store: &dyn SessionStore, user: &str, page: u64) -> Result<Vec<String>> {
    let (of, size, mut all) = (Selector::user(user), usize::try_from(page).unwrap(), Vec::new());
    let mut request = PageRequest::first(size);
    loop {
        let page = store.list(&of, &request).await?;
        all.extend(ids(page.sessions.iter().map(Session::id)));
        let Some(next) = page.next else { return Ok(all) };
        request = PageRequest::after(next, size);
    }
}

/// An answer; where there is none, no session is there.
fn found<T>(answer: Option<T>) -> Result<T> {
    answer.ok_or(Error::Refused(Refusal::Missing))
}

fn ids<'a>(ids: impl IntoIterator<Item = &'a SessionId>) -> Vec<String> {
    ids.into_iter().map(|id| id.as_str().to_owned()).collect()
}

fn shown(session: &Session) -> Value {
    let attributes: Map<String, Value> = session
        .attributes()
        .iter()
        .map(|(key, json)| (key.to_owned(), serde_json::from_str(json).unwrap()))
        .collect();
    json!({
        "id": session.id().as_str(), "user": session.user().unwrap_or_default(),
        "connection": session.connection().unwrap_or_default(), "node": session.node().unwrap_or_default(),
        "status": format!("{:?}", session.status()).to_lowercase(), "version": session.version().get(),
        "attributes": attributes,
    })
}
