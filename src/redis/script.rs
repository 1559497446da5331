//! Every script as one typed constant, and its name at the server.

use std::sync::LazyLock;

use crate::redis::minify::flat;

/// One operation's script, whole.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) stem: &'static str,
    source: LazyLock<String>,
    pub(crate) effect: Effect,
    sha: LazyLock<String>,
}

/// What a second execution of the same call would mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// For the caller it only reads: a lost reply is as if it had never run.
    Reads,
    /// The same state and reply again, so a call whose reply was lost is sent again.
    Repeatable,
    /// The same state again, but not the same report: a lost reply is the caller's to know.
    ReportedOnce,
}

impl Script {
    /// As it is sent.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The name by which EVALSHA runs it.
    pub(crate) fn sha(&self) -> &str {
        &self.sha
    }
}

/// A script is its fragments, each before what uses it, and its own file; the header of the file names them.
macro_rules! script {
    ($name:ident, $stem:literal, $effect:ident, $($fragment:literal)+) => {
        pub(crate) static $name: Script = Script {
            stem: $stem,
            source: LazyLock::new(|| {
                flat(concat!(
                    $(include_str!(concat!("../../lua/lib/", $fragment, ".lua")), "\n",)+
                    include_str!(concat!("../../lua/", $stem, ".lua")),
                ))
            }),
            effect: Effect::$effect,
            sha: LazyLock::new(|| sha1_smol::Sha1::from($name.source()).hexdigest()),
        };
    };
}

script!(CREATE, "create", Repeatable, "args" "clock" "typed" "record" "index" "session" "limit" "lease");
script!(CREATE_MANY, "create_many", Repeatable, "args" "clock" "typed" "record" "index" "session");
script!(GET, "get", Reads, "args" "clock" "typed" "record");
script!(UPDATE, "update", Repeatable, "args" "clock" "typed" "record" "index" "session" "lease");
script!(PATCH, "patch", Repeatable, "args" "clock" "typed" "record" "entries" "index" "session" "lease");
script!(REFRESH, "refresh", Repeatable, "args" "clock" "typed" "record" "entries" "index" "session" "lease");
script!(ROTATE, "rotate", Repeatable, "args" "clock" "typed" "record" "entries" "index" "session" "limit" "lease");
script!(BIND, "bind", Repeatable, "args" "clock" "typed" "record" "index" "session" "lease");
script!(UNBIND, "unbind", Repeatable, "args" "clock" "typed" "record" "index" "session" "lease");
script!(DELETE, "delete", Repeatable, "args" "clock" "typed" "record" "index" "session" "lease");
script!(IMPORT, "import", Repeatable, "args" "clock" "typed" "record" "entries" "index" "session" "migration");
script!(LIST, "list", Reads, "args" "clock" "typed" "record");
script!(COUNT, "count", Reads, "args" "clock" "typed");
script!(DELETE_USER, "delete_user", Repeatable, "args" "clock" "typed" "record" "index" "session");
script!(EXPIRED, "expired", Reads, "args" "clock" "typed");
script!(REAP, "reap", ReportedOnce, "args" "clock" "typed" "record" "index" "session");
script!(HEARTBEAT, "heartbeat", Repeatable, "args" "clock" "typed" "index" "lease");
script!(NODES, "nodes", Reads, "args" "clock" "typed");
script!(RECOVER, "recover", Repeatable, "args" "clock" "typed" "record" "index" "session" "lease");
script!(FREEZE, "freeze", Repeatable, "args" "clock" "typed" "record" "entries" "index" "migration");
script!(DEPART, "depart", Repeatable, "args" "clock" "typed" "record" "index" "session" "migration");
script!(THAW, "thaw", Repeatable, "args" "clock" "typed" "record" "index" "migration");
script!(CLEAN, "clean", Repeatable, "args" "clock" "typed" "record" "index" "session" "migration");
script!(MIGRATIONS, "migrations", Reads, "args" "clock" "typed" "record" "index" "migration");

/// All of them, to be loaded when a store connects.
pub(crate) static ALL: [&Script; 24] = [
    &CREATE,
    &CREATE_MANY,
    &GET,
    &UPDATE,
    &PATCH,
    &REFRESH,
    &ROTATE,
    &BIND,
    &UNBIND,
    &DELETE,
    &IMPORT,
    &LIST,
    &COUNT,
    &DELETE_USER,
    &EXPIRED,
    &REAP,
    &HEARTBEAT,
    &NODES,
    &RECOVER,
    &FREEZE,
    &DEPART,
    &THAW,
    &CLEAN,
    &MIGRATIONS,
];
