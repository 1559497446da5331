//! Error messages: they name the cause and the server in words, and no secret.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::fallback::FallbackStore;
use cloakroom::migration::{Import, MigrationStore as _};
use cloakroom::nodes::Claim;
use cloakroom::{
    Binding, Error, NewSession, Obstacle, OperationId, Patch, RedisStore, Rotation, Rules, Selector, Session,
    SessionStore, Store,
};

use crate::support::Context;
use crate::support::expect::{all_that_is_told, reason, session_id};
use crate::support::proxy::Proxy;

/// The words that `code` of a type answers, as its source has them.
fn codes(source: &str) -> BTreeSet<&str> {
    let bodies = source.split("fn code(").skip(1).map(|behind| behind.split("\n    }\n").next().unwrap());
    bodies.flat_map(|body| body.split('"').skip(1).step_by(2)).collect()
}

#[test]
fn whoever_is_on_call_finds_each_code_of_an_error_once_in_the_docs() {
    let (_, docs) = include_str!("../../docs/operating.md").split_once("\n## What an error means\n").unwrap();
    let (section, _) = docs.split_once("\n## ").unwrap();
    let mut known = codes(include_str!("../../src/model/error.rs"));
    known.extend(codes(include_str!("../../src/model/refusal.rs")));
    // Which stands above those of the obstacles; and what only metrics know.
    assert!(known.remove("not_executed") && section.contains("(`not_executed`)"));
    known.insert("cancelled");
    assert!(known.len() > 30);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut told: Vec<&str> = rows.collect();
    told.sort_unstable();
    assert_eq!(told, known.into_iter().collect::<Vec<_>>());
}

/// An error with the kind that it is to be of, and the words.
fn check(context: &Context, error: &Error, obstacle: Obstacle, words: &str) {
    assert_eq!(reason(error), obstacle, "{error}");
    assert_eq!(error.to_string(), format!("not executed: {words} ({})", context.server().address()));
    let told = all_that_is_told(error);
    for secret in ["hush-hush", "a-secret-id", "mallory"] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[tokio::test]
async fn an_error_says_the_cause_and_the_server() {
    let mut context = Context::own(&[]).await;
    let store = context.store(Rules::new()).await;
    let new = || NewSession::new().id(session_id("a-secret-id")).user("ann");

    context.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = store.create(new()).await.unwrap_err();
    check(&context, &error, Obstacle::OutOfMemory, "memory full");
    context.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;

    context.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    let error = store.create(new()).await.unwrap_err();
    let words = "the server has fewer replicas than it needs to take writes";
    check(&context, &error, Obstacle::Unavailable, words);
    assert!(error.is_transient());
    context.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;

    context.command::<()>(&["CONFIG", "SET", "requirepass", "right"]).await;
    for (userinfo, words) in
        [("", "the server wants a password"), (":hush-hush@", "wrong password, or no such user")]
    {
        let url = context.server().url().replace("redis://", &format!("redis://{userinfo}"));
        let error = RedisStore::builder(url).build().await.unwrap_err();
        check(&context, &error, Obstacle::Auth, words);
        assert!(!error.is_transient());
    }
    context.command::<()>(&["CONFIG", "SET", "requirepass", ""]).await;

    let error = RedisStore::builder(format!("{}99", context.server().url())).build().await.unwrap_err();
    check(&context, &error, Obstacle::Config, "the server has no such database");

    context.server_mut().kill().await;
    let late = Duration::from_millis(100);
    let error = context.builder(Rules::new()).deadline(late).build().await.unwrap_err();
    let refused = std::io::Error::from_raw_os_error(111);
    check(&context, &error, Obstacle::Connect, &format!("no connection to the server: {refused}"));
}

#[tokio::test]
async fn a_permission_that_is_taken_later_is_named() {
    let context = Context::own(&[]).await;
    context.command::<()>(&["ACL", "SETUSER", "mallory", "on", ">hush-hush", "~*", "+@all"]).await;
    let url = context.server().url().replace("redis://", "redis://mallory:hush-hush@");
    let store = RedisStore::builder(url).namespace(&context.namespace).build().await.unwrap();
    context.command::<()>(&["ACL", "SETUSER", "mallory", "-evalsha"]).await;
    let error = store.create(NewSession::new().id(session_id("a-secret-id"))).await.unwrap_err();
    check(&context, &error, Obstacle::Auth, "no permission for EVALSHA");
    context.command::<()>(&["ACL", "SETUSER", "mallory", "-get"]).await;
    let error = store.get(&session_id("a-secret-id")).await.unwrap_err();
    check(&context, &error, Obstacle::Auth, "no permission for GET");
}

#[tokio::test]
async fn a_command_that_the_server_does_not_know_is_named_and_not_what_it_was_sent_with() {
    let context = Context::own(&["--rename-command", "EVALSHA", ""]).await;
    let error = context.builder(Rules::new()).build().await.unwrap_err();
    check(&context, &error, Obstacle::Config, "the server does not know EVALSHA");
    assert!(!all_that_is_told(&error).contains(&context.namespace), "{}", all_that_is_told(&error));
}

#[tokio::test]
async fn a_call_that_may_have_happened_says_why_and_at_which_server() {
    let context = Context::own(&[]).await;
    let proxy = Proxy::start(context.server().address()).await;
    let builder = RedisStore::builder(&proxy.url).namespace(&context.namespace).pool_size(1);
    let store = builder.deadline(Duration::from_millis(600)).build().await.unwrap();
    let server = proxy.url.trim_start_matches("redis://").trim_end_matches('/').to_owned();
    proxy.silence(true);
    let error = store.create(NewSession::new()).await.unwrap_err();
    assert!(error.is_ambiguous(), "{error:?}");
    assert_eq!(error.to_string(), format!("it may have happened: no reply before the deadline ({server})"));
}

/// Each operation that changes something, under an operation id under which it may have happened before.
async fn repeat_each(
    store: &dyn Store,
    id: OperationId,
    session: &Session,
) -> Vec<(&'static str, Result<(), Error>)> {
    let again = store.with_operation_id(id);
    let mut changed = session.clone();
    changed.set("color", "red").unwrap();
    let patch = Patch::new().set("color", "red").unwrap();
    vec![
        ("create", again.create(NewSession::new()).await.map(drop)),
        ("create_many", again.create_many(vec![NewSession::new()]).await.remove(0).map(drop)),
        ("update", again.update(&mut changed).await),
        ("patch", again.patch(session.id(), patch).await.map(drop)),
        ("refresh", again.refresh(session).await.map(drop)),
        ("refresh by id", again.refresh(session.id()).await.map(drop)),
        ("refresh_and_get", again.refresh_and_get(session.id()).await.map(drop)),
        ("rotate", again.rotate(session.id(), Rotation::new()).await.map(drop)),
        ("bind", again.bind(session.id(), Binding::new("c")).await.map(drop)),
        ("unbind", again.unbind(session.id(), "connection-a").await.map(drop)),
        ("delete", again.delete(session).await.map(drop)),
        ("delete_user", again.delete_user("user-a", None).await.map(drop)),
        ("delete_user but one", again.delete_user("user-a", Some(session.id())).await.map(drop)),
    ]
}

#[tokio::test]
async fn an_ambiguous_call_that_is_repeated_under_its_id_while_the_server_is_away_stays_ambiguous() {
    let mut context = Context::own(&[]).await;
    let store = Arc::new(
        context.builder(Rules::new().touch_interval(Duration::from_secs(60))).build().await.unwrap(),
    );
    let direct: Arc<dyn Store> = store.clone();
    let session = context.session(&direct, "a").await;
    let export = store.export(session.id()).await.unwrap().unwrap();
    let fallback = FallbackStore::builder(store.clone()).failures(1).cool_down(Duration::from_secs(3600));
    let fallback = fallback.build().unwrap();
    let lazy = context.builder(Rules::new()).build_lazy().unwrap();
    context.server_mut().kill().await;
    // One that was read from text: as a caller has it that kept it over a crash.
    let id: OperationId = OperationId::random().to_string().parse().unwrap();
    // The connections that are left are found to be dead, and the breaker opens.
    for _ in 0..8 {
        let _ = store.get(session.id()).await;
    }
    let _ = fallback.create(NewSession::new()).await;
    let stores: [(&str, Arc<dyn Store>); 3] =
        [("redis", store.clone()), ("fallback", Arc::new(fallback)), ("lazy", Arc::new(lazy))];
    for (name, store) in stores {
        let mut repeated = repeat_each(&*store, id, &session).await;
        let import = Import::new(export.clone()).operation_id(id);
        repeated.push(("import", store.import(import).await.map(drop)));
        let claim = Claim::new("dead", "live").operation_id(id);
        repeated.push(("recover", store.recover(claim).await.map(drop)));
        for (operation, answer) in repeated {
            match answer {
                Err(Error::Ambiguous { operation_id, .. }) => {
                    assert_eq!(operation_id, id, "{name} {operation}")
                }
                other => panic!("{name} {operation}: {other:?}"),
            }
        }
        // Reads are no matter of doubt, nor are calls under an id of their own.
        let again = store.with_operation_id(id);
        assert!(again.get(session.id()).await.unwrap_err().is_not_executed(), "{name}");
        assert!(again.count(&Selector::user("user-a")).await.unwrap_err().is_not_executed(), "{name}");
        assert!(store.delete(session.id()).await.unwrap_err().is_not_executed(), "{name}");
    }
}
