//! Runs the cases of lua/conformance from the bundle alone, as a client in another language would: its sources by
//! EVALSHA, its patterns for keys, its layout for records. It uses nothing of the crate.

mod arguments;
pub(crate) mod bundle;
pub(crate) mod call;
pub(crate) mod case;
mod corrupt;
mod coverage;
mod nameless;
mod ordinary;
mod read_only;
mod record;
mod records;
mod refused;
mod reply;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bundle::Bundle;
use call::Sent;
use case::{Arguments, Call, Case, File, Step, unhex};
use redis::aio::ConnectionLike;
use serde_json::Value;
use state::{State, differences, state};

use crate::support::Context;
use crate::support::repository::root;

fn lua() -> PathBuf {
    root().join("lua")
}

fn parsed<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn exported() -> Bundle {
    parsed(&lua().join("bundle.json"))
}

/// All files of cases, by their stems.
fn files() -> BTreeMap<String, File> {
    let entries = fs::read_dir(lua().join("conformance")).unwrap().map(|entry| entry.unwrap().path());
    let is_of_operation = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "json")
            && path.file_name() != Some("records.json".as_ref())
    };
    let paths = entries.filter(is_of_operation);
    paths.map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), parsed(&path))).collect()
}

/// Runs the cases of a file, each in a namespace of its own.
struct Runner<'a> {
    context: Context,
    bundle: &'a Bundle,
    defaults: &'a Arguments,
}

impl Runner<'_> {
    /// Sends a call as it is told; the reply as a case would have it.
    async fn send(&self, call: &Call) -> Result<Vec<Value>, String> {
        let sha = &self.bundle.operations[&call.operation].sha1;
        self.send_to(&mut self.context.raw(), "EVALSHA", sha, call).await
    }

    /// The same on a connection, by a command that runs scripts, with a form of the script.
    async fn send_to(
        &self,
        connection: &mut impl ConnectionLike,
        command: &str,
        sha: &str,
        call: &Call,
    ) -> Result<Vec<Value>, String> {
        let operation = &self.bundle.operations[&call.operation];
        let sent = self.sent(call);
        let mut run = redis::cmd(command);
        run.arg(sha).arg(sent.keys.len()).arg(sent.keys).arg(sent.arguments);
        let answer = run.query_async(connection).await.map_err(|error| error.to_string())?;
        reply::answered(self.bundle, operation, &answer)
    }

    /// What a call sends.
    fn sent(&self, call: &Call) -> Sent {
        let (operation, tag) = (&self.bundle.operations[&call.operation], self.context.key(""));
        Sent::new(self.bundle, operation, tag.trim_end_matches(':'), &call.values(self.defaults))
    }

    /// Sends a call, which has to answer as it is told.
    async fn answer(&self, call: &Call) -> Result<(), String> {
        let reply = self.send(call).await.map_err(|error| format!("{}: {error}", call.operation))?;
        if reply == call.reply {
            return Ok(());
        }
        let (expected, found) = (Value::from(call.reply.clone()), Value::from(reply));
        Err(format!("{} should answer\n      {expected}\n  and answers\n      {found}", call.operation))
    }

    async fn plant(&self, command: &[Value]) {
        let tag = self.context.key("");
        let mut planting = redis::Cmd::new();
        for part in command {
            match part {
                Value::String(text) => planting.arg(text.replace("{ns:p}:", &tag)),
                Value::Number(number) => planting.arg(number.to_string()),
                bytes => planting.arg(unhex(bytes["hex"].as_str().unwrap())),
            };
        }
        planting.query_async::<redis::Value>(&mut self.context.raw()).await.unwrap();
    }

    async fn state(&self) -> State {
        state(&self.context, &self.bundle.record).await
    }

    /// Makes the state that a case begins with.
    async fn prepare(&self, case: &Case) -> Result<(), String> {
        for step in &case.before {
            match step {
                Step::Call(call) => self.answer(call).await?,
                Step::Command { command } => self.plant(command).await,
            }
        }
        Ok(())
    }

    /// Deletes what a case may have made, by name: nobody who looks for a namespace's keys walks over them later.
    async fn clear(&self, case: &Case) {
        let tag = self.context.key("");
        let mut names: BTreeSet<String> = case.after.keys().map(|key| key.replace("{ns:p}:", &tag)).collect();
        for call in case.calls() {
            names.extend(self.sent(call).keys);
        }
        for step in &case.before {
            let Step::Command { command } = step else { continue };
            let keys = command.iter().filter_map(Value::as_str).filter(|part| part.starts_with("{ns:p}:"));
            names.extend(keys.map(|key| key.replace("{ns:p}:", &tag)));
        }
        redis::cmd("DEL").arg(names).query_async::<()>(&mut self.context.raw()).await.unwrap();
    }

    async fn run(&self, case: &Case) -> Result<(), String> {
        self.prepare(case).await?;
        let before = self.state().await;
        self.answer(&case.call).await?;
        let after = self.state().await;
        same("after it", &case.after, &after)?;
        let refused = case.call.reply[0] != "ok";
        if refused {
            same("what a refusal leaves", &before, &after)?;
        }
        let has_op_id = case.call.with.get("op_id").is_some_and(|op_id| op_id != "");
        let told_again = &self.bundle.operations[&case.call.operation].again;
        if has_op_id || refused || told_again.starts_with("same task → same reply") {
            let mut again = case.call.clone();
            if !refused
                && self.bundle.operations[&again.operation].replies.iter().any(|form| form.word == "again")
            {
                again.reply[0] = "again".into();
            }
            self.answer(&again).await.map_err(|error| format!("sent again, {error}"))?;
        } else {
            let reply = self.send(&case.call).await.map_err(|error| format!("sent again: {error}"))?;
            if told_again.ends_with("answered unchanged.") && reply[0] != "unchanged" {
                return Err(format!("sent again, it answers {}", reply[0]));
            }
        }
        same("after the same call again", &after, &self.state().await)?;
        if !case.is_planted() {
            self.context.check().await;
        }
        Ok(())
    }
}

fn same(what: &str, expected: &State, found: &State) -> Result<(), String> {
    let differences = differences(expected, found);
    if differences.is_empty() { Ok(()) } else { Err(format!("{what}:{differences}")) }
}

#[tokio::test]
async fn every_case_answers_and_leaves_what_it_tells() {
    run_all(Context::redis().await, exported()).await;
}

/// Loads all scripts of a bundle.
async fn load(context: &Context, bundle: &Bundle) {
    for (name, operation) in &bundle.operations {
        let sha: String = context.command(&["SCRIPT", "LOAD", &operation.source]).await;
        assert_eq!(sha, operation.sha1, "{name}");
    }
}

/// Runs all cases by the scripts of a bundle.
async fn run_all(mut context: Context, bundle: Bundle) -> Context {
    load(&context, &bundle).await;
    let mut failures = Vec::new();
    for File { operation, defaults, cases } in files().values() {
        for (at, case) in cases.iter().enumerate() {
            context.namespace = format!("{}-{operation}-{at}", context.namespace.split('-').next().unwrap());
            let runner = Runner { context, bundle: &bundle, defaults };
            if let Err(error) = runner.run(case).await {
                failures.push(format!("{operation}: {}\n  {error}", case.name));
            }
            runner.clear(case).await;
            context = runner.context;
        }
    }
    assert!(failures.is_empty(), "{} cases fail\n{}", failures.len(), failures.join("\n"));
    context
}
