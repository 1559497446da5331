//! The callback with the result of a reconciliation.

use std::sync::Arc;
use std::sync::Mutex;

use cloakroom::fallback::{FallbackStoreBuilder, Reconciled};
use cloakroom::{NewSession, Rules, SessionStore as _};

use super::{POLICY, World};
use crate::support::context::eventually;
use crate::support::traced::capture;

#[tokio::test]
async fn one_that_panics_is_logged_and_counted_and_the_next_recovery_is_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let on_reconciled = {
        let told = told.clone();
        move |reconciled: &Reconciled| {
            told.lock().unwrap().push(reconciled.clone());
            let count = told.lock().unwrap().len();
            assert!(count > 1, "planted");
        }
    };
    let tune = |builder: FallbackStoreBuilder| builder.on_reconciled(on_reconciled);
    let world = World::with(POLICY, Rules::new(), tune).await;
    let (traced, _guard) = capture();
    for outage in 1..=2 {
        world.cut_off().await;
        let session = world.store.create(NewSession::new()).await.unwrap().session;
        world.mend().await;
        eventually("it is told", async || told.lock().unwrap().len() == outage).await;
        assert_eq!(told.lock().unwrap()[outage - 1].imported, [session.id().clone()]);
        assert!(world.there(session.id()).await.is_some());
        assert_eq!(world.store.stats().callback_panics, 1);
    }
    assert_eq!(traced.text().matches("a callback panicked").count(), 1);
    world.context.check().await;
}
