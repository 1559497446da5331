//! A connection that bypasses the stores: to the only server, or to the cluster's master that has the key.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Arg, Cmd, Pipeline, RedisFuture, Value};

use super::cluster::Cluster;
use super::spread;

/// Connections to all servers that have keys.
#[derive(Clone, Debug)]
pub(crate) struct Raw(Vec<MultiplexedConnection>);

impl Raw {
    pub(crate) fn to_server(connection: MultiplexedConnection) -> Self {
        Self(vec![connection])
    }

    /// To masters of a cluster whose slots never move.
    pub(crate) async fn to_cluster(cluster: &Cluster) -> Self {
        let mut all = Vec::new();
        for master in &cluster.nodes {
            all.push(master.connect().await);
        }
        Self(all)
    }

    /// One to each server.
    pub(crate) fn all(&self) -> &[MultiplexedConnection] {
        &self.0
    }

    /// The one to whoever has the first key of a command: each key of a store begins with a tag.
    fn of(&mut self, cmd: Option<&Cmd>) -> &mut MultiplexedConnection {
        let mut arguments = cmd.into_iter().flat_map(Cmd::args_iter).skip(1);
        let tag = arguments.find_map(|argument| match argument {
            Arg::Simple(key) if key.starts_with(b"{") => key[1..].split(|byte| *byte == b'}').next(),
            _ => None,
        });
        let slot = tag.map_or(0, |tag| spread::slot(std::str::from_utf8(tag).unwrap()));
        let at = Cluster::master_of(slot, self.0.len());
        &mut self.0[at]
    }
}

impl ConnectionLike for Raw {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.of(Some(cmd)).req_packed_command(cmd)
    }

    /// All commands of a pipeline are of one partition.
    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.of(pipeline.cmd_iter().next()).req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        0
    }
}
