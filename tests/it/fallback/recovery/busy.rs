//! Sessions that are used while they are written back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cloakroom::fallback::Origin;
use cloakroom::{NewSession, Patch, Rotation, SessionId};
use tokio::task::JoinSet;

use super::{POLICY, World};
use crate::support::context::{Store, eventually};
use crate::support::expect::unless_left;

/// Changes a session for as long as asked, and returns the last value that was answered.
async fn patch_on(store: Store, id: SessionId, key: String, done: Arc<AtomicBool>) -> (String, u64) {
    let (mut value, mut version) = (0, 0);
    while !done.load(Ordering::SeqCst) {
        value += 1;
        let patched = store.patch(&id, Patch::new().set(&key, &value).unwrap()).await.unwrap();
        assert!(patched.version.get() > version, "the version goes up and never back");
        version = patched.version.get();
        assert!(store.refresh(&id).await.unwrap().is_some(), "a live session looked absent");
        let found = store.get(&id).await.unwrap().expect("a live session looked absent");
        assert_eq!(found.get::<u64>(&key).unwrap(), Some(value), "an answered change is lost");
    }
    (key, value)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_of_what_several_tasks_change_without_a_pause() {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(world.context.session(&store, &format!("seen-{number}")).await.id().clone());
    }
    world.cut_off().await;
    for number in 0..4 {
        ids.push(world.context.session(&store, &format!("made-{number}")).await.id().clone());
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for id in &ids {
        for task in 0..3 {
            let work = patch_on(store.clone(), id.clone(), format!("task-{task}"), done.clone());
            let id = id.clone();
            tasks.spawn(async move { (id, work.await) });
        }
    }
    eventually("all are here", async || world.store.stats().local == ids.len()).await;
    world.mend().await;
    for id in &ids {
        eventually("it is there", async || store.get(id).await.unwrap().unwrap().origin() == Origin::Store)
            .await;
    }
    done.store(true, Ordering::SeqCst);
    for (id, (key, value)) in tasks.join_all().await {
        let found = world.there(&id).await.unwrap();
        assert_eq!(found.get::<u64>(&key).unwrap(), Some(value));
    }
    let stats = world.store.stats();
    assert_eq!((stats.imported, stats.dropped, stats.conflicts), (ids.len() as u64, 0, 0));
    world.context.check().await;
}

/// Rotates a session and logs it in for as long as asked, and returns its ids, the last one at the end.
async fn rotate_on(store: Store, first: SessionId, done: Arc<AtomicBool>) -> Vec<SessionId> {
    let mut ids = vec![first];
    let mut number = 0_u64;
    while !done.load(Ordering::SeqCst) {
        number += 1;
        let user = format!("user-{number}");
        let id = ids.last().unwrap();
        let rotated = store.rotate(id, Rotation::new().user(&user)).await.unwrap().session;
        store.patch(rotated.id(), Patch::new().set("number", &number).unwrap()).await.unwrap();
        let found = store.get(rotated.id()).await.unwrap().expect("a live session looked absent");
        assert_eq!((found.user(), found.get::<u64>("number").unwrap()), (Some(user.as_str()), Some(number)));
        assert!(unless_left(store.get(id).await).is_none(), "a login left its old id open");
        ids.push(rotated.id().clone());
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_logged_in_again_and_again_is_there_once() {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let mut firsts = vec![world.anonymous().await, world.anonymous().await];
    world.cut_off().await;
    firsts.push(store.create(NewSession::new()).await.unwrap().session);
    let done = Arc::new(AtomicBool::new(false));
    let tasks: JoinSet<_> =
        firsts.iter().map(|first| rotate_on(store.clone(), first.id().clone(), done.clone())).collect();
    eventually("all are here", async || world.store.stats().local == firsts.len()).await;
    world.mend().await;
    done.store(true, Ordering::SeqCst);
    for ids in tasks.join_all().await {
        let (last, left) = ids.split_last().unwrap();
        let found = world.there(last).await.unwrap();
        assert_eq!(found.get::<u64>("number").unwrap(), Some(left.len() as u64));
        for id in left {
            assert!(world.there(id).await.is_none());
        }
    }
    assert_eq!(world.context.entries(&world.context.key("expiry")).await.len(), firsts.len());
    world.context.check().await;
}
