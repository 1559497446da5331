//! This crate, as it comes, but that a refresh always extends: the others do too.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use cloakroom::{
    NewSession, OnLimit, PageRequest, Patch, RedisStore, Rotation, Rules, Selector, Session, SessionId,
    SessionStore,
};
use futures::future::join_all;
use redis::aio::MultiplexedConnection;

use super::{Contender, TTL};
use crate::connections::{CONNECTIONS, Connections, PATIENCE};
use crate::operation::{HUNDRED, Operation};
use crate::payload::{PATCHED, Payload, patched};
use crate::subject::{OF_A_USER, Subject};

const NAMESPACE: &str = "bench";

pub(crate) struct Cloakroom {
    store: RedisStore,
    /// With a limit that nobody reaches, where no creates go together.
    apart: RedisStore,
    /// By whose rules no touch is due, for the run is shorter than their interval; and each is.
    touches: [RedisStore; 2],
    payload: Payload,
    /// Sessions in hand, which a rotation and a logout act on: a request has read its session by then.
    held: Mutex<HashMap<u64, Session>>,
}

/// How many requests a session has while one writes that it was used: one a second, by an interval of a minute.
const REQUESTS_PER_TOUCH: u32 = 60;

fn rules() -> Rules {
    Rules::new().ttl(TTL).refresh_threshold(1.0)
}

fn id(subject: Subject) -> SessionId {
    SessionId::new(subject.id()).unwrap()
}

/// A hundred of which this is the first of its number.
fn hundred(subject: Subject) -> impl Iterator<Item = Subject> {
    (subject.number..subject.number + HUNDRED).map(move |number| Subject { number, ..subject })
}

impl Cloakroom {
    pub(crate) async fn connect(url: &str, payload: Payload) -> Self {
        let store = async |rules| {
            let builder = RedisStore::builder(url).namespace(NAMESPACE).rules(rules);
            let builder = builder.pool_size(CONNECTIONS as u32).connect_timeout(PATIENCE).deadline(PATIENCE);
            builder.build().await.unwrap()
        };
        let apart = store(rules().sessions_per_user(500, OnLimit::Reject)).await;
        let touches = [
            store(rules().touch_interval(TTL / 2)).await,
            store(rules().touch_interval(Duration::from_millis(1))).await,
        ];
        Self { store: store(rules()).await, apart, touches, payload, held: Mutex::default() }
    }

    fn new_session(&self, subject: Subject) -> NewSession {
        let new = NewSession::new().id(id(subject)).user(subject.user()).connection(subject.connection());
        self.payload.attributes().iter().fold(new, |new, (name, value)| new.set(*name, value).unwrap())
    }

    fn hold(&self, subject: Subject, session: Session) {
        if !subject.stays {
            self.held.lock().unwrap().insert(subject.number, session);
        }
    }

    fn hand_over(&self, subject: Subject) -> Session {
        self.held.lock().unwrap().remove(&subject.number).unwrap()
    }

    async fn create(&self, subject: Subject) {
        self.create_by(&self.store, subject).await;
    }

    async fn create_by(&self, store: &RedisStore, subject: Subject) {
        let created = store.create(self.new_session(subject)).await.unwrap();
        self.hold(subject, created.session);
    }

    /// A session that lives so long and then waits for a reaper.
    pub(crate) async fn create_for(&self, subject: Subject, lives: Duration) {
        self.store.create(self.new_session(subject).ttl(lives)).await.unwrap();
    }

    /// Sessions of the crowd from one number to another, as copies of its first, without user and connection: a million
    /// in seconds, for what looks at the expiry index and at the records that it leads to.
    pub(crate) async fn copy_crowd(&self, redis: &mut MultiplexedConnection, first: u64, end: u64) {
        let key = |subject: Subject| format!("{{{NAMESPACE}:0}}:session:{}", subject.id());
        let mut copies = redis::pipe();
        for number in first..end {
            let copy = Subject::of_the_crowd(number);
            copies.cmd("COPY").arg(key(Subject::of_the_crowd(0))).arg(key(copy)).ignore();
            let expires_at = (SystemTime::UNIX_EPOCH.elapsed().unwrap() + TTL).as_millis() as u64;
            copies
                .cmd("ZADD")
                .arg(format!("{{{NAMESPACE}:0}}:expiry"))
                .arg(expires_at)
                .arg(copy.id())
                .ignore();
            if number % 1000 == 999 || number + 1 == end {
                copies.query_async::<()>(redis).await.unwrap();
                copies.clear();
            }
        }
    }

    /// How many sessions have expired, a thousand at most.
    pub(crate) async fn expired(&self) -> usize {
        self.store.expired(None, 0, 1000).await.unwrap().len()
    }

    /// Reaps a batch, and tells how many sessions it was.
    pub(crate) async fn reap(&self, batch: usize) -> usize {
        self.store.reap(batch).await.unwrap().sessions.len()
    }

    /// The bytes that a session of the payload is stored as.
    pub(crate) async fn sample_record(&self, url: &str) -> Vec<u8> {
        let subject = Subject::sample();
        self.create(subject).await;
        let key = format!("{{{NAMESPACE}:0}}:session:{}", subject.id());
        let mut connection = Connections::open(url).await.get();
        let record = redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
        self.run(Operation::Delete, subject).await;
        // Without its tombstone another sample can be made.
        redis::cmd("DEL").arg(&key).query_async::<()>(&mut connection).await.unwrap();
        record
    }
}

#[async_trait]
impl Contender for Cloakroom {
    fn name(&self) -> &'static str {
        "cloakroom"
    }

    fn has(&self, _: Operation) -> bool {
        true
    }

    async fn run(&self, operation: Operation, subject: Subject) {
        let store = &self.store;
        match operation {
            Operation::Create => self.create(subject).await,
            Operation::Get => assert!(store.get(&id(subject)).await.unwrap().is_some()),
            Operation::Refresh => assert!(store.refresh(&id(subject)).await.unwrap().is_some()),
            Operation::Request => {
                let is_due = fastrand::u32(..REQUESTS_PER_TOUCH) == 0;
                let store = &self.touches[usize::from(is_due)];
                assert!(store.refresh_and_get(&id(subject)).await.unwrap().is_some());
            }
            Operation::Patch => {
                let patch = Patch::new().set(PATCHED, &patched()).unwrap();
                store.patch(&id(subject), patch).await.unwrap();
            }
            Operation::ByConnection => {
                assert!(store.session_by_connection(&subject.connection()).await.unwrap().is_some());
            }
            Operation::List => {
                let page = PageRequest::first(OF_A_USER as usize);
                let listed = store.list(&Selector::user(subject.user()), &page).await.unwrap();
                assert_eq!(listed.sessions.len() as u64, OF_A_USER);
            }
            Operation::Rotate => {
                let rotation = Rotation::new().new_id(id(subject.rotated()));
                let rotated = store.rotate(&self.hand_over(subject), rotation).await.unwrap();
                self.hold(subject, rotated.session);
            }
            Operation::Delete => {
                store.delete(&self.hand_over(subject)).await.unwrap();
            }
            Operation::HundredApart => {
                join_all(hundred(subject).map(|subject| self.create_by(&self.apart, subject))).await;
            }
            Operation::HundredSingly => {
                join_all(hundred(subject).map(|subject| self.create(subject))).await;
            }
            Operation::HundredAtOnce => {
                let new = hundred(subject).map(|subject| self.new_session(subject)).collect();
                let made = store.create_many(new).await;
                for (subject, created) in hundred(subject).zip(made) {
                    self.hold(subject, created.unwrap().session);
                }
            }
        }
    }
}
