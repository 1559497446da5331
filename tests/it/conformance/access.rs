//! What the bundle says of each key, that a script writes it or only reads it, held against what the server sees.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;

use super::bundle::{Bundle, Group, Key, Operation};
use super::{exported, run_all};
use crate::contract::calls::unescaped;
use crate::support::Context;

const END: &str = "every case was run";

/// Where a key of a call stands in the bundle.
type Place = (String, String);

/// A call of a script: its keys, and what the bundle has of each.
struct Call<'a> {
    stem: &'a str,
    keys: Vec<(String, &'a Key, String)>,
}

impl<'a> Call<'a> {
    fn of_line(bundle: &'a Bundle, texts: &[String]) -> Option<Self> {
        let (sha, count) = (&texts[1], texts[2].parse::<usize>().unwrap());
        let (stem, operation) = bundle.operations.iter().find(|(_, operation)| operation.sha1 == *sha)?;
        let members = operation
            .group
            .as_ref()
            .map_or(0, |group| (texts.len() - 3 - count - operation.arguments.len()) / group.arguments.len());
        let keys = texts[3..].iter().cloned().zip(known(operation, members));
        Some(Self { stem, keys: keys.map(|(sent, (key, name))| (sent, key, name)).collect() })
    }

    /// The keys that are a text. A key of an empty name is sent as another, and then it is one of several.
    fn named(&self, text: &str) -> Vec<&(String, &'a Key, String)> {
        self.keys.iter().filter(|(sent, ..)| sent == text).collect()
    }
}

/// The keys of a call with so many members, but for those of its events.
fn known<'a>(operation: &'a Operation, members: usize) -> impl Iterator<Item = (&'a Key, String)> {
    let own = operation.keys.iter().map(|key| (key, key.name.clone()));
    let groups = operation.group.iter().flat_map(move |group| std::iter::repeat_n(group, members));
    let of_member = |group: &'a Group| {
        let name = group.name.clone();
        group.keys.iter().map(move |key| (key, format!("{name}_{}", key.name)))
    };
    own.chain(groups.flat_map(of_member))
}

/// The commands of scripts that write, as the server says.
async fn writing(context: &Context, bundle: &Bundle) -> BTreeSet<String> {
    let mut writing = BTreeSet::new();
    for command in bundle.operations.values().flat_map(|operation| &operation.commands) {
        let [info]: [redis::Value; 1] = context.command(&["COMMAND", "INFO", command]).await;
        if format!("{info:?}").contains("\"write\"") {
            writing.insert(command.clone());
        }
    }
    writing
}

/// What scripts wrote that they say not to write, and all that they wrote.
fn judged(bundle: &Bundle, writing: &BTreeSet<String>, lines: &[String]) -> (Vec<String>, BTreeSet<Place>) {
    let (mut call, mut faults, mut written) = (None, Vec::new(), BTreeSet::new());
    for line in lines {
        let texts = unescaped(line);
        if texts.first().is_some_and(|name| name == "EVALSHA") {
            call = Call::of_line(bundle, &texts);
        }
        let Some(call) = call.as_ref().filter(|_| line.contains(" lua] ") && writing.contains(&texts[0]))
        else {
            continue;
        };
        for text in &texts[1..] {
            let named = call.named(text);
            if let [(_, _, name)] = named[..] {
                written.insert((call.stem.to_owned(), name.clone()));
            }
            if !named.is_empty() && named.iter().all(|(_, key, _)| key.access == "read") {
                faults.push(format!("{} writes {}: {line}", call.stem, named[0].2));
            }
        }
    }
    (faults, written)
}

#[tokio::test]
async fn a_script_writes_just_those_keys_of_which_the_bundle_says_so() {
    let (context, bundle) = (Context::own(&[]).await, exported());
    let writing = writing(&context, &bundle).await;
    assert!(writing.contains("SET") && !writing.contains("GET"), "{writing:?}");
    let monitor = redis::Client::open(context.server().url()).unwrap().get_async_monitor().await.unwrap();
    let lines = monitor.into_on_message::<String>();
    let watch = lines.take_while(|line| std::future::ready(!line.contains(END))).collect::<Vec<_>>();
    let run = async {
        let context = run_all(context, exported()).await;
        context.command::<String>(&["ECHO", END]).await;
        context
    };
    let (lines, _context) = tokio::join!(watch, run);
    let (faults, written) = judged(&bundle, &writing, &lines);
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));

    let mut told = BTreeMap::new();
    for (stem, operation) in &bundle.operations {
        for (key, name) in known(operation, 1) {
            told.insert((stem.clone(), name), key.access.as_str());
        }
    }
    let told = told.into_iter().filter(|(_, access)| *access == "read_write").map(|(place, _)| place);
    let never: Vec<_> = told.filter(|place| !written.contains(place)).collect();
    assert!(never.is_empty(), "no case writes {never:?}");
}
