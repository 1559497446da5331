//! explain: what became of an id.

use std::time::Duration;

use cloakroom::migration::{Freezing, TaskId};
use cloakroom::{Explanation, NewSession, Rotation, Rules};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Near, Redis};
use crate::support::expect::session_id;

const MINUTE: Duration = Duration::from_secs(60);

#[rstest]
#[tokio::test]
async fn explain_tells_what_became_of_an_id_for_as_long_as_the_store_knows(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let expired = store.create(NewSession::new().ttl(MINUTE)).await.unwrap().session;
    context.clock.advance(MINUTE);
    let [live, deleted, rotated, left, gone] = [(); 5].map(|()| store.create(NewSession::new()));
    let live = live.await.unwrap().session;
    let deleted = deleted.await.unwrap().session;
    let rotated = rotated.await.unwrap().session;
    let left = left.await.unwrap().session;
    let gone = gone.await.unwrap().session;
    store.delete(&deleted).await.unwrap();
    store.rotate(&rotated, Rotation::new()).await.unwrap();
    let login = store.rotate(&left, Rotation::new().user("ann")).await.unwrap().session;
    let task = TaskId::random();
    let frozen = store.freeze(&gone, Freezing::new(task, "elsewhere")).await.unwrap();
    assert!(store.depart(&gone, task, frozen.until_ms).await.unwrap());

    let at_ms = expired.expires_at_ms();
    for (id, explanation) in [
        (live.id(), Explanation::Live),
        (login.id(), Explanation::Live),
        (expired.id(), Explanation::Expired { at_ms }),
        (deleted.id(), Explanation::Deleted),
        (rotated.id(), Explanation::Rotated { by_login: false }),
        (left.id(), Explanation::Rotated { by_login: true }),
        (gone.id(), Explanation::Departed { place: "elsewhere".to_owned() }),
        (&session_id("never"), Explanation::Unknown),
    ] {
        assert_eq!(store.explain(id).await.unwrap(), explanation);
    }
    context.clock.advance(MINUTE);
    for id in [deleted.id(), rotated.id(), left.id()] {
        assert_eq!(store.explain(id).await.unwrap(), Explanation::Unknown);
    }
}
