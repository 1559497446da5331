//! A way to keep sessions in Redis, and how it comes out of each race.

use tokio::process::Command;

use crate::Result;
use crate::crash::crash;
use crate::outcome::{Crash, LateClose, Left, SlowSave, TwoLogins};

/// A way to keep sessions in Redis.
pub(crate) trait Contender: Sized {
    /// Its packages with their versions, one per line.
    fn name(&self) -> Result<String>;

    /// A request loads ann's session and takes its time. Ann logs out. The request puts something into the cart and saves.
    async fn slow_save(&self) -> Result<SlowSave>;

    /// Ann logs in twice at once, and may have one session.
    async fn two_logins(&self) -> Result<TwoLogins>;

    /// A process that logs ann in, prints the id of her session, waits for a line, logs her out, and prints "done".
    fn doomed(&self, url: &str) -> Result<Command>;

    /// What is stored of ann's session with that id.
    async fn left(&self, id: &str) -> Result<Left>;

    /// A browser loses its socket and opens another. Then the server notices that the first one is closed.
    async fn late_close(&self) -> Result<LateClose>;

    /// All races.
    async fn outcomes(&self, url: &str) -> Result<Outcomes> {
        Ok(Outcomes {
            slow_save: self.slow_save().await?,
            two_logins: self.two_logins().await?,
            crash: crash(self, url).await?,
            late_close: self.late_close().await?,
        })
    }
}

/// One that this program can be the doomed process of.
pub(crate) trait Doomed {
    /// What a process holds of a session.
    type Login;

    /// Logs ann in.
    async fn log_in(&self) -> Result<Self::Login>;

    /// The id of her session.
    fn id(login: &Self::Login) -> Result<String>;

    /// Logs her out.
    async fn log_out(&self, login: &Self::Login) -> Result<()>;
}

/// How a contender came out of the races.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub(crate) slow_save: SlowSave,
    pub(crate) two_logins: TwoLogins,
    pub(crate) crash: Crash,
    pub(crate) late_close: LateClose,
}

impl Outcomes {
    /// What Cloakroom promises.
    pub(crate) fn promised() -> Self {
        Self {
            slow_save: SlowSave::Refused,
            two_logins: TwoLogins::OneRefused,
            crash: Crash::AllOrNothing { deleted_by: "EVALSHA".to_owned() },
            late_close: LateClose::NewSocketKept,
        }
    }
}
