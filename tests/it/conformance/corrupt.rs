//! A list in the place of each key in turn: a script that cannot work because of it names that key.

use std::collections::BTreeSet;

use serde_json::Value;

use super::bundle::{Group, Operation};
use super::case::{Arguments, Call, File, Step};
use super::{Runner, exported, files, load};
use crate::support::Context;

/// What a reply has to say of a key: its name, and of a member's the member.
pub(super) type Names = Vec<String>;

/// The names of all keys that a call sends but for its events, in their order.
pub(super) fn own_names(operation: &Operation, values: &Arguments) -> Vec<Names> {
    let mut names: Vec<Names> = operation.keys.iter().map(|key| vec![key.name.clone()]).collect();
    let group = operation.group.iter().flat_map(|group| {
        let members = values.get(&group.name).and_then(Value::as_array).into_iter().flatten();
        members.map(move |member| (group, member[&group.arguments[0].name].as_str().unwrap().to_owned()))
    });
    for (group, member) in group {
        let names_of = member_names(group).into_iter();
        names.extend(names_of.map(|name| vec![name, member.clone()]));
    }
    names
}

/// The names of all keys that a call sends, in their order.
fn names(operation: &Operation, values: &Arguments) -> Vec<Names> {
    let mut names = own_names(operation, values);
    if values.contains_key("events") {
        let events = operation.events.as_ref().unwrap();
        names.extend(events.keys.iter().map(|key| vec![key.name.clone()]));
    }
    names
}

/// What the keys of a member are called: by their group and by what they are.
pub(super) fn member_names(group: &Group) -> Vec<String> {
    group.keys.iter().map(|key| format!("{}_{}", group.name, key.name)).collect()
}

impl Runner<'_> {
    /// Puts a list in the place of what is at a key of the call, and runs it. Returns what it names as corrupt, if it does.
    async fn named(&self, call: &Call, key: &str, allowed: &[&Names]) -> Result<Option<String>, String> {
        let _: i64 = self.context.command(&["DEL", key]).await;
        let _: i64 = self.context.command(&["RPUSH", key, "x"]).await;
        let reply = self.send(call).await?;
        if reply[0] != "corrupt" {
            return Ok(None);
        }
        let named: Names = reply[1..].iter().map(|part| part.as_str().unwrap().to_owned()).collect();
        if allowed.contains(&&named) {
            return Ok(named.into_iter().next());
        }
        Err(format!("names {named:?}, and not {allowed:?}"))
    }

    /// What scripts name in a case where a list is planted at each key of its call in turn.
    async fn each_named(&mut self, file: &File, at: usize) -> Result<BTreeSet<String>, String> {
        let case = &file.cases[at];
        let operation = &self.bundle.operations[&file.operation];
        let values = case.call.values(&file.defaults);
        let names = names(operation, &values);
        let mut named = BTreeSet::new();
        let own = self.context.namespace.clone();
        for place in 0..names.len() {
            self.context.namespace = format!("{own}-{place}");
            self.prepare(case).await?;
            let sent = self.sent(&case.call);
            let key = &sent.keys[place];
            let same = |(other, _): &(&String, &Names)| *other == key;
            let allowed: Vec<&Names> =
                sent.keys.iter().zip(&names).filter(same).map(|(_, names)| names).collect();
            let found = self.named(&case.call, key, &allowed).await;
            named.extend(found.map_err(|error| format!("{:?}: {error}", names[place]))?);
        }
        self.context.namespace = own;
        Ok(named)
    }
}

/// Keys of a script at which something foreign is no reason to answer `corrupt`.
const UNTOLD: [(&str, &[&str]); 4] = [
    // The sessions are named by their positions instead.
    ("create_many", &["expiry"]),
    // They mend what is foreign, or pass it over.
    ("mend_key", &["target", "aside"]),
    ("mend_record", &["record", "expiry", "user", "connection", "node", "aside"]),
    // Only how long they live is asked and set, which takes any type.
    ("refresh", &["user", "connection", "node"]),
];

#[tokio::test]
async fn a_script_that_finds_something_foreign_names_the_key_where_it_is() {
    let (bundle, mut context) = (exported(), Context::redis().await);
    load(&context, &bundle).await;
    let (mut failures, mut untold) = (Vec::new(), BTreeSet::new());
    for (stem, file) in &files() {
        let mut named = BTreeSet::new();
        for (at, case) in file.cases.iter().enumerate() {
            let is_foreign = |step: &Step| matches!(step, Step::Command { command } if command[0] == "RPUSH");
            // What is corrupt already may be named in the place of what is planted.
            if case.call.reply[0] == "corrupt" || case.before.iter().any(is_foreign) {
                continue;
            }
            context.namespace = format!("{}-{stem}-{at}", context.namespace.split('-').next().unwrap());
            let mut runner = Runner { context, bundle: &bundle, defaults: &file.defaults };
            match runner.each_named(file, at).await {
                Ok(found) => named.extend(found),
                Err(error) => failures.push(format!("{stem}: {}: {error}", case.name)),
            }
            context = runner.context;
        }
        let keys = bundle.operations[stem].keys.iter().map(|key| key.name.as_str());
        untold.extend(keys.filter(|key| !named.contains(*key)).map(|key| format!("{stem}: {key}")));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let known = UNTOLD.iter().flat_map(|(stem, keys)| keys.iter().map(move |key| format!("{stem}: {key}")));
    assert_eq!(untold, known.collect());
}
