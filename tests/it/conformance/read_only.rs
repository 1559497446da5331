//! Scripts that only read: `EVALSHA_RO` runs them, for a user who may only read, and on a replica.

use redis::aio::MultiplexedConnection;

use super::bundle::{Bundle, Operation};
use super::case::{Case, File};
use super::{Runner, exported, files, load};
use crate::support::Context;
use crate::support::context::eventually;
use crate::support::replicated::Replicated;
use crate::support::server::connect;

/// The operations that write nothing, by their stems.
fn readers(bundle: &Bundle) -> impl Iterator<Item = (&String, &Operation)> {
    bundle.operations.iter().filter(|(_, operation)| !operation.writes)
}

impl Runner<'_> {
    /// Sends the call of a case by a command that runs scripts. It has to answer as the case tells.
    async fn answer_by(
        &self,
        command: &str,
        connection: &mut MultiplexedConnection,
        case: &Case,
    ) -> Result<(), String> {
        let sha = &self.bundle.operations[&case.call.operation].sha1;
        let answer = self.send_to(connection, command, sha, &case.call).await;
        let found = answer.map_err(|error| format!("{}: {error}", case.name))?;
        if found == case.call.reply { Ok(()) } else { Err(format!("{}: {found:?}", case.name)) }
    }
}

/// Runs each case of the scripts that only read, made at one server, by a connection to it or to another.
async fn run_by(mut context: Context, connection: &mut MultiplexedConnection, replica: bool) -> Context {
    let bundle = exported();
    load(&context, &bundle).await;
    let (files, mut failures) = (files(), Vec::new());
    for (stem, operation) in readers(&bundle) {
        if replica {
            let load = redis::cmd("SCRIPT").arg("LOAD").arg(&operation.source).to_owned();
            load.query_async::<()>(connection).await.unwrap();
        }
        let File { defaults, cases, .. } = &files[stem];
        for (at, case) in cases.iter().enumerate() {
            context.namespace = format!("{}-{stem}-{at}", context.namespace.split('-').next().unwrap());
            let runner = Runner { context, bundle: &bundle, defaults };
            runner.prepare(case).await.unwrap();
            if replica {
                let followed = async || runner.context.command::<u64>(&["WAIT", "1", "1000"]).await == 1;
                eventually("the replica has what the master has", followed).await;
            }
            failures.extend(runner.answer_by("EVALSHA_RO", connection, case).await.err());
            context = runner.context;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    context
}

#[tokio::test]
async fn a_user_who_may_only_read_runs_the_scripts_that_only_read_and_by_no_other_command() {
    let context = Context::own(&[]).await;
    let keys = format!("%R~{{{}*", context.namespace);
    let rules = ["ACL", "SETUSER", "reader", "on", ">p", "+@all", &keys];
    if context.try_command::<()>(&rules).await.is_err() {
        // Redis 6.2 has neither EVALSHA_RO nor a permission to read alone.
        return;
    }
    let url = format!("redis://reader:p@{}/", context.server().address());
    let mut connection = connect(&url).await;
    let context = run_by(context, &mut connection, false).await;
    // EVALSHA is taken for a write to each key that it declares, whatever its script does.
    let (bundle, files) = (exported(), files());
    let File { defaults, cases, .. } = &files["expired"];
    let runner = Runner { context, bundle: &bundle, defaults };
    let error = runner.answer_by("EVALSHA", &mut connection, &cases[0]).await.unwrap_err();
    assert!(error.contains("NOPERM") || error.contains("permission"), "{error}");
}

#[tokio::test]
async fn the_scripts_that_only_read_run_on_a_replica() {
    let replicated = Replicated::start(1).await;
    if replicated.master.try_command::<()>(&["EVAL_RO", "return 1", "0"]).await.is_err() {
        // Redis 6.2.
        return;
    }
    let mut connection = replicated.replicas[0].connect().await;
    run_by(replicated.master, &mut connection, true).await;
}
