//! Every script that a store runs as a constant, and its name at the server. `get` is not among them: a store reads
//! without a script.

use std::sync::OnceLock;

/// The script of one operation.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) stem: &'static str,
    source: &'static str,
    pub(crate) effect: Effect,
    sha: OnceLock<String>,
}

/// What a second execution of the same call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It only reads: after a lost reply, it is as if it had never run.
    Reads,
    /// It gives the same state and reply again, so a call whose reply was lost is retried.
    Repeatable,
    /// The same, because the session records the call's operation id. If that record no longer proves whether the call
    /// has happened, the script says so.
    Noted,
    /// It gives the same state again, but not the same report: the caller must learn that a reply was lost.
    ReportedOnce,
}

impl Script {
    const fn new(stem: &'static str, source: &'static str, effect: Effect) -> Self {
        Self { stem, source, effect, sha: OnceLock::new() }
    }

    /// A script that a store runs when it starts. It is not an operation.
    pub(crate) const fn of_start(source: &'static str) -> Self {
        Self::new("start", source, Effect::Reads)
    }

    /// Its source as it is sent.
    pub(crate) fn source(&self) -> &'static str {
        self.source
    }

    /// The name by which EVALSHA runs it: the SHA-1 of its source.
    pub(crate) fn sha(&self) -> &str {
        self.sha.get_or_init(|| sha1_smol::Sha1::from(self.source).hexdigest())
    }
}

/// A constant for each script, and a list of them. `cargo run -p cloakroom-export` writes the sources.
macro_rules! scripts {
    ($(#[$doc:meta])* $list:ident; $($name:ident: $stem:literal, $effect:ident;)+) => {
        $(pub(crate) static $name: Script =
            Script::new($stem, include_str!(concat!("../../lua/dist/", $stem, ".lua")), Effect::$effect);)+

        $(#[$doc])*
        pub(crate) static $list: &[&Script] = &[$(&$name),+];
    };
}

scripts! {
    /// The scripts that a store loads when it connects.
    LOADED;
    CREATE: "create", Noted;
    CREATE_MANY: "create_many", Repeatable;
    UPDATE: "update", Noted;
    PATCH: "patch", Noted;
    REFRESH: "refresh", Repeatable;
    ROTATE: "rotate", Noted;
    BIND: "bind", Noted;
    UNBIND: "unbind", Noted;
    DELETE: "delete", Noted;
    IMPORT: "import", Noted;
    LIST: "list", Reads;
    COUNT: "count", Reads;
    DELETE_USER: "delete_user", Noted;
    EXPIRED: "expired", Reads;
    REAP: "reap", ReportedOnce;
    HEARTBEAT: "heartbeat", Repeatable;
    NODES: "nodes", Reads;
    RECOVER: "recover", Noted;
    FREEZE: "freeze", Repeatable;
    DEPART: "depart", Repeatable;
    THAW: "thaw", Repeatable;
    CLEAN: "clean", Repeatable;
    MIGRATIONS: "migrations", Reads;
}

scripts! {
    /// The scripts that only a verifier runs. It loads them when it runs them.
    MENDING;
    MEND_SESSION: "mend_session", Repeatable;
    MEND_RECORD: "mend_record", Repeatable;
    MEND_KEY: "mend_key", Repeatable;
    MEND_NODE: "mend_node", Repeatable;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Effect, LOADED, MENDING, Script};

    #[test]
    fn the_name_of_a_script_is_the_one_that_a_server_gives_it() {
        let script = Script::new("one", "return 1", Effect::Reads);
        // What `SCRIPT LOAD "return 1"` answers.
        assert_eq!(script.sha(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }

    #[test]
    fn all_scripts_are_those_of_the_bundle_but_get_with_what_a_second_call_means() {
        let bundle: serde_json::Value =
            serde_json::from_str(include_str!("../../lua/bundle.json")).expect("it is JSON");
        let operations = bundle["operations"].as_object().expect("it has operations").iter();
        let told = |(stem, operation): (&String, &serde_json::Value)| {
            let texts = ["effect", "sha1", "source"].map(|name| operation[name].as_str().map(str::to_owned));
            (stem.clone(), texts)
        };
        let expected: BTreeMap<_, _> = operations.filter(|(stem, _)| *stem != "get").map(told).collect();
        let own = |script: &&Script| {
            let effect = match script.effect {
                Effect::Reads => "reads",
                Effect::Repeatable => "repeatable",
                Effect::Noted => "noted",
                Effect::ReportedOnce => "reported_once",
            };
            let texts = [effect, script.sha(), script.source()].map(|text| Some(text.to_owned()));
            (script.stem.to_owned(), texts)
        };
        let all = || LOADED.iter().chain(MENDING);
        assert_eq!(all().map(own).collect::<BTreeMap<_, _>>(), expected);
        assert_eq!(all().count(), expected.len());
    }
}
