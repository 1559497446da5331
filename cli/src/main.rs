//! `cloakroom`: lists, ends and moves the sessions of a namespace.

mod arguments;
mod ask;
mod commands;
mod connection;
mod counted;
mod failure;
mod interrupt;
mod output;
mod pace;
mod progress;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use cloakroom::Rules;

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(&arguments.common);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output.fail(&Failure::Io("no runtime".to_owned(), error)),
    };
    match runtime.block_on(run(arguments, &output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.fail(&failure),
    }
}

async fn run(arguments: Arguments, output: &Output) -> Result<(), Failure> {
    if let Command::Completions { shell } = arguments.command {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "cloakroom", &mut text);
        return output.raw(&text);
    }
    let place = arguments.common.place();
    let open = async || connection::open(&place).await;
    match &arguments.command {
        Command::Stats => commands::stats::run(&open().await?, output).await,
        Command::Users(users) => commands::users::run(&open().await?, users, output).await,
        Command::List(list) => commands::list::run(&open().await?, list, output).await,
        Command::Show(show) => commands::show::run(&open().await?, show, output).await,
        Command::Explain(explain) => commands::explain::run(&open().await?, explain, output).await,
        Command::Kick(kick) => commands::kick::run(&open().await?, kick, output).await,
        Command::Watch(watch) => commands::watch::run(&open().await?, watch, output).await,
        Command::Export(export) => {
            commands::export::run(&open().await?, place.namespace, export, output).await
        }
        Command::Import(import) => {
            let store = connection::find_or_make(&place, import.partitions, Rules::new()).await?;
            commands::import::run(&store, import, output).await
        }
        Command::Verify(verify) => commands::verify::run(&open().await?, verify, output).await,
        Command::Repair(repair) => commands::repair::run(&open().await?, repair, output).await,
        Command::Migrate(migrate) => commands::migrate::run(&place, migrate, output).await,
        Command::Completions { .. } => Ok(()),
    }
}
