//! A process that is killed in the middle of a logout: a real process, killed after each of its commands in turn.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, stdin};
use tokio::process::Command;
use tokio::time::timeout;

use crate::Result;
use crate::contender::{Contender, Doomed};
use crate::gate::Gate;
use crate::outcome::{Crash, Left};

/// No contender needs as many.
const MOST_COMMANDS: usize = 20;

/// How long a process may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process prints this when it has logged ann out.
const DONE: &str = "done";

/// Kills a process before the first command of its logout, the next one after the first command, and so on, until one gets to
/// its end.
pub(crate) async fn crash(contender: &impl Contender, url: &str) -> Result<Crash> {
    let mut deletion = None;
    for passed in 0..MOST_COMMANDS {
        let killed = timeout(PATIENCE, kill_after(contender, url, passed)).await??;
        let Left { record, listed } = killed.left;
        if listed.is_some_and(|listed| listed != record) {
            return Ok(Crash::Half { killed_after: killed.after, left: killed.left });
        }
        if !record && deletion.is_none() {
            deletion = Some((killed.after, listed));
        }
        if killed.is_done {
            break;
        }
    }
    match deletion {
        Some((deleted_by, Some(_))) => Ok(Crash::AllOrNothing { deleted_by }),
        Some((deleted_by, None)) => Ok(Crash::NoList { deleted_by }),
        None => Err("the logout did not log out".into()),
    }
}

/// A process that was killed.
struct Killed {
    /// The last command that reached the server.
    after: String,
    /// Whether the process had come to its end.
    is_done: bool,
    left: Left,
}

/// Kills a process after so many commands of its logout.
async fn kill_after(contender: &impl Contender, url: &str, passed: usize) -> Result<Killed> {
    let gate = Gate::before(url).await?;
    let mut process = contender.doomed(&gate.url())?;
    let mut process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let (Some(mut words), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
        return Err("a process has no pipes".into());
    };
    let mut answers = BufReader::new(answers).lines();
    let id = answers.next_line().await?.ok_or("a process ended before it had logged in")?;
    gate.pass(passed);
    words.write_all(b"log out\n").await?;
    let is_done = tokio::select! {
        held = gate.holds(1) => held.map(|()| false)?,
        line = answers.next_line() => line?.is_some_and(|line| line == DONE),
    };
    process.kill().await?;
    let after = gate.passed().pop().unwrap_or_default();
    Ok(Killed { after, is_done, left: contender.left(&id).await? })
}

/// This program as the process that is killed.
pub(crate) fn this_program(contender: &str, url: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["doomed", contender, url]);
    Ok(command)
}

/// The work of that process: it logs ann in, prints the id of her session, waits for a line, logs her out, prints the end.
pub(crate) async fn log_out_when_told<D: Doomed>(contender: &D) -> Result<()> {
    let login = contender.log_in().await?;
    println!("{}", D::id(&login)?);
    let mut told = String::new();
    BufReader::new(stdin()).read_line(&mut told).await?;
    contender.log_out(&login).await?;
    println!("{DONE}");
    Ok(())
}
