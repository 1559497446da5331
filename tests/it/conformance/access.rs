//! What a script may do to each of its keys, as the bundle says: a user who may write to those keys and only read the
//! others passes each case, and with one permission less does not.
//!
//! `EVALSHA` itself asks for the permission to write to each key that a call declares. So these scripts are told their keys
//! as arguments, and the server looks at what each of their commands does.

use std::collections::{BTreeMap, BTreeSet};

use redis::aio::MultiplexedConnection;
use serde_json::Value;

use super::bundle::Operation;
use super::case::{Arguments, Case, File};
use super::corrupt::{member_names, own_names};
use super::{Runner, exported, files, load, reply};
use crate::support::Context;
use crate::support::server::connect;

/// Lua that takes the keys from the arguments: how many, the keys, the arguments.
const KEYS_OF_ARGUMENTS: &str = "local given = tonumber(ARGV[1])\n\
    local KEYS, ARGV = { unpack(ARGV, 2, given + 1) }, { unpack(ARGV, given + 2) }\n";

/// What a user may do to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Access {
    Nothing,
    Read,
    ReadWrite,
}

impl Access {
    fn of(word: &str) -> Self {
        if word == "read_write" { Self::ReadWrite } else { Self::Read }
    }

    fn less(self) -> Self {
        if self == Self::ReadWrite { Self::Read } else { Self::Nothing }
    }

    /// The rule that allows it of a key: a rule may have no blanks, and in a pattern some characters are special.
    fn rule(self, key: &str) -> Option<String> {
        let special = |one: char| "*?[]\\^".contains(one);
        let escaped = key.chars().flat_map(|one| special(one).then_some('\\').into_iter().chain([one]));
        let pattern = escaped.collect::<String>().replace(' ', "?");
        match self {
            Self::Nothing => None,
            Self::Read => Some(format!("%R~{pattern}")),
            Self::ReadWrite => Some(format!("%RW~{pattern}")),
        }
    }
}

/// The keys of an operation by their names, those of a member with the group's, and what the script does to each.
fn told(operation: &Operation) -> BTreeMap<String, Access> {
    let own = operation.keys.iter().map(|key| (key.name.clone(), Access::of(&key.access)));
    let group = operation.group.iter();
    let of_members = group.flat_map(|group| {
        member_names(group).into_iter().zip(group.keys.iter().map(|key| Access::of(&key.access)))
    });
    own.chain(of_members).collect()
}

/// The names of all keys that a call sends, in their order. What it passes for its events is written.
fn names(operation: &Operation, values: &Arguments, sent: usize) -> Vec<String> {
    let own = own_names(operation, values).into_iter();
    let mut names: Vec<String> = own.map(|mut names| names.swap_remove(0)).collect();
    names.resize(sent, "events".to_owned());
    names
}

/// The form of a script that takes its keys from the arguments, and the user who calls it.
struct Limited<'a> {
    operation: &'a Operation,
    sha: String,
    connection: MultiplexedConnection,
}

impl<'a> Limited<'a> {
    async fn new(context: &Context, operation: &'a Operation) -> Self {
        let source = KEYS_OF_ARGUMENTS.to_owned() + &operation.source;
        let sha = context.command(&["SCRIPT", "LOAD", &source]).await;
        context.command::<()>(&["ACL", "SETUSER", "limited", "reset", "on", ">p", "+@all", "~*"]).await;
        let url = format!("redis://limited:p@{}/", context.server().address());
        Self { operation, sha, connection: connect(&url).await }
    }

    /// Runs a case with what the bundle tells, but for the keys of one name, which may be less. `None`: to this call that
    /// makes no difference, for the key is allowed for another's sake too.
    async fn run(
        &mut self,
        runner: &Runner<'_>,
        case: &Case,
        less: Option<&str>,
    ) -> Result<Option<Vec<Value>>, String> {
        let (tag, sent) = (runner.context.key(""), runner.sent(&case.call));
        let names = names(self.operation, &case.call.values(runner.defaults), sent.keys.len());
        let told = told(self.operation);
        let (mut allowed, mut in_full) = (BTreeMap::new(), BTreeMap::new());
        for (key, name) in sent.keys.iter().zip(&names) {
            // A record's key stands in for one of an empty name, which is neither read nor written.
            let is_record = key.starts_with(&format!("{tag}session:"));
            let stands_in = is_record && !name.ends_with("record") && name != "target";
            let full = if stands_in { Access::Read } else { *told.get(name).unwrap_or(&Access::ReadWrite) };
            let own = if less == Some(name) { full.less() } else { full };
            for (accesses, access) in [(&mut allowed, own), (&mut in_full, full)] {
                let known = accesses.entry(key.clone()).or_insert(access);
                *known = access.max(*known);
            }
        }
        if less.is_some() && allowed == in_full {
            return Ok(None);
        }
        runner.prepare(case).await?;
        let rules: Vec<String> = allowed.iter().filter_map(|(key, access)| access.rule(key)).collect();
        let user = ["ACL", "SETUSER", "limited", "resetkeys"].into_iter();
        let user: Vec<&str> = user.chain(rules.iter().map(String::as_str)).collect();
        runner.context.command::<()>(&user).await;
        let mut evalsha = redis::cmd("EVALSHA");
        evalsha.arg(&self.sha).arg(0).arg(sent.keys.len()).arg(sent.keys).arg(sent.arguments);
        let answer = evalsha.query_async(&mut self.connection).await.map_err(|error| error.to_string())?;
        reply::answered(runner.bundle, self.operation, &answer).map(Some)
    }
}

/// A user's permissions are the server's, so that it is one of its own. Redis 6.2 knows no permission to read alone.
async fn server() -> Option<Context> {
    let context = Context::own(&[]).await;
    let user = context.try_command::<()>(&["ACL", "SETUSER", "limited", "%R~*"]).await;
    user.is_ok().then_some(context)
}

#[tokio::test]
async fn with_what_the_bundle_says_a_user_passes_each_case_and_with_one_permission_less_does_not() {
    let (Some(mut context), bundle) = (server().await, exported()) else { return };
    load(&context, &bundle).await;
    let (mut failures, mut unneeded) = (Vec::new(), BTreeSet::new());
    let own = context.namespace.clone();
    for (stem, File { defaults, cases, .. }) in &files() {
        let operation = &bundle.operations[stem];
        let mut limited = Limited::new(&context, operation).await;
        unneeded.extend(told(operation).into_keys().map(|name| (stem.clone(), name)));
        for (at, case) in cases.iter().enumerate() {
            context.namespace = format!("{own}-{stem}-{at}");
            let mut runner = Runner { context, bundle: &bundle, defaults };
            match limited.run(&runner, case, None).await {
                Ok(reply) if reply.as_ref() == Some(&case.call.reply) => {}
                answer => failures.push(format!("{stem}: {}: {answer:?}", case.name)),
            }
            for name in told(operation).into_keys() {
                let place = (stem.clone(), name);
                if unneeded.contains(&place) {
                    runner.context.namespace = format!("{own}-{stem}-{at}-{}", place.1);
                    if limited.run(&runner, case, Some(&place.1)).await.is_err() {
                        unneeded.remove(&place);
                    }
                }
            }
            context = runner.context;
        }
    }
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
    assert!(unneeded.is_empty(), "one permission less does not matter: {unneeded:?}");
}
