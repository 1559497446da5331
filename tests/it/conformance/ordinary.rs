//! Scripts that have an ordinary way and another: both do the same.

use std::collections::BTreeMap;

use cloakroom_export::script::{Script, read_all};
use redis::Value as Reply;

use super::bundle::Bundle;
use super::call::Sent;
use super::case::Arguments;
use super::{exported, lua, run_all};
use crate::support::Context;

mod create;
mod patch;
mod rotate;

/// Scripts that have an ordinary way.
fn scripts() -> Vec<Script> {
    read_all(&lua()).unwrap().into_iter().filter(|script| script.general != script.source).collect()
}

#[tokio::test]
async fn every_case_answers_and_leaves_what_it_tells_without_the_ordinary_way() {
    let (mut bundle, context) = (exported(), Context::redis().await);
    for Script { header, general, .. } in scripts() {
        let operation = bundle.operations.get_mut(&header.stem).unwrap();
        operation.sha1 = context.command(&["SCRIPT", "LOAD", &general]).await;
        operation.source = general;
    }
    run_all(bundle).await;
}

/// A key of a twin: what it holds, and the rest of its TTL.
type Kept = BTreeMap<String, (Reply, i64)>;

/// Two namespaces, of which the one is written as scripts are sent, the other without their ordinary ways.
struct Twins<'a> {
    context: &'a Context,
    bundle: &'a Bundle,
}

impl Twins<'_> {
    /// The answers of both.
    async fn both(&self, stem: &str, shas: [&str; 2], values: &Arguments) -> [Result<Reply, String>; 2] {
        let mut answers = [Ok(Reply::Nil), Ok(Reply::Nil)];
        for (at, sha) in shas.into_iter().enumerate() {
            let sent = Sent::new(self.bundle, &self.bundle.operations[stem], &self.tag(at), values);
            let mut evalsha = redis::cmd("EVALSHA");
            evalsha.arg(sha).arg(sent.keys.len()).arg(sent.keys).arg(sent.arguments);
            let answer = evalsha.query_async(&mut self.context.raw()).await;
            // An error names the line and the script, which are the form's own.
            answers[at] = answer.map_err(|error: redis::RedisError| {
                error
                    .to_string()
                    .split("cloakroom: ")
                    .last()
                    .unwrap_or_default()
                    .split(" script: ")
                    .next()
                    .map(str::to_owned)
                    .unwrap_or_default()
            });
        }
        answers
    }

    fn tag(&self, twin: usize) -> String {
        format!("{{{}-{twin}:0}}", self.context.namespace)
    }

    /// All that a twin holds.
    async fn kept(&self, twin: usize) -> Kept {
        let tag = self.tag(twin);
        let mut kept = Kept::new();
        for key in self.context.command::<Vec<String>>(&["KEYS", &format!("{tag}:*")]).await {
            let value = match self.context.try_command(&["GET", &key]).await {
                Ok(value) => value,
                Err(_) => self.context.command(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).await,
            };
            let ttl = self.context.command(&["PTTL", &key]).await;
            kept.insert(key[tag.len()..].to_owned(), (value, ttl));
        }
        kept
    }

    async fn records(&self) -> [Option<Vec<u8>>; 2] {
        let [one, other] = [0, 1].map(|twin| format!("{}:session:s", self.tag(twin)));
        [self.context.command(&["GET", &one]).await, self.context.command(&["GET", &other]).await]
    }
}

/// Whether both hold the same, for as long: the ones' TTLs were set a moment before the others'.
fn is_same(one: &Kept, other: &Kept) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|((key, (value, ttl)), (other_key, (other_value, other_ttl)))| {
            key == other_key && value == other_value && (ttl - other_ttl).abs() < 30_000
        })
}

/// Both forms of a script, loaded: as it is sent, and without its ordinary way.
async fn forms(context: &Context, stem: &str) -> [String; 2] {
    let script = scripts().into_iter().find(|script| script.header.stem == stem).unwrap();
    let mut forms = [script.source, script.general];
    for form in &mut forms {
        *form = context.command(&["SCRIPT", "LOAD", form]).await;
    }
    forms
}
