//! Proves before the store works that its user may do all that the store needs. If a command were forbidden in the
//! middle of a script, half of the script's writes would remain: Redis does not roll back.

use redis::{Pipeline, RedisError, RedisResult, Value};

use crate::model::{Error, Refusal, Result};
use crate::redis::script::{self, Script};
use crate::redis::transport::delivery::Unavailable;
use crate::redis::transport::failure;
use crate::redis::transport::server_error::{server_code, server_detail};
use crate::stored::keys::Keys;

/// A script that returns which of some commands are forbidden.
static FORBIDDEN: Script = Script::of_start(include_str!("../../lua/dist/start/forbidden.lua"));

/// All commands that the scripts run, one per line.
const OF_SCRIPTS: &str = include_str!("../../lua/dist/start/commands.txt");

/// The command that the store sends itself and no script runs. Whether it may load and run scripts shows when it does.
/// No script can ask for `TRANSACTION`.
const OF_STORE: &str = "PING";

/// The commands of a transaction. An empty one changes nothing, and one that may not be executed is
/// discarded.
const TRANSACTION: [&str; 2] = ["MULTI", "EXEC"];

/// Loads the scripts, so that the first call of each finds it, and asks whether the user may run all their commands and
/// the store's, and touch the keys.
///
/// ACL DRYRUN would prove the same, but a user with only the needed permissions may not run it.
pub(crate) fn ask(pipeline: &mut Pipeline, keys: &Keys) {
    for script in script::LOADED.iter().copied().chain([&FORBIDDEN]) {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.source());
    }
    let one_of_each = keys.one_of_each();
    let question = pipeline.cmd("EVALSHA").arg(FORBIDDEN.sha()).arg(one_of_each.len()).arg(&one_of_each);
    question.arg(OF_STORE).arg(OF_SCRIPTS.lines().collect::<Vec<_>>());
    for command in TRANSACTION {
        pipeline.cmd(command);
    }
}

/// Reads the replies to that.
pub(crate) fn judge(mut results: Vec<RedisResult<Value>>, keys: &Keys) -> Result<()> {
    let of_transaction = results.split_off(results.len().saturating_sub(TRANSACTION.len()));
    let forbidden = results.pop().unwrap_or(Ok(Value::Nil));
    for loaded in results {
        loaded.map_err(|error| refused(error, "+script|load".to_owned()))?;
    }
    let forbidden = forbidden.map_err(|error| {
        let is_of_keys = error.detail().is_some_and(|detail| detail.contains(" key"));
        refused(error, if is_of_keys { keys.pattern() } else { "+evalsha".to_owned() })
    })?;
    let mut forbidden: Vec<String> =
        redis::from_redis_value(forbidden).map_err(|_| Error::corrupt("reply to the script of the start"))?;
    let refused = TRANSACTION.iter().zip(of_transaction).filter(|(_, result)| is_forbidden(result));
    forbidden.extend(refused.map(|(command, _)| (*command).to_owned()));
    if forbidden.is_empty() {
        return Ok(());
    }
    let lacking = forbidden.iter().map(|command| format!("+{}", command.to_lowercase())).collect();
    Err(Error::Refused(Refusal::Forbidden { lacking }))
}

/// For EXEC the code says that the transaction was discarded, and the rest says why.
fn is_forbidden(result: &RedisResult<Value>) -> bool {
    let says = |error: &RedisError| {
        let (code, detail) = (server_code(error), server_detail(error));
        code.as_deref() == Some("NOPERM") || detail.is_some_and(|detail| detail.contains("NOPERM"))
    };
    result.as_ref().is_err_and(says)
}

/// The error for a permission that the server says the user lacks, or any other error.
fn refused(error: RedisError, lacking: String) -> Error {
    match server_code(&error).as_deref() {
        Some("NOPERM") => Error::Refused(Refusal::Forbidden { lacking: vec![lacking] }),
        _ => failure::not_executed(error),
    }
}

/// Why there is no connection: the user may run neither ROLE nor INFO to ask whether the server is the master.
pub(crate) fn unless_forbidden(unavailable: Unavailable) -> Error {
    let error = unavailable.cause();
    let is_of_role = server_detail(error).is_some_and(|detail| detail.contains("'role'"));
    if server_code(error).as_deref() == Some("NOPERM") && is_of_role {
        return Error::Refused(Refusal::Forbidden { lacking: vec!["+role".to_owned()] });
    }
    unavailable.into()
}
