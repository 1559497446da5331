//! The user of a store: from its URL, or from a function that it asks at each connect.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom::{Credentials, Error, NewSession, Obstacle, RedisStore, RedisStoreBuilder, SessionStore as _};

use crate::support::Context;

const LONG: Duration = Duration::from_secs(60);

fn builder(context: &Context, user: &str) -> RedisStoreBuilder {
    let url = context.server().url().replace("redis://", &format!("redis://{user}"));
    RedisStore::builder(url).namespace(&context.namespace).deadline(LONG).connect_timeout(LONG).pool_size(1)
}

async fn set_user(context: &Context, rules: &[&str]) {
    let mut command = vec!["ACL", "SETUSER", "ann", "reset", "on", "~*", "+@all"];
    command.extend(rules);
    context.command::<()>(&command).await;
}

async fn kill_users(context: &Context) {
    context.command::<i64>(&["CLIENT", "KILL", "USER", "ann"]).await;
}

#[tokio::test]
async fn credentials_are_asked_for_at_each_connect() {
    let context = Context::own(&[]).await;
    set_user(&context, &[">token-1"]).await;
    let (token, asked) = (Arc::new(Mutex::new("token-1")), Arc::new(AtomicU64::new(0)));
    let (current, counted) = (token.clone(), asked.clone());
    let ask = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let token = *current.lock().unwrap();
        async move { Ok(Credentials::new("ann", token)) }
    };
    let store = builder(&context, "").credentials(ask).build().await.unwrap();
    let session = store.create(NewSession::new()).await.unwrap().session;
    let before = asked.load(Ordering::SeqCst);
    for next in ["token-2", "token-3"] {
        set_user(&context, &[&format!(">{next}")]).await;
        *token.lock().unwrap() = next;
        kill_users(&context).await;
        assert!(store.get(session.id()).await.unwrap().is_some());
    }
    assert!(asked.load(Ordering::SeqCst) >= before + 2);
    let who: Vec<String> =
        context.command::<String>(&["CLIENT", "LIST"]).await.lines().map(str::to_owned).collect();
    assert!(who.iter().any(|client| client.contains("user=ann")), "{who:?}");
    context.check().await;
}

#[tokio::test]
async fn a_token_that_is_over_is_told_as_one_and_the_next_one_is_taken() {
    let context = Context::own(&[]).await;
    set_user(&context, &[">new"]).await;
    let token = Arc::new(Mutex::new("old"));
    let current = token.clone();
    let ask = move || {
        let token = *current.lock().unwrap();
        async move { Ok(Credentials::new("ann", token)) }
    };
    let store = builder(&context, "").credentials(ask).build_lazy().unwrap();
    let error = store.create(NewSession::new()).await.unwrap_err();
    assert!(matches!(error, Error::NotExecuted { reason: Obstacle::Auth, .. }), "{error:?}");
    assert!(!error.is_transient() && error.is_not_executed());
    *token.lock().unwrap() = "new";
    store.create(NewSession::new()).await.unwrap();
}

#[tokio::test]
async fn where_there_are_no_credentials_the_cause_is_told() {
    let context = Context::own(&[]).await;
    let none = || async { Err("the token service is away".into()) };
    let store = builder(&context, "").credentials(none).build_lazy().unwrap();
    let error = store.create(NewSession::new()).await.unwrap_err();
    assert!(error.is_transient());
    let server = context.server().address();
    let expected = "not executed: no connection to the server: no credentials: the token service is away";
    assert_eq!(error.to_string(), format!("{expected} ({server})"));
}

#[tokio::test]
async fn a_panic_while_connecting_is_an_error_of_the_connect_and_no_place_in_the_pool_is_lost() {
    let context = Context::own(&[]).await;
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let ask = move || {
        let nth = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            assert!(nth >= 5, "out of order");
            Ok(Credentials::new("ann", "p"))
        }
    };
    set_user(&context, &[">p"]).await;
    let store = builder(&context, "").credentials(ask).build_lazy().unwrap();
    for _ in 0..5 {
        let error = store.create(NewSession::new()).await.unwrap_err();
        assert!(matches!(error, Error::NotExecuted { reason: Obstacle::Connect, .. }), "{error:?}");
        assert!(error.to_string().contains("a panic while connecting: out of order"), "{error}");
    }
    store.create(NewSession::new()).await.unwrap();
}

#[tokio::test]
async fn credentials_in_two_places_are_refused() {
    let context = Context::own(&[]).await;
    for user in ["ann@", "ann:p@", ":p@"] {
        let ask = || async { Ok(Credentials::password("p")) };
        let error = builder(&context, user).credentials(ask).build().await.unwrap_err();
        assert_eq!(error.to_string(), "credentials are in the URL or client too");
    }
    assert_eq!(format!("{:?}", Credentials::new("ann", "hush")), "Credentials");
}

#[tokio::test]
async fn a_user_without_a_password_in_the_url_is_that_user() {
    let context = Context::own(&[]).await;
    set_user(&context, &["nopass"]).await;
    let store = builder(&context, "ann@").build().await.unwrap();
    store.create(NewSession::new()).await.unwrap();
    let who: String = context.command(&["CLIENT", "LIST"]).await;
    assert!(who.contains("user=ann"), "{who}");
    // One that has a password is not let in without it, as somebody else.
    set_user(&context, &[">p"]).await;
    let error = builder(&context, "ann@").build().await.unwrap_err();
    assert!(matches!(error, Error::NotExecuted { reason: Obstacle::Auth, .. }), "{error:?}");
}

#[tokio::test]
async fn a_store_works_by_a_url_that_asks_for_resp3() {
    let context = Context::own(&[]).await;
    let url = format!("{}?protocol=resp3", context.server().url());
    let store = RedisStore::builder(url).namespace(&context.namespace).build().await.unwrap();
    let session = store.create(NewSession::new().user("ann")).await.unwrap().session;
    assert!(store.get(session.id()).await.unwrap().is_some());
    assert_eq!(store.delete_user("ann", None).await.unwrap().removed.len(), 1);
    context.check().await;
}
