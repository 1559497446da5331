//! This library.

use std::time::Duration;

use cloakroom::{
    Binding, Error, NewSession, OnLimit, Patch, RedisStore, Refusal, Rules, Session, SessionId,
    SessionStore as _,
};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use tokio::process::Command;

use crate::Result;
use crate::contender::{Contender, Doomed};
use crate::crash::this_program;
use crate::gate::Gate;
use crate::outcome::{LateClose, Left, SlowSave, TwoLogins};
use crate::versions;

const NAMESPACE: &str = "races";

pub(crate) struct Cloakroom {
    url: String,
    store: RedisStore,
    /// Looks at what is stored, without the store.
    redis: MultiplexedConnection,
}

impl Cloakroom {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let redis = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        Ok(Self { url: url.to_owned(), store: store(url, Rules::new()).await?, redis })
    }
}

async fn store(url: &str, rules: Rules) -> Result<RedisStore> {
    // A gate may hold a call back for long.
    let builder = RedisStore::builder(url).namespace(NAMESPACE).deadline(Duration::from_secs(30));
    Ok(builder.rules(rules).build().await?)
}

impl Contender for Cloakroom {
    fn name(&self) -> Result<String> {
        versions::of_crate("cloakroom", "")
    }

    async fn slow_save(&self) -> Result<SlowSave> {
        let login = self.log_in().await?;
        let slow = self.store.get(login.id()).await?.ok_or("ann is not logged in")?;
        self.log_out(&login).await?;
        let patched = self.store.patch(&slow, Patch::new().set("cart", &["umbrella"])?).await;
        let mut whole = slow.clone();
        whole.set("cart", &["umbrella"])?;
        let updated = self.store.update(&mut whole).await;
        if self.store.get(login.id()).await?.is_some() {
            return Ok(SlowSave::Back);
        }
        let are_refused =
            patched.is_err_and(|error| error.is_missing()) && updated.is_err_and(|error| error.is_missing());
        Ok(if are_refused { SlowSave::Refused } else { SlowSave::Ignored })
    }

    async fn two_logins(&self) -> Result<TwoLogins> {
        let gate = Gate::before(&self.url).await?;
        let rules = || Rules::new().sessions_per_user(1, OnLimit::Reject);
        let (one, other) = (store(&gate.url(), rules()).await?, store(&gate.url(), rules()).await?);
        let login = || NewSession::new().user("bob");
        // Both are on their way before the server sees one of them.
        gate.pass(0);
        let open_at_two = async {
            gate.holds(2).await?;
            gate.open();
            Ok::<_, crate::Error>(())
        };
        let (one, other, opened) = tokio::join!(one.create(login()), other.create(login()), open_at_two);
        opened?;
        match (one, other) {
            (Ok(_), Err(Error::Refused(Refusal::Limit { .. })))
            | (Err(Error::Refused(Refusal::Limit { .. })), Ok(_)) => Ok(TwoLogins::OneRefused),
            (Ok(_), Ok(_)) => Ok(TwoLogins::Both),
            (one, other) => Err(one.and(other).map_or_else(Into::into, |_| "both logins failed".into())),
        }
    }

    fn doomed(&self, url: &str) -> Result<Command> {
        this_program("cloakroom", url)
    }

    async fn left(&self, id: &str) -> Result<Left> {
        let mut redis = self.redis.clone();
        let listed: Option<f64> = redis.zscore(format!("{{{NAMESPACE}:0}}:user:ann:sessions"), id).await?;
        let record = self.store.get(&SessionId::new(id)?).await?.is_some();
        Ok(Left { record, listed: Some(listed.is_some()) })
    }

    async fn late_close(&self) -> Result<LateClose> {
        let login = self.log_in().await?;
        self.store.bind(&login, Binding::new("socket-1")).await?;
        self.store.bind(&login, Binding::new("socket-2")).await?;
        self.store.unbind(&login, "socket-1").await?;
        let session = self.store.get(login.id()).await?.ok_or("ann is not logged in")?;
        let found = self.store.session_by_connection("socket-2").await?;
        let is_kept =
            session.connection() == Some("socket-2") && found.is_some_and(|found| found.id() == login.id());
        Ok(if is_kept { LateClose::NewSocketKept } else { LateClose::NewSocketLost })
    }
}

impl Doomed for Cloakroom {
    type Login = Session;

    async fn log_in(&self) -> Result<Session> {
        Ok(self.store.create(NewSession::new().user("ann")).await?.session)
    }

    fn id(login: &Session) -> Result<String> {
        Ok(login.id().as_str().to_owned())
    }

    async fn log_out(&self, login: &Session) -> Result<()> {
        self.store.delete(login).await?.ok_or("ann is not logged in")?;
        Ok(())
    }
}
