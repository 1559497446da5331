//! Random operations, whose events give exactly the sessions that are there.

use super::picture::Picture;
use super::*;
use crate::support::expect::unless_left;

/// How many, if `CLOAKROOM_EVENT_OPS` does not say.
const OPERATIONS: usize = 3_000;

/// Of how many ids an operation takes one.
const LATELY: usize = 60;

struct Random {
    context: Context,
    store: Store,
    /// All ids that there ever were.
    ids: Vec<SessionId>,
}

fn one_of(names: &str, count: usize) -> String {
    format!("{names}-{}", fastrand::usize(..count))
}

impl Random {
    fn any(&self) -> Option<SessionId> {
        // Some of those made lately are there.
        let lately = self.ids.len().min(LATELY);
        self.ids.iter().rev().nth(fastrand::usize(..lately.max(1))).cloned()
    }

    async fn create(&mut self) {
        let mut new = NewSession::new();
        if fastrand::bool() {
            new = new.user(one_of("user", 8));
        }
        if fastrand::bool() {
            new = new.connection(one_of("connection", 30)).node(one_of("node", 3));
        }
        if let Ok(created) = self.store.create(new).await {
            self.ids.push(created.session.id().clone());
        }
    }

    /// Does something. What is refused changes nothing, and is not told.
    async fn act(&mut self) {
        let store = self.store.clone();
        let Some(id) = self.any().filter(|_| fastrand::u8(..) > 60) else {
            return self.create().await;
        };
        match fastrand::u8(..20) {
            0..4 => {
                let binding = Binding::new(one_of("connection", 30)).node(one_of("node", 3));
                let binding = if fastrand::bool() { binding.take_over() } else { binding };
                let _ = store.bind(&id, binding).await;
            }
            4..6 => {
                if let Ok(Some(session)) = store.get(&id).await
                    && let Some(connection) = session.connection()
                {
                    let _ = store.unbind(&id, connection).await;
                }
            }
            6..9 => {
                let rotation = Rotation::new();
                let rotation = if fastrand::bool() { rotation.user(one_of("user", 8)) } else { rotation };
                if let Ok(rotated) = store.rotate(&id, rotation).await {
                    self.ids.push(rotated.session.id().clone());
                }
            }
            9..11 => {
                let _ = store.delete(&id).await;
            }
            11 => {
                let _ = store.delete_user(&one_of("user", 8), None).await;
            }
            12..14 => {
                let _ = store.patch(&id, Patch::new().suspend().set("x", &1).unwrap()).await;
            }
            14..16 => {
                if let Ok(Some(mut session)) = store.get(&id).await {
                    session.set_user("");
                    session.set_node(one_of("node", 3));
                    let _ = store.update(&mut session).await;
                }
            }
            16 => {
                self.context.clock.advance(Duration::from_secs(fastrand::u64(..120)));
                store.reap(fastrand::usize(1..50)).await.unwrap();
            }
            17 => {
                let (from, to) = (one_of("node", 3), "node-to");
                let _ = store.recover(Claim::new(from, to)).await;
            }
            _ => {
                let _ = store.refresh(&id).await;
            }
        }
    }

    /// The sessions that are there.
    async fn seen(&self) -> Picture {
        let mut picture = Picture::default();
        for id in &self.ids {
            if let Some(session) = unless_left(self.store.get(id).await)
                && session.id() == id
            {
                picture.see(&session);
            }
        }
        picture
    }
}

#[rstest]
#[tokio::test]
async fn replayed_events_give_exactly_the_sessions_that_are_there(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let rules = Rules::new()
        .events(10_000_000)
        .ttl(Duration::from_secs(300))
        .sessions_per_user(4, OnLimit::EvictOldest);
    let store = context.store_at(rules.clone()).await;
    let reader = context.event_store_at(rules).await;
    register(&store, "node-to").await;
    let mut random = Random { context, store, ids: Vec::new() };
    let operations = std::env::var("CLOAKROOM_EVENT_OPS").ok().and_then(|count| count.parse().ok());
    let mut events = reader.events(EventsFrom::Beginning).await.unwrap();
    let mut replayed = Picture::default();
    for _ in 0..operations.unwrap_or(OPERATIONS) {
        random.act().await;
    }
    while !random.store.reap(200).await.unwrap().sessions.is_empty() {}
    let seen = random.seen().await;
    assert!(!seen.0.is_empty());
    let end = reader.events(EventsFrom::Now).await.unwrap().position().clone();
    while *events.position() != end {
        match events.next().await {
            Some(Told::Event(event)) => replayed.heed(event),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(replayed, seen);
}
