//! actix-session with its Redis store, by the calls that its middleware makes.

use std::collections::HashMap;
use std::time::Duration;

use actix_session::storage::{RedisSessionStore, SessionKey, SessionStore as _};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use tokio::process::Command;

use crate::Result;
use crate::contender::{Contender, Doomed};
use crate::crash::this_program;
use crate::outcome::{LateClose, Left, SlowSave, TwoLogins};
use crate::versions;

const TTL: Duration = Duration::from_secs(30 * 60);

pub(crate) struct ActixSession {
    store: RedisSessionStore,
    /// Looks at what is stored, without the store.
    redis: MultiplexedConnection,
}

impl ActixSession {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let redis = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        Ok(Self { store: RedisSessionStore::new(url).await?, redis })
    }

    async fn is_anns(&self, key: &SessionKey) -> Result<bool> {
        let state = self.store.load(key).await?.unwrap_or_default();
        Ok(state.get("user").is_some_and(|user| user == "ann"))
    }
}

impl Contender for ActixSession {
    fn name(&self) -> Result<String> {
        versions::of_crate("actix-session", "0.11.")
    }

    async fn slow_save(&self) -> Result<SlowSave> {
        let login = self.log_in().await?;
        let mut slow = self.store.load(&login).await?.ok_or("ann is not logged in")?;
        self.log_out(&login).await?;
        slow.insert("cart".to_owned(), "umbrella".to_owned());
        let old_id = login.as_ref().to_owned().try_into()?;
        // The middleware puts the key that this returns into the cookie.
        let Ok(saved) = self.store.update(login, slow, &TTL.try_into()?).await else {
            return Ok(SlowSave::Failed);
        };
        match (self.is_anns(&saved).await?, saved == old_id) {
            (true, true) => Ok(SlowSave::Back),
            (true, false) => Ok(SlowSave::BackUnderNewId),
            (false, _) => Ok(SlowSave::Ignored),
        }
    }

    async fn two_logins(&self) -> Result<TwoLogins> {
        let (one, other) = tokio::join!(self.log_in(), self.log_in());
        for login in [one?, other?] {
            if !self.is_anns(&login).await? {
                return Err("a login is not live".into());
            }
        }
        Ok(TwoLogins::NoLimit)
    }

    fn doomed(&self, url: &str) -> Result<Command> {
        this_program("actix-session", url)
    }

    async fn left(&self, id: &str) -> Result<Left> {
        Ok(Left { record: self.redis.clone().exists(id).await?, listed: None })
    }

    async fn late_close(&self) -> Result<LateClose> {
        Ok(LateClose::NoSockets)
    }
}

impl Doomed for ActixSession {
    type Login = SessionKey;

    async fn log_in(&self) -> Result<SessionKey> {
        let state = HashMap::from([("user".to_owned(), "ann".to_owned())]);
        Ok(self.store.save(state, &TTL.try_into()?).await?)
    }

    fn id(login: &SessionKey) -> Result<String> {
        Ok(login.as_ref().to_owned())
    }

    async fn log_out(&self, login: &SessionKey) -> Result<()> {
        Ok(self.store.delete(login).await?)
    }
}
