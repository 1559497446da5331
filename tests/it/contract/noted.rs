//! The contract's number in the namespace, which stops older clients.

use cloakroom::{Error, NewSession, Refusal, Rules};
use futures::future::join_all;
use serde_json::Value;

use super::read;
use crate::support::Context;
use crate::support::expect::refusal;

const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 3600 * 1000;
const MINUTE_MS: i64 = 60 * 1000;

async fn noted(context: &Context) -> Option<String> {
    context.command(&["GET", &context.key("contract")]).await
}

async fn note(context: &Context, number: &str) {
    let _: () =
        context.command(&["SET", &context.key("contract"), number, "PX", &MINUTE_MS.to_string()]).await;
}

async fn ttl(context: &Context) -> i64 {
    context.pttl(&context.key("contract")).await
}

#[tokio::test]
async fn a_start_notes_the_contract_of_the_bundle_for_ten_years() {
    let context = Context::redis().await;
    assert_eq!(noted(&context).await, None);
    context.store(Rules::new()).await;
    let bundle: Value = serde_json::from_str(&read("lua/bundle.json")).unwrap();
    assert_eq!(noted(&context).await, Some(bundle["contract"].to_string()));
    let left = ttl(&context).await;
    assert!(left > TEN_YEARS_MS - MINUTE_MS && left <= TEN_YEARS_MS, "{left} ms left");
}

#[tokio::test]
async fn a_start_at_the_same_contract_renews_the_note() {
    let context = Context::redis().await;
    note(&context, "1").await;
    context.store(Rules::new()).await;
    assert_eq!(noted(&context).await.as_deref(), Some("1"));
    assert!(ttl(&context).await > TEN_YEARS_MS - MINUTE_MS);
}

#[tokio::test]
async fn starts_at_once_all_agree() {
    let context = Context::redis().await;
    let stores = join_all((0..8).map(|_| context.builder(Rules::new()).build())).await;
    assert!(stores.iter().all(Result::is_ok), "{stores:?}");
    assert_eq!(noted(&context).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_store_does_not_start_where_a_later_contract_is_noted_and_changes_nothing() {
    let context = Context::redis().await;
    for later in ["2", "10", "18446744073709551615"] {
        note(&context, later).await;
        let refusal = refusal(context.builder(Rules::new()).build().await);
        assert_eq!(refusal, Refusal::Contract { found: later.parse().unwrap(), known: 1 });
        let told = format!("the namespace is at contract {later}, this client knows contract 1");
        assert_eq!(refusal.to_string(), told);
        assert_eq!(noted(&context).await.as_deref(), Some(later));
        assert!(ttl(&context).await <= MINUTE_MS, "a refused start renewed the note");
    }
}

#[tokio::test]
async fn a_store_starts_where_a_contract_is_noted_that_the_bundle_accepts_and_nowhere_else() {
    let bundle: Value = serde_json::from_str(&read("lua/bundle.json")).unwrap();
    let accepts = bundle["accepts"].as_array().unwrap();
    assert!(accepts.contains(&bundle["contract"]), "its own is not accepted: {accepts:?}");
    let context = Context::redis().await;
    for number in 1..=5 {
        note(&context, &number.to_string()).await;
        let built = context.builder(Rules::new()).build().await;
        assert_eq!(built.is_ok(), accepts.contains(&number.into()), "contract {number}: {built:?}");
    }
}

#[tokio::test]
async fn a_note_that_is_no_number_of_a_contract_is_corrupt_and_stays() {
    let context = Context::redis().await;
    for garbage in ["", "0", "-1", "+1", "1.0", "one", "1 ", "1 +1", "1 0", "1 1025", "18446744073709551616"]
    {
        note(&context, garbage).await;
        let error = context.builder(Rules::new()).build().await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt { what } if what == "contract"), "{garbage:?}: {error:?}");
        assert_eq!(noted(&context).await.as_deref(), Some(garbage));
        assert!(ttl(&context).await <= MINUTE_MS, "a refused start renewed the note");
    }
}

#[tokio::test]
async fn a_foreign_type_in_the_place_of_the_note_is_corrupt() {
    let context = Context::redis().await;
    let build = context.builder(Rules::new()).build();
    assert_eq!(context.foreign_at(&context.key("contract"), build).await, "contract");
}

#[tokio::test]
async fn a_store_starts_at_a_server_that_is_too_full_for_the_note() {
    let context = Context::own(&["--maxmemory-policy", "noeviction"]).await;
    let before = context.store(Rules::new()).await;
    let session = before.create(NewSession::new()).await.unwrap().session;
    let _: i64 = context.command(&["DEL", &context.key("contract")]).await;
    let _: () = context.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let store = context.store(Rules::new()).await;
    assert_eq!(noted(&context).await, None);
    store.delete(&session).await.unwrap();
}
