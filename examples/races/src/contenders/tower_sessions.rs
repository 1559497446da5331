//! tower-sessions with its Redis store. A request's session is what its middleware hands to a handler.

use std::sync::Arc;

use tokio::process::Command;
use tower_sessions::Session;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, KeysInterface as _, Pool};

use crate::Result;
use crate::contender::{Contender, Doomed};
use crate::crash::this_program;
use crate::outcome::{LateClose, Left, SlowSave, TwoLogins};
use crate::versions;

pub(crate) struct TowerSessions {
    pool: Pool,
    store: Arc<RedisStore<Pool>>,
}

impl TowerSessions {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let pool = Pool::new(Config::from_url(url)?, None, None, None, 1)?;
        // A task, which goes on by itself.
        drop(pool.connect());
        pool.wait_for_connect().await?;
        Ok(Self { store: Arc::new(RedisStore::new(pool.clone())), pool })
    }

    /// The session as another request with the same cookie has it.
    fn request(&self, of: &Session) -> Session {
        Session::new(of.id(), self.store.clone(), None)
    }

    /// The user of another request with the same cookie.
    async fn user(&self, of: &Session) -> Result<Option<String>> {
        Ok(self.request(of).get("user").await?)
    }
}

impl Contender for TowerSessions {
    fn name(&self) -> Result<String> {
        let sessions = versions::of_crate("tower-sessions", "0.14.")?;
        let store = versions::of_crate("tower-sessions-redis-store", "0.16.")?;
        let client = versions::of_crate("fred", "")?;
        // The store's name is wider than a column.
        Ok(format!("{sessions}\n{}\n{client}", store.replacen("-redis", "-\nredis", 1)))
    }

    async fn slow_save(&self) -> Result<SlowSave> {
        let login = self.log_in().await?;
        let slow = self.request(&login);
        slow.get::<String>("user").await?.ok_or("ann is not logged in")?;
        self.log_out(&self.request(&login)).await?;
        slow.insert("cart", ["umbrella"]).await?;
        let saved = slow.save().await;
        // A save may have given the session another id, which its response would carry.
        if self.user(&login).await?.is_some() || self.user(&slow).await?.is_some() {
            return Ok(SlowSave::Back);
        }
        Ok(if saved.is_ok() { SlowSave::Ignored } else { SlowSave::Failed })
    }

    async fn two_logins(&self) -> Result<TwoLogins> {
        let (one, other) = tokio::join!(self.log_in(), self.log_in());
        for login in [one?, other?] {
            self.user(&login).await?.ok_or("a login is not live")?;
        }
        Ok(TwoLogins::NoLimit)
    }

    fn doomed(&self, url: &str) -> Result<Command> {
        this_program("tower-sessions", url)
    }

    async fn left(&self, id: &str) -> Result<Left> {
        Ok(Left { record: self.pool.exists::<u64, _>(id).await? == 1, listed: None })
    }

    async fn late_close(&self) -> Result<LateClose> {
        Ok(LateClose::NoSockets)
    }
}

impl Doomed for TowerSessions {
    type Login = Session;

    async fn log_in(&self) -> Result<Session> {
        let session = Session::new(None, self.store.clone(), None);
        session.insert("user", "ann").await?;
        session.save().await?;
        Ok(session)
    }

    fn id(login: &Session) -> Result<String> {
        Ok(login.id().ok_or("a session that was saved has no id")?.to_string())
    }

    async fn log_out(&self, login: &Session) -> Result<()> {
        Ok(login.flush().await?)
    }
}
