//! A node's leases: one per partition, each with its own id, so that a failure of one server of a cluster ends only the
//! leases there.

use std::collections::BTreeSet;
use std::sync::Arc;

use redis::Pipeline;

use crate::model::{Error, Heartbeat, HeartbeatReply, LeaseGap, NodeIdentity, Result, SessionId, Want, ms};
use crate::redis::call::Call;
use crate::redis::commands::heartbeat;
use crate::redis::script;
use crate::redis::store::RedisStore;
use crate::stored::partitions::{Partition, partition_of};

/// The most leases that one node may renew per second, and that all nodes together should.
const MOST_RENEWALS: u64 = 10_000;

impl RedisStore {
    /// Registers, renews or releases a node's lease in each partition. Where it was lost while it is held elsewhere,
    /// the next renewal registers it again.
    pub(crate) async fn heartbeat_everywhere(
        &self,
        identity: &NodeIdentity,
        beat: &Heartbeat,
    ) -> Result<HeartbeatReply> {
        beat.check()?;
        match beat.want {
            Want::Register => {
                let per_second = self.renewals_per_second(beat)?;
                let reply = self.register_everywhere(identity, beat).await?;
                self.warn_of_many(per_second).await;
                Ok(reply)
            }
            Want::Renew => self.renew_everywhere(identity, beat).await,
            Want::Release => self.beat_each(identity, beat, |_| Want::Release).await.released(),
        }
    }

    /// If another process holds the node in one partition, the node is that process's: this one releases
    /// the rest.
    async fn register_everywhere(&self, identity: &NodeIdentity, beat: &Heartbeat) -> Result<HeartbeatReply> {
        let mut all = self.beat_each(identity, beat, |_| Want::Register).await;
        if let Some(until_ms) = all.by_another {
            let release = Heartbeat { want: Want::Release, ..beat.clone() };
            self.beat_each(identity, &release, |_| Want::Release).await;
            return Ok(HeartbeatReply::HeldByAnother { until_ms });
        }
        // In partitions that did not answer, it was not held before either.
        if all.held.is_some() {
            all.lost.append(&mut all.silent);
        }
        all.renewed(self, identity)
    }

    /// Registers it again where it was lost. The lease goes on as long as it is renewed somewhere: a process that stood
    /// still for longer holds nothing any more.
    async fn renew_everywhere(&self, identity: &NodeIdentity, beat: &Heartbeat) -> Result<HeartbeatReply> {
        let want = |tag: &str| if identity.is_open_in(tag) { Want::Register } else { Want::Renew };
        let is_kept = |partition: &Partition| !identity.is_open_in(self.partitions().tag(*partition));
        let all = self.beat_each(identity, beat, want).await;
        if all.holding.iter().any(is_kept) {
            return all.renewed(self, identity);
        }
        if let Some(error) = all.error {
            return Err(error);
        }
        if !all.holding.is_empty() {
            let release = Heartbeat { want: Want::Release, ..beat.clone() };
            self.beat_each(identity, &release, |_| Want::Release).await;
        }
        Ok(HeartbeatReply::Lost)
    }

    async fn beat_each(
        &self,
        identity: &NodeIdentity,
        beat: &Heartbeat,
        want: impl Fn(&str) -> Want + Sync,
    ) -> Beaten {
        let cmd = |call: &Call, partition: Partition| {
            let want = want(call.partitions().tag(partition));
            heartbeat::command(call, partition, identity, beat, want)
        };
        let mut all = Beaten::default();
        for (partition, reply) in self.ask_each("heartbeat", &script::HEARTBEAT, cmd).await {
            all.note(partition, reply.and_then(heartbeat::read));
        }
        all
    }

    /// How many leases a node renews per second.
    fn renewals_per_second(&self, beat: &Heartbeat) -> Result<u64> {
        let count = self.partitions().count();
        let per_second = u64::from(count) * u64::from(Heartbeat::RENEWALS) * 1000 / ms(beat.lease);
        if per_second > MOST_RENEWALS {
            let reason = format!(
                "is {:?}: renewed {} times in that, in {count} partitions, it makes {per_second} renewals per second, \
                 must be at most {MOST_RENEWALS}",
                beat.lease,
                Heartbeat::RENEWALS
            );
            return Err(Error::invalid("lease", reason));
        }
        Ok(per_second)
    }

    /// Warns if the known nodes make too many renewals, assuming that each has a lease as long as this one. If that
    /// cannot be found out, nothing stops.
    async fn warn_of_many(&self, per_second: u64) {
        let body = |call: Arc<Call>| async move {
            let mut pipeline = Pipeline::with_capacity(1);
            pipeline.cmd("ZCARD").arg(call.keys().nodes());
            let count = call.read(&pipeline, "nodes").await?.pop().unwrap_or(redis::Value::Nil);
            redis::from_redis_value::<u64>(count).map_err(|_| Error::corrupt("nodes"))
        };
        match self.call_in(Partition::default(), "nodes", None, body).await {
            Ok(nodes) if nodes.saturating_mul(per_second) > MOST_RENEWALS => tracing::warn!(
                nodes,
                partitions = self.partitions().count(),
                "the nodes renew {} leases per second, more than {MOST_RENEWALS}: take longer leases",
                nodes * per_second
            ),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the renewals of all nodes could not be counted"),
        }
    }
}

/// The answers of all partitions.
#[derive(Default)]
struct Beaten {
    /// The partitions where the lease is held.
    holding: BTreeSet<Partition>,
    /// The earliest end among the held leases.
    held: Option<u64>,
    /// The latest end among the leases that another process holds.
    by_another: Option<u64>,
    lost: BTreeSet<Partition>,
    silent: BTreeSet<Partition>,
    error: Option<Error>,
}

impl Beaten {
    fn note(&mut self, partition: Partition, reply: Result<HeartbeatReply>) {
        match reply {
            Ok(HeartbeatReply::Held { until_ms }) => {
                self.holding.insert(partition);
                self.held = Some(self.held.map_or(until_ms, |held| held.min(until_ms)));
            }
            Ok(HeartbeatReply::HeldByAnother { until_ms }) => {
                self.by_another = self.by_another.max(Some(until_ms));
                self.lost.insert(partition);
            }
            Ok(HeartbeatReply::Lost | HeartbeatReply::HeldInPart { .. }) => drop(self.lost.insert(partition)),
            Err(error) => {
                self.silent.insert(partition);
                self.error.get_or_insert(error);
            }
        }
    }

    /// The state of the lease. If it is lost in all partitions, it is lost for good, as with one partition.
    fn renewed(self, store: &RedisStore, identity: &NodeIdentity) -> Result<HeartbeatReply> {
        let Some(until_ms) = self.held else {
            return self.error.map_or(Ok(HeartbeatReply::Lost), Err);
        };
        let partitions = store.partitions();
        self.holding.iter().for_each(|partition| identity.close_in(partitions.tag(*partition)));
        self.lost.iter().for_each(|partition| identity.open_in(partitions.tag(*partition)));
        if self.lost.is_empty() && self.silent.is_empty() {
            return Ok(HeartbeatReply::Held { until_ms });
        }
        if let Some(error) = &self.error {
            tracing::warn!(%error, "a node's lease was not renewed in some partitions");
        }
        let numbers = |of: BTreeSet<Partition>| of.into_iter().map(Partition::number).collect();
        let gap = LeaseGap {
            place: |id: &SessionId, count| partition_of(id.as_str(), count),
            count: partitions.count(),
            lost: numbers(self.lost),
            silent: numbers(self.silent),
        };
        Ok(HeartbeatReply::HeldInPart { until_ms, gap })
    }

    fn released(self) -> Result<HeartbeatReply> {
        let released = self.held.map_or(HeartbeatReply::Lost, |until_ms| HeartbeatReply::Held { until_ms });
        self.error.map_or(Ok(released), Err)
    }
}
