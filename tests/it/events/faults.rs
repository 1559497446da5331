//! Events when something is wrong: full memory, streams of a foreign type, no reaper.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_reaper_that_tells_goes_on_where_memory_is_full() {
    let context = Context::own(&["--maxmemory-policy", "noeviction"]).await;
    let store = context.store_at(telling().ttl(MINUTE)).await;
    let mut events = context.event_store_at(telling()).await.events(EventsFrom::Now).await.unwrap();
    for id in ["a-lost", "b-broken", "c"] {
        store.create(new(id)).await.unwrap();
        context.clock.advance(Duration::from_millis(1));
    }
    kinds(&mut events, 3).await;
    context.command::<i64>(&["DEL", &context.record_key(&session_id("a-lost"))]).await;
    context.command::<()>(&["SET", &context.record_key(&session_id("b-broken")), "garbage"]).await;
    context.clock.advance(MINUTE);
    context.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    // Each is the first of its script.
    let mut reaped = Vec::new();
    for _ in 0..3 {
        let one = store.reap(1).await.unwrap();
        reaped.push((one.dropped, one.corrupt.len(), one.sessions.len()));
    }
    assert_eq!(reaped, [(1, 0, 0), (0, 1, 0), (0, 0, 1)]);
    let of = |id: &str, ending| (id.to_owned(), EventKind::Ended(ending));
    let expected = [of("a-lost", Ending::Lost), of("b-broken", Ending::Corrupt), of("c", Ending::Expired)];
    assert_eq!(kinds(&mut events, 3).await, expected);
}

#[tokio::test]
async fn a_foreign_stream_of_a_node_keeps_none_of_its_sessions() {
    let context = Context::redis().await;
    let store = context.store_at(telling().ttl(MINUTE).sessions_per_user(3, OnLimit::EvictOldest)).await;
    let mut events = context.event_store_at(telling()).await.events(EventsFrom::Now).await.unwrap();
    for id in ["a", "b", "c"] {
        store.create(new(id)).await.unwrap();
        context.clock.advance(Duration::from_millis(1));
    }
    let stream = context.key("node:n:events");
    context.command::<i64>(&["DEL", &stream]).await;
    context.command::<i64>(&["RPUSH", &stream, "x"]).await;
    let created = store.create(NewSession::new().id(session_id("d")).user("ann")).await.unwrap();
    assert_eq!(created.evicted.len(), 1);
    let rest = session_id("c");
    assert_eq!(store.delete_user("ann", Some(&rest)).await.unwrap().removed.len(), 2);
    context.clock.advance(MINUTE);
    assert_eq!(store.reap(10).await.unwrap().sessions.len(), 1);
    let told = kinds(&mut events, 3 + 5).await;
    let ended: Vec<&str> = told
        .iter()
        .filter(|(_, kind)| matches!(kind, EventKind::Ended(_)))
        .map(|(id, _)| id.as_str())
        .collect();
    assert_eq!(ended, ["a", "b", "d", "c"]);

    // What is made there is refused: its own node would not learn of it.
    let made = store.create_many(vec![new("e"), NewSession::new().id(session_id("f"))]).await;
    assert!(matches!(made[0], Err(Error::Corrupt { .. })), "{:?}", made[0]);
    assert!(made[1].is_ok());
}

/// Where nobody reaps, the index tells what there was, for as long as somebody may read of it.
#[tokio::test]
async fn the_expiry_index_lives_as_long_as_the_stream() {
    let context = Context::redis().await;
    let store = context.store_at(telling().ttl(MINUTE)).await;
    let session = store.create(new("a")).await.unwrap().session;
    let (stream, index) = (context.key("events"), context.key("expiry"));
    let lives = async |key: &str| Duration::from_millis(context.pttl(key).await.try_into().unwrap());
    assert!(lives(&index).await > 13 * DAY);
    // More than a week of that is over, as the index notes too. Whatever is told next lets both live on, though it does nothing
    // else with the index.
    let left = 6 * DAY;
    let note = (context.clock.now_ms() + left.as_millis() as u64).to_string();
    context.command::<i64>(&["ZADD", &index, &note, ""]).await;
    for key in [&stream, &index] {
        context.command::<i64>(&["PEXPIRE", key, &left.as_millis().to_string()]).await;
    }
    store.bind(&session, Binding::new("d").node("m")).await.unwrap();
    assert!(lives(&stream).await > 13 * DAY && lives(&index).await > 13 * DAY);
    // A session that begins does not shorten that.
    store.create(new("b")).await.unwrap();
    assert!(lives(&index).await > 13 * DAY);
    context.check().await;
}
