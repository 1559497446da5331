//! Changes that were on their way when the outage began: the server made them, but this process got no answer.

use std::time::Duration;

use cloakroom::fallback::{FallbackPolicy, FallbackStore};
use cloakroom::{Binding, Patch, Rotation, Session, SessionStore as _};

use super::super::{COOL_DOWN, impatient, opens, recovers};
use super::{blue, red};
use crate::support::Context;
use crate::support::context::{Store, eventually};
use crate::support::expect::unless_left;
use crate::support::proxy::Proxy;

const TTL: Duration = Duration::from_secs(600);

struct Outage {
    context: Context,
    proxy: Proxy,
    other: Store,
    store: FallbackStore,
    session: Session,
}

impl Outage {
    /// One that begins in the middle of a patch.
    async fn begin() -> Self {
        let context = Context::own(&[]).await;
        let proxy = Proxy::start(context.server().address()).await;
        let inner = impatient(&context, &proxy.url).await;
        let policy = FallbackPolicy::LocalOnly { ttl: TTL };
        let builder = FallbackStore::builder(inner).policy(policy).failures(2).cool_down(COOL_DOWN);
        let store = builder.build().unwrap();
        let other = context.store(cloakroom::Rules::new()).await;
        let session = context.session(&other, "a").await;
        eventually("it is seen", async || store.get(session.id()).await.is_ok()).await;
        proxy.silence(true);
        let lost = Patch::new().set("lost", &true).unwrap();
        assert!(store.patch(&session, lost).await.unwrap_err().is_ambiguous());
        assert_eq!(other.get(session.id()).await.unwrap().unwrap().version().get(), 2, "it has happened");
        proxy.cut_off(true);
        proxy.silence(false);
        opens(&store).await;
        Self { context, proxy, other, store, session }
    }

    async fn mend(&self) {
        self.proxy.cut_off(false);
        recovers(&self.store).await;
    }

    /// What the server has in the end.
    async fn assert_color(&self, id: &cloakroom::SessionId, expected: &str, conflicts: u64) {
        let found = self.other.get(id).await.unwrap().unwrap();
        assert_eq!(found.get::<String>("color").unwrap().as_deref(), Some(expected));
        assert_eq!(self.store.get(id).await.unwrap().unwrap().version(), found.version());
        assert!(found.version().get() > 2, "the version never goes back");
        assert_eq!((self.store.stats().conflicts, self.store.stats().dropped), (conflicts, 0));
        self.context.check().await;
    }
}

#[tokio::test]
async fn what_was_changed_here_afterwards_is_newer() {
    let outage = Outage::begin().await;
    outage.store.patch(&outage.session, red()).await.unwrap();
    outage.mend().await;
    outage.assert_color(outage.session.id(), "red", 0).await;
}

#[tokio::test]
async fn a_change_of_another_process_on_top_of_it_wins() {
    let outage = Outage::begin().await;
    outage.store.patch(&outage.session, red()).await.unwrap();
    outage.other.patch(outage.session.id(), blue()).await.unwrap();
    outage.mend().await;
    outage.assert_color(outage.session.id(), "blue", 1).await;
}

#[tokio::test]
async fn a_session_that_was_logged_in_here_afterwards_is_there_with_its_changes() {
    let outage = Outage::begin().await;
    let login = outage.store.rotate(&outage.session, Rotation::new().user("ann")).await.unwrap().session;
    outage.store.patch(&login, red()).await.unwrap();
    outage.mend().await;
    outage.assert_color(login.id(), "red", 0).await;
    assert!(unless_left(outage.other.get(outage.session.id()).await).is_none());
}

#[tokio::test]
async fn a_session_that_only_got_another_id_here_afterwards_is_there_as_it_is_here() {
    let outage = Outage::begin().await;
    let rotated = outage.store.rotate(&outage.session, Rotation::new()).await.unwrap().session;
    outage.mend().await;
    outage.assert_color(rotated.id(), "green", 0).await;
}

#[tokio::test]
async fn the_change_itself_may_be_repeated_here_under_its_operation_id() {
    let outage = Outage::begin().await;
    let again = outage.store.with_operation_id(cloakroom::OperationId::random());
    for _ in 0..2 {
        again.patch(&outage.session, red()).await.unwrap();
    }
    outage.store.bind(&outage.session, Binding::new("c")).await.unwrap();
    outage.mend().await;
    outage.assert_color(outage.session.id(), "red", 0).await;
    let found = outage.other.session_by_connection("c").await.unwrap().unwrap();
    assert_eq!(found.id(), outage.session.id());
}
