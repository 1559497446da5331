//! The operations on a hundred sessions at once.

use std::time::{Duration, Instant};

use cloakroom::{NewSession, Session, SessionId, SessionRef};

use crate::bench::{BATCH, Bench, PATIENCE, Store, batches, make, new_session};

fn new_batch() -> Vec<NewSession> {
    (0..BATCH).map(|_| new_session()).collect()
}

async fn made(store: &Store, calls: u64) -> Vec<Vec<Session>> {
    let mut made = Vec::new();
    for _ in 0..batches(calls) {
        made.push(make(store, new_batch()).await);
    }
    made
}

fn targets(sessions: &[Session]) -> Vec<&dyn SessionRef> {
    sessions.iter().map(|session| session as &dyn SessionRef).collect()
}

/// Has so many batches of expired sessions, those that are there included, but no more than may be made at once.
async fn expire(store: &Store, calls: u64) -> Vec<()> {
    let batches = batches(calls);
    let wanted = batches * BATCH;
    let expired = async || store.expired(None, 0, wanted).await.unwrap().len();
    // A millisecond is the shortest.
    make(store, (expired().await..wanted).map(|_| new_session().ttl(Duration::from_millis(1)))).await;
    let deadline = Instant::now() + PATIENCE;
    while expired().await < wanted {
        assert!(Instant::now() < deadline, "not all have expired");
    }
    vec![(); batches]
}

pub(crate) fn measure(bench: &mut Bench<'_>) {
    let new = async |_: &Store, calls| (0..batches(calls)).map(|_| new_batch()).collect();
    bench.measure("create_many of 100", new, async |store, new: Vec<NewSession>| {
        assert!(store.create_many(new).await.iter().all(Result::is_ok));
    });
    let ids: Vec<SessionId> = bench.crowd.iter().map(|of| of.id.clone()).collect();
    let some = async |_: &Store, calls| ids.chunks(BATCH).cycle().take(calls as usize).collect();
    bench.measure("get_many of 100", some, async |store, ids: &[SessionId]| {
        assert!(store.get_many(ids).await.iter().all(|found| matches!(found, Ok(Some(_)))));
    });
    bench.measure("refresh_many of 100", some, async |store, ids: &[SessionId]| {
        let targets: Vec<&dyn SessionRef> = ids.iter().map(|id| id as &dyn SessionRef).collect();
        assert!(store.refresh_many(&targets).await.iter().all(|refreshed| matches!(refreshed, Ok(Some(_)))));
    });
    bench.measure("delete_many of 100", made, async |store, sessions| {
        assert!(store.delete_many(&targets(&sessions)).await.iter().all(Result::is_ok));
    });

    // Reading leaves them there.
    let one_batch = async |store: &Store, calls| {
        expire(store, 1).await;
        vec![(); calls as usize]
    };
    bench.measure("expired of 100", one_batch, async |store, ()| {
        assert_eq!(store.expired(None, 0, BATCH).await.unwrap().len(), BATCH);
    });
    bench.measure("reap of 100", expire, async |store, ()| {
        assert_eq!(store.reap(BATCH).await.unwrap().sessions.len(), BATCH);
    });
}
