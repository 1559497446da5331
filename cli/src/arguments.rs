//! What the program is asked to do.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;

/// Looks at the sessions of a Cloakroom namespace, ends them, and takes them from one server to another.
///
/// Exit codes: 0 it is done; 1 it failed; 2 the arguments are wrong; 3 there is nothing of the kind; 4 it was not confirmed;
/// 5 some of it was refused; 6 something stored does not agree; 130 it was interrupted.
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
    /// Writes all live sessions to a file. They stay where they are.
    Export(ExportArguments),
    /// Brings in the sessions of a file. Those that are here already, in the same version or a later one, stay.
    Import(ImportArguments),
    /// Goes through all that is stored of the namespace, and names what does not agree. Others may work on it meanwhile.
    Verify(VerifyArguments),
    /// Goes through it in the same way, and mends what does not agree. No live session is ended.
    Repair(RepairArguments),
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
pub(crate) struct ShowArguments {
    /// The session's id, a secret; `-` reads it from standard input, where no history keeps it.
    pub(crate) id: String,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true))]
pub(crate) struct KickArguments {
    /// The session's id, a secret; `-` reads it from standard input, where no history keeps it.
    #[arg(group = "whose")]
    pub(crate) id: Option<String>,
    /// All sessions of a user: log out everywhere.
    #[arg(long, group = "whose")]
    pub(crate) user: Option<String>,
    /// All sessions whose connections a node holds.
    #[arg(long, group = "whose")]
    pub(crate) node: Option<String>,
    /// All sessions of the namespace.
    #[arg(long, group = "whose")]
    pub(crate) all: bool,
    /// Of all sessions those only that were made before a time, as 2026-01-31T12:00:00Z: after an old dump was restored, when
    /// that was made.
    #[arg(long, value_name = "TIME", requires = "all", conflicts_with_all = ["id", "user", "node"], value_parser = humantime::parse_rfc3339_weak)]
    pub(crate) before: Option<SystemTime>,
    /// Goes on where a run of before stopped, as that told.
    #[arg(long, value_name = "POSITION", requires = "all", conflicts_with_all = ["id", "user", "node"])]
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
