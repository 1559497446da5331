//! What people write: the session as JSON under its id, a set of ids a user, a key a connection; one command after the
//! other, each awaited, for each needs the one before or has to be known to have worked.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};

use super::{Contender, TTL};
use crate::connections::Connections;
use crate::operation::Operation;
use crate::payload::{PATCHED, Payload, patched};
use crate::subject::{OF_A_USER, Subject};

pub(crate) struct SeveralCommands {
    connections: Connections,
    payload: Payload,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    id: String,
    user: String,
    connection: String,
    created_at: u64,
    last_active: u64,
    expires_at: u64,
    attributes: BTreeMap<String, String>,
}

fn session_key(id: &str) -> String {
    format!("several:session:{id}")
}

fn user_key(user: &str) -> String {
    format!("several:user:{user}")
}

fn connection_key(connection: &str) -> String {
    format!("several:connection:{connection}")
}

fn now_ms() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64
}

impl SeveralCommands {
    pub(crate) async fn connect(url: &str, payload: Payload) -> Self {
        Self { connections: Connections::open(url).await, payload }
    }

    /// An expired session keeps its key until it was found: the TTL is longer than the session's own time.
    pub(crate) async fn create_for(&self, subject: Subject, lives: Duration) {
        let attributes = self.payload.attributes().into_iter().map(|(name, value)| (name.to_owned(), value));
        let now = now_ms();
        let (id, user, connection) = (subject.id(), subject.user(), subject.connection());
        let (user_key, connection_key) = (user_key(&user), connection_key(&connection));
        let expires_at = now + lives.as_millis() as u64;
        let attributes = attributes.collect();
        let stored =
            Stored { id, user, connection, created_at: now, last_active: now, expires_at, attributes };
        let mut redis = self.connections.get();
        save(&mut redis, &stored).await;
        redis.sadd::<_, _, ()>(&user_key, &stored.id).await.unwrap();
        redis.expire::<_, ()>(&user_key, TTL.as_secs() as i64).await.unwrap();
        redis.set_ex::<_, _, ()>(&connection_key, &stored.id, TTL.as_secs()).await.unwrap();
    }

    /// The ids of all sessions that have expired: there is no way but to look at each key.
    pub(crate) async fn expired(&self) -> Vec<String> {
        let mut redis = self.connections.get();
        let (mut cursor, now, mut expired) = (0, now_ms(), Vec::new());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(session_key("*")).arg("COUNT").arg(1000);
            let (next, keys): (u64, Vec<String>) = scan.query_async(&mut redis).await.unwrap();
            for key in keys {
                let json: Option<String> = redis.get(&key).await.unwrap();
                let stored: Option<Stored> = json.map(|json| serde_json::from_str(&json).unwrap());
                expired.extend(stored.filter(|stored| stored.expires_at <= now).map(|stored| stored.id));
            }
            cursor = next;
            if cursor == 0 {
                return expired;
            }
        }
    }
}

async fn save(redis: &mut MultiplexedConnection, stored: &Stored) {
    let json = serde_json::to_string(stored).unwrap();
    redis.set_ex::<_, _, ()>(session_key(&stored.id), json, TTL.as_secs()).await.unwrap();
}

async fn load(redis: &mut MultiplexedConnection, id: &str) -> Stored {
    let json: String = redis.get(session_key(id)).await.unwrap();
    serde_json::from_str(&json).unwrap()
}

#[async_trait]
impl Contender for SeveralCommands {
    fn name(&self) -> &'static str {
        "several commands"
    }

    fn has(&self, operation: Operation) -> bool {
        Operation::SINGLE.contains(&operation)
    }

    async fn run(&self, operation: Operation, subject: Subject) {
        let mut redis = self.connections.get();
        let id = subject.id();
        match operation {
            Operation::Create => self.create_for(subject, TTL).await,
            Operation::Get | Operation::Request => {
                load(&mut redis, &id).await;
            }
            // As the middlewares do it: one read to find the session, one before it is saved.
            Operation::Refresh => {
                load(&mut redis, &id).await;
                let mut stored = load(&mut redis, &id).await;
                stored.last_active = now_ms();
                stored.expires_at = stored.last_active + TTL.as_millis() as u64;
                save(&mut redis, &stored).await;
            }
            Operation::Patch => {
                let mut stored = load(&mut redis, &id).await;
                stored.attributes.insert(PATCHED.to_owned(), patched());
                save(&mut redis, &stored).await;
            }
            Operation::ByConnection => {
                let id: String = redis.get(connection_key(&subject.connection())).await.unwrap();
                load(&mut redis, &id).await;
            }
            Operation::List => {
                let ids: Vec<String> = redis.smembers(user_key(&subject.user())).await.unwrap();
                assert_eq!(ids.len() as u64, OF_A_USER);
                for id in ids {
                    load(&mut redis, &id).await;
                }
            }
            Operation::Rotate => {
                let mut stored = load(&mut redis, &id).await;
                stored.id = subject.rotated().id();
                save(&mut redis, &stored).await;
                redis.sadd::<_, _, ()>(user_key(&stored.user), &stored.id).await.unwrap();
                redis.srem::<_, _, ()>(user_key(&stored.user), &id).await.unwrap();
                let connection_key = connection_key(&stored.connection);
                redis.set_ex::<_, _, ()>(connection_key, &stored.id, TTL.as_secs()).await.unwrap();
                redis.del::<_, ()>(session_key(&id)).await.unwrap();
            }
            Operation::Delete => {
                let stored = load(&mut redis, &id).await;
                redis.del::<_, ()>(session_key(&id)).await.unwrap();
                redis.srem::<_, _, ()>(user_key(&stored.user), &id).await.unwrap();
                redis.del::<_, ()>(connection_key(&stored.connection)).await.unwrap();
            }
            Operation::HundredApart | Operation::HundredSingly | Operation::HundredAtOnce => {
                unreachable!("not compared")
            }
        }
    }
}
