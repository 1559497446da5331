//! heartbeat: a node's lease, registered, renewed and released.

use std::time::Duration;

use crate::error::Result;
use crate::holder::Holder;
use crate::operation::Operation;
use crate::rules::{LONGEST, check_duration, ms};
use crate::script;

/// The longest lease: a day.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 3600);

/// What a node has to say about its lease.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    pub(crate) want: Want,
    pub(crate) lease: Duration,
    pub(crate) keep: Duration,
}

/// What it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Register,
    Renew,
    Release,
}

impl Heartbeat {
    /// It begins a lease, if nobody else holds one of this node.
    #[must_use]
    pub fn register() -> Self {
        Self::new(Want::Register)
    }

    /// It goes on holding its lease, if that has not run out.
    #[must_use]
    pub fn renew() -> Self {
        Self::new(Want::Renew)
    }

    /// It holds its lease no longer.
    #[must_use]
    pub fn release() -> Self {
        Self::new(Want::Release)
    }

    fn new(want: Want) -> Self {
        Self { want, lease: Duration::from_secs(15), keep: Duration::from_secs(24 * 3600) }
    }

    /// How long the lease is held from now, 1 ms to a day. Defaults to 15 seconds.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long the node is listed when its lease has run out, for its sessions to be recovered: 1 second to ten years.
    /// Defaults to a day.
    #[must_use]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_duration("lease", self.lease, Duration::from_millis(1), LONGEST_LEASE)?;
        check_duration("keep", self.keep, Duration::from_secs(1), LONGEST)
    }
}

/// How a lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseStatus {
    /// It is held until then, in milliseconds since the epoch; one that was released until that moment, and no longer.
    Held {
        /// By the server's clock.
        until_ms: u64,
    },
    /// Another lease of this node is held until then, in milliseconds since the epoch.
    Taken {
        /// By the server's clock.
        until_ms: u64,
    },
    /// It has run out, or was never registered: it cannot be renewed. Register anew, with another [`Holder`].
    Lost,
}

pub(crate) async fn run(operation: &Operation<'_>, holder: &Holder, beat: &Heartbeat) -> Result<LeaseStatus> {
    beat.check()?;
    let keys = [operation.keys().nodes(), operation.keys().lease(holder.node())];
    let mut call = operation.call(&script::HEARTBEAT, keys.iter().map(String::as_str));
    call.arg(holder.lease()).arg(holder.node()).arg(ms(beat.lease)).arg(ms(beat.keep));
    call.arg(match beat.want {
        Want::Register => "register",
        Want::Renew => "renew",
        Want::Release => "release",
    });
    let mut reply = operation.run(&script::HEARTBEAT, &call).await?;
    match reply.word.as_str() {
        "ok" => Ok(LeaseStatus::Held { until_ms: reply.number()? }),
        "taken" => Ok(LeaseStatus::Taken { until_ms: reply.number()? }),
        "missing" => Ok(LeaseStatus::Lost),
        _ => Err(reply.into_error()),
    }
}
