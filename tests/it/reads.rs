//! Reads of callers at once, which share a pipeline.

use cloakroom::{Error, Rules, SessionId};
use futures::future::join_all;

use crate::support::Context;
use crate::support::context::{Store, build};
use crate::support::stopped_time::{StoppedTime, polls};

/// A store with one connection on a server of its own, and sessions in it.
async fn store_with(sessions: usize) -> (Context, Store, Vec<SessionId>) {
    let context = Context::own(&[]).await;
    let store = build(context.builder(Rules::new()).pool_size(1)).await;
    let mut ids = Vec::new();
    for name in 0..sessions {
        ids.push(context.session(&store, &name.to_string()).await.id().clone());
    }
    (context, store, ids)
}

#[tokio::test]
async fn reads_at_once_are_answered_each_for_itself_and_share_the_time() {
    let (context, store, mut ids) = store_with(300).await;
    let absent = SessionId::new("absent").unwrap();
    ids.insert(150, absent.clone());
    let before = context.count().await;
    let answers = join_all(ids.iter().map(|id| store.get(id))).await;
    let cost = context.cost_since(&before).await;
    for (id, answer) in ids.iter().zip(answers) {
        let session = answer.unwrap();
        assert_eq!(session.map(|session| session.id().clone()), Some(id.clone()).filter(|id| *id != absent));
    }
    // The first is sent at once, for nothing is under way; the others come while it is, and 128 share a pipeline.
    assert_eq!((cost.commands["time"], cost.commands["get"]), (1 + 300_u64.div_ceil(128), 301));
}

#[tokio::test]
async fn a_foreign_type_is_the_answer_of_its_reader_only() {
    let (context, store, ids) = store_with(3).await;
    let key = context.record_key(&ids[1]);
    context.command::<()>(&["DEL", &key]).await;
    context.command::<()>(&["RPUSH", &key, "x"]).await;
    let answers = join_all(ids.iter().map(|id| store.get(id))).await;
    assert!(matches!(&answers[1], Err(Error::Corrupt { what }) if what == "record"), "{:?}", answers[1]);
    assert!(answers[0].as_ref().unwrap().is_some() && answers[2].as_ref().unwrap().is_some());
}

#[tokio::test]
async fn a_reader_that_gives_up_leaves_those_that_wait_for_its_pipeline_their_answers() {
    let (_context, store, ids) = store_with(3).await;
    // The first is under way, the second waits for the runtime to send what has come, and the third for the second.
    let mut first = store.get(&ids[0]);
    let mut second = store.get(&ids[1]);
    let mut third = store.get(&ids[2]);
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    assert!(futures::poll!(&mut third).is_pending());
    drop(second);
    assert_eq!(third.await.unwrap().unwrap().id(), &ids[2]);
    assert_eq!(first.await.unwrap().unwrap().id(), &ids[0]);
}

#[tokio::test]
async fn a_reader_that_sees_to_its_own_read_is_woken_once_by_the_reply() {
    let (_context, store, ids) = store_with(1).await;
    // On a busy machine the timer of a late reply would wake it too.
    let stopped = StoppedTime::stop();
    for _ in 0..20 {
        let (polls, session) = polls(store.get(&ids[0])).await;
        assert!(session.unwrap().is_some());
        assert_eq!(polls, 2, "once to send it, and once for the reply");
    }
    stopped.resume();
}
