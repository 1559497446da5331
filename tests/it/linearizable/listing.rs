//! A list takes two trips, and so does a session by its connection: what others do in between must not show in half of
//! the answer.

use std::collections::BTreeMap;

use super::call::{Call, Whose};
use super::stage::{Stage, patch};
use super::wire::{Aim, At, Fault};

/// The sessions of a user or a node are listed, and others act when the index has been read.
async fn listed(stage: &Stage, whose: Whose, meanwhile: impl Future<Output = ()>) {
    stage.struck(Fault::Wait, At::Calls, 1, Call::List { whose }, meanwhile).await;
}

async fn holds(play: impl AsyncFnOnce(&Stage)) {
    let stage = Stage::new().await;
    play(&stage).await;
    stage.close().await;
    stage.history.assert_linearizable();
}

pub(super) async fn list_and_a_create_and_a_patch(stage: &Stage) {
    stage.create().await;
    let meanwhile = async {
        stage.others.call(Call::Create { id: 1, user: 1, connection: 0, node: 1, value: 5 }).await;
        stage.others.call(patch(0, 6)).await;
    };
    listed(stage, Whose::User(1), meanwhile).await;
}

/// The same where one entry leads nowhere, so that the script reads the page.
pub(super) async fn list_by_the_script_and_a_create_and_a_patch(stage: &Stage) {
    stage.create().await;
    let _: i64 = stage.context.command(&["ZADD", &stage.index_of_user(1), "1", "nobody"]).await;
    let meanwhile = async {
        stage.others.call(Call::Create { id: 1, user: 1, connection: 0, node: 1, value: 5 }).await;
        stage.others.call(patch(0, 6)).await;
    };
    stage.struck(Fault::Wait, At::Scripts, 0, Call::List { whose: Whose::User(1) }, meanwhile).await;
}

/// The same as the first, with the index as it was at first under another key.
pub(super) async fn list_and_a_create_and_a_patch_and_an_index_of_before(stage: &Stage) {
    stage.create().await;
    let index = stage.index_of_user(1);
    let _: i64 = stage.context.command(&["COPY", &index, &format!("{index}{BEFORE}")]).await;
    let meanwhile = async {
        stage.others.call(Call::Create { id: 1, user: 1, connection: 0, node: 1, value: 5 }).await;
        stage.others.call(patch(0, 6)).await;
    };
    listed(stage, Whose::User(1), meanwhile).await;
}

/// What the key of that ends with.
pub(super) const BEFORE: &str = "-before";

pub(super) async fn list_of_a_node_and_a_bind_and_a_patch(stage: &Stage) {
    stage.create().await;
    stage.others.call(Call::Create { id: 1, user: 2, connection: 0, node: 2, value: 5 }).await;
    let meanwhile = async {
        stage.others.call(Call::Bind { id: 1, connection: 2, node: 1, take_over: false }).await;
        stage.others.call(patch(0, 6)).await;
    };
    listed(stage, Whose::Node(1), meanwhile).await;
}

pub(super) async fn list_and_a_rotation(stage: &Stage) {
    stage.create().await;
    let meanwhile = async {
        stage.others.call(Call::Rotate { id: 0, to: 1, user: 0 }).await;
    };
    listed(stage, Whose::User(1), meanwhile).await;
}

pub(super) async fn list_and_a_delete_and_a_create(stage: &Stage) {
    stage.create().await;
    let meanwhile = async {
        stage.others.call(Call::Create { id: 1, user: 1, connection: 0, node: 1, value: 5 }).await;
        stage.others.call(Call::Delete { id: 0 }).await;
    };
    listed(stage, Whose::User(1), meanwhile).await;
}

/// Where the index was empty when it was read, one trip is the whole list.
pub(super) async fn list_of_nothing(stage: &Stage) {
    stage.client.call(Call::List { whose: Whose::User(1) }).await;
    stage.create().await;
}

#[tokio::test]
async fn a_list_does_not_show_a_later_patch_and_miss_an_earlier_session() {
    holds(list_and_a_create_and_a_patch).await;
}

#[tokio::test]
async fn a_list_by_the_script_does_not_show_a_later_patch_and_miss_an_earlier_session() {
    holds(list_by_the_script_and_a_create_and_a_patch).await;
}

#[tokio::test]
async fn an_index_of_before_is_not_looked_at() {
    holds(list_and_a_create_and_a_patch_and_an_index_of_before).await;
}

#[tokio::test]
async fn a_page_goes_on_behind_where_its_last_entry_stands_with_the_records() {
    let stage = Stage::new().await;
    stage.create().await;
    let index = stage.index_of_user(1);
    let stands: BTreeMap<String, u64> = stage.context.members(&index).await;
    let (id, created_at) = stands.iter().next().unwrap();
    // When the page is read, the session stands where another stood that had its id before.
    let place = async |score: u64| {
        let _: i64 = stage.context.command(&["ZADD", &index, &score.to_string(), id]).await;
    };
    place(created_at + 10).await;
    let before = stage.wire.fired();
    stage.wire.aim(Aim { fault: Fault::Wait, skips: 1, times: 1, at: At::Calls, then_wait: true });
    let meanwhile = async {
        stage.wire.fires(before).await;
        place(*created_at).await;
        stage.wire.go_on();
    };
    let (page, ()) = tokio::join!(stage.client.page(Whose::User(1), 1), meanwhile);
    let next = page.next.unwrap().to_string();
    assert!(next.starts_with(&format!("{created_at}.")), "{next}, of {created_at}");
}

#[tokio::test]
async fn a_list_of_a_node_does_not_show_a_later_patch_and_miss_an_earlier_bind() {
    holds(list_of_a_node_and_a_bind_and_a_patch).await;
}

#[tokio::test]
async fn a_list_does_not_lose_a_session_that_is_rotated_meanwhile() {
    holds(list_and_a_rotation).await;
}

#[tokio::test]
async fn a_list_does_not_miss_two_sessions_of_which_there_was_always_one() {
    holds(list_and_a_delete_and_a_create).await;
}

/// One session of two has the connection at any time, though not the one that the pointer named when it is read.
pub(super) async fn connection_to_and_fro(stage: &Stage) {
    stage.create().await;
    stage.others.call(Call::Create { id: 1, user: 2, connection: 0, node: 2, value: 5 }).await;
    let take = async |id| {
        stage.others.call(Call::Bind { id, connection: 1, node: 1, take_over: true }).await;
    };
    let aim = |skips| Aim { fault: Fault::Wait, skips, times: 1, at: At::Calls, then_wait: true };
    let before = stage.wire.fired();
    stage.wire.aim(aim(1));
    let meanwhile = async {
        stage.wire.fires(before).await;
        take(1).await;
        stage.wire.aim(aim(0));
        stage.wire.go_on();
        stage.wire.fires(before + 1).await;
        take(0).await;
        stage.wire.go_on();
    };
    tokio::join!(stage.client.call(Call::ByConnection { connection: 1 }), meanwhile);
}

#[tokio::test]
async fn a_connection_that_somebody_always_has_is_found() {
    holds(connection_to_and_fro).await;
}

#[tokio::test]
async fn a_list_of_nobody_is_empty() {
    holds(list_of_nothing).await;
}
