//! Nodes with their leases, sessions that change their node, and those that go over to another store.

use cloakroom::Session;
use cloakroom::migration::{Direction, Freezing, Import, Leftover, TaskId};
use cloakroom::nodes::{Claim, Heartbeat, HeartbeatReply, NodeIdentity};

use crate::bench::{BATCH, Bench, PATIENCE, Store, batches, make, new_session, one_each};

const PLACES: [&str; 2] = ["one", "other"];

async fn beats(store: &Store, holder: &NodeIdentity, heartbeat: Heartbeat) {
    let status = store.heartbeat(holder, heartbeat.lease(PATIENCE)).await.unwrap();
    assert!(matches!(status, HeartbeatReply::Held { .. }), "{status:?}");
}

/// The five steps, as a `MigrationManager` takes them.
async fn moves(from: &Store, to: &Store, session: Session) {
    let task = TaskId::random();
    let frozen = from.freeze(&session, Freezing::new(task, PLACES[1])).await.unwrap();
    let import = Import::new(frozen.export).incoming(task, frozen.until_ms, PLACES[0]);
    to.import(import).await.unwrap();
    from.depart(&session, task, frozen.until_ms).await.unwrap();
    assert!(to.thaw(session.id(), task, Direction::Incoming).await.unwrap());
    from.clean(&session, task, Leftover::Departed).await.unwrap();
}

pub(crate) fn measure(bench: &mut Bench<'_>) {
    bench.measure_crowd("freeze and thaw", async |store, of| {
        let task = TaskId::random();
        store.freeze(&of.id, Freezing::new(task, PLACES[1]).span(PATIENCE)).await.unwrap();
        assert!(store.thaw(&of.id, task, Direction::Outgoing).await.unwrap());
    });
    let other = bench.other.clone();
    bench.measure("freeze, import, depart, thaw and clean", one_each, async |store, session| {
        moves(store, &other, session).await;
    });
    let on_their_way = async |store: &Store, calls| {
        // Reading drops what earlier calls left in the list.
        while store.migrations(0, BATCH).await.unwrap().next.is_some() {}
        for session in one_each(store, BATCH as u64).await {
            store.freeze(&session, Freezing::new(TaskId::random(), PLACES[1]).span(PATIENCE)).await.unwrap();
        }
        vec![(); calls as usize]
    };
    bench.measure("migrations of 100", on_their_way, async |store, ()| {
        assert_eq!(store.migrations(0, BATCH).await.unwrap().migrations.len(), BATCH);
    });

    let holder = NodeIdentity::new("node").unwrap();
    let registered = async |store: &Store, calls| {
        beats(store, &holder, Heartbeat::register()).await;
        vec![(); calls as usize]
    };
    bench.measure("heartbeat", registered, async |store, ()| beats(store, &holder, Heartbeat::renew()).await);
    let at_another = async |store: &Store, calls| {
        beats(store, &holder, Heartbeat::register()).await;
        let batches = batches(calls);
        make(store, (0..batches * BATCH).map(|_| new_session().node("left"))).await;
        vec![(); batches]
    };
    bench.measure("recover of 100", at_another, async |store, ()| {
        let claim = Claim::new("left", "node").even_if_leased().batch(BATCH);
        assert_eq!(store.recover(claim).await.unwrap().sessions.len(), BATCH);
    });
    let holders: Vec<NodeIdentity> =
        (0..BATCH).map(|number| NodeIdentity::new(&format!("node-{number}")).unwrap()).collect();
    let nodes = async |store: &Store, calls| {
        for holder in &holders {
            beats(store, holder, Heartbeat::register()).await;
        }
        vec![(); calls as usize]
    };
    bench.measure("nodes of 100", nodes, async |store, ()| {
        assert!(store.nodes().await.unwrap().len() >= BATCH);
    });
}
