//! actix-session's Redis store, through its trait of stores. Such a store has one connection, so there are as many of
//! them as the others have connections.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_session::storage::{RedisSessionStore, SessionKey, SessionStore};
use async_trait::async_trait;

use super::{Contender, TTL};
use crate::connections::CONNECTIONS;
use crate::operation::Operation;
use crate::payload::{PATCHED, Payload, patched};
use crate::subject::Subject;

pub(crate) struct ActixSession {
    stores: Vec<RedisSessionStore>,
    turn: AtomicUsize,
    payload: Payload,
}

/// It makes the keys itself. By the numbers of the subjects, for all who connect: one stores what another reads through
/// the slow network.
static KEYS: Mutex<BTreeMap<u64, String>> = Mutex::new(BTreeMap::new());

fn key(subject: Subject) -> SessionKey {
    KEYS.lock().unwrap()[&subject.number].clone().try_into().unwrap()
}

impl ActixSession {
    pub(crate) async fn connect(url: &str, payload: Payload) -> Self {
        let mut stores = Vec::new();
        for _ in 0..CONNECTIONS {
            stores.push(RedisSessionStore::new(url).await.unwrap());
        }
        Self { stores, turn: AtomicUsize::new(0), payload }
    }

    fn state(&self) -> HashMap<String, String> {
        self.payload.attributes().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

#[async_trait]
impl Contender for ActixSession {
    fn name(&self) -> &'static str {
        "actix-session"
    }

    fn has(&self, operation: Operation) -> bool {
        Operation::OF_ONE_KEY.contains(&operation) || operation == Operation::Refresh
    }

    async fn run(&self, operation: Operation, subject: Subject) {
        let store = &self.stores[self.turn.fetch_add(1, Ordering::Relaxed) % CONNECTIONS];
        let ttl = TTL.try_into().unwrap();
        match operation {
            Operation::Create => {
                let key = store.save(self.state(), &ttl).await.unwrap();
                KEYS.lock().unwrap().insert(subject.number, key.into());
            }
            Operation::Get | Operation::Request => {
                assert!(store.load(&key(subject)).await.unwrap().is_some())
            }
            // EXPIRE: no time of use is noted.
            Operation::Refresh => store.update_ttl(&key(subject), &ttl).await.unwrap(),
            // As with tower-sessions: the half that follows the load.
            Operation::Patch => {
                let (key, mut state) = (key(subject), self.state());
                state.insert(PATCHED.to_owned(), patched());
                store.update(key, state, &ttl).await.unwrap();
            }
            Operation::Delete => store.delete(&key(subject)).await.unwrap(),
            _ => unreachable!("it has no {operation:?}"),
        }
    }
}
