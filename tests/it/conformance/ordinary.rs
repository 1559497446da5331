//! Scripts with an ordinary form and a general one: both do the same.

use std::collections::BTreeMap;

use cloakroom_export::script::Script;
use redis::Value as Reply;

use super::bundle::Bundle;
use super::call::Sent;
use super::case::Arguments;
use super::{exported, run_all};
use crate::support::{Context, repository};

mod create;
mod create_many;
mod delete;
mod patch;
mod refresh;
mod rotate;

/// Scripts that have an ordinary way.
fn scripts() -> Vec<Script> {
    repository::scripts().iter().filter(|script| script.general != script.source).cloned().collect()
}

#[tokio::test]
async fn every_case_answers_and_leaves_what_it_tells_without_the_ordinary_way() {
    let (mut bundle, context) = (exported(), Context::redis().await);
    for Script { header, general, .. } in scripts() {
        let operation = bundle.operations.get_mut(&header.stem).unwrap();
        operation.sha1 = context.command(&["SCRIPT", "LOAD", &general]).await;
        operation.source = general;
    }
    run_all(context, bundle).await;
}

const MINUTE_MS: u64 = 60_000;

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

    /// Runs a command on a key of both.
    async fn plant(&self, key: &str, command: &str, arguments: &[&str]) {
        for twin in [0, 1] {
            let key = format!("{}:{key}", self.tag(twin));
            // What was planted before may be of another type: then it stays as it is, in both.
            let _ = self.context.try_command::<Reply>(&[&[command, &key], arguments].concat()).await;
        }
    }

    /// Both have the same keys, with the same in them, for about as long: there is time between the one and the other.
    async fn assert_same(&self, values: &Arguments) {
        let [one, other] = [self.stored(0).await, self.stored(1).await];
        for (key, (dump, ttl)) in &one {
            let Some((twin, other_ttl)) = other.get(key) else { panic!("{values:?} leaves {key} in one") };
            assert!(dump == twin, "{values:?} leaves {key} as {dump:?} and {twin:?}");
            assert_eq!(*ttl < 0, *other_ttl < 0, "{values:?} leaves {key} for {ttl} and {other_ttl}");
            assert!(
                ttl.abs_diff(*other_ttl) < MINUTE_MS,
                "{values:?} leaves {key} for {ttl} and {other_ttl}"
            );
        }
        assert_eq!(one.len(), other.len(), "{values:?}");
    }

    /// What is stored of one, and for how long, by what is behind its tag.
    async fn stored(&self, twin: usize) -> BTreeMap<String, (Vec<u8>, i64)> {
        let tag = self.tag(twin);
        let mut stored = BTreeMap::new();
        for key in self.context.command::<Vec<String>>(&["KEYS", &format!("{tag}*")]).await {
            let mut pipe = redis::pipe();
            pipe.cmd("DUMP").arg(&key).cmd("PTTL").arg(&key);
            let kept: (Vec<u8>, i64) = pipe.query_async(&mut self.context.raw()).await.unwrap();
            stored.insert(key[tag.len()..].to_owned(), kept);
        }
        stored
    }

    async fn records(&self) -> [Option<Vec<u8>>; 2] {
        let [one, other] = [0, 1].map(|twin| format!("{}:session:s", self.tag(twin)));
        [self.context.command(&["GET", &one]).await, self.context.command(&["GET", &other]).await]
    }
}

fn one_in(many: u8) -> bool {
    fastrand::u8(..many) == 0
}

/// The first word of a reply, or what an error says.
fn word_of(answer: &Result<Reply, String>) -> String {
    match answer {
        Ok(Reply::Array(items)) => match &items[0] {
            Reply::BulkString(word) => String::from_utf8_lossy(word).into_owned(),
            other => panic!("{other:?} is no word"),
        },
        Ok(other) => panic!("{other:?} is no reply"),
        Err(_) => "an error".to_owned(),
    }
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
