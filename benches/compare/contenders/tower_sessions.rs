//! tower-sessions-redis-store with its pool, as its README begins. It has no index of any kind.

use std::time::SystemTime;

use async_trait::async_trait;
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};

use super::{Contender, TTL};
use crate::connections::CONNECTIONS;
use crate::operation::Operation;
use crate::payload::{PATCHED, Payload, patched};
use crate::subject::Subject;

pub(crate) struct TowerSessions {
    store: RedisStore<Pool>,
    payload: Payload,
}

impl TowerSessions {
    pub(crate) async fn connect(url: &str, payload: Payload) -> Self {
        let pool = Pool::new(Config::from_url(url).unwrap(), None, None, None, CONNECTIONS).unwrap();
        // A task, which goes on by itself.
        drop(pool.connect());
        pool.wait_for_connect().await.unwrap();
        Self { store: RedisStore::new(pool), payload }
    }

    fn record(&self, subject: Subject) -> Record {
        let attributes = self.payload.attributes().into_iter();
        let data = attributes.map(|(name, value)| (name.to_owned(), value.into())).collect();
        Record { id: id(subject), data, expiry_date: (SystemTime::now() + TTL).into() }
    }
}

fn id(subject: Subject) -> Id {
    let spread = u128::from(subject.number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Id(spread as i128)
}

#[async_trait]
impl Contender for TowerSessions {
    fn name(&self) -> &'static str {
        "tower-sessions"
    }

    fn has(&self, operation: Operation) -> bool {
        matches!(
            operation,
            Operation::Create | Operation::Get | Operation::Request | Operation::Patch | Operation::Delete
        )
    }

    async fn run(&self, operation: Operation, subject: Subject) {
        match operation {
            Operation::Create => {
                let mut record = self.record(subject);
                self.store.create(&mut record).await.unwrap();
                assert_eq!(record.id, id(subject), "the id was in use");
            }
            // It only loads: a use is noted by saving the whole session.
            Operation::Get | Operation::Request => {
                assert!(self.store.load(&id(subject)).await.unwrap().is_some())
            }
            // It saves whole sessions only: this is the half of a change that follows its load.
            Operation::Patch => {
                let mut record = self.record(subject);
                record.data.insert(PATCHED.to_owned(), patched().into());
                self.store.save(&record).await.unwrap();
            }
            Operation::Delete => self.store.delete(&id(subject)).await.unwrap(),
            _ => unreachable!("it has no {operation:?}"),
        }
    }
}
