//! Users who may not run all commands of the store: at its start, and when the ACL changes while it works.

mod later;
mod page;
mod start;

use std::collections::BTreeSet;

use cloakroom::{RedisStore, RedisStoreBuilder};
use serde_json::Value;

use crate::support::Context;
use crate::support::repository::root;

/// What the scripts run, and what the store sends besides but for `TRANSACTION`.
fn commands() -> BTreeSet<String> {
    let bundle = std::fs::read_to_string(root().join("lua/bundle.json")).unwrap();
    let bundle: Value = serde_json::from_str(&bundle).unwrap();
    let of_scripts = bundle["start"]["commands"].as_array().unwrap().iter();
    of_scripts.map(|command| command.as_str().unwrap().to_owned()).chain(["PING".to_owned()]).collect()
}

/// What makes a transaction, for which no script can ask.
const TRANSACTION: [&str; 2] = ["MULTI", "EXEC"];

/// Gives a user of the server these rules and no others.
async fn set_user(context: &Context, rules: &[&str]) {
    let mut command = vec!["ACL", "SETUSER", "limited", "reset", "on", ">p"];
    command.extend(rules);
    context.command::<()>(&command).await;
}

/// A store of that user.
fn builder(context: &Context) -> RedisStoreBuilder {
    let url = format!("redis://limited:p@{}/", context.server().address());
    RedisStore::builder(url).namespace(&context.namespace)
}
