//! Sessions used while they move.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloakroom::migration::{Destination, MigrationManager};
use cloakroom::{NewSession, Rules, Selector};
use rstest::rstest;

use super::World;
use super::crash::user::{Fate, User};
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::sessions::create_many;

const SESSIONS: usize = 120;

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_change_is_lost_no_delete_undone_and_no_session_changed_in_two_places(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let from = crate::support::Context::on(on).await;
    let to = from.another(on).await;
    let (local, remote) = (from.store(Rules::new()).await, to.store(Rules::new()).await);
    let world = World { from, to, local, remote };
    let sessions = create_many(&world.local, SESSIONS, |_| NewSession::new().user("ann").node("n")).await;
    let builder = MigrationManager::builder(world.local.clone(), world.remote.clone());
    let manager = builder.freeze(Duration::from_secs(20)).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let users = sessions.iter().map(|session| {
        let user = User::new(session.id().clone());
        let (from, to) = (world.local.clone(), world.remote.clone());
        tokio::spawn(user.uses(from, to, stop.clone()))
    });
    let users: Vec<_> = users.collect();
    let mut drain = manager.drain_node("n", Destination::Remote, 2_000).unwrap();
    let progress = drain.done().await.unwrap();
    stop.store(true, Ordering::SeqCst);
    assert_eq!(world.local.count(&Selector::node("n")).await.unwrap(), 0, "{progress:?}");
    let mut deleted = 0;
    for user in users {
        let user = user.await.unwrap();
        deleted += usize::from(user.fate == Fate::Deleted);
        user.check(&world.local, &world.remote).await;
    }
    assert!(deleted > 0 && deleted < SESSIONS, "{deleted} deleted");
    manager.close().await;
    world.is_settled().await;
}
