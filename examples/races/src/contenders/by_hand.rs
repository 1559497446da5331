//! Sessions without a library: SET for a session, SADD for the list of a user's sessions.

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use tokio::process::Command;
use uuid::Uuid;

use crate::Result;
use crate::contender::{Contender, Doomed};
use crate::crash::this_program;
use crate::outcome::{LateClose, Left, SlowSave, TwoLogins};
use crate::versions;

const TTL_SECONDS: u64 = 30 * 60;

pub(crate) struct ByHand {
    redis: MultiplexedConnection,
}

impl ByHand {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        Ok(Self { redis: redis::Client::open(url)?.get_multiplexed_async_connection().await? })
    }

    async fn save(&self, id: &str, session: &str) -> Result<()> {
        Ok(self.redis.clone().set_ex(session_key(id), session, TTL_SECONDS).await?)
    }

    async fn load(&self, id: &str) -> Result<Option<String>> {
        Ok(self.redis.clone().get(session_key(id)).await?)
    }

    async fn count_sessions(&self, user: &str) -> Result<usize> {
        Ok(self.redis.clone().scard(list_key(user)).await?)
    }

    async fn log_in_as(&self, user: &str) -> Result<String> {
        let id = Uuid::new_v4().to_string();
        self.save(&id, user).await?;
        let _: () = self.redis.clone().sadd(list_key(user), &id).await?;
        Ok(id)
    }
}

fn session_key(id: &str) -> String {
    format!("by-hand:session:{id}")
}

fn list_key(user: &str) -> String {
    format!("by-hand:user:{user}:sessions")
}

fn socket_key(id: &str) -> String {
    format!("by-hand:session:{id}:socket")
}

impl Contender for ByHand {
    fn name(&self) -> Result<String> {
        Ok(format!("SET + SADD by hand\n{}", versions::of_crate("redis", "1.")?))
    }

    async fn slow_save(&self) -> Result<SlowSave> {
        let id = self.log_in().await?;
        let slow = self.load(&id).await?.ok_or("ann is not logged in")?;
        self.log_out(&id).await?;
        self.save(&id, &format!("{slow}, umbrella")).await?;
        if self.load(&id).await?.is_none() {
            return Ok(SlowSave::Ignored);
        }
        let is_listed = self.left(&id).await?.listed == Some(true);
        Ok(if is_listed { SlowSave::Back } else { SlowSave::BackUnlisted })
    }

    async fn two_logins(&self) -> Result<TwoLogins> {
        // Two processes, each of which counts first and then logs in.
        let counted = [self.count_sessions("bob").await?, self.count_sessions("bob").await?];
        for count in counted {
            if count == 0 {
                self.log_in_as("bob").await?;
            }
        }
        Ok(if self.count_sessions("bob").await? == 2 { TwoLogins::Both } else { TwoLogins::OneRefused })
    }

    fn doomed(&self, url: &str) -> Result<Command> {
        this_program("by-hand", url)
    }

    async fn left(&self, id: &str) -> Result<Left> {
        let listed = self.redis.clone().sismember(list_key("ann"), id).await?;
        Ok(Left { record: self.load(id).await?.is_some(), listed: Some(listed) })
    }

    async fn late_close(&self) -> Result<LateClose> {
        let id = self.log_in().await?;
        let mut redis = self.redis.clone();
        // Both sockets open, then the first one's close comes.
        let _: () = redis.set_ex(socket_key(&id), "socket-1", TTL_SECONDS).await?;
        let _: () = redis.set_ex(socket_key(&id), "socket-2", TTL_SECONDS).await?;
        let _: () = redis.del(socket_key(&id)).await?;
        let socket: Option<String> = redis.get(socket_key(&id)).await?;
        Ok(if socket.is_some() { LateClose::NewSocketKept } else { LateClose::NewSocketLost })
    }
}

impl Doomed for ByHand {
    type Login = String;

    async fn log_in(&self) -> Result<String> {
        self.log_in_as("ann").await
    }

    fn id(login: &String) -> Result<String> {
        Ok(login.clone())
    }

    async fn log_out(&self, login: &String) -> Result<()> {
        let mut redis = self.redis.clone();
        let _: () = redis.del(session_key(login)).await?;
        let _: () = redis.srem(list_key("ann"), login).await?;
        Ok(())
    }
}
