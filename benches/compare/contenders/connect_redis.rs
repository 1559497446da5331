//! connect-redis, the store of express-session for Node, in a process of its own that makes the same load.
//!
//! What the server counts can be compared with the others: its time, bytes, round trips. What a call takes and what the
//! client uses includes another language.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use hdrhistogram::Histogram;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use super::{Contender, TTL};
use crate::connections::CONNECTIONS;
use crate::driven::{Driven, histogram};
use crate::operation::Operation;
use crate::payload::{PATCHED, Payload};
use crate::subject::Subject;
use crate::supply::Supply;

/// From the package's directory, where Cargo runs a bench.
const DIRECTORY: &str = "compare/connect-redis";

pub(crate) struct ConnectRedis {
    node: Mutex<Node>,
}

struct Node {
    /// It ends with this.
    _child: Child,
    loads: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

#[derive(Deserialize)]
struct Answer {
    /// In milliseconds.
    took: f64,
    /// In microseconds.
    cpu: f64,
    /// Nanoseconds, and how often.
    latencies: Vec<(u64, u64)>,
}

impl ConnectRedis {
    /// None if its packages are not installed.
    pub(crate) fn start(url: &str, payload: Payload) -> Option<Self> {
        if !Path::new(DIRECTORY).join("node_modules").is_dir() {
            return None;
        }
        let attributes: serde_json::Map<_, _> =
            payload.attributes().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let setup = json!({
            "url": url,
            "connections": CONNECTIONS,
            "ttl": TTL.as_secs(),
            "attributes": attributes,
            "patched": PATCHED,
        });
        let mut node = Command::new("node");
        node.arg("load.js").arg(setup.to_string()).current_dir(DIRECTORY);
        node.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = node.spawn().expect("node is on the PATH where its packages are installed");
        let loads = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Some(Self { node: Mutex::new(Node { _child: child, loads, answers }) })
    }

    pub(crate) async fn drive(&self, operation: Operation, supply: &Supply, callers: usize) -> Driven {
        let load = json!({ "operation": operation.name(), "callers": callers, "supply": supply.to_json() });
        let mut node = self.node.lock().await;
        node.loads.write_all(format!("{load}\n").as_bytes()).await.unwrap();
        let line = node.answers.next_line().await.unwrap().expect("node goes on");
        let answer: Answer = serde_json::from_str(&line).unwrap();
        let mut latency: Histogram<u64> = histogram();
        for (nanos, times) in answer.latencies {
            latency.record_n(nanos, times).unwrap();
        }
        Driven {
            latency,
            took: Duration::from_secs_f64(answer.took / 1e3),
            client_cpu: Some(Duration::from_secs_f64(answer.cpu / 1e6)),
        }
    }
}

#[async_trait]
impl Contender for ConnectRedis {
    fn name(&self) -> &'static str {
        "connect-redis"
    }

    fn process(&self) -> Option<&ConnectRedis> {
        Some(self)
    }

    fn has(&self, operation: Operation) -> bool {
        Operation::OF_ONE_KEY.contains(&operation) || operation == Operation::Refresh
    }

    async fn run(&self, operation: Operation, subject: Subject) {
        self.drive(operation, &Supply::part_of_crowd(subject.number, subject.number + 1), 1).await;
    }
}
