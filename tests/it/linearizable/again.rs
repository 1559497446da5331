//! Calls that are retried after a lost reply, and first attempts that arrive late: each such history must have an order
//! that explains it. The names of the plays say what is lost, and what others do before the retry.

use std::time::Duration;

use super::call::{Answer, Call, End};
use super::stage::{Stage, patch};
use super::wire::{At, Fault};

/// Plays a history to its end, and looks for an order of its calls.
async fn holds(play: impl AsyncFnOnce(&Stage)) {
    let stage = Stage::new().await;
    play(&stage).await;
    stage.close().await;
    stage.history.assert_linearizable();
    stage.context.check().await;
}

/// A takeover of session 0 by connection 2 and node 2, which is free.
fn bind() -> Call {
    Call::Bind { id: 0, connection: 2, node: 2, take_over: true }
}

pub(super) async fn late_patch(stage: &Stage) {
    stage.create().await;
    stage.late(0, patch(0, 2), stage.patches(0, 4)).await;
}

pub(super) async fn late_bind(stage: &Stage) {
    stage.create().await;
    let back = async {
        stage.others.call(Call::Bind { id: 0, connection: 1, node: 1, take_over: false }).await;
        stage.patches(0, 3).await;
    };
    stage.late(1, bind(), back).await;
}

pub(super) async fn late_unbind(stage: &Stage) {
    stage.create().await;
    let back = async {
        stage.others.call(Call::Bind { id: 0, connection: 1, node: 1, take_over: false }).await;
        stage.patches(0, 3).await;
    };
    stage.late(1, Call::Unbind { id: 0, connection: 1 }, back).await;
}

pub(super) async fn patch_and_four_others(stage: &Stage) {
    stage.create().await;
    stage.lost(0, patch(0, 2), stage.patches(0, 4)).await;
}

pub(super) async fn patch_and_another(stage: &Stage) {
    stage.create().await;
    stage.lost(0, patch(0, 2), stage.patches(0, 1)).await;
}

pub(super) async fn patch_that_its_caller_makes_again(stage: &Stage) {
    stage.create().await;
    stage.given_up(0, patch(0, 2), stage.patches(0, 4)).await;
}

pub(super) async fn create_that_its_caller_makes_again(stage: &Stage) {
    let end = async {
        stage.get(0).await;
        stage.others.call(Call::Delete { id: 0 }).await;
    };
    let create = Call::Create { id: 0, user: 1, connection: 1, node: 1, value: 1 };
    stage.given_up(0, create, end).await;
}

pub(super) async fn bind_and_four_others(stage: &Stage) {
    stage.create().await;
    let elsewhere = async {
        stage.others.call(Call::Bind { id: 0, connection: 3, node: 1, take_over: true }).await;
        stage.patches(0, 3).await;
    };
    stage.lost(1, bind(), elsewhere).await;
}

pub(super) async fn unbind_and_four_others(stage: &Stage) {
    stage.create().await;
    let back = async {
        stage.others.call(Call::Bind { id: 0, connection: 1, node: 2, take_over: false }).await;
        stage.patches(0, 3).await;
    };
    stage.lost(1, Call::Unbind { id: 0, connection: 1 }, back).await;
}

pub(super) async fn unbind_and_a_delete(stage: &Stage) {
    stage.create().await;
    let end = async {
        stage.get(0).await;
        stage.others.call(Call::Delete { id: 0 }).await;
    };
    stage.lost(1, Call::Unbind { id: 0, connection: 1 }, end).await;
}

pub(super) async fn patch_and_a_delete(stage: &Stage) {
    stage.create().await;
    let end = async {
        stage.get(0).await;
        stage.others.call(Call::Delete { id: 0 }).await;
    };
    stage.lost(0, patch(0, 2), end).await;
}

pub(super) async fn patch_and_four_others_and_a_delete(stage: &Stage) {
    stage.create().await;
    let end = async {
        stage.get(0).await;
        stage.patches(0, 4).await;
        stage.others.call(Call::Delete { id: 0 }).await;
    };
    stage.lost(0, patch(0, 2), end).await;
}

pub(super) async fn patch_and_a_login(stage: &Stage) {
    stage.create().await;
    let login = async {
        stage.get(0).await;
        stage.others.call(Call::Rotate { id: 0, to: 1, user: 2 }).await;
    };
    stage.lost(0, patch(0, 2), login).await;
}

pub(super) async fn patch_and_two_rotations(stage: &Stage) {
    stage.create().await;
    let rotations = async {
        stage.get(0).await;
        stage.others.call(Call::Rotate { id: 0, to: 1, user: 0 }).await;
        stage.others.call(Call::Rotate { id: 1, to: 2, user: 0 }).await;
    };
    stage.lost(0, patch(0, 2), rotations).await;
}

pub(super) async fn patch_that_is_undone(stage: &Stage) {
    stage.create().await;
    let undone = async {
        stage.get(0).await;
        stage.others.call(patch(0, 3)).await;
        stage.patches(0, 3).await;
        stage.others.call(patch(0, 2)).await;
    };
    stage.lost(0, patch(0, 2), undone).await;
}

pub(super) async fn update_and_four_others(stage: &Stage) {
    let copy = stage.create().await;
    stage.lost(0, Call::Update { copy, user: 0, value: 2 }, stage.patches(0, 4)).await;
}

pub(super) async fn update_and_a_delete(stage: &Stage) {
    let copy = stage.create().await;
    let end = async {
        stage.get(0).await;
        stage.others.call(Call::Delete { id: 0 }).await;
    };
    stage.lost(0, Call::Update { copy, user: 0, value: 2 }, end).await;
}

/// Session 0 is made, its reply is lost, and others act on it.
async fn made(stage: &Stage, meanwhile: impl Future<Output = ()>) {
    let create = Call::Create { id: 0, user: 1, connection: 1, node: 1, value: 1 };
    let seen = async {
        stage.get(0).await;
        meanwhile.await;
    };
    stage.lost(0, create, seen).await;
}

pub(super) async fn create_and_a_delete(stage: &Stage) {
    made(stage, async {
        stage.others.call(Call::Delete { id: 0 }).await;
    })
    .await;
}

pub(super) async fn create_and_four_others_and_a_delete(stage: &Stage) {
    made(stage, async {
        stage.patches(0, 4).await;
        stage.others.call(Call::Delete { id: 0 }).await;
    })
    .await;
}

pub(super) async fn create_and_a_rotation(stage: &Stage) {
    made(stage, async {
        stage.others.call(Call::Rotate { id: 0, to: 1, user: 0 }).await;
    })
    .await;
}

pub(super) async fn create_and_a_login(stage: &Stage) {
    made(stage, async {
        stage.others.call(Call::Rotate { id: 0, to: 1, user: 2 }).await;
    })
    .await;
}

pub(super) async fn create_and_four_others(stage: &Stage) {
    made(stage, stage.patches(0, 4)).await;
}

pub(super) async fn login_and_a_delete_of_the_user(stage: &Stage) {
    stage.create().await;
    let end = async {
        stage.get(1).await;
        stage.others.call(Call::DeleteUser { user: 2 }).await;
    };
    stage.lost(1, Call::Rotate { id: 0, to: 1, user: 2 }, end).await;
}

pub(super) async fn rotation_and_a_patch(stage: &Stage) {
    stage.create().await;
    stage.lost(1, Call::Rotate { id: 0, to: 1, user: 0 }, stage.patches(1, 1)).await;
}

pub(super) async fn rotation_and_four_others(stage: &Stage) {
    stage.create().await;
    stage.lost(1, Call::Rotate { id: 0, to: 1, user: 0 }, stage.patches(1, 4)).await;
}

pub(super) async fn rotation_and_a_rotation(stage: &Stage) {
    stage.create().await;
    let further = async {
        stage.get(1).await;
        stage.others.call(Call::Rotate { id: 1, to: 2, user: 0 }).await;
    };
    stage.lost(1, Call::Rotate { id: 0, to: 1, user: 0 }, further).await;
}

pub(super) async fn takeover_and_changes_of_the_loser(stage: &Stage) {
    stage.create().await;
    stage.others.call(Call::Create { id: 1, user: 2, connection: 2, node: 2, value: 1 }).await;
    let changes = async {
        stage.get(0).await;
        stage.patches(1, 4).await;
    };
    // The first asks for the routing, the second for the holder, the third for its node.
    stage.lost(3, bind(), changes).await;
}

pub(super) async fn bind_that_is_taken_from(stage: &Stage) {
    stage.create().await;
    stage.others.call(Call::Create { id: 1, user: 2, connection: 0, node: 2, value: 1 }).await;
    let taken = async {
        stage.get(0).await;
        stage.others.call(Call::Bind { id: 1, connection: 2, node: 1, take_over: true }).await;
        stage.patches(0, 4).await;
    };
    let bind = Call::Bind { id: 0, connection: 2, node: 2, take_over: false };
    stage.lost(1, bind, taken).await;
}

pub(super) async fn delete_and_a_look(stage: &Stage) {
    stage.create().await;
    stage.lost(1, Call::Delete { id: 0 }, stage.get(0)).await;
}

pub(super) async fn delete_after_a_login(stage: &Stage) {
    stage.create().await;
    stage.others.call(Call::Rotate { id: 0, to: 1, user: 2 }).await;
    let seen = async {
        stage.get(1).await;
        stage.others.call(Call::Create { id: 1, user: 1, connection: 0, node: 0, value: 5 }).await;
    };
    // The first leads to the new id, the second asks for the routing.
    stage.lost(2, Call::Delete { id: 0 }, seen).await;
}

pub(super) async fn delete_of_a_user_who_comes_back(stage: &Stage) {
    stage.create().await;
    let back = async {
        stage.get(0).await;
        stage.others.call(Call::Create { id: 1, user: 1, connection: 0, node: 0, value: 5 }).await;
    };
    stage.lost(0, Call::DeleteUser { user: 1 }, back).await;
}

#[tokio::test]
async fn a_patch_whose_first_attempt_arrives_last_is_not_written_again() {
    holds(late_patch).await;
}

#[tokio::test]
async fn a_bind_whose_first_attempt_arrives_last_is_not_written_again() {
    holds(late_bind).await;
}

#[tokio::test]
async fn an_unbind_whose_first_attempt_arrives_last_is_not_written_again() {
    holds(late_unbind).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_patch_before_four_others_is_told_rightly() {
    holds(patch_and_four_others).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_patch_before_three_others_is_told_rightly_and_not_ambiguous() {
    holds(async |stage| {
        stage.create().await;
        let end = stage.lost(0, patch(0, 2), stage.patches(0, 3)).await;
        assert_eq!(end, End::Answered(Answer::Patched { id: 0, version: 2, changed: true }));
    })
    .await;
}

#[tokio::test]
async fn a_patch_that_arrives_once_and_late_after_four_others_is_made() {
    holds(async |stage| {
        stage.create().await;
        let meanwhile = async {
            stage.patches(0, 4).await;
            // Late is what arrives a tenth of a second after its call began.
            tokio::time::sleep(Duration::from_millis(150)).await;
        };
        let end = stage.struck(Fault::Wait, At::Scripts, 0, patch(0, 2), meanwhile).await;
        assert_eq!(end, End::Answered(Answer::Patched { id: 0, version: 6, changed: true }));
    })
    .await;
}

#[tokio::test]
async fn a_patch_that_its_caller_makes_again_after_four_others_is_made_once() {
    holds(patch_that_its_caller_makes_again).await;
}

#[tokio::test]
async fn a_create_that_its_caller_makes_again_after_a_delete_is_told_rightly() {
    holds(create_that_its_caller_makes_again).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_bind_before_four_others_is_told_rightly() {
    holds(bind_and_four_others).await;
}

#[tokio::test]
async fn the_lost_reply_to_an_unbind_before_four_others_is_told_rightly() {
    holds(unbind_and_four_others).await;
}

#[tokio::test]
async fn the_lost_reply_to_an_unbind_before_a_delete_is_told_rightly() {
    holds(unbind_and_a_delete).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_patch_before_a_delete_is_told_rightly() {
    holds(patch_and_a_delete).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_patch_before_four_others_and_a_delete_is_told_rightly() {
    holds(patch_and_four_others_and_a_delete).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_patch_before_a_login_is_told_rightly() {
    holds(patch_and_a_login).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_patch_before_two_rotations_is_told_rightly() {
    holds(patch_and_two_rotations).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_patch_that_is_undone_is_told_rightly() {
    holds(patch_that_is_undone).await;
}

#[tokio::test]
async fn the_lost_reply_to_an_update_before_four_others_is_told_rightly() {
    holds(update_and_four_others).await;
}

#[tokio::test]
async fn the_lost_reply_to_an_update_before_a_delete_is_told_rightly() {
    holds(update_and_a_delete).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_create_before_a_delete_is_told_rightly() {
    holds(create_and_a_delete).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_create_before_four_others_and_a_delete_is_told_rightly() {
    holds(create_and_four_others_and_a_delete).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_create_before_a_rotation_is_told_rightly() {
    holds(create_and_a_rotation).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_create_before_a_login_is_told_rightly() {
    holds(create_and_a_login).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_create_before_four_others_is_told_rightly() {
    holds(create_and_four_others).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_login_before_a_delete_of_the_user_is_told_rightly() {
    holds(login_and_a_delete_of_the_user).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_rotation_before_a_patch_is_told_rightly() {
    holds(rotation_and_a_patch).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_rotation_before_four_others_is_told_rightly() {
    holds(rotation_and_four_others).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_rotation_before_a_rotation_is_told_rightly() {
    holds(rotation_and_a_rotation).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_takeover_before_changes_of_the_loser_is_told_rightly() {
    holds(takeover_and_changes_of_the_loser).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_bind_that_is_taken_from_is_told_rightly() {
    holds(bind_that_is_taken_from).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_delete_after_a_login_is_told_rightly() {
    holds(delete_after_a_login).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_delete_of_a_user_who_comes_back_is_told_rightly() {
    holds(delete_of_a_user_who_comes_back).await;
}

#[tokio::test]
async fn the_lost_reply_to_a_delete_before_a_look_is_told_rightly() {
    holds(delete_and_a_look).await;
}
