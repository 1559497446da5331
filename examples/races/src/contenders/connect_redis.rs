//! connect-redis with express-session, which runs in Node: `connect-redis/races.js`.

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::Result;
use crate::contender::Contender;
use crate::node_packages::NodePackages;
use crate::outcome::{LateClose, Left, SlowSave, TwoLogins};
use crate::versions;

pub(crate) struct ConnectRedis {
    packages: NodePackages,
    url: String,
    redis: MultiplexedConnection,
}

#[derive(Deserialize)]
struct SlowRequest {
    /// The status of its response.
    status: u16,
    /// Who is logged in afterwards.
    user: String,
}

#[derive(Deserialize)]
struct Logins {
    live: usize,
}

impl ConnectRedis {
    pub(crate) async fn connect(url: &str, packages: NodePackages) -> Result<Self> {
        let redis = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        Ok(Self { packages, url: url.to_owned(), redis })
    }

    /// What came of a race.
    async fn run<T: DeserializeOwned>(&self, race: &str) -> Result<T> {
        let ran = self.packages.node(&self.url, race).kill_on_drop(true).output().await?;
        if !ran.status.success() {
            return Err(format!("node: {}", String::from_utf8_lossy(&ran.stderr)).into());
        }
        Ok(serde_json::from_slice(&ran.stdout)?)
    }
}

impl Contender for ConnectRedis {
    fn name(&self) -> Result<String> {
        versions::connect_redis()
    }

    async fn slow_save(&self) -> Result<SlowSave> {
        let SlowRequest { status, user } = self.run("slow-save").await?;
        Ok(match (user.as_str(), status) {
            ("ann", _) => SlowSave::Back,
            (_, 200) => SlowSave::Ignored,
            _ => SlowSave::Failed,
        })
    }

    async fn two_logins(&self) -> Result<TwoLogins> {
        match self.run("two-logins").await? {
            Logins { live: 2 } => Ok(TwoLogins::NoLimit),
            Logins { live } => Err(format!("{live} of 2 logins are live").into()),
        }
    }

    fn doomed(&self, url: &str) -> Result<Command> {
        Ok(self.packages.node(url, "doomed"))
    }

    async fn left(&self, id: &str) -> Result<Left> {
        Ok(Left { record: self.redis.clone().exists(format!("connect-redis:{id}")).await?, listed: None })
    }

    async fn late_close(&self) -> Result<LateClose> {
        Ok(LateClose::NoSockets)
    }
}
