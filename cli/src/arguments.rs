//! The arguments of the program.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;
use cloakroom::events::EventsFrom;
use cloakroom::{Invalid, Selector};

#[cfg(feature = "tls")]
use crate::connection::Certificates;
use crate::connection::Place;

/// Lists, ends and moves the sessions of a Cloakroom namespace.
///
/// Exit codes: 0 done; 1 failed; 2 wrong arguments; 3 nothing found; 4 not confirmed; 5 partly refused, or some servers
/// are away; 6 violations found; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "cloakroom", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options of all commands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub(crate) struct Common {
    /// The server: redis://, rediss://, redis+sentinel://, redis+cluster:// and the like. Other users of this machine
    /// can read a password in an argument, but not one in the environment.
    #[arg(
        long,
        env = "CLOAKROOM_URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1/",
        global = true
    )]
    pub(crate) url: String,
    /// The namespace of the sessions.
    #[arg(long, env = "CLOAKROOM_NAMESPACE", default_value = "cloakroom", global = true)]
    pub(crate) namespace: String,
    /// Prints JSON: one document, or one line per item.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Also prints secrets: ids of sessions, which log anybody in, connections, attributes and extensions.
    #[arg(long, global = true)]
    pub(crate) reveal: bool,
    /// How long one call to a server may take with its retries, such as 500ms or 1m.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        value_parser = timeout,
        global = true
    )]
    pub(crate) timeout: Duration,
    /// A PEM file with the certificates of the authorities that sign the server's certificate.
    #[arg(long, env = "CLOAKROOM_ROOT_CERTIFICATE", value_name = "FILE", global = true)]
    #[cfg(feature = "tls")]
    pub(crate) root_certificate: Option<PathBuf>,
    /// A PEM file with the client certificate of this program.
    #[arg(
        long,
        env = "CLOAKROOM_CLIENT_CERTIFICATE",
        value_name = "FILE",
        requires = "client_key",
        global = true
    )]
    #[cfg(feature = "tls")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// A PEM file with the private key of the client certificate.
    #[arg(
        long,
        env = "CLOAKROOM_CLIENT_KEY",
        value_name = "FILE",
        requires = "client_certificate",
        global = true
    )]
    #[cfg(feature = "tls")]
    pub(crate) client_key: Option<PathBuf>,
}

/// A user's sessions, or a node's, if one of them is named.
pub(crate) fn selector(user: Option<&String>, node: Option<&String>) -> Option<Selector> {
    user.map(Selector::user).or_else(|| node.map(Selector::node))
}

impl Common {
    /// Where the sessions are.
    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            url: &self.url,
            namespace: &self.namespace,
            timeout: self.timeout,
            #[cfg(feature = "tls")]
            certificates: Certificates {
                root: self.root_certificate.as_deref(),
                client: self.client_certificate.as_deref().zip(self.client_key.as_deref()),
            },
        }
    }
}

/// The longest deadline is that of a store.
fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let is_possible = (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&timeout);
    if is_possible { Ok(timeout) } else { Err("must be 10ms to 1h".to_owned()) }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows how many sessions and nodes there are, and the health of the servers.
    Stats,
    /// Lists the users who have live sessions, by a scan of all keys of the servers.
    Users(UsersArguments),
    /// Lists the live sessions of a user or a node, oldest first.
    List(ListArguments),
    /// Shows one session, or what became of it.
    Show(ShowArguments),
    /// Says what became of an id: live, expired, deleted, rotated, departed, or unknown.
    Explain(ExplainArguments),
    /// Ends sessions, which logs their clients out. Asks first.
    Kick(KickArguments),
    /// Prints events of sessions as they happen, until it is interrupted.
    Watch(WatchArguments),
    /// Writes all live sessions to a file. The sessions stay where they are.
    Export(ExportArguments),
    /// Imports the sessions of a file. Keeps those that are here already, in the same version or a later one.
    Import(ImportArguments),
    /// Checks all stored data of the namespace, and names violations. Services may keep working.
    Verify(VerifyArguments),
    /// Checks the data in the same way, and repairs violations. Ends no live session.
    Repair(RepairArguments),
    /// Moves all sessions to another server or namespace. Asks first.
    ///
    /// If a run is interrupted in any way, run the same command again to continue: each session is in one of the two
    /// places, and the new run finishes those that were on their way.
    Migrate(Box<MigrateArguments>),
    /// Prints a script with which a shell completes the arguments of this program.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// The rate of a command that touches many sessions.
#[derive(Debug, Args)]
pub(crate) struct Rate {
    /// The most sessions per second.
    #[arg(long = "rate", value_name = "PER_SECOND", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) per_second: u32,
}

#[derive(Debug, Args)]
pub(crate) struct UsersArguments {
    /// The most keys of the servers per second, including foreign keys.
    #[arg(long = "rate", value_name = "KEYS_PER_SECOND", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) per_second: u32,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The most keys and entries of indexes per second.
    #[arg(long = "rate", value_name = "PER_SECOND", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) per_second: u32,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArguments {
    /// Repairs. Without this it only shows what it would do.
    #[arg(long)]
    pub(crate) apply: bool,
    #[command(flatten)]
    pub(crate) verify: VerifyArguments,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true))]
pub(crate) struct ListArguments {
    /// The user.
    #[arg(group = "whose")]
    pub(crate) user: Option<String>,
    /// The node that holds their connections.
    #[arg(long, group = "whose")]
    pub(crate) node: Option<String>,
    /// The most sessions to list.
    #[arg(long, value_name = "SESSIONS")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "cloakroom show [OPTIONS] <SESSION>\n       cloakroom show [OPTIONS] <--user <USER>|--node <NODE>> <SESSION>"
)]
pub(crate) struct ShowArguments {
    /// The session's id, a secret; `-` reads it from standard input, so that no shell history keeps it. With --user or
    /// --node, also the hash that `list` shows.
    pub(crate) session: String,
    /// Looks for it among this user's sessions.
    #[arg(long, conflicts_with = "node")]
    pub(crate) user: Option<String>,
    /// Looks for it among the sessions whose connections this node holds.
    #[arg(long)]
    pub(crate) node: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The session's id, a secret; `-` reads it from standard input, so that no shell history keeps it.
    pub(crate) id: String,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true).multiple(true))]
#[command(
    override_usage = "cloakroom kick [OPTIONS] <SESSION>\n       cloakroom kick [OPTIONS] <--user <USER>|--node <NODE>> [SESSION]\n       cloakroom kick [OPTIONS] --all [--before <TIME>] [--from <POSITION>]"
)]
pub(crate) struct KickArguments {
    /// One session: its id, a secret; `-` reads it from standard input, so that no shell history keeps it. With --user
    /// or --node, also the hash that `list` shows.
    #[arg(group = "whose")]
    pub(crate) session: Option<String>,
    /// All sessions of a user: log out everywhere. With a session, only that one of the user's.
    #[arg(long, group = "whose", conflicts_with = "node")]
    pub(crate) user: Option<String>,
    /// All sessions whose connections a node holds. With a session, only that one of the node's.
    #[arg(long, group = "whose")]
    pub(crate) node: Option<String>,
    /// All sessions of the namespace.
    #[arg(long, group = "whose", conflicts_with_all = ["session", "user", "node"])]
    pub(crate) all: bool,
    /// Only sessions that were created before a time, such as 2026-01-31T12:00:00Z. After a restore from an old dump,
    /// give the time of the dump.
    #[arg(long, value_name = "TIME", requires = "all", conflicts_with_all = ["session", "user", "node"], value_parser = humantime::parse_rfc3339_weak)]
    pub(crate) before: Option<SystemTime>,
    /// Continues from the position that an interrupted run printed.
    #[arg(long, value_name = "POSITION", requires = "all", conflicts_with_all = ["session", "user", "node"])]
    pub(crate) from: Option<String>,
    /// Skips the question.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) rate: Rate,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The file. Anyone who reads it can log in as every user in it.
    pub(crate) file: PathBuf,
    /// Continues the file of an interrupted run.
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) rate: Rate,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// The file that `export` wrote. After an interrupted run, run the same command again: sessions that are here
    /// already stay.
    pub(crate) file: PathBuf,
    /// Accepts the file of an interrupted export too.
    #[arg(long)]
    pub(crate) partial: bool,
    /// How many partitions to give a namespace that does not exist yet.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub(crate) partitions: u16,
    #[command(flatten)]
    pub(crate) rate: Rate,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// Prints only events of this user's sessions.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Prints only events of sessions whose connections this node holds, or held before.
    #[arg(long)]
    pub(crate) node: Option<String>,
    /// Continues from the position that an interrupted run printed; `beginning` prints all events that are kept.
    /// Defaults to the events from now on.
    #[arg(long, value_name = "POSITION|beginning", value_parser = events_from)]
    pub(crate) from: Option<EventsFrom>,
}

fn events_from(text: &str) -> Result<EventsFrom, Invalid> {
    match text {
        "beginning" => Ok(EventsFrom::Beginning),
        position => position.parse().map(EventsFrom::Position),
    }
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArguments {
    /// The server to which the sessions go: redis://, rediss://, redis+sentinel://, redis+cluster:// and
    /// the like.
    #[arg(long, env = "CLOAKROOM_TO_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) to_url: String,
    /// The namespace on that server. Defaults to the same name. If it does not exist, it is created like the one that
    /// the sessions come from.
    #[arg(long, env = "CLOAKROOM_TO_NAMESPACE", value_name = "NAMESPACE")]
    pub(crate) to_namespace: Option<String>,
    /// As --root-certificate, for the server to which the sessions go.
    #[arg(long, env = "CLOAKROOM_TO_ROOT_CERTIFICATE", value_name = "FILE")]
    #[cfg(feature = "tls")]
    pub(crate) to_root_certificate: Option<PathBuf>,
    /// As --client-certificate, for the server to which the sessions go.
    #[arg(long, env = "CLOAKROOM_TO_CLIENT_CERTIFICATE", value_name = "FILE", requires = "to_client_key")]
    #[cfg(feature = "tls")]
    pub(crate) to_client_certificate: Option<PathBuf>,
    /// As --client-key, for the server to which the sessions go.
    #[arg(long, env = "CLOAKROOM_TO_CLIENT_KEY", value_name = "FILE", requires = "to_client_certificate")]
    #[cfg(feature = "tls")]
    pub(crate) to_client_key: Option<PathBuf>,
    /// How many partitions to give a new namespace. Defaults to as many as the one that the sessions come
    /// from.
    #[arg(long, value_name = "COUNT")]
    pub(crate) partitions: Option<u16>,
    /// Names for the two places, which the stores record. By them a run finds sessions that an earlier run left on
    /// their way. Defaults to names made from URLs and namespaces; then a run that continues must write these as the
    /// earlier one did.
    #[arg(long, num_args = 2, value_names = ["HERE", "THERE"])]
    pub(crate) names: Option<Vec<String>>,
    /// Shows what would be moved, and the health of both servers. Changes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Skips the question.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) rate: Rate,
}

impl MigrateArguments {
    /// Where the sessions go.
    pub(crate) fn place<'a>(&'a self, from: &Place<'a>) -> Place<'a> {
        Place {
            url: &self.to_url,
            namespace: self.to_namespace.as_deref().unwrap_or(from.namespace),
            timeout: from.timeout,
            #[cfg(feature = "tls")]
            certificates: Certificates {
                root: self.to_root_certificate.as_deref(),
                client: self.to_client_certificate.as_deref().zip(self.to_client_key.as_deref()),
            },
        }
    }
}
