//! The client scenarios of lua/scenarios: whole calls of this crate against a simulated server. `clients/interop` runs
//! them, because that server is a Python program.

mod played;

use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::{Error, OnLimit, OperationId, RedisStore, Refusal, Result, Rules};
use played::call;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::context::Store;
use crate::support::repository::root;

#[derive(Deserialize)]
struct Subject {
    scenarios: Vec<Scenario>,
}

/// What a runner needs of a scenario; the rest is for who plays the server.
#[derive(Deserialize)]
struct Scenario {
    name: String,
    #[serde(default)]
    rules: Map<String, Value>,
    /// How long each call has: a busy machine is no failure.
    #[serde(default = "twenty_seconds")]
    deadline_ms: u64,
    calls: Vec<Asked>,
}

fn twenty_seconds() -> u64 {
    20_000
}

/// A call, and what it has to come to.
#[derive(Debug, Deserialize)]
struct Asked {
    operation: String,
    #[serde(default)]
    with: Map<String, Value>,
    #[serde(default)]
    repeats: bool,
    answer: Option<Map<String, Value>>,
    failure: Option<String>,
    #[serde(default)]
    told: Map<String, Value>,
}

/// The server of a scenario.
struct Player {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: u64,
}

impl Player {
    async fn start(file: &str, name: &str) -> Self {
        let mut child = Command::new(root().join("lua/scenarios/play"))
            .args([file, name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("lua/scenarios/play: {error}: it needs python3"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = said(&mut lines).await["port"].as_u64().unwrap();
        Self { child, lines, port }
    }

    /// What the client should have done otherwise.
    async fn differences(mut self) -> Value {
        drop(self.child.stdin.take());
        let differences = said(&mut self.lines).await["differences"].take();
        self.child.wait().await.unwrap();
        differences
    }
}

async fn said(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    serde_json::from_str(&lines.next_line().await.unwrap().expect("the player says something")).unwrap()
}

fn rules(given: &Map<String, Value>) -> Rules {
    let mut rules = Rules::new();
    if let Some(touch) = given.get("touch_ms") {
        rules = rules.touch_interval(Duration::from_millis(touch.as_u64().unwrap()));
    }
    if let Some(limit) = given.get("limit") {
        let then = if given["policy"] == "evict" { OnLimit::EvictOldest } else { OnLimit::Reject };
        rules = rules.sessions_per_user(u32::try_from(limit.as_u64().unwrap()).unwrap(), then);
    }
    rules
}

/// The word of the scenarios for an error, and what it tells.
fn failure(error: &Error) -> (&str, Value) {
    match error {
        Error::Invalid(_) | Error::Value { .. } => ("invalid", json!({})),
        Error::NotExecuted { .. } => ("not_executed", json!({})),
        Error::Ambiguous { .. } => ("ambiguous", json!({})),
        Error::Corrupt { what, .. } => ("corrupt", json!({ "key": what })),
        Error::Refused(Refusal::Conflict { current }) => ("conflict", json!({ "version": current.get() })),
        Error::Refused(Refusal::Departed { place }) => ("departed", json!({ "place": place })),
        Error::Refused(Refusal::Limit { live }) => ("limit", json!({ "live": live })),
        Error::Refused(Refusal::TooLarge { .. }) => ("large", json!({})),
        Error::Refused(Refusal::Contract { .. }) => ("other_contract", json!({})),
        Error::Refused(Refusal::IdScheme { .. }) => ("other_id_scheme", json!({})),
        Error::Refused(refusal) => (refusal.code(), json!({})),
        _ => ("unknown", json!({})),
    }
}

/// What a call came to that is not what it should; the operation id that a failure names.
fn compare(asked: &Asked, came_to: &Result<Value>) -> (Option<String>, Option<OperationId>) {
    let op_id = match came_to {
        Err(Error::Ambiguous { operation_id, .. }) => Some(*operation_id),
        _ => None,
    };
    let is_right = match came_to {
        Ok(answer) => asked
            .answer
            .as_ref()
            .is_some_and(|names| names.iter().all(|(name, value)| answer[name] == *value)),
        Err(error) => {
            let (word, told) = failure(error);
            asked.failure.as_deref() == Some(word)
                && asked.told.iter().all(|(name, value)| told[name] == *value)
        }
    };
    ((!is_right).then(|| format!("{asked:?} came to {came_to:?}")), op_id)
}

async fn play(file: &str, scenario: &Scenario) -> Vec<String> {
    let player = Player::start(file, &scenario.name).await;
    let url = format!("redis://127.0.0.1:{}", player.port);
    let (mut store, mut op_id, mut wrong): (Option<Store>, _, _) = (None, None, Vec::new());
    for asked in &scenario.calls {
        let came_to = async {
            let at = match &store {
                Some(store) => store.clone(),
                None => {
                    let builder =
                        RedisStore::builder(&url).namespace("scenario").rules(rules(&scenario.rules));
                    let builder = builder.deadline(Duration::from_millis(scenario.deadline_ms));
                    let made: Store = Arc::new(builder.build().await?);
                    store.insert(made).clone()
                }
            };
            match op_id.filter(|_| asked.repeats) {
                Some(id) => call(&*at.with_operation_id(id), &asked.operation, &asked.with).await,
                None => call(&*at, &asked.operation, &asked.with).await,
            }
        }
        .await;
        let (difference, id) = compare(asked, &came_to);
        wrong.extend(difference);
        op_id = id;
    }
    if let Some(store) = store {
        store.close().await;
    }
    let differences = player.differences().await;
    wrong.extend(differences.as_array().unwrap().iter().map(Value::to_string));
    wrong
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs python3: clients/interop runs it"]
async fn every_scenario_comes_to_what_it_tells() {
    let directory = root().join("lua/scenarios");
    let mut failures = Vec::new();
    let mut files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "json")) {
        let file = path.file_name().unwrap().to_str().unwrap();
        let subject: Subject = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        for scenario in &subject.scenarios {
            let wrong = play(file, scenario).await;
            if !wrong.is_empty() {
                failures.push(format!("{file}: {}\n  {}", scenario.name, wrong.join("\n  ")));
            }
        }
    }
    assert!(failures.is_empty(), "{} scenarios differ\n{}", failures.len(), failures.join("\n"));
}
