//! A store of each kind, and what the middleware does with it for a request.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use actix_session::storage::{SessionKey, SessionStore as _};
use actix_web::cookie::time;
use cloakroom::testing::TestServer;
use cloakroom::{IdScheme, MemoryStore, PageRequest, RedisStore, Rules, Selector, SessionStore};
use cloakroom_actix_session::{CloakroomStore, State};

pub(crate) const HOUR: time::Duration = time::Duration::hours(1);

/// A store, and the server that it is on.
pub(crate) struct Place {
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) store: CloakroomStore,
    pub(crate) server: Option<Arc<TestServer>>,
}

pub(crate) fn rules() -> Rules {
    Rules::new().id_scheme(IdScheme::Token)
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

pub(crate) fn key(text: &str) -> SessionKey {
    text.to_owned().try_into().unwrap()
}

pub(crate) fn insert(state: &mut State, name: &str, value: &str) {
    state.insert(name.to_owned(), format!("{value:?}"));
}

impl Place {
    pub(crate) fn new(sessions: Arc<dyn SessionStore>, server: Option<Arc<TestServer>>) -> Self {
        let store = CloakroomStore::new(sessions.clone()).user_at("user");
        Self { sessions, store, server }
    }

    /// A session with these entries: its key.
    pub(crate) async fn session(&self, entries: &[(&str, &str)]) -> String {
        let mut state = State::new();
        entries.iter().for_each(|(name, value)| insert(&mut state, name, value));
        self.store.save(state, &HOUR).await.unwrap().into()
    }

    /// What a request with this key gets.
    pub(crate) async fn load(&self, of: &str) -> Option<State> {
        self.store.load(&key(of)).await.unwrap()
    }

    /// What a request with this key reads.
    pub(crate) async fn read(&self, of: &str, name: &str) -> Option<String> {
        self.load(of).await?.get(name).map(|json| json.trim_matches('"').to_owned())
    }

    /// The end of a request that changed its session: what is refused, in words.
    pub(crate) async fn update(&self, of: &str, state: State) -> Result<(), String> {
        let updated = self.store.update(key(of), state, &HOUR).await;
        updated.map(|now| assert_eq!(now.as_ref(), of)).map_err(words)
    }

    /// The end of a request that asked for another key: that.
    pub(crate) async fn renew(&self, of: &str, state: State) -> Result<String, String> {
        self.store.delete(&key(of)).await.unwrap();
        self.store.save(state, &HOUR).await.map(String::from).map_err(words)
    }

    /// The sessions of a user.
    pub(crate) async fn of_user(&self, user: &str) -> Vec<cloakroom::Session> {
        self.sessions.list(&Selector::user(user), &PageRequest::first(20)).await.unwrap().sessions
    }
}

fn words(error: impl std::error::Error) -> String {
    error.source().unwrap().to_string()
}
