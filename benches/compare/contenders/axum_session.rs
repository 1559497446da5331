//! axum_session's Redis store with its pool, which holds a connection for a call and asks it first whether it is there.

use std::collections::HashMap;
use std::time::SystemTime;

use async_trait::async_trait;
use axum_session::{DatabaseError, DatabasePool};
use axum_session_redispool::SessionRedisPool;
use redis_pool::RedisPool;

use super::{Contender, TTL};
use crate::connections::CONNECTIONS;
use crate::operation::Operation;
use crate::payload::{PATCHED, Payload, patched};
use crate::subject::Subject;

pub(crate) struct AxumSession {
    pool: SessionRedisPool,
    payload: Payload,
}

/// Its default.
const TABLE: &str = "sessions";

/// A minute's worth.
const ATTEMPTS: usize = 120;

impl AxumSession {
    pub(crate) fn connect(url: &str, payload: Payload) -> Self {
        let client = redis::Client::open(url).unwrap();
        Self { pool: RedisPool::new(client, CONNECTIONS, Some(CONNECTIONS)).into(), payload }
    }

    /// What it does with a session: its data as JSON.
    async fn store(&self, subject: Subject, change: Option<String>) {
        let id = subject.id();
        let mut data: HashMap<&str, String> = self.payload.attributes().into_iter().collect();
        data.extend(change.map(|value| (PATCHED, value)));
        let json = serde_json::to_string(&data).unwrap();
        let expires = SystemTime::now() + TTL;
        let expires = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
        insist(|| self.pool.store(&id, &json, expires, TABLE)).await;
    }
}

/// Its client waits half a second for a reply and cannot be told otherwise. On a machine that is busy with other things
/// that is too short at times; a call that is made again counts as one, with all the time that it took.
async fn insist<T, F>(call: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, DatabaseError>>,
{
    for _ in 1..ATTEMPTS {
        if let Ok(answer) = call().await {
            return answer;
        }
    }
    call().await.unwrap()
}

#[async_trait]
impl Contender for AxumSession {
    fn name(&self) -> &'static str {
        "axum_session"
    }

    fn has(&self, operation: Operation) -> bool {
        Operation::OF_ONE_KEY.contains(&operation)
    }

    async fn run(&self, operation: Operation, subject: Subject) {
        let id = subject.id();
        match operation {
            Operation::Create => self.store(subject, None).await,
            Operation::Get | Operation::Request => {
                let json = insist(|| self.pool.load(&id, TABLE)).await.unwrap();
                let data: HashMap<String, String> = serde_json::from_str(&json).unwrap();
                assert!(!data.is_empty());
            }
            // As with tower-sessions: the half that follows the load.
            Operation::Patch => self.store(subject, Some(patched())).await,
            Operation::Delete => {
                insist(|| self.pool.delete_one_by_id(&id, TABLE)).await;
            }
            _ => unreachable!("it has no {operation:?}"),
        }
    }
}
