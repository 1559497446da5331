//! Explains an error of the server, or of the way to it: its kind, and its meaning in plain words.

use std::borrow::Cow;
use std::fmt;

use redis::{ErrorKind, RedisError};

use crate::model::{Cause, Error, Obstacle, cause};
use crate::redis::transport::role::NOT_THE_MASTER;
use crate::redis::transport::server_error::{server_code, server_detail};

/// Behind these words a server repeats its input, with keys that contain session ids.
const ECHO: &str = ", with args beginning with";

/// An error of the server or of the connection, in plain words. redis-rs's own error is its source.
#[derive(Debug)]
pub(crate) struct Failure {
    words: Cow<'static, str>,
    source: RedisError,
}

impl Failure {
    /// The failure of a server's answer, or of an attempt to connect.
    pub(crate) fn new(error: RedisError) -> Self {
        let words = words(&error);
        Self { words, source: without_secrets(error) }
    }

    /// The failure that ended a connection under a call.
    pub(crate) fn lost(error: RedisError) -> Self {
        if server_code(&error).is_some() {
            return Self::new(error);
        }
        Self { words: format!("the connection was lost: {}", innermost(&error)).into(), source: error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The error of a call that the server refused as a whole, or for which there was no connection.
pub(crate) fn not_executed(error: RedisError) -> Error {
    let obstacle = obstacle(&error);
    Error::obstacle(obstacle, cause(Failure::new(error)))
}

/// A lost connection as a cause.
pub(crate) fn lost(error: RedisError) -> Cause {
    cause(Failure::lost(error))
}

/// The obstacle that such an error is.
fn obstacle(error: &RedisError) -> Obstacle {
    match error.kind() {
        ErrorKind::AuthenticationFailed => return Obstacle::Auth,
        ErrorKind::InvalidClientConfig => return Obstacle::Config,
        _ => {}
    }
    let Some(code) = server_code(error) else {
        return if is_of_tls(error) { Obstacle::Config } else { Obstacle::Connect };
    };
    match code.as_str() {
        "WRONGPASS" | "NOAUTH" | "NOPERM" => Obstacle::Auth,
        "OOM" => Obstacle::OutOfMemory,
        "LOADING" | NOT_THE_MASTER | "MASTERDOWN" | "NOREPLICAS" | "MISCONF" | "BUSY" | "CLUSTERDOWN"
        | "TRYAGAIN" => Obstacle::Unavailable,
        "DENIED" | "MOVED" | "ASK" => Obstacle::Config,
        _ if is_of_database(error) => Obstacle::Config,
        _ if is_of_clients(error) => Obstacle::Unavailable,
        _ if unknown(error).is_some() => Obstacle::Config,
        _ => Obstacle::Server,
    }
}

fn words(error: &RedisError) -> Cow<'static, str> {
    match error.kind() {
        ErrorKind::AuthenticationFailed => return "wrong password, or no such user".into(),
        ErrorKind::InvalidClientConfig => return error.to_string().into(),
        _ => {}
    }
    let Some(code) = server_code(error) else {
        let what = if is_of_tls(error) { "no TLS with the server" } else { "no connection to the server" };
        return format!("{what}: {}", innermost(error)).into();
    };
    match code.as_str() {
        "WRONGPASS" => "wrong password, or no such user".into(),
        "NOAUTH" => "the server wants a password".into(),
        "NOPERM" => format!("no permission for {}", forbidden(error)).into(),
        "OOM" => "memory full".into(),
        "LOADING" => "server loading its data".into(),
        // The question for the role gives a better message.
        NOT_THE_MASTER => match server_detail(error) {
            Some(told) if told.starts_with("the server ") => told.into(),
            _ => "the server is a replica, which takes no writes".into(),
        },
        "MASTERDOWN" => "the server is a replica, and has no link to its master".into(),
        "NOREPLICAS" => "the server has fewer replicas than it needs to take writes".into(),
        "MISCONF" => "the server cannot save its data, and takes no writes".into(),
        "BUSY" => "the server is busy with a script".into(),
        "CLUSTERDOWN" => "the cluster is down".into(),
        "TRYAGAIN" => "the namespace's slot is being moved".into(),
        "DENIED" => {
            "the server is in protected mode, and accepts connections only from its own machine".into()
        }
        "MOVED" | "ASK" => "the server is a node of a cluster, and the namespace's slot is at another".into(),
        _ if is_of_database(error) => "the server has no such database".into(),
        _ if is_of_clients(error) => "the server has reached its limit of connections".into(),
        code => match unknown(error) {
            Some(command) => format!("the server does not know {command}").into(),
            None => format!("the server answered with the error {code}").into(),
        },
    }
}

/// The permission that the server says is missing. Versions differ in their words, and our scripts have their
/// own.
fn forbidden(error: &RedisError) -> String {
    let detail = server_detail(error).unwrap_or_default();
    let quoted = detail.split('\'').nth(1).map(str::to_uppercase);
    let own = || detail.split("may not run ").nth(1)?.split([' ', ',']).next().map(str::to_owned);
    match quoted.or_else(own) {
        Some(command) => command.replace('|', " "),
        None if detail.contains("channel") => "a channel".to_owned(),
        None => "the namespace's keys".to_owned(),
    }
}

/// The command that a server does not know: it was renamed, or a proxy is in front of the server.
fn unknown(error: &RedisError) -> Option<String> {
    let detail = server_detail(error)?;
    let rest = detail.strip_prefix("unknown command")?;
    Some(rest.split(['\'', '`']).nth(1)?.to_uppercase())
}

fn is_of_database(error: &RedisError) -> bool {
    error.to_string().contains("refused to switch database")
}

fn is_of_clients(error: &RedisError) -> bool {
    server_detail(error).is_some_and(|detail| detail.contains("max number of clients"))
}

/// The message of an error's innermost cause, which says most.
fn innermost(error: &RedisError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    // An error that wraps another shows it, and has that one's cause as its own.
    cause.to_string()
}

#[cfg(feature = "tls")]
fn is_of_tls(error: &RedisError) -> bool {
    let mut cause = Some(error as &(dyn std::error::Error + 'static));
    while let Some(error) = cause {
        // redis-rs shares what it wraps.
        let shared = error.downcast_ref::<std::sync::Arc<dyn std::error::Error + Send + Sync>>();
        let error = shared.map_or(error, |shared| &**shared);
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(not(feature = "tls"))]
fn is_of_tls(_error: &RedisError) -> bool {
    false
}

/// The error without the name of the user, and without the input that the server repeats.
fn without_secrets(error: RedisError) -> RedisError {
    let (Some(code), Some(detail)) = (server_code(&error), server_detail(&error)) else {
        return error;
    };
    let named = detail.split_once("User ").and_then(|(before, rest)| {
        let (_name, after) = rest.split_once(" has no permissions")?;
        Some(format!("{before}The user has no permissions{after}"))
    });
    let echoes = detail.split_once(ECHO).map(|(before, _)| before.to_owned());
    match named.or(echoes) {
        Some(told) => redis::make_extension_error(code, Some(told)),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: &str, detail: &str) -> (Obstacle, String, String) {
        let error = redis::make_extension_error(code.to_owned(), Some(detail.to_owned()));
        let failure = Failure::new(error.clone());
        (obstacle(&error), failure.to_string(), failure.source.to_string())
    }

    #[test]
    fn what_servers_of_each_version_say_is_told_in_the_same_words() {
        for (code, detail, obstacle, words) in [
            ("NOAUTH", "Authentication required.", Obstacle::Auth, "the server wants a password"),
            (
                "WRONGPASS",
                "invalid username-password pair",
                Obstacle::Auth,
                "wrong password, or no such user",
            ),
            (
                "NOPERM",
                "this user has no permissions to run the 'evalsha' command or its subcommand",
                Obstacle::Auth,
                "no permission for EVALSHA",
            ),
            (
                "NOPERM",
                "User ann has no permissions to run the 'script|load' command",
                Obstacle::Auth,
                "no permission for SCRIPT LOAD",
            ),
            (
                "NOPERM",
                "cloakroom: the user may not run DEL script: 8a1b",
                Obstacle::Auth,
                "no permission for DEL",
            ),
            (
                "NOPERM",
                "No permissions to access a key",
                Obstacle::Auth,
                "no permission for the namespace's keys",
            ),
            ("OOM", "command not allowed when used memory", Obstacle::OutOfMemory, "memory full"),
            ("LOADING", "Redis is loading", Obstacle::Unavailable, "server loading its data"),
            (
                "ERR",
                "Error running script (call to f_8a1b): @user_script:17: @user_script: 17: -READONLY You can't write",
                Obstacle::Unavailable,
                "the server is a replica, which takes no writes",
            ),
            (
                "ERR",
                "max number of clients reached",
                Obstacle::Unavailable,
                "the server has reached its limit of connections",
            ),
            (
                "ERR",
                "unknown command 'EVALSHA', with args beginning with: '8a1b' ",
                Obstacle::Config,
                "the server does not know EVALSHA",
            ),
            ("ERR", "something else", Obstacle::Server, "the server answered with the error ERR"),
        ] {
            let (of, told, _) = told(code, detail);
            assert_eq!((of, told.as_str()), (obstacle, words), "{code} {detail}");
        }
    }

    #[test]
    fn neither_the_user_nor_what_was_sent_is_told() {
        let (.., source) = told("NOPERM", "User ann has no permissions to run the 'evalsha' command");
        assert!(!source.contains("ann") && source.contains("evalsha"), "{source}");
        let sent = "unknown command 'EVALSHA', with args beginning with: '8a1b' '{shop:0}:session:secret' ";
        let (.., source) = told("ERR", sent);
        assert!(!source.contains("secret") && source.contains("unknown command 'EVALSHA'"), "{source}");
    }
}
