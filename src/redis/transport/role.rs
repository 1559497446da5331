//! Checks whether a server is the master. A replica or a demoted master answers PING and reads too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, RedisResult, Value};
use tokio::time::Instant;

use crate::redis::transport::server_error::{server_code, server_detail};

/// How long a server counts as the master after it said that it is.
const COUNTS_FOR: Duration = Duration::from_secs(1);

/// How a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Role,
    /// Used if ROLE is not available: some services do not offer it, and the user may not be allowed to run
    /// it.
    Info,
}

/// The known role of a server.
#[derive(Debug)]
pub(crate) struct Role {
    question: Question,
    made: Instant,
    /// When the question was sent whose answer last said that it is the master, in milliseconds since this was
    /// made.
    asked: AtomicU64,
}

impl Role {
    /// Asks the server behind a connection for its time and its role. An error means that it is not the master, or does
    /// not say.
    pub(crate) async fn find_out(link: &mut MultiplexedConnection) -> RedisResult<(Self, Value)> {
        let made = Instant::now();
        let mut both = Pipeline::with_capacity(2);
        both.cmd("TIME").cmd("ROLE");
        let mut answers = link.send_packed_commands(&both, 0, 2).await?.into_iter();
        let time = answers.next().unwrap_or(Value::Nil);
        let answer = answers.next().unwrap_or(Value::Nil);
        let role = |question| Self { question, made, asked: AtomicU64::new(0) };
        let Value::ServerError(refused) = answer else {
            require_master(answer)?;
            return Ok((role(Question::Role), time));
        };
        let refused = RedisError::from(refused);
        if server_code(&refused).as_deref() == Some("NOAUTH") {
            return Err(refused);
        }
        let info = role(Question::Info);
        match info.ask(link).await {
            Err(error) if server_code(&error).is_some_and(|code| code != NOT_THE_MASTER) => Err(refused),
            asked => asked.map(|()| (info, time)),
        }
    }

    /// Asks again. An error means that it is no longer the master.
    pub(crate) async fn ask(&self, link: &mut MultiplexedConnection) -> RedisResult<()> {
        let sent = Instant::now();
        let answer = match self.question {
            Question::Role => redis::cmd("ROLE").query_async(link).await?,
            Question::Info => redis::cmd("INFO").arg("replication").query_async(link).await?,
        };
        require(self.question, answer)?;
        self.asked.fetch_max(self.since_made(sent), Ordering::Relaxed);
        Ok(())
    }

    /// Whether it must be asked again before an answer of the server counts.
    pub(crate) fn is_due(&self) -> bool {
        let silent_ms = self.since_made(Instant::now()).saturating_sub(self.asked.load(Ordering::Relaxed));
        Duration::from_millis(silent_ms) >= COUNTS_FOR
    }

    fn since_made(&self, instant: Instant) -> u64 {
        u64::try_from(instant.duration_since(self.made).as_millis()).unwrap_or(u64::MAX)
    }
}

/// The error code of a server that is not the master: replicas answer writes with it.
pub(crate) const NOT_THE_MASTER: &str = "READONLY";

/// The message for a server that follows another.
const REPLICA: &str = "the server is a replica";

/// Whether an error says that the server is a replica.
pub(crate) fn says_replica(error: &RedisError) -> bool {
    server_detail(error).as_deref() == Some(REPLICA)
}

/// Returns an error unless ROLE answers that the server is the master.
pub(crate) fn require_master(answer: Value) -> RedisResult<()> {
    require(Question::Role, answer)
}

fn require(question: Question, answer: Value) -> RedisResult<()> {
    let role = match (question, answer) {
        (_, Value::ServerError(error)) => return Err(error.into()),
        (Question::Role, Value::Array(parts)) => parts.into_iter().next().and_then(text),
        (Question::Info, info) => text(info).and_then(|info| {
            info.lines().find_map(|line| line.strip_prefix("role:")).map(|role| role.trim().to_owned())
        }),
        (Question::Role, _) => None,
    };
    let told = match role.as_deref() {
        Some("master") => return Ok(()),
        Some("slave") => REPLICA,
        Some("sentinel") => "the server is a sentinel: use a redis+sentinel:// URL",
        _ => "the server does not say whether it is the master",
    };
    Err(redis::make_extension_error(NOT_THE_MASTER.to_owned(), Some(told.to_owned())))
}

fn text(value: Value) -> Option<String> {
    redis::from_redis_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn only_a_master_passes_whichever_way_it_is_asked() {
        let by_role = |role: &str| require_master(Value::Array(vec![bulk(role), Value::Int(1)]));
        let by_info = |info: &str| require(Question::Info, bulk(info));
        assert!(by_role("master").is_ok() && by_info("# Replication\r\nrole:master\r\n").is_ok());
        for refused in
            [by_role("slave"), by_role("sentinel"), by_info("role:slave\r\n"), by_info(""), by_role("")]
        {
            assert_eq!(server_code(&refused.unwrap_err()).as_deref(), Some(NOT_THE_MASTER));
        }
        assert!(
            says_replica(&by_role("slave").unwrap_err()) && !says_replica(&by_role("sentinel").unwrap_err())
        );
        assert!(require_master(Value::Nil).is_err());
    }
}
