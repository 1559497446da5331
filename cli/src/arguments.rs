//! What the program is asked to do.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;
use cloakroom::events::EventsFrom;
use cloakroom::{Invalid, Selector};

#[cfg(feature = "tls")]
use crate::connection::Certificates;
use crate::connection::Place;

/// Looks at the sessions of a Cloakroom namespace, ends them, and takes them from one server to another.
///
/// Exit codes: 0 it is done; 1 it failed; 2 the arguments are wrong; 3 there is nothing of the kind; 4 it was not confirmed;
/// 5 a part of it was refused, or is away; 6 something stored does not agree; 130 it was interrupted.
#[derive(Debug, Parser)]
#[command(name = "cloakroom", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What all commands go by.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub(crate) struct Common {
    /// The server: redis://, rediss://, redis+sentinel://, redis+cluster:// and the like. Others of this machine can read a
    /// password in an argument, and not one in the environment.
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
    /// Prints JSON: a document, or a line for each thing that is told.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Prints secrets too: ids of sessions, with which anybody is logged in, connections, attributes and extensions.
    #[arg(long, global = true)]
    pub(crate) reveal: bool,
    /// How long one call to a server may take, as 500ms or 1m: it is tried again until then.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        value_parser = timeout,
        global = true
    )]
    pub(crate) timeout: Duration,
    /// A file of the certificates, in PEM, of the authorities that sign the server's.
    #[arg(long, env = "CLOAKROOM_ROOT_CERTIFICATE", value_name = "FILE", global = true)]
    #[cfg(feature = "tls")]
    pub(crate) root_certificate: Option<PathBuf>,
    /// A file of the certificate, in PEM, by which this program shows who it is.
    #[arg(
        long,
        env = "CLOAKROOM_CLIENT_CERTIFICATE",
        value_name = "FILE",
        requires = "client_key",
        global = true
    )]
    #[cfg(feature = "tls")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// A file of its private key, in PEM.
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

/// The longest is that of a store.
fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let is_possible = (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&timeout);
    if is_possible { Ok(timeout) } else { Err("must be 10ms to 1h".to_owned()) }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tells how many sessions and nodes there are, and how the servers are.
    Stats,
    /// Lists the users who have live sessions, by a look at all keys of the servers.
    Users(UsersArguments),
    /// Lists the live sessions of a user or a node, oldest first.
    List(ListArguments),
    /// Shows one session, or what became of it.
    Show(ShowArguments),
    /// Ends sessions: their clients are logged out. Asks before it does.
    Kick(KickArguments),
    /// Tells what becomes of sessions, as it happens, until it is interrupted.
    Watch(WatchArguments),
    /// Writes all live sessions to a file. They stay where they are.
    Export(ExportArguments),
    /// Brings in the sessions of a file. Those that are here already, in the same version or a later one, stay.
    Import(ImportArguments),
    /// Goes through all that is stored of the namespace, and names what does not agree. Others may work on it meanwhile.
    Verify(VerifyArguments),
    /// Goes through it in the same way, and mends what does not agree. No live session is ended.
    Repair(RepairArguments),
    /// Moves all sessions to another server or namespace. Asks before it does.
    ///
    /// After a run that did not come to its end, however it ended, the same command again goes on: each session is in one of
    /// the two places, and those that were on their way get there.
    Migrate(Box<MigrateArguments>),
    /// Prints what a shell needs to complete the arguments of this program.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// How fast something goes that touches many sessions.
#[derive(Debug, Args)]
pub(crate) struct Rate {
    /// At most so many a second.
    #[arg(long = "rate", value_name = "PER_SECOND", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) per_second: u32,
}

#[derive(Debug, Args)]
pub(crate) struct UsersArguments {
    /// Looks at most at so many keys of the servers a second, whatever they are.
    #[arg(long = "rate", value_name = "KEYS_PER_SECOND", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) per_second: u32,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Looks at most at so many keys and entries of indexes a second.
    #[arg(long = "rate", value_name = "PER_SECOND", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) per_second: u32,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArguments {
    /// Does it. Without this it only tells what it would do.
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
    /// At most so many.
    #[arg(long, value_name = "SESSIONS")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "cloakroom show [OPTIONS] <SESSION>\n       cloakroom show [OPTIONS] <--user <USER>|--node <NODE>> <SESSION>"
)]
pub(crate) struct ShowArguments {
    /// Its id, a secret; `-` reads it from standard input, where no history keeps it. With --user or --node also what `list`
    /// shows in its place.
    pub(crate) session: String,
    /// Looks for it among this user's sessions.
    #[arg(long, conflicts_with = "node")]
    pub(crate) user: Option<String>,
    /// Looks for it among the sessions whose connections this node holds.
    #[arg(long)]
    pub(crate) node: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true).multiple(true))]
#[command(
    override_usage = "cloakroom kick [OPTIONS] <SESSION>\n       cloakroom kick [OPTIONS] <--user <USER>|--node <NODE>> [SESSION]\n       cloakroom kick [OPTIONS] --all [--before <TIME>] [--from <POSITION>]"
)]
pub(crate) struct KickArguments {
    /// One session: its id, a secret; `-` reads it from standard input, where no history keeps it. With --user or --node also
    /// what `list` shows in its place.
    #[arg(group = "whose")]
    pub(crate) session: Option<String>,
    /// All sessions of a user: log out everywhere. With a session, that one of them.
    #[arg(long, group = "whose", conflicts_with = "node")]
    pub(crate) user: Option<String>,
    /// All sessions whose connections a node holds. With a session, that one of them.
    #[arg(long, group = "whose")]
    pub(crate) node: Option<String>,
    /// All sessions of the namespace.
    #[arg(long, group = "whose", conflicts_with_all = ["session", "user", "node"])]
    pub(crate) all: bool,
    /// Of all sessions those only that were made before a time, as 2026-01-31T12:00:00Z: after an old dump was restored, when
    /// that was made.
    #[arg(long, value_name = "TIME", requires = "all", conflicts_with_all = ["session", "user", "node"], value_parser = humantime::parse_rfc3339_weak)]
    pub(crate) before: Option<SystemTime>,
    /// Goes on where a run of before stopped, as that told.
    #[arg(long, value_name = "POSITION", requires = "all", conflicts_with_all = ["session", "user", "node"])]
    pub(crate) from: Option<String>,
    /// Does not ask.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) rate: Rate,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The file. Whoever reads it can be anybody who is in it.
    pub(crate) file: PathBuf,
    /// Goes on with the file of a run of before that did not come to its end.
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) rate: Rate,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// The file that `export` wrote. To go on after a run that did not come to its end, begin anew: what is here stays.
    pub(crate) file: PathBuf,
    /// Takes a file too that an export did not bring to its end.
    #[arg(long)]
    pub(crate) partial: bool,
    /// How many partitions a namespace has that is not there yet.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub(crate) partitions: u16,
    #[command(flatten)]
    pub(crate) rate: Rate,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// Tells of this user's sessions alone.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Tells of the sessions alone whose connections this node holds, or held before.
    #[arg(long)]
    pub(crate) node: Option<String>,
    /// Goes on where a run of before stopped, as that told; `beginning`: tells all that is kept. Without, it tells what happens
    /// from now on.
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
    /// Where they go: redis://, rediss://, redis+sentinel://, redis+cluster:// and the like.
    #[arg(long, env = "CLOAKROOM_TO_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) to_url: String,
    /// Into which namespace there. Without, into one of the same name. One that is not there yet is made, like the one that
    /// they come from.
    #[arg(long, env = "CLOAKROOM_TO_NAMESPACE", value_name = "NAMESPACE")]
    pub(crate) to_namespace: Option<String>,
    /// As --root-certificate, for where they go.
    #[arg(long, env = "CLOAKROOM_TO_ROOT_CERTIFICATE", value_name = "FILE")]
    #[cfg(feature = "tls")]
    pub(crate) to_root_certificate: Option<PathBuf>,
    /// As --client-certificate, for where they go.
    #[arg(long, env = "CLOAKROOM_TO_CLIENT_CERTIFICATE", value_name = "FILE", requires = "to_client_key")]
    #[cfg(feature = "tls")]
    pub(crate) to_client_certificate: Option<PathBuf>,
    /// As --client-key, for where they go.
    #[arg(long, env = "CLOAKROOM_TO_CLIENT_KEY", value_name = "FILE", requires = "to_client_certificate")]
    #[cfg(feature = "tls")]
    pub(crate) to_client_key: Option<PathBuf>,
    /// How many partitions a namespace has that is made. Without, as many as the one that they come from.
    #[arg(long, value_name = "COUNT")]
    pub(crate) partitions: Option<u16>,
    /// What the two places are called in what is stored, by which a run finds what an earlier one left on its way. Without,
    /// by their URLs and namespaces: then a run that goes on must write these as the earlier one did.
    #[arg(long, num_args = 2, value_names = ["HERE", "THERE"])]
    pub(crate) names: Option<Vec<String>>,
    /// Tells what would be moved, and how both servers are. Changes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Does not ask.
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
