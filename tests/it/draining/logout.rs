//! Log-out everywhere, at each moment of a login.

use std::sync::Arc;

use cloakroom::draining::DrainingStore;
use cloakroom::{NewSession, Refusal, Rotation, Rules, Selector};

use super::Draining;
use crate::support::context::Store;
use crate::support::expect::refusal;
use crate::support::hooked::Hooked;

#[tokio::test]
async fn a_user_is_logged_out_of_both_stores_but_for_the_session_to_keep() {
    let place = Draining::begin(Rules::new()).await;
    let store = place.store();
    for place in [&place.old, &place.new] {
        for _ in 0..3 {
            place.create(NewSession::new().user("ann")).await.unwrap();
        }
    }
    // It is named by the id from before the login.
    let visitor = place.visitor().await;
    let kept = store.rotate(&visitor, Rotation::new().user("ann")).await.unwrap().session;
    let done = store.delete_user("ann", Some(visitor.id())).await.unwrap();
    assert_eq!(done.removed.len(), 6);
    assert!(store.get(kept.id()).await.unwrap().is_some());
    assert_eq!(store.delete_user("ann", None).await.unwrap().removed.len(), 1);
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 0);
    assert!(place.both.is_drained().await.unwrap());
    place.check().await;
}

/// The old user is logged out at each moment in which her session goes over to another user, and the other user too.
#[tokio::test]
async fn at_each_moment_of_a_login_a_logout_of_either_user_leaves_her_nothing() {
    let place = Draining::begin(Rules::new()).await;
    for user in ["ann", "bob"] {
        for (call, in_new) in
            [("export", false), ("import", true), ("leave", false), ("bind", true), ("extend", true)]
        {
            for is_after in [false, true] {
                let new = NewSession::new().user("ann").connection("socket");
                let session = place.old.create(new).await.unwrap().session;
                let (old, new) = (Hooked::new(place.old.clone()), Hooked::new(place.new.clone()));
                let hooked = if in_new { new.clone() } else { old.clone() };
                let store: Store = Arc::new(DrainingStore::new(Arc::new(old), Arc::new(new)));
                let gate = if is_after { hooked.stop_after(call) } else { hooked.stop_before(call) };
                let id = session.id().clone();
                let login = tokio::spawn(async move { store.rotate(&id, Rotation::new().user("bob")).await });
                gate.reached().await;
                place.store().delete_user(user, None).await.unwrap();
                assert_eq!(place.store().count(&Selector::user(user)).await.unwrap(), 0);
                gate.open();
                let ended = login.await.unwrap();
                let told = format!("{user} {call} {is_after}: {ended:?}");
                assert_eq!(place.store().count(&Selector::user("ann")).await.unwrap(), 0, "{told}");
                let left = place.store().count(&Selector::user("bob")).await.unwrap();
                match ended {
                    // It was through when bob was logged out.
                    Ok(_) if call == "extend" && is_after && user == "bob" => assert_eq!(left, 0, "{told}"),
                    Ok(_) => assert_eq!(left, 1, "{told}"),
                    ended => {
                        assert_eq!(refusal(ended), Refusal::Missing, "{told}");
                        // Of ann's logout a copy may be left that nobody knows.
                        assert!(left == 0 || user == "ann", "{told}");
                    }
                }
                place.store().delete_user("bob", None).await.unwrap();
                place.store().delete_user("ann", None).await.unwrap();
                place.check().await;
            }
        }
    }
}
