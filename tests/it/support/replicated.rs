//! A master with replicas, without sentinels.

use cloakroom::SessionId;

use super::Context;
use super::context::eventually;
use super::record::Stored;
use super::server::Server;

/// The servers. All are stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Replicated {
    pub(crate) master: Context,
    pub(crate) replicas: Vec<Server>,
}

impl Replicated {
    pub(crate) async fn start(replicas: usize) -> Self {
        let master = Context::own(&["--repl-diskless-sync-delay", "0"]).await;
        Self { master, replicas: Vec::new() }.grown_to(replicas).await
    }

    /// The namespace has 16 partitions.
    pub(crate) fn spread(self) -> Self {
        Self { master: self.master.spread(), ..self }
    }

    async fn grown_to(mut self, replicas: usize) -> Self {
        let address = self.master.server().address();
        let (host, port) = address.split_once(':').unwrap();
        for _ in 0..replicas {
            self.replicas.push(Server::spawn(&["--replicaof", host, port]).await);
        }
        eventually("all replicas follow", async || {
            let told: String = self.master.command(&["INFO", "replication"]).await;
            told.matches("state=online").count() == replicas
        })
        .await;
        self
    }

    /// On how many replicas the record of an id is of a kind.
    pub(crate) async fn count(&self, id: &SessionId, kind: u8) -> usize {
        let mut count = 0;
        for replica in &self.replicas {
            let mut get = redis::cmd("GET");
            get.arg(self.master.record_key(id));
            let bytes: Option<Vec<u8>> = get.query_async(&mut replica.connect().await).await.unwrap();
            count += usize::from(bytes.is_some_and(|bytes| Stored::parse(&bytes).kind == kind));
        }
        count
    }

    /// Whether anybody waits for replicas.
    pub(crate) async fn is_waited_for(&self) -> bool {
        self.master.command::<String>(&["CLIENT", "LIST"]).await.contains(" cmd=wait ")
    }
}
