//! Asks for confirmation, and reads secrets from standard input.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use cloakroom::SessionId;

use crate::failure::Failure;

/// Goes on if the answer is yes. If nobody can answer, it counts as no.
pub(crate) fn confirm(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::NotConfirmed("there is no terminal to ask on: use --yes"));
    }
    let unread = |error| Failure::Io("the terminal".to_owned(), error);
    let mut terminal = io::stderr();
    write!(terminal, "{question} [y/N] ").and_then(|()| terminal.flush()).map_err(unread)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(unread)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::NotConfirmed("nothing was done")),
    }
}

/// An argument, from standard input for `-`.
pub(crate) fn argument(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::Io("standard input".to_owned(), error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The id of a session.
pub(crate) fn session_id(argument: &str) -> Result<SessionId, Failure> {
    Ok(SessionId::new(self::argument(argument)?)?)
}
