//! The error of a script call: whether the script may have written before, and which command failed.

use std::fmt;

use redis::RedisError;

use crate::redis::script::Script;
use crate::redis::transport::failure::Failure;
use crate::redis::transport::server_error::{server_code, server_detail};

/// Codes of errors that prove that nothing was written: with them a server refuses the whole call, or only the first
/// write of a script.
const NOTHING_WRITTEN: [&str; 17] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "DENIED",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "WRONGPASS",
];

/// Whether a script may have written before it ended with this error. The scripts raise their own errors before they
/// write. An error about a command that the user may no longer run has the code ERR, and can come anywhere.
pub(crate) fn may_have_written(error: &RedisError) -> bool {
    let is_own = |detail: String| detail.starts_with("cloakroom") || detail.contains(": cloakroom: ");
    let nothing_written = |code: String| NOTHING_WRITTEN.contains(&code.as_str());
    !server_detail(error).is_some_and(is_own) && !server_code(error).is_some_and(nothing_written)
}

/// The error, with the command of the script that it came from, which Redis does not always name.
#[derive(Debug)]
pub(crate) struct ScriptError {
    stem: &'static str,
    commands: Vec<String>,
    failure: Failure,
}

impl ScriptError {
    pub(crate) fn new(script: &'static Script, source: RedisError) -> Self {
        let detail = server_detail(&source).unwrap_or_default();
        Self {
            stem: script.stem,
            commands: commands_at(script.source(), &detail),
            failure: Failure::new(source),
        }
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server stopped the script {}", self.stem)?;
        if !self.commands.is_empty() {
            write!(f, " at {}", self.commands.join(" or "))?;
        }
        write!(f, ": {}", self.failure)
    }
}

impl std::error::Error for ScriptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure.source()
    }
}

/// The commands on the line that an error names. Where a fragment ran one for its caller, the error itself has its name.
fn commands_at(source: &str, detail: &str) -> Vec<String> {
    let number = detail.split("user_script:").nth(1).map(|rest| {
        let digits = rest.trim_start();
        &digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())]
    });
    let line = number.and_then(|number| source.lines().nth(number.parse::<usize>().ok()?.checked_sub(1)?));
    let on_line: Vec<String> = line.map_or_else(Vec::new, |line| names_behind(line, "redis.call('", '\''));
    if on_line.is_empty() { names_behind(detail, "(", ')') } else { on_line }
}

/// The names of commands between a start and an end.
fn names_behind(text: &str, start: &str, end: char) -> Vec<String> {
    let texts = text.split(start).skip(1).filter_map(|rest| rest.split(end).next());
    texts.filter(|name| name.bytes().all(|byte| byte.is_ascii_uppercase())).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, detail: &str) -> RedisError {
        redis::make_extension_error(code.to_owned(), Some(detail.to_owned()))
    }

    #[test]
    fn the_codes_are_those_of_the_bundle() {
        let bundle: serde_json::Value =
            serde_json::from_str(include_str!("../../lua/bundle.json")).expect("it is JSON");
        assert_eq!(bundle["nothing_written"], serde_json::json!(NOTHING_WRITTEN));
    }

    #[test]
    fn what_comes_out_of_a_script_may_have_written_unless_it_comes_before_all_writes() {
        for (code, detail) in [
            (
                "ERR",
                "The user executing the script can't run this command or subcommand script: 8a1b, on @user_script:17.",
            ),
            (
                "ERR",
                "ACL failure in script: User cloakroom has no permissions to run the 'del' command script: on @user_script:1.",
            ),
            (
                "ERR",
                "Error running script (call to f_8a1b): @user_script:1: @user_script: 1: The user executing the script can't run",
            ),
            ("WRONGTYPE", "Operation against a key"),
        ] {
            assert!(may_have_written(&error(code, detail)), "{detail}");
        }
        for (code, detail) in [
            ("NOPERM", "User q has no permissions to run the 'evalsha' command"),
            ("NOPERM", "cloakroom: the user may not run DEL script: 8a1b, on @user_script:1."),
            ("OOM", "command not allowed when used memory > 'maxmemory'."),
            (
                "ERR",
                "Error running script (call to f_8a1b): @user_script:17: @user_script: 17: -READONLY You can't write",
            ),
            (
                "ERR",
                "Error running script (call to f_8a1b): @user_script:1: user_script:1: cloakroom: id is no text",
            ),
            ("ERR", "cloakroom get: 1 KEYS and 1 ARGV"),
        ] {
            assert!(!may_have_written(&error(code, detail)), "{detail}");
        }
    }

    #[test]
    fn the_command_is_that_of_the_line_or_that_which_the_error_has() {
        let source = "one\nif redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end\nerror(message)\n";
        assert_eq!(commands_at(source, "can't run script: 8a1b, on @user_script:2."), ["PTTL", "PEXPIRE"]);
        let wrapped = "Error running script (call to f_8a1b): @user_script:2: @user_script: 2: can't run";
        assert_eq!(commands_at(source, wrapped), ["PTTL", "PEXPIRE"]);
        assert_eq!(commands_at(source, "can't run (ZREM) script: 8a1b, on @user_script:3."), ["ZREM"]);
        assert_eq!(commands_at(source, "can't run"), Vec::<String>::new());
    }
}
