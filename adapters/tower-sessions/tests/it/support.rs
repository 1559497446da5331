//! A store of each kind, and a client with a cookie.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use cloakroom::testing::TestServer;
use cloakroom::{IdScheme, MemoryStore, PageRequest, RedisStore, Rules, Selector, SessionStore};
use cloakroom_tower_sessions::{CloakroomStore, Data};
use tower::ServiceExt as _;
use tower_cookies::Cookie;
use tower_sessions::session::Id;
use tower_sessions::{Session, SessionStore as _};

/// A store, and the server that it is on.
pub(crate) struct Place {
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) store: Arc<CloakroomStore>,
    pub(crate) server: Option<Arc<TestServer>>,
}

pub(crate) fn rules() -> Rules {
    Rules::new().id_scheme(IdScheme::Token)
}

/// The user of what these tests store.
pub(crate) fn user(data: &Data) -> Option<String> {
    Some(data.get("user")?.as_str()?.to_owned())
}

/// A server of this process's own, shared by the tests that run at the same time, and gone with the last of them.
fn shared() -> Arc<TestServer> {
    static SHARED: Mutex<Weak<TestServer>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(TestServer::start().unwrap());
        *shared = Arc::downgrade(&server);
        server
    })
}

async fn on(server: Arc<TestServer>, rules: Rules, partitions: u16) -> Place {
    static NAMESPACES: AtomicU32 = AtomicU32::new(0);
    let namespace = format!("place-{}", NAMESPACES.fetch_add(1, Ordering::Relaxed));
    let sessions = RedisStore::builder(server.url())
        .namespace(namespace)
        .rules(rules)
        .partitions(partitions)
        .deadline(Duration::from_secs(20)) // a busy machine is no failure
        .connect_timeout(Duration::from_secs(10))
        .build()
        .await;
    Place::new(Arc::new(sessions.unwrap()), Some(server))
}

pub(crate) async fn redis(rules: Rules, partitions: u16) -> Place {
    on(shared(), rules, partitions).await
}

/// On a server that no other test has.
pub(crate) async fn redis_alone(rules: Rules) -> Place {
    on(Arc::new(TestServer::start().unwrap()), rules, 1).await
}

pub(crate) fn memory(rules: Rules) -> Place {
    Place::new(Arc::new(MemoryStore::builder().rules(rules).build().unwrap()), None)
}

/// In memory, on a server, and on one with several partitions.
pub(crate) async fn places(rules: Rules) -> [Place; 3] {
    [memory(rules.clone()), redis(rules.clone(), 1).await, redis(rules, 16).await]
}

impl Place {
    pub(crate) fn new(sessions: Arc<dyn SessionStore>, server: Option<Arc<TestServer>>) -> Self {
        let store = Arc::new(CloakroomStore::new(sessions.clone()).user_from(user));
        Self { sessions, store, server }
    }

    /// What the middleware makes of a request with a cookie.
    pub(crate) fn request(&self, id: Option<Id>) -> Session {
        Session::new(id, self.store.clone(), None)
    }

    /// A session with these entries.
    pub(crate) async fn session(&self, entries: &[(&str, &str)]) -> Id {
        let session = self.request(None);
        for (key, value) in entries {
            session.insert(key, value).await.unwrap();
        }
        session.save().await.unwrap();
        session.id().unwrap()
    }

    /// What a request with this cookie reads.
    pub(crate) async fn read(&self, id: Id, key: &str) -> Option<String> {
        self.request(Some(id)).get(key).await.unwrap()
    }

    /// Whether a request with this cookie finds a session. An id that a login left a moment ago may be an error.
    pub(crate) async fn finds(&self, id: Id) -> bool {
        matches!(self.store.load(&id).await, Ok(Some(_)))
    }

    /// The sessions of a user.
    pub(crate) async fn of_user(&self, user: &str) -> Vec<cloakroom::Session> {
        self.sessions.list(&Selector::user(user), &PageRequest::first(20)).await.unwrap().sessions
    }
}

/// An answer of the service.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) cookie: Option<Cookie<'static>>,
    pub(crate) body: String,
}

/// Asks for a path with a cookie.
pub(crate) async fn ask(app: &Router, path: &str, cookie: Option<&Cookie<'_>>) -> Answer {
    let mut request = Request::builder().uri(path);
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie.stripped().encoded().to_string());
    }
    let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let set = answer.headers().get(header::SET_COOKIE);
    let cookie =
        set.map(|text| Cookie::parse_encoded(text.to_str().unwrap().to_owned()).unwrap().into_owned());
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    Answer { status, cookie, body: String::from_utf8(body.to_vec()).unwrap() }
}
