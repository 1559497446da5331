//! Runs each script without the permission for each of its commands: it leaves nothing, or something that the same call
//! repairs once the user has the permission again.

use std::collections::BTreeSet;

use redis::aio::MultiplexedConnection;

use super::bundle::Operation;
use super::case::{Call, Case, File};
use super::state::without_repeats;
use super::{Runner, exported, files, load, same};
use crate::support::Context;
use crate::support::invariants::violations;
use crate::support::server::connect;

/// A form of each script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As it is sent: from Redis 7.0 on it asks what the user may run before it writes.
    Asking,
    /// As Redis 6.2 runs it, which cannot be asked.
    NotAsking,
}

impl Form {
    async fn load(self, context: &Context, operation: &Operation) -> String {
        let source = match self {
            Self::Asking => operation.source.clone(),
            Self::NotAsking => {
                let asks_nothing = operation.source.replace("= redis.acl_check_cmd,", "= nil,");
                asks_nothing.replace("if not redis.acl_check_cmd then", "if true then")
            }
        };
        context.command(&["SCRIPT", "LOAD", &source]).await
    }
}

/// A user of the server, who may run all commands but those that a test takes away.
struct User {
    connection: MultiplexedConnection,
}

impl User {
    async fn new(context: &Context) -> Self {
        context.command::<()>(&["ACL", "SETUSER", "limited", "on", ">p", "~*", "+@all"]).await;
        let url = format!("redis://limited:p@{}/", context.server().address());
        Self { connection: connect(&url).await }
    }
}

/// Whether a half is mended by the same call, and told otherwise: `thaw` says that nothing is frozen, and leaves an entry of
/// the list to who reads it; `create_many` leaves to `create` what is there; and who was to be evicted behind what was
/// made stays until the next session is made.
fn answers_otherwise(call: &Call) -> bool {
    ["thaw", "create_many"].contains(&call.operation.as_str()) || call.with.contains_key("victim")
}

/// What a call that tells an event runs for its sake, in the midst of its writes: it asks for that, or tries it, before any.
const TELLING: [&str; 4] = ["XADD", "SET", "PEXPIRE", "ZADD"];

impl Runner<'_> {
    /// What the call of a case runs.
    async fn commands_of(&self, case: &Case) -> BTreeSet<String> {
        self.prepare(case).await.unwrap();
        let before = self.context.count().await;
        self.send(&case.call).await.unwrap();
        let cost = self.context.cost_since(&before).await;
        let operation = &self.bundle.operations[&case.call.operation];
        let commands: BTreeSet<String> = cost.commands.keys().map(|name| name.to_uppercase()).collect();
        assert!(commands.is_subset(&operation.commands), "{commands:?} of {:?}", operation.commands);
        commands
    }

    /// Whether the call left a half, which the same call mended.
    async fn refused(&self, case: &Case, sha: &str, user: &mut User, command: &str) -> Result<bool, String> {
        self.prepare(case).await?;
        let before = self.state().await;
        self.context
            .command::<()>(&["ACL", "SETUSER", "limited", &format!("-{}", command.to_lowercase())])
            .await;
        let answer = self.send_to(&mut user.connection, "EVALSHA", sha, &case.call).await;
        self.context.command::<()>(&["ACL", "SETUSER", "limited", "+@all"]).await;
        if let Ok(reply) = &answer {
            // A patch whose ordinary way is refused its read goes the other way, which reads by another command.
            if *reply == case.call.reply && command == "GETRANGE" {
                same("what it leaves", &case.after, &self.state().await)?;
                return Ok(false);
            }
            return Err(format!("it answers {reply:?} without {command}"));
        }
        let is_half = same("", &before, &self.state().await).is_err();
        if is_half && case.call.with.contains_key("events") && TELLING.contains(&command) {
            return Err(format!("half without {command}, which is tried before"));
        }
        let mended = format!("after {command} was refused and the call sent again");
        if !is_half || !answers_otherwise(&case.call) {
            self.answer(&case.call).await.map_err(|error| format!("{mended}, {error}"))?;
            same(&mended, &case.after, &without_repeats(self.state().await))?;
        } else {
            self.send(&case.call).await?;
        }
        if !case.is_planted() {
            let violations = violations(&self.context).await;
            if !violations.is_empty() {
                return Err(format!("after {command} was refused and the call sent again, {violations:?}"));
            }
        }
        Ok(is_half)
    }
}

#[tokio::test]
async fn a_script_that_is_refused_a_command_leaves_nothing_or_what_the_same_call_mends() {
    let bundle = exported();
    let mut context = Context::own(&[]).await;
    let asks = context.scripts_can_ask().await;
    load(&context, &bundle).await;
    let mut user = User::new(&context).await;
    let (mut failures, mut halves, mut nth) = (Vec::new(), 0, 0);
    for File { operation, defaults, cases } in
        files().values().filter(|file| bundle.operations[&file.operation].writes)
    {
        let script = &bundle.operations[operation];
        let mut forms = Vec::new();
        for form in [Form::Asking, Form::NotAsking] {
            forms.push((form, form.load(&context, script).await));
        }
        for case in cases.iter().filter(|case| case.call.reply[0] == "ok") {
            let mut runner = Runner { context, bundle: &bundle, defaults };
            nth += 1;
            runner.context.namespace = format!("n{nth}");
            // What ran into a foreign type is taken back, which may be refused in its turn only where nothing can be asked.
            let forms: &[_] = match (case.is_planted(), asks) {
                (false, _) => &forms,
                (true, true) => &forms[..1],
                (true, false) => &[],
            };
            let commands = runner.commands_of(case).await;
            runner.clear(case).await;
            for command in commands {
                for (form, sha) in forms {
                    nth += 1;
                    runner.context.namespace = format!("n{nth}");
                    let refused = runner.refused(case, sha, &mut user, &command).await;
                    runner.clear(case).await;
                    match refused {
                        Ok(false) => {}
                        Ok(true) if *form == Form::NotAsking || !asks => halves += 1,
                        Ok(true) => {
                            failures.push(format!("{operation}: {}\n  half without {command}", case.name))
                        }
                        Err(error) => failures.push(format!("{operation}: {}\n {form:?} {error}", case.name)),
                    }
                }
            }
            context = runner.context;
        }
    }
    assert!(failures.is_empty(), "{} fail\n{}", failures.len(), failures.join("\n"));
    assert!(halves > 0, "nothing was mended");
}
