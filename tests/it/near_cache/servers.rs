//! Servers and users that do not allow a near cache: the store works without it, and logs that once.

use cloakroom::{NewSession, Patch, RedisStore, RedisStoreBuilder, Rules};
use rstest::rstest;

use super::asks;
use crate::support::Context;
use crate::support::context::build;
use crate::support::traced::capture;

async fn keeps(context: &Context, builder: RedisStoreBuilder) -> (bool, String) {
    let (traced, _guard) = capture();
    let store = build(builder.near_cache(10).pool_size(3)).await;
    let session = store.create(NewSession::new()).await.unwrap().session;
    store.get(session.id()).await.unwrap().unwrap();
    let (found, asked) = asks(context, store.get(session.id())).await;
    assert!(found.unwrap().is_some());
    let patch = Patch::new().set("a", &1).unwrap();
    store.patch(&session, patch).await.unwrap();
    assert_eq!(store.get(session.id()).await.unwrap().unwrap().get("a").unwrap(), Some(1));
    (asked == 0, traced.text())
}

#[rstest]
#[case::resp3(&["--rename-command", "HELLO", ""], "the server does not speak RESP3")]
#[case::client(&["--rename-command", "CLIENT", ""], "the server refuses CLIENT TRACKING")]
#[tokio::test]
async fn a_server_that_cannot_tell_of_changes_is_asked_each_time(
    #[case] options: &[&str],
    #[case] why: &str,
) {
    let context = Context::own(options).await;
    let (is_kept, told) = keeps(&context, context.builder(Rules::new())).await;
    assert!(!is_kept);
    assert_eq!(told.matches("the near cache keeps nothing").count(), 1, "{told}");
    assert!(told.contains(why), "{told}");
}

#[rstest]
#[case(&["+client|tracking", "+client|caching"], true)]
#[case(&["+client|tracking"], false)]
#[case(&[], false)]
#[tokio::test]
async fn a_user_needs_two_commands_more(#[case] more: &[&str], #[case] is_enough: bool) {
    let context = Context::own(&[]).await;
    let mut rules = vec!["ACL", "SETUSER", "limited", "on", ">p", "~*", "+@all", "-client"];
    rules.extend(more);
    context.command::<()>(&rules).await;
    let url = format!("redis://limited:p@{}/", context.server().address());
    let builder = RedisStore::builder(url).namespace(&context.namespace);
    let (is_kept, told) = keeps(&context, builder).await;
    assert_eq!(is_kept, is_enough);
    assert_eq!(told.matches("the near cache keeps nothing").count(), usize::from(more.is_empty()), "{told}");
}
