//! The task that reaps.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use cloakroom::background::{Reaper, ReaperBuilder};
use cloakroom::{Error, Invalid, NewSession, Rules, Session};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store, eventually};
use crate::support::record::Stored;
use crate::support::traced::capture;

const EVERY: Duration = Duration::from_millis(5);

/// Notes how often each session was handed out.
#[derive(Clone, Debug, Default)]
struct HandedOut(Arc<Mutex<BTreeMap<String, u32>>>);

impl HandedOut {
    fn callback(&self) -> impl Fn(&Session) + Send + Sync + 'static {
        let handed_out = self.clone();
        move |session: &Session| {
            let mut sessions = handed_out.0.lock().unwrap();
            *sessions.entry(session.id().as_str().to_owned()).or_default() += 1;
        }
    }

    fn ids(&self) -> BTreeMap<String, u32> {
        self.0.lock().unwrap().clone()
    }

    /// Whether a reaper's task still has its callback.
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// Sessions that have expired, each to be handed out once.
async fn expired(context: &Context, store: &Store, count: usize) -> BTreeMap<String, u32> {
    let mut ids = BTreeMap::new();
    for number in 0..count {
        let new = NewSession::new()
            .user(format!("user-{}", number % 3))
            .connection(format!("connection-{}", fastrand::u64(..)))
            .node("n");
        let session = store.create(new).await.unwrap().session;
        ids.insert(session.id().as_str().to_owned(), 1);
    }
    context.clock.advance(store_ttl());
    ids
}

fn reaper_of(store: &Store, every: Duration, batch: usize) -> ReaperBuilder {
    Reaper::builder(store.clone()).every(every).batch(batch)
}

fn store_ttl() -> Duration {
    Duration::from_secs(60)
}

fn rules() -> Rules {
    Rules::new().ttl(store_ttl())
}

#[rstest]
#[tokio::test]
async fn a_reaper_removes_all_that_has_expired_and_hands_each_out_once(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let expected = expired(&context, &store, 25).await;
    let live = context.session(&store, "live").await;
    let handed_out = HandedOut::default();
    let reaper = reaper_of(&store, EVERY, 10).on_removed(handed_out.callback()).spawn().unwrap();
    eventually("all are handed out", async || handed_out.ids().len() == 25).await;
    eventually("a sweep that finds nothing", async || reaper.stats().sweeps >= 2).await;
    let stats = reaper.stop().await;
    assert_eq!(handed_out.ids(), expected);
    assert_eq!((stats.removed, stats.dropped, stats.corrupt, stats.errors), (25, 0, 0, 0));
    assert!(store.get(live.id()).await.unwrap().is_some());
    assert_eq!(context.keys().await.len(), 5, "the live session's record and entries");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn what_expires_later_is_reaped_by_a_later_sweep(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let handed_out = HandedOut::default();
    let reaper = reaper_of(&store, EVERY, 200).on_removed(handed_out.callback()).spawn().unwrap();
    let mut expected = BTreeMap::new();
    for round in 1..=3 {
        expected.extend(expired(&context, &store, 2).await);
        eventually("both are reaped", async || reaper.stats().removed == round * 2).await;
    }
    reaper.stop().await;
    assert_eq!(handed_out.ids(), expected);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_callback_that_panics_is_logged_and_counted_and_those_behind_it_are_reaped_and_told(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let mut expected = expired(&context, &store, 7).await;
    let (fatal, _) = expected.pop_first().unwrap();
    let handed_out = HandedOut::default();
    let hand_out = handed_out.callback();
    let on_removed = move |session: &Session| {
        assert!(session.id().as_str() != fatal, "planted");
        hand_out(session);
    };
    let (traced, _guard) = capture();
    let reaper = reaper_of(&store, EVERY, 3).on_removed(on_removed).spawn().unwrap();
    eventually("all are reaped", async || reaper.stats().removed == 7).await;
    assert_eq!(reaper.stats().callback_panics, 1);
    expected.extend(expired(&context, &store, 2).await);
    eventually("a later sweep reaps", async || reaper.stats().removed == 9).await;
    let stats = reaper.stop().await;
    assert_eq!((stats.callback_panics, stats.errors), (1, 0));
    assert_eq!(handed_out.ids(), expected);
    assert_eq!(traced.text().matches("a callback panicked").count(), 1);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_removed_session_is_handed_out_with_all_its_data(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let session = context.session(&store, "a").await;
    context.clock.set_ms(session.expires_at_ms());
    let removed: Arc<Mutex<Vec<Session>>> = Arc::default();
    let into = removed.clone();
    let on_removed = move |session: &Session| into.lock().unwrap().push(session.clone());
    let reaper = reaper_of(&store, EVERY, 1).on_removed(on_removed).spawn().unwrap();
    eventually("it is reaped", async || reaper.stats().removed == 1).await;
    reaper.stop().await;
    assert_eq!(*removed.lock().unwrap(), [session]);
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn two_reapers_in_two_stores_share_the_work(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let stores = [context.store_at(rules()).await, context.store_at(rules()).await];
    let expected = expired(&context, &stores[0], 300).await;
    let handed_out = HandedOut::default();
    let reapers = stores
        .map(|store| reaper_of(&store, EVERY, 3).on_removed(handed_out.callback()).spawn())
        .map(Result::unwrap);
    eventually("all are handed out", async || handed_out.ids().len() == 300).await;
    let [one, other] = reapers;
    let (one, other) = (one.stop().await, other.stop().await);
    assert_eq!(handed_out.ids(), expected, "each once");
    assert_eq!(one.removed + other.removed, 300);
    assert_eq!((one.errors, other.errors), (0, 0));
    assert!(context.keys_but_expiry().await.is_empty());
    context.check().await;
}

#[tokio::test]
async fn a_stop_hands_out_the_whole_batch_and_takes_no_other() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    expired(&context, &store, 7).await;
    let handed_out = HandedOut::default();
    let hand_out = handed_out.callback();
    // The first session of the batch tells that it is there, and waits.
    let (there, wait_there) = mpsc::channel();
    let (go_on, wait_go_on) = mpsc::channel();
    let first = Mutex::new(Some((there, wait_go_on)));
    let on_removed = move |session: &Session| {
        if let Some((there, wait_go_on)) = first.lock().unwrap().take() {
            there.send(()).unwrap();
            wait_go_on.recv().unwrap();
        }
        hand_out(session);
    };
    // On a runtime of its own, for the callback blocks its thread.
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let builder = context.builder(rules()).clock(context.clock.clone());
    let store_there = Arc::new(other.spawn(builder.build()).await.unwrap().unwrap());
    let reaper = Reaper::builder(store_there).every(EVERY).batch(3).on_removed(on_removed);
    let reaper = other.spawn(async move { reaper.spawn().unwrap() }).await.unwrap();
    tokio::task::spawn_blocking(move || wait_there.recv().unwrap()).await.unwrap();
    let mut stop = pin!(reaper.stop());
    assert!(futures::poll!(stop.as_mut()).is_pending(), "it waits for the batch");
    go_on.send(()).unwrap();
    let stats = stop.await;
    assert_eq!((stats.removed, handed_out.ids().len()), (3, 3));
    assert!(!handed_out.is_held(), "the task is gone, so nothing is reaped any more");
    assert_eq!(store.expired(None, 0, 10).await.unwrap().len(), 4);
    context.check().await;
    other.shutdown_background();
}

#[rstest]
#[tokio::test]
async fn dropping_the_handle_ends_the_task(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let handed_out = HandedOut::default();
    // A pause that the test would never see the end of: it ends at once.
    let reaper = reaper_of(&store, Duration::from_secs(3600), 10).on_removed(handed_out.callback()).spawn();
    let reaper = reaper.unwrap();
    eventually("the first sweep", async || reaper.stats().sweeps == 1).await;
    drop(reaper);
    eventually("the task is gone", async || !handed_out.is_held()).await;
    expired(&context, &store, 1).await;
    assert_eq!(store.expired(None, 0, 10).await.unwrap().len(), 1);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_stop_in_a_pause_does_not_wait_for_its_end(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let reaper = reaper_of(&store, Duration::from_secs(3600), 10).spawn().unwrap();
    eventually("the first sweep", async || reaper.stats().sweeps == 1).await;
    let stopped = tokio::time::timeout(Duration::from_secs(60), reaper.stop()).await;
    assert_eq!(stopped.unwrap().sweeps, 1);
}

#[tokio::test]
async fn entries_without_a_session_are_dropped_and_corrupt_sessions_are_set_aside_and_counted_once() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    let session = context.session(&store, "a").await;
    context.clock.set_ms(session.expires_at_ms());
    let expiry = context.key("expiry");
    context.command::<i64>(&["ZADD", &expiry, "1", "ghost"]).await;
    let user = context.key("user:user-a:sessions");
    context.command::<()>(&["SET", &user, "foreign"]).await;
    let before = context.stored(session.id()).await;
    let reaper = reaper_of(&store, EVERY, 10).spawn().unwrap();
    eventually("both are met", async || {
        let stats = reaper.stats();
        stats.dropped == 1 && stats.corrupt == 1 && stats.sweeps > 2
    })
    .await;
    let stats = reaper.stop().await;
    assert_eq!((stats.removed, stats.corrupt, stats.errors), (0, 1, 0));
    let aside = context.string(&context.key(format!("aside:{}", session.id().as_str()))).await;
    assert_eq!(aside.map(|bytes| Stored::parse(&bytes)), before);
    assert!(!context.members(&expiry).await.contains_key("ghost"));
}

#[tokio::test]
async fn errors_while_the_server_is_down_are_counted_and_reaping_goes_on_afterwards() {
    let mut context = Context::own(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let store = context.store_at(rules()).await;
    let handed_out = HandedOut::default();
    let expected = expired(&context, &store, 3).await;
    context.server_mut().kill().await;
    let reaper = reaper_of(&store, EVERY, 10).on_removed(handed_out.callback()).spawn().unwrap();
    eventually("errors are counted", async || reaper.stats().errors >= 3).await;
    assert_eq!(reaper.stats().removed, 0);
    context.server_mut().restart().await;
    context.reconnect().await;
    eventually("it goes on", async || reaper.stats().removed == 3).await;
    reaper.stop().await;
    assert_eq!(handed_out.ids(), expected);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn bad_arguments_are_refused(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    for (every, batch, named) in [(Duration::ZERO, 10, "every"), (EVERY, 0, "batch"), (EVERY, 201, "batch")] {
        let error = reaper_of(&store, every, batch).spawn().unwrap_err();
        assert!(matches!(error, Error::Invalid(Invalid { field, .. }) if field == named), "{error:?}");
    }
}
