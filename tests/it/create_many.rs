//! create_many: many sessions at once, each answered as `create` would.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::{
    Created, Error, IdScheme, Invalid, NewSession, Obstacle, OnLimit, OperationId, Refusal, Result, Rotation,
    Rules, Selector, SessionId, SessionStore, Status,
};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::expect::{refusal, session_id as id};

const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_MS: u64 = 60_000;

fn rules() -> Rules {
    Rules::new().ttl(10 * MINUTE).grace(5 * MINUTE)
}

/// A session with all that one may have.
fn named(name: &str) -> NewSession {
    let new =
        NewSession::new().id(id(name)).user(format!("user-{name}")).connection(format!("connection-{name}"));
    new.node("node").set("name", name).unwrap()
}

async fn make<S: SessionStore + ?Sized>(
    store: &Arc<S>,
    new: impl IntoIterator<Item = NewSession>,
) -> Vec<Result<Created>> {
    store.create_many(new.into_iter().collect()).await
}

fn made(answers: Vec<Result<Created>>) -> Vec<Created> {
    answers.into_iter().map(Result::unwrap).collect()
}

/// What `create` leaves, one after the other, in a place of its own by the same clock.
async fn singles(context: &Context, on: On, rules: Rules, new: Vec<NewSession>) -> Context {
    let other = context.another(on).await;
    let store = other.store_at(rules).await;
    for new in new {
        let _ = store.with_operation_id(OperationId::random()).create(new).await;
    }
    other
}

/// All that is stored but the operation ids, the same names for the keys of any namespace.
async fn picture(context: &Context) -> Vec<String> {
    let mut lines = Vec::new();
    for key in context.keys().await {
        let name = key.split_once(":0}").unwrap().1.to_owned();
        let held = match name.strip_prefix(":session:") {
            Some(session) => format!("{:?}", context.stored(&id(session)).await),
            None if name.starts_with(":connection:") => format!("{:?}", context.string(&key).await),
            None => format!("{:?}", context.members(&key).await),
        };
        lines.push(format!("{name} {held}"));
    }
    lines
}

#[rstest]
#[tokio::test]
async fn a_batch_leaves_what_single_creates_leave(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules().max_lifetime(15 * MINUTE)).await;
    let new = || {
        let more = [
            NewSession::new().id(id("bare")),
            named("suspended").suspended(),
            named("short").ttl(MINUTE),
            named("long").ttl(60 * MINUTE),
            NewSession::new().id(id("same-owner")).user("user-short").node("node"),
        ];
        more.into_iter().chain((0..5).map(|at| named(&at.to_string()))).collect::<Vec<_>>()
    };
    let answers = made(make(&store, new()).await);
    let now = context.clock.now_ms();
    for (created, asked) in answers.iter().zip(["bare", "suspended", "short", "long", "same-owner", "0"]) {
        assert_eq!(created.session.id(), &id(asked), "answers are in order");
        assert!(created.evicted.is_empty() && created.reaped.is_empty());
    }
    let expiries = answers.iter().take(4).map(|created| created.session.expires_at_ms() - now);
    assert_eq!(expiries.collect::<Vec<_>>(), [10, 10, 1, 15].map(|minutes| minutes * MINUTE_MS));
    assert_eq!(answers[1].session.status(), Status::Suspended);
    for created in &answers {
        let session = &created.session;
        assert_eq!((session.version().get(), session.created_at_ms()), (1, now));
        assert_eq!(session.deadline_ms(), Some(now + 15 * MINUTE_MS));
        assert_eq!(
            store.get(session.id()).await.unwrap().as_ref(),
            Some(session),
            "answered as it is stored"
        );
    }
    let other = singles(&context, on, rules().max_lifetime(15 * MINUTE), new()).await;
    assert_eq!(picture(&context).await, picture(&other).await);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn any_number_of_sessions_is_made(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    assert!(make(&store, []).await.is_empty());
    for count in [1, 100, 101, 350] {
        let user = format!("user-{count}");
        let new = (0..count).map(|_| NewSession::new().user(&user));
        let mut ids: Vec<SessionId> =
            made(make(&store, new).await).iter().map(|created| created.session.id().clone()).collect();
        assert_eq!(store.count(&Selector::user(&user)).await.unwrap(), count);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), usize::try_from(count).unwrap(), "each has an id of its own");
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn what_one_is_refused_for_is_no_matter_of_the_others(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    for name in ["live", "deleted", "moved"] {
        store.create(named(name)).await.unwrap();
    }
    store.delete(&id("deleted")).await.unwrap();
    store.rotate(&id("moved"), Rotation::new().new_id(id("there"))).await.unwrap();
    let long = "x".repeat(257);
    let mut answers = make(
        &store,
        [
            named("first"),
            named("live").user("thief").connection("x"),
            named("deleted"),
            named("second").user(long),
            named("moved"),
            named("third").connection("connection-live"),
            named("fourth").connection("connection-first"),
            named("first").user("again"),
            named("last"),
        ],
    )
    .await
    .into_iter();
    let mut next = || answers.next().unwrap();
    assert_eq!(next().unwrap().session.id(), &id("first"));
    assert_eq!(refusal(next()), Refusal::Exists);
    assert_eq!(refusal(next()), Refusal::Gone);
    assert!(matches!(next(), Err(Error::Invalid(Invalid { field: "user id", .. }))));
    assert_eq!(refusal(next()), Refusal::Rotated { to: Some(id("there")) });
    assert_eq!(refusal(next()), Refusal::Taken);
    assert_eq!(refusal(next()), Refusal::Taken, "an earlier one of the batch has it");
    assert_eq!(refusal(next()), Refusal::Exists, "an earlier one of the batch is it");
    assert_eq!(next().unwrap().session.id(), &id("last"));
    for name in ["second", "third", "fourth"] {
        assert!(!context.exists(&context.record_key(&id(name))).await, "{name}");
    }
    assert_eq!(store.get(&id("first")).await.unwrap().unwrap().user(), Some("user-first"));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn expired_sessions_in_the_way_are_reaped_and_reported(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    for name in ["same-id", "same-connection"] {
        store.create(named(name)).await.unwrap();
    }
    context.clock.advance(10 * MINUTE);
    let new = [
        named("same-id").connection("x"),
        named("free"),
        named("new").connection("connection-same-connection"),
    ];
    let answers = made(make(&store, new).await);
    let reaped =
        answers.iter().map(|created| created.reaped.iter().map(|session| session.id().as_str()).collect());
    let reaped: Vec<Vec<&str>> = reaped.collect();
    assert_eq!(reaped, [vec!["same-id"], vec![], vec!["same-connection"]]);
    assert_eq!(store.reap(10).await.unwrap().sessions.len(), 0, "nothing is left to report");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn where_users_have_a_limit_it_holds_in_a_batch_and_the_later_ones_stay(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules().sessions_per_user(2, OnLimit::EvictOldest)).await;
    let of = |user: &str, name: &str| NewSession::new().id(id(name)).user(user);
    let new = [of("ann", "a1"), of("bob", "b1"), of("ann", "a2"), of("", "guest"), of("ann", "a3")];
    let answers = made(make(&store, new).await);
    let evicted: Vec<&str> = answers[4].evicted.iter().map(|removed| removed.id.as_str()).collect();
    assert_eq!(evicted, ["a1"]);
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 2);
    assert!(
        store.get(&id("a3")).await.unwrap().is_some() && store.get(&id("guest")).await.unwrap().is_some()
    );

    let strict = context.store_at(rules().sessions_per_user(2, OnLimit::Reject)).await;
    let answers =
        make(&strict, [of("ann", "a4"), of("carl", "c1"), of("carl", "c2"), of("carl", "c3")]).await;
    let told: Vec<Option<Refusal>> =
        answers.into_iter().map(|answer| answer.is_err().then(|| refusal(answer))).collect();
    assert_eq!(told, [Some(Refusal::Limit { live: 2 }), None, None, Some(Refusal::Limit { live: 2 })]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_batch_that_is_repeated_under_its_operation_id_answers_the_same_and_changes_nothing(
    #[values(Redis, Spread, Memory)] on: On,
    #[values(IdScheme::Uuid, IdScheme::Token)] scheme: IdScheme,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules().id_scheme(scheme)).await;
    let call = store.with_operation_id(OperationId::random());
    let new =
        || (0..120).map(|at| NewSession::new().user(at.to_string()).connection(at.to_string()).node("n"));
    let first: Vec<_> = made(make(&call, new()).await).into_iter().map(|created| created.session).collect();
    let before = context.dump().await;
    context.clock.advance(MINUTE);
    let again: Vec<_> = made(make(&call, new()).await).into_iter().map(|created| created.session).collect();
    assert_eq!(again, first);
    assert_eq!(context.dump().await, before);
    // As the first, a session may be repeated alone.
    let one = call.create(new().next().unwrap()).await.unwrap();
    assert_eq!(one.session, first[0]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_closed_store_says_so_of_each_session(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    store.close().await;
    let answers = make(&store, [named("a"), named("b")]).await;
    assert_eq!(answers.len(), 2);
    for answer in answers {
        assert!(matches!(answer, Err(Error::NotExecuted { reason: Obstacle::Closed, .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn a_server_without_memory_makes_none_and_says_so_of_each() {
    let context = Context::own(&["--maxmemory-policy", "noeviction"]).await;
    let store = context.store_at(rules()).await;
    let _: () = context.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let answers = make(&store, (0..150).map(|at| named(&at.to_string()))).await;
    assert_eq!(answers.len(), 150);
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(matches!(error, Error::NotExecuted { reason: Obstacle::OutOfMemory, .. }), "{error:?}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("OOM"), "{cause}");
    }
    let _: () = context.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert!(context.keys().await.is_empty());
}

#[tokio::test]
async fn a_flushed_script_cache_is_invisible() {
    let context = Context::own(&[]).await;
    let store = context.store_at(rules()).await;
    let _: () = context.command(&["SCRIPT", "FLUSH"]).await;
    made(make(&store, (0..250).map(|at| named(&at.to_string()))).await);
    context.check().await;
}

#[tokio::test]
async fn a_foreign_type_is_told_of_the_sessions_that_it_is_in_the_way_of() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    let keys = [
        (context.record_key(&id("b")), "record"),
        (context.user_key("user-b"), "user"),
        (context.connection_key("connection-b"), "connection"),
    ];
    for (key, part) in keys {
        let _: i64 = context.command(&["LPUSH", &key, "foreign"]).await;
        let mut answers = make(&store, ["a", "b", "c"].map(named)).await;
        let middle = answers.remove(1);
        assert!(matches!(&middle, Err(Error::Corrupt { what }) if what == part), "{part}: {middle:?}");
        for created in made(answers) {
            store.delete(&created.session).await.unwrap();
            let _: i64 = context.command(&["DEL", &context.record_key(created.session.id())]).await;
        }
        let _: i64 = context.command(&["DEL", &key]).await;
        assert_eq!(context.keys_but_expiry().await, [""; 0], "{part}: something is left");
    }
    let _: i64 = context.command(&["DEL", &context.key("expiry")]).await;
    let _: i64 = context.command(&["LPUSH", &context.key("expiry"), "foreign"]).await;
    for answer in make(&store, ["a", "b"].map(named)).await {
        assert!(matches!(&answer, Err(Error::Corrupt { what }) if what == "expiry"), "{answer:?}");
    }
    assert_eq!(context.keys_but_expiry().await, [""; 0], "what was written is taken back");
}
