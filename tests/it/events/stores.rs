//! Events of stores that wrap other stores.

use std::sync::Arc;

use cloakroom::draining::DrainingStore;
use cloakroom::fallback::FallbackStore;

use super::*;

#[rstest]
#[tokio::test]
async fn a_fallback_store_tells_what_its_store_tells(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store: Store = Arc::new(FallbackStore::builder(context.store_at(telling()).await).build().unwrap());
    let reader = store.event_store().unwrap();
    let mut events = reader.events(EventsFrom::Beginning).await.unwrap();
    let mut of_n = reader.events_of_node("n", EventsFrom::Beginning).await.unwrap();
    let session = store.create(new("a")).await.unwrap().session;
    store.delete(&session).await.unwrap();
    let of_a = |kind| ("a".to_owned(), kind);
    let expected = [EventKind::Created, EventKind::Ended(Ending::Deleted)].map(of_a);
    assert_eq!(kinds(&mut events, 2).await, expected);
    assert_eq!(kinds(&mut of_n, 2).await, expected);
}

/// One store forgets the id, the other has the session: nobody takes that for an end who asks as what it goes on.
#[tokio::test]
async fn a_login_out_of_a_store_that_drains_is_told_by_both_and_ends_no_session() {
    let (from, to) = (Context::on(Memory).await, Context::on(Spread).await);
    let (old, fresh) = (from.store_at(telling()).await, to.store_at(telling()).await);
    let store: Store = Arc::new(DrainingStore::new(old.clone(), fresh.clone()));
    assert!(store.event_store().is_none());
    let visitor = old.create(new("a").user("")).await.unwrap().session;
    let of = async |store: &Store| store.event_store().unwrap().events(EventsFrom::Now).await.unwrap();
    let (mut leaving, mut coming) = (of(&old).await, of(&fresh).await);
    let session = store.rotate(&visitor, Rotation::new().user("ann")).await.unwrap().session;
    let left = next(&mut leaving).await;
    assert_eq!((&left.id, left.kind.goes_on_as()), (visitor.id(), Some(session.id())));
    assert_eq!(left.kind, EventKind::Ended(Ending::Login(session.id().clone())));
    for kind in [EventKind::Arrived, EventKind::Bound] {
        let came = next(&mut coming).await;
        assert_eq!((&came.id, came.user.as_deref()), (session.id(), Some("ann")));
        assert_eq!(came.kind, kind);
        assert_eq!(came.kind.goes_on_as(), None);
    }
}
