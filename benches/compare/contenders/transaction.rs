//! The writes of cloakroom's scripts as MULTI and EXEC in one pipeline, without a rule: what a transaction costs at least.

use async_trait::async_trait;

use super::Contender;
use super::recording::{Actor, Recording, is_read};
use crate::connections::Connections;
use crate::operation::Operation;
use crate::subject::Subject;

pub(crate) struct Transaction {
    connections: Connections,
    recording: Recording,
}

impl Transaction {
    pub(crate) async fn connect(url: &str, recording: Recording) -> Self {
        Self { connections: Connections::open(url).await, recording }
    }
}

#[async_trait]
impl Contender for Transaction {
    fn name(&self) -> &'static str {
        "MULTI/EXEC"
    }

    fn crowd(&self) -> &'static str {
        "floor"
    }

    fn has(&self, operation: Operation) -> bool {
        self.recording.has(operation)
    }

    async fn run(&self, operation: Operation, subject: Subject) {
        let actor = Actor::of(subject);
        let mut writes = redis::pipe();
        for command in self.recording.commands(operation) {
            let words: Vec<_> = command.iter().map(|word| actor.word(word)).collect();
            if !is_read(&String::from_utf8_lossy(&words[0])) {
                let mut write = redis::Cmd::new();
                write.arg(words);
                writes.add_command(write);
            }
        }
        writes.atomic().query_async::<redis::Value>(&mut self.connections.get()).await.unwrap();
    }
}
