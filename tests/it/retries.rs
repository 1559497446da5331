//! Lost replies: every writing operation has its effect once, whether the store or the caller retries it.

mod cases;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::nodes::{Heartbeat, NodeIdentity};
use cloakroom::{
    Binding, Error, IdScheme, NewSession, OnLimit, OperationId, PageRequest, Patch, RedisStore, Rotation,
    Rules, Selector, Session, SessionId, SessionStore as _,
};
use rstest::rstest;

use self::cases::{CASES, Caller, Case, Given};
use crate::support::Context;
use crate::support::context::Store;
use crate::support::leases::LEASE;
use crate::support::proxy::Proxy;
use crate::support::record::Stored;

/// All that is stored, without the operation ids, which differ from call to call.
type Snapshot = BTreeMap<String, String>;

/// A namespace that is made anew for each call, and a store that reaches it through a proxy.
struct Scene {
    context: Context,
    proxy: Proxy,
    direct: Store,
    proxied: Store,
    holder: NodeIdentity,
    begin_ms: u64,
}

impl Scene {
    async fn new() -> Self {
        let context = Context::redis().await;
        let proxy = Proxy::start(context.server().address()).await;
        let rules = Rules::new().refresh_threshold(1.0).sessions_per_user(2, OnLimit::EvictOldest);
        let direct = context.store_at(rules.clone()).await;
        // One connection, so that the replies come in the order of the calls.
        let proxied = RedisStore::builder(&proxy.url)
            .namespace(&context.namespace)
            .rules(rules)
            .clock(context.clock.clone())
            .deadline(Duration::from_secs(20))
            .connect_timeout(Duration::from_secs(10))
            .pool_size(1)
            .build()
            .await
            .unwrap();
        let holder = NodeIdentity::new("live").unwrap();
        Self { holder, begin_ms: context.clock.now_ms(), proxied: Arc::new(proxied), direct, context, proxy }
    }

    /// The same state each time: the session "s" and the one "t" of ann, a guest "g", and a node that holds its lease.
    async fn prepare(&self, case: &Case) -> Given {
        self.clear().await;
        let elsewhere = self.make("x", "ann", "x", "n").await;
        let elsewhere = self.direct.export(elsewhere.id()).await.unwrap().unwrap();
        let mut later = self.make("s", "ann", "c", "n").await;
        later.set_user("bob");
        later.set_connection("y");
        later.set_node("m");
        self.direct.update(&mut later).await.unwrap();
        let later = self.direct.export(later.id()).await.unwrap().unwrap();

        self.clear().await;
        for (id, user, connection, node) in
            [("s", "ann", "c", "n"), ("t", "ann", "d", "m"), ("g", "", "e", "n")]
        {
            self.make(id, user, connection, node).await;
        }
        self.context.clock.advance(Duration::from_secs(60));
        let beat = Heartbeat::register().lease(LEASE);
        self.direct.heartbeat(&self.holder, beat).await.unwrap();
        let id = SessionId::new(case.target).unwrap();
        let session = self.direct.get(&id).await.unwrap().unwrap();
        Given { session, later, elsewhere, holder: self.holder.clone() }
    }

    /// Back to the beginning, with nothing stored.
    async fn clear(&self) {
        for key in self.context.keys().await {
            self.context.command::<i64>(&["DEL", &key]).await;
        }
        self.context.clock.set_ms(self.begin_ms);
    }

    async fn make(&self, id: &str, user: &str, connection: &str, node: &str) -> Session {
        let new = NewSession::new().id(SessionId::new(id).unwrap());
        let new = new.user(user).connection(connection).node(node).set("color", "green").unwrap();
        self.direct.create(new).await.unwrap().session
    }

    async fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new();
        for (key, (kind, value)) in self.context.dump().await {
            let value = if key.starts_with(&self.context.key("session:")) {
                let bytes: Vec<u8> = self.context.command(&["GET", &key]).await;
                format!("{:?}", Stored::parse(&bytes))
            } else {
                format!("{kind} {}", String::from_utf8(value).unwrap())
            };
            snapshot.insert(key, value);
        }
        snapshot
    }

    /// How the call ends when nothing disturbs it.
    async fn undisturbed(&self, case: &Case) -> (cases::Answer, Snapshot) {
        let given = self.prepare(case).await;
        let before = self.snapshot().await;
        let answer = (case.call)(Caller::new(&self.direct), given).await.unwrap();
        let after = self.snapshot().await;
        assert_ne!(before, after, "{}: a call without effect shows nothing", case.name);
        (answer, after)
    }
}

#[tokio::test]
async fn a_reply_that_is_lost_at_any_round_trip_is_invisible_to_the_caller() {
    let scene = Scene::new().await;
    for case in CASES {
        let (answer, after) = scene.undisturbed(case).await;
        for skips in 0.. {
            let given = scene.prepare(case).await;
            let swallowed = scene.proxy.swallowed();
            scene.proxy.cut_replies_after(skips, 1);
            let again = (case.call)(Caller::new(&scene.proxied), given).await.unwrap();
            scene.proxy.cut_replies(0);
            assert_eq!(again, answer, "{}, reply {skips} lost", case.name);
            assert_eq!(scene.snapshot().await, after, "{}, reply {skips} lost", case.name);
            scene.context.check().await;
            if scene.proxy.swallowed() == swallowed {
                assert!(skips > 0, "{}: nothing was ever lost", case.name);
                break;
            }
        }
    }
}

/// In four parts, which run side by side: most of each is waiting for deadlines.
#[rstest]
#[tokio::test]
async fn an_ambiguous_call_that_the_caller_repeats_has_its_effect_once(#[values(0, 1, 2, 3)] part: usize) {
    let scene = Scene::new().await;
    for case in CASES.iter().skip(part).step_by(4) {
        let (answer, after) = scene.undisturbed(case).await;
        let mut ambiguous = 0;
        for skips in 0.. {
            let given = scene.prepare(case).await;
            let before = scene.snapshot().await;
            scene.proxy.cut_replies_after(skips, u64::MAX);
            let outcome = (case.call)(Caller::new(&scene.proxied), given.clone()).await;
            scene.proxy.cut_replies(0);
            match outcome {
                Ok(_) => break,
                Err(Error::NotExecuted { .. }) => assert_eq!(scene.snapshot().await, before, "{}", case.name),
                Err(Error::Ambiguous { operation_id, .. }) => {
                    ambiguous += 1;
                    let again = Caller::under(&scene.proxied, operation_id);
                    let again = (case.call)(again, given).await;
                    let again = again.unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
                    assert_eq!(again.own, answer.own, "{}, from reply {skips} on", case.name);
                    assert_eq!(scene.snapshot().await, after, "{}, from reply {skips} on", case.name);
                }
                Err(error) => panic!("{}: {error:?}", case.name),
            }
            scene.context.check().await;
        }
        assert!(ambiguous > 0, "{}: no reply was lost that mattered", case.name);
    }
}

#[tokio::test]
async fn a_call_that_is_repeated_under_one_operation_id_answers_the_same_and_changes_nothing() {
    let scene = Scene::new().await;
    for case in CASES {
        let (answer, after) = scene.undisturbed(case).await;
        let given = scene.prepare(case).await;
        let store = Caller::under(&scene.direct, OperationId::random());
        let first = (case.call)(store.clone(), given.clone()).await.unwrap();
        assert_eq!(first, answer, "{}", case.name);
        for _ in 0..3 {
            let again = (case.call)(store.clone(), given.clone()).await.unwrap();
            assert_eq!(again.own, answer.own, "{}", case.name);
            assert_eq!(scene.snapshot().await, after, "{}", case.name);
        }
        scene.context.check().await;
    }
}

#[tokio::test]
async fn a_call_is_recognized_after_three_other_changes_and_an_import_after_two() {
    let scene = Scene::new().await;
    for case in CASES.iter().filter(|case| case.remembered > 0) {
        let (answer, _) = scene.undisturbed(case).await;
        for others in 1..=case.remembered {
            let given = scene.prepare(case).await;
            let store = Caller::under(&scene.direct, OperationId::random());
            let first = (case.call)(store.clone(), given.clone()).await.unwrap();
            assert_eq!(first, answer, "{}", case.name);
            for number in 0..others {
                let patch = Patch::new().set("color", &format!("other-{number}")).unwrap();
                scene.direct.patch(&first.id, patch).await.unwrap();
            }
            let before = scene.snapshot().await;
            let again = (case.call)(store, given).await.unwrap();
            assert_eq!(again.id, first.id, "{}", case.name);
            assert_eq!(scene.snapshot().await, before, "{} happened again after {others} changes", case.name);
        }
        scene.context.check().await;
    }
}

/// Loses the replies to a call from one on, and returns the id to repeat it under.
async fn ambiguous<T: std::fmt::Debug>(
    scene: &Scene,
    from_reply: u64,
    call: impl Future<Output = Result<T, Error>>,
) -> OperationId {
    scene.proxy.cut_replies_after(from_reply, u64::MAX);
    let error = call.await.unwrap_err();
    scene.proxy.cut_replies(0);
    match error {
        Error::Ambiguous { operation_id, .. } => operation_id,
        error => panic!("not ambiguous: {error:?}"),
    }
}

#[tokio::test]
async fn a_reply_that_does_not_come_in_time_makes_a_write_ambiguous_and_a_read_not_executed() {
    let context = Context::redis().await;
    let proxy = Proxy::start(context.server().address()).await;
    let direct = context.store(Rules::new()).await;
    let session = context.session(&direct, "a").await;
    for writes in [true, false] {
        let store =
            RedisStore::builder(&proxy.url).namespace(&context.namespace).deadline(Duration::from_secs(3));
        let store = store.connect_timeout(Duration::from_secs(3)).build().await.unwrap();
        proxy.silence(true);
        let patch = Patch::new().set("color", "red").unwrap();
        if writes {
            let error = store.patch(&session, patch.clone()).await.unwrap_err();
            let Error::Ambiguous { operation_id, .. } = error else {
                panic!("not ambiguous: {error:?}");
            };
            let again = direct.with_operation_id(operation_id);
            assert_eq!(again.patch(&session, patch).await.unwrap().version.get(), 2);
        } else {
            let error = store.get(session.id()).await.unwrap_err();
            let deadline = cloakroom::Obstacle::Deadline;
            assert!(matches!(error, Error::NotExecuted { reason, .. } if reason == deadline));
        }
        proxy.silence(false);
    }
    assert_eq!(context.stored(session.id()).await.unwrap().version, 2, "patched once");
    context.check().await;
}

#[tokio::test]
async fn a_create_that_is_repeated_makes_one_session_with_an_id_of_the_engine_too() {
    for scheme in [IdScheme::Uuid, IdScheme::Token] {
        let context = Context::redis().await;
        let proxy = Proxy::start(context.server().address()).await;
        let store = RedisStore::builder(&proxy.url)
            .namespace(&context.namespace)
            .rules(Rules::new().id_scheme(scheme))
            .deadline(Duration::from_secs(20))
            .connect_timeout(Duration::from_secs(10))
            .pool_size(1)
            .build()
            .await
            .unwrap();
        let user = format!("{scheme:?}");
        let new = NewSession::new().user(&user);
        proxy.cut_replies(u64::MAX);
        let error = store.create(new.clone()).await.unwrap_err();
        proxy.cut_replies(0);
        let Error::Ambiguous { operation_id, .. } = error else {
            panic!("not ambiguous: {error:?}");
        };
        let created = store.with_operation_id(operation_id).create(new).await.unwrap();
        assert_eq!(created.session.version().get(), 1);
        let users = context.members(&context.key(format!("user:{user}:sessions"))).await;
        assert_eq!(users.keys().collect::<Vec<_>>(), [created.session.id().as_str()]);
        context.check().await;
    }
}

#[tokio::test]
async fn a_rotation_that_is_repeated_is_its_own_with_an_id_of_the_engine_too() {
    let scene = Scene::new().await;
    let session = scene.prepare(&CASES[0]).await.session;
    let id = ambiguous(&scene, 0, scene.proxied.rotate(&session, Rotation::new())).await;
    let store = scene.proxied.with_operation_id(id);
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap();
    assert!(!rotated.by_another, "nobody else rotated");
    assert_eq!(rotated.session.version().get(), session.version().get() + 1);
    let found = scene.direct.get(session.id()).await.unwrap().unwrap();
    assert_eq!(found, rotated.session);
    scene.context.check().await;
}

#[tokio::test]
async fn a_rotation_that_is_repeated_after_another_change_does_not_answer_with_the_session_of_by_now() {
    let scene = Scene::new().await;
    for rotation in [Rotation::new(), Rotation::new().user("bob")] {
        let session = scene.prepare(&CASES[0]).await.session;
        let id = ambiguous(&scene, 0, scene.proxied.rotate(&session, rotation.clone())).await;
        let made = scene.direct.list(&Selector::node("n"), &PageRequest::first(9)).await.unwrap();
        let rotated = made.sessions.iter().find(|found| found.version() > session.version()).unwrap();
        let patch = Patch::new().set("color", "blue").unwrap();
        scene.direct.patch(rotated, patch).await.unwrap();
        let before = scene.snapshot().await;
        let error = scene.proxied.with_operation_id(id).rotate(&session, rotation).await.unwrap_err();
        assert!(error.is_ambiguous(), "{error:?}");
        assert_eq!(scene.snapshot().await, before, "it happened again");
        scene.context.check().await;
    }
}

#[tokio::test]
async fn a_patch_of_an_id_that_was_rotated_away_meanwhile_is_recognized() {
    let scene = Scene::new().await;
    let session = scene.prepare(&CASES[0]).await.session;
    let patch = Patch::new().set("color", "red").unwrap();
    let id = ambiguous(&scene, 0, scene.proxied.patch(&session, patch.clone())).await;
    let rotated = scene.direct.rotate(&session, Rotation::new()).await.unwrap();
    let other = Patch::new().set("color", "blue").unwrap();
    scene.direct.patch(&rotated.session, other).await.unwrap();
    let before = scene.snapshot().await;
    let store = scene.proxied.with_operation_id(id);
    let patched = store.patch(&session, patch).await.unwrap();
    assert_eq!(&patched.id, rotated.session.id());
    assert_eq!(scene.snapshot().await, before, "it happened again");
    scene.context.check().await;
}

#[tokio::test]
async fn a_bind_with_a_takeover_is_not_repeated_against_a_third_session() {
    let scene = Scene::new().await;
    let session = scene.prepare(&CASES[0]).await.session;
    let binding = Binding::new("d").node("m2").take_over();
    // The first two replies ask for the holder and its node.
    let id = ambiguous(&scene, 2, scene.proxied.bind(&session, binding.clone())).await;
    let third = SessionId::new("g").unwrap();
    scene.direct.bind(&third, binding.clone()).await.unwrap();
    let before = scene.snapshot().await;
    let store = scene.proxied.with_operation_id(id);
    store.bind(&session, binding).await.unwrap();
    assert_eq!(scene.snapshot().await, before, "the third lost its connection again");
    let holder = scene.direct.session_by_connection("d").await.unwrap().unwrap();
    assert_eq!(holder.id(), &third);
    scene.context.check().await;
}

#[tokio::test]
async fn a_reap_whose_reply_is_lost_is_ambiguous_and_leaves_the_right_state() {
    let scene = Scene::new().await;
    // Its three round trips: which have expired, where they are indexed, the removal.
    for skips in 0..3 {
        scene.prepare(&CASES[0]).await;
        scene.context.clock.advance(Duration::from_secs(3600));
        scene.proxy.cut_replies_after(skips, 1);
        let outcome = scene.proxied.reap(10).await;
        scene.proxy.cut_replies(0);
        match outcome {
            Ok(reaped) => {
                assert!(skips < 2, "the list cannot have come");
                assert_eq!(reaped.sessions.len(), 3);
            }
            Err(Error::Ambiguous { operation_id, .. }) => {
                assert_eq!(skips, 2, "what only reads is sent again");
                let store = scene.proxied.with_operation_id(operation_id);
                assert_eq!(store.reap(10).await.unwrap().sessions.len(), 0);
            }
            Err(error) => panic!("{error:?}"),
        }
        let left = ["expiry", "node:live:lease", "nodes", "nodes:kept"].map(|key| scene.context.key(key));
        assert_eq!(scene.context.keys().await, left);
        assert_eq!(scene.direct.count(&Selector::user("ann")).await.unwrap(), 0);
        scene.context.check().await;
    }
}
