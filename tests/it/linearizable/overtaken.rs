//! First attempts that are held up, and executed when a later attempt has declared other keys: an answer made from the
//! later attempt's keys would be wrong.

use std::sync::Arc;

use cloakroom::{Error, NewSession, OnLimit, Removed, Result, Rotation, SessionStore};

use super::call::Call;
use super::client::Names;
use super::random::rules;
use super::stage::Stage;
use crate::support::Context;

/// Plays a history to its end, and looks for an order of its calls.
async fn holds(play: impl AsyncFnOnce(&Stage)) {
    let stage = Stage::new().await;
    play(&stage).await;
    stage.close().await;
    stage.history.assert_linearizable();
    stage.context.check().await;
}

/// The first attempt declares no connection and finds none, the last one declares that which the session had between.
pub(super) async fn bind_before_an_unbind(stage: &Stage) {
    stage.create().await;
    let unbind = async {
        stage.others.call(Call::Unbind { id: 0, connection: 1 }).await;
    };
    let bind = Call::Bind { id: 0, connection: 2, node: 2, take_over: false };
    stage.overtaken(0, stage.client.call(bind), async {}, 1, unbind).await;
}

/// The first attempt takes the connection from one session, the last one declares another.
pub(super) async fn takeover_from_another_holder(stage: &Stage) {
    stage.create().await;
    for id in [1, 2] {
        stage.others.call(Call::Create { id, user: 2, connection: 0, node: 0, value: 1 }).await;
    }
    let held_by = async |id| {
        stage.others.call(Call::Bind { id, connection: 2, node: 2, take_over: true }).await;
    };
    held_by(1).await;
    let bind = Call::Bind { id: 0, connection: 2, node: 1, take_over: true };
    // The first asks for the routing, the second for the holder, the third for its node; and so once more.
    stage.overtaken(3, stage.client.call(bind), held_by(2), 2, held_by(1)).await;
}

#[tokio::test]
async fn a_bind_that_an_earlier_attempt_made_does_not_tell_what_the_last_one_declared() {
    holds(bind_before_an_unbind).await;
}

#[tokio::test]
async fn a_takeover_that_an_earlier_attempt_made_does_not_tell_whom_the_last_one_declared() {
    holds(takeover_from_another_holder).await;
}

/// The user 1 may have one session, which is evicted at connection 1, when the last attempt declares connection 2.
async fn tells_where_a_session_was_that_it_evicted(
    call: impl AsyncFnOnce(Arc<dyn SessionStore>, Names) -> Result<Vec<Removed>>,
) {
    let rules = rules().sessions_per_user(1, OnLimit::EvictOldest);
    let stage = Stage::by(Context::redis().await, None, rules).await;
    stage.create().await;
    stage.others.call(Call::Create { id: 3, user: 0, connection: 0, node: 0, value: 1 }).await;
    let at = async |connection| {
        stage.others.call(Call::Bind { id: 0, connection, node: 1, take_over: false }).await;
    };
    let evicted = call(stage.client.store.clone(), stage.names.clone());
    match stage.overtaken(EVICTING, evicted, at(2), 1, at(1)).await {
        Ok(evicted) => {
            let connections: Vec<_> = evicted.iter().map(|removed| removed.connection.as_deref()).collect();
            assert_eq!(connections, [Some(&*stage.names.connection(1))]);
        }
        Err(error) => assert!(matches!(error, Error::Ambiguous { .. }), "{error:?}"),
    }
    assert!(stage.client.store.get(&stage.names.id(0)).await.unwrap().is_none());
    stage.context.check().await;
}

/// The second script of a call evicts: the first asks whom.
const EVICTING: u32 = 1;

#[tokio::test]
async fn a_create_that_an_earlier_attempt_made_does_not_tell_where_the_last_one_declared_a_victim() {
    tells_where_a_session_was_that_it_evicted(async |store, names| {
        let new = NewSession::new().id(names.id(4)).user(names.user(1));
        Ok(store.create(new).await?.evicted)
    })
    .await;
}

#[tokio::test]
async fn a_login_that_an_earlier_attempt_made_does_not_tell_where_the_last_one_declared_a_victim() {
    tells_where_a_session_was_that_it_evicted(async |store, names| {
        let guest = store.get(&names.id(3)).await?.unwrap();
        let login = Rotation::new().new_id(names.id(4)).user(names.user(1));
        Ok(store.rotate(&guest, login).await?.evicted)
    })
    .await;
}
