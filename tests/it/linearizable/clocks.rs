//! Servers whose clocks jump: a failover to a server that is behind, a clock that is set back.

use super::call::{Answer, Call, End};
use super::stage::{Stage, patch};
use super::wire::Rewrite;
use crate::support::Context;
use crate::support::context::eventually;
use crate::support::faketime::FakeTime;

/// A master, and a replica whose clock goes otherwise.
pub(super) struct Pair {
    pub(super) stage: Stage,
    replica: Context,
    /// The replica reads its clock from it as long as it runs.
    _clock: FakeTime,
}

impl Pair {
    /// By so many seconds the replica's clock is ahead.
    pub(super) async fn new(ahead: f64, rewrite: impl AsyncFnOnce(&Context) -> Option<Rewrite>) -> Self {
        let master = Context::own(&[]).await;
        let clock = FakeTime::new(ahead);
        let replica = Context::own_by(&clock).await;
        let address = master.server().address();
        let (host, port) = address.split_once(':').unwrap();
        replica.command::<()>(&["REPLICAOF", host, port]).await;
        eventually("the replica is linked", async || {
            let info: String = replica.command(&["INFO", "replication"]).await;
            info.contains("master_link_status:up")
        })
        .await;
        let rewrite = rewrite(&master).await;
        Self { stage: Stage::at(master, rewrite).await, replica, _clock: clock }
    }

    /// The replica has all that the master answered, and takes its place.
    async fn fail_over(&self) {
        let offset = async |context: &Context, name: &str| -> u64 {
            let info: String = context.command(&["INFO", "replication"]).await;
            let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        let written = offset(&self.stage.context, "master_repl_offset:").await;
        eventually("the replica has it all", async || {
            offset(&self.replica, "slave_repl_offset:").await >= written
        })
        .await;
        self.replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
        self.stage.wire.switch(self.replica.server().address());
    }
}

async fn unchanged(_: &Context) -> Option<Rewrite> {
    None
}

/// All others act at the old master, and the call is sent again to a new one, whose clock is further.
pub(super) async fn patch_and_a_failover_to_a_clock_that_is_ahead(pair: &Pair) {
    let stage = &pair.stage;
    stage.create().await;
    let meanwhile = async {
        stage.patches(0, 4).await;
        pair.fail_over().await;
    };
    stage.lost(0, patch(0, 2), meanwhile).await;
    stage.close_with(&stage.others_at(&pair.replica).await).await;
}

#[tokio::test]
async fn a_patch_is_not_made_again_at_a_new_master_whose_clock_is_ahead() {
    let pair = Pair::new(AHEAD, unchanged).await;
    patch_and_a_failover_to_a_clock_that_is_ahead(&pair).await;
    pair.stage.history.assert_linearizable();
}

#[tokio::test]
async fn a_patch_is_not_made_again_at_a_new_master_whose_clock_is_behind() {
    let pair = Pair::new(-0.2, unchanged).await;
    let stage = &pair.stage;
    stage.create().await;
    let meanwhile = async {
        pair.fail_over().await;
        let others = stage.others_at(&pair.replica).await;
        for value in 100..104 {
            others.call(patch(0, value)).await;
        }
    };
    stage.lost(0, patch(0, 2), meanwhile).await;
    stage.close_with(&stage.others_at(&pair.replica).await).await;
    stage.history.assert_linearizable();
}

#[tokio::test]
async fn a_patch_after_a_failover_to_a_clock_that_is_behind_is_made_once() {
    let pair = Pair::new(-0.2, unchanged).await;
    let stage = &pair.stage;
    stage.create().await;
    stage.client.call(patch(0, 2)).await;
    pair.fail_over().await;
    let others = stage.others_at(&pair.replica).await;
    let end = stage.client.call(patch(0, 3)).await;
    assert!(!matches!(end, End::Answered(Answer::Refused(_))), "{end:?}");
    let meanwhile = async {
        for value in 100..104 {
            others.call(patch(0, value)).await;
        }
    };
    stage.lost(0, patch(0, 4), meanwhile).await;
    // A session of the new master alone.
    others.call(Call::Create { id: 1, user: 1, connection: 0, node: 0, value: 1 }).await;
    let meanwhile = async {
        for value in 200..204 {
            others.call(patch(1, value)).await;
        }
    };
    stage.lost(0, patch(1, 5), meanwhile).await;
    stage.close_with(&others).await;
    stage.history.assert_linearizable();
}

/// A server whose clock can be set.
async fn by_own_clock() -> (FakeTime, Stage) {
    by_clock(unchanged).await
}

/// The same with requests that are changed on their way.
pub(super) async fn by_clock(rewrite: impl AsyncFnOnce(&Context) -> Option<Rewrite>) -> (FakeTime, Stage) {
    let clock = FakeTime::new(0.0);
    let context = Context::own_by(&clock).await;
    let rewrite = rewrite(&context).await;
    (clock, Stage::at(context, rewrite).await)
}

const HOUR: f64 = 3600.0;

/// By so many seconds a clock is ahead.
pub(super) const AHEAD: f64 = 60.0;

/// While the clock is set back four others act.
pub(super) async fn patch_while_the_clock_is_set_back(clock: &FakeTime, stage: &Stage) {
    stage.create().await;
    let meanwhile = async {
        clock.set(-HOUR);
        stage.patches(0, 4).await;
        clock.set(0.0);
    };
    stage.lost(0, patch(0, 2), meanwhile).await;
    stage.close().await;
}

/// The session is made and deleted, and its tombstone is gone when the create is sent again.
pub(super) async fn create_and_the_end_of_the_tombstone(clock: &FakeTime, stage: &Stage) {
    let gone = async {
        stage.get(0).await;
        stage.others.call(Call::Delete { id: 0 }).await;
        clock.set(2.0 * HOUR);
    };
    stage.lost(0, Call::Create { id: 0, user: 1, connection: 1, node: 1, value: 1 }, gone).await;
    stage.close().await;
}

#[tokio::test]
async fn a_patch_is_not_made_again_after_the_clock_was_set_back_and_forward() {
    let (clock, stage) = by_own_clock().await;
    patch_while_the_clock_is_set_back(&clock, &stage).await;
    stage.history.assert_linearizable();
}

#[tokio::test]
async fn a_create_is_not_made_again_after_its_tombstone_is_gone() {
    let (clock, stage) = by_own_clock().await;
    create_and_the_end_of_the_tombstone(&clock, &stage).await;
    stage.history.assert_linearizable();
}

#[tokio::test]
async fn a_patch_is_not_made_again_after_the_clock_was_set_back() {
    let (clock, stage) = by_own_clock().await;
    stage.create().await;
    let meanwhile = async {
        clock.set(-HOUR);
        stage.patches(0, 4).await;
    };
    stage.lost(0, patch(0, 2), meanwhile).await;
    stage.close().await;
    stage.history.assert_linearizable();
}

#[tokio::test]
async fn a_session_can_be_changed_after_the_clock_was_set_back_and_by_each_call_once() {
    let (clock, stage) = by_own_clock().await;
    stage.create().await;
    stage.patches(0, 4).await;
    clock.set(-HOUR);
    for value in 2..8 {
        let end = stage.client.call(patch(0, value)).await;
        assert!(matches!(end, End::Answered(Answer::Patched { changed: true, .. })), "{end:?}");
    }
    // One that began after the client saw the new time.
    stage.client.call(Call::Get { id: 0 }).await;
    stage.lost(0, patch(0, 9), stage.patches(0, 4)).await;
    stage.others.call(Call::Create { id: 1, user: 1, connection: 0, node: 0, value: 1 }).await;
    stage.lost(0, patch(1, 10), stage.patches(1, 4)).await;
    stage.close().await;
    stage.history.assert_linearizable();
}
