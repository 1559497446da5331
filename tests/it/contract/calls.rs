//! Compares what the crate sends with the headers of the scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cloakroom::migration::{Direction, Freezing, Import, Leftover, TaskId};
use cloakroom::nodes::{Claim, Heartbeat, NodeIdentity};
use cloakroom::testing::TestClock;
use cloakroom::{
    Binding, NewSession, OnLimit, PageRequest, Patch, RedisStore, Rotation, Rules, Selector, Session,
    SessionId,
};
use cloakroom_export::header::Argument;
use cloakroom_export::keys::{EVENTS, EXPIRY, UNNAMED, names, node_stream};
use futures::StreamExt as _;

use super::nameless::exercise_nameless;
use super::{Script, script, scripts, stems_in};
use crate::support::Context;
use crate::support::context::Store;
use crate::support::leases::register;

/// As the docs of `Rules::ttl` have it.
const DEFAULT_TTL: Duration = Duration::from_secs(30 * 60);

/// Rules by which a user's third session evicts the oldest.
pub(crate) fn rules_that_evict() -> Rules {
    Rules::new().sessions_per_user(2, OnLimit::EvictOldest)
}

/// Does each operation once, by the crate, so that the server sees each script called. The stores are the same, but for
/// the rules.
pub(crate) async fn do_each_operation(clock: &TestClock, store: &Store, strict: &Store) {
    exercise(store).await;
    let expired = store.create(NewSession::new().user("ann")).await.unwrap().session;
    clock.advance(DEFAULT_TTL);
    assert_eq!(store.reap(10).await.unwrap().sessions.len(), 1);
    assert!(store.get(expired.id()).await.unwrap().is_none());
    exercise_needs(store, strict).await;
    exercise_nodes(store).await;
    exercise_nameless(store, strict).await;
    clock.advance(DEFAULT_TTL);
    store.reap(100).await.unwrap();
}

async fn exercise(store: &Store) {
    let created = store.create(NewSession::new().user("ann").connection("c").node("n")).await.unwrap();
    let mut session = created.session;
    session.set("a", &1).unwrap();
    store.update(&mut session).await.unwrap();
    store.patch(&session, Patch::new().set("b", &2).unwrap()).await.unwrap();
    store.patch(&session, Patch::new().suspend()).await.unwrap();
    store.refresh(&session).await.unwrap().unwrap();
    let session = store.rotate(&session, Rotation::new()).await.unwrap().session;
    store.bind(&session, Binding::new("d").node("n")).await.unwrap();
    store.unbind(session.id(), "d").await.unwrap();
    store.list(&Selector::user("ann"), &PageRequest::first(10)).await.unwrap();
    store.count(&Selector::user("ann")).await.unwrap();
    let export = store.export(session.id()).await.unwrap().unwrap();
    store.import(Import::new(export)).await.unwrap();
    store.delete(session.id()).await.unwrap();
    let new = ["eve", "fay"].map(|name| NewSession::new().user(name).connection(name).node("n"));
    for made in store.create_many(new.to_vec()).await {
        store.delete(&made.unwrap().session).await.unwrap();
    }
    store.create(NewSession::new().user("ann")).await.unwrap();
    store.delete_user("ann", None).await.unwrap();
    exercise_migration(store).await;
}

/// Takes a session through the steps of a migration, which it leaves half-way, and then whole.
async fn exercise_migration(store: &Store) {
    let session =
        store.create(NewSession::new().user("ann").connection("c").node("n")).await.unwrap().session;
    let (task, span) = (TaskId::random(), Duration::from_secs(30));
    store.freeze(&session, Freezing::new(task, "elsewhere").span(span)).await.unwrap();
    assert_eq!(store.migrations(0, 10).await.unwrap().migrations.len(), 1);
    store.thaw(session.id(), task, Direction::Outgoing).await.unwrap();
    let frozen = store.freeze(&session, Freezing::new(task, "elsewhere").span(span)).await.unwrap();
    store.depart(&session, task, frozen.until_ms).await.unwrap();
    store.clean(&session, task, Leftover::Departed).await.unwrap();
    store.import(Import::new(frozen.export).incoming(task, frozen.until_ms, "elsewhere")).await.unwrap();
    let copy = Leftover::Copy { until_ms: frozen.until_ms };
    store.clean(&session, task, copy).await.unwrap();
}

/// Registers nodes, and has one take over the other's session and write as an owner.
async fn exercise_nodes(store: &Store) {
    let [dead, live] = ["dead", "live"].map(|node| NodeIdentity::new(node).unwrap());
    for holder in [&dead, &live] {
        store.heartbeat(holder, Heartbeat::register()).await.unwrap();
    }
    store.create(NewSession::new().user("dan").connection("c-dan").node("dead")).await.unwrap();
    store.heartbeat(&dead, Heartbeat::release()).await.unwrap();
    store.nodes().await.unwrap();
    assert_eq!(store.lapsed_nodes().await.unwrap(), ["dead"]);
    let claimed = store.recover(Claim::new("dead", "live").as_node(&live)).await.unwrap();
    assert_eq!(claimed.sessions.len(), 1);
    let owner = store.as_node(&live);
    let mut session = owner.create(NewSession::new().user("eve")).await.unwrap().session;
    owner.bind(&session, Binding::new("c-eve")).await.unwrap();
    session = owner.refresh_and_get(session.id()).await.unwrap().unwrap();
    owner.update(&mut session).await.unwrap();
    owner.patch(&session, Patch::new().set("b", &2).unwrap()).await.unwrap();
    session = owner.rotate(&session, Rotation::new()).await.unwrap().session;
    owner.unbind(&session, "c-eve").await.unwrap();
    owner.bind(session.id(), Binding::new("c-eve")).await.unwrap();
    owner.delete(session.id()).await.unwrap();
}

/// Has the crate declare holders and victims, and other owners than before.
async fn exercise_needs(store: &Store, strict: &Store) {
    let new = |name: &str| NewSession::new().user("bob").connection(format!("c-{name}")).node("m");
    let mut made: Vec<Session> = Vec::new();
    for name in ["one", "two", "three"] {
        made.push(store.create(new(name)).await.unwrap().session);
    }
    store.list(&Selector::node("m"), &PageRequest::first(10)).await.unwrap();
    store.create(new("one")).await.unwrap_err();
    store.bind(made[2].id(), Binding::new("c-one").node("l").take_over()).await.unwrap();
    assert_eq!(strict.create(new("four")).await.unwrap().evicted.len(), 2);
    let visit = store.create(NewSession::new()).await.unwrap().session;
    assert_eq!(strict.rotate(&visit, Rotation::new().user("bob")).await.unwrap().evicted.len(), 1);
    let mut moved = store.create(NewSession::new().connection("c-five")).await.unwrap().session;
    moved.set_user("carl");
    moved.set_connection("c-six");
    store.update(&mut moved).await.unwrap();
}

/// A script call as the server saw it.
struct Call<'a> {
    /// How many events are kept, if it asks for events.
    keep: Option<String>,
    script: &'a Script,
    keys: Vec<String>,
    arguments: Vec<String>,
}

/// A line of MONITOR without its time: texts in quotes, with what is not printable escaped. A character stands for a
/// byte.
fn unescaped(line: &str) -> Vec<String> {
    let (mut texts, mut text) = (Vec::new(), None::<String>);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let Some(open) = &mut text else {
            text = (character == '"').then(String::new);
            continue;
        };
        match character {
            '"' => texts.extend(text.take()),
            '\\' => open.push(match characters.next().unwrap() {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'a' => '\x07',
                'b' => '\x08',
                'x' => {
                    let digits: String = characters.by_ref().take(2).collect();
                    char::from(u8::from_str_radix(&digits, 16).unwrap())
                }
                other => other,
            }),
            other => open.push(other),
        }
    }
    texts
}

fn call_of<'a>(line: &str, by_sha: &'a BTreeMap<String, Script>) -> Option<Call<'a>> {
    let (_, call) = line.split_once("\"EVALSHA\" ")?;
    let mut texts = unescaped(call).into_iter();
    let sha = texts.next().unwrap();
    let script = by_sha.get(&sha).unwrap_or_else(|| panic!("not made of what its header names: {line}"));
    let count = texts.next().unwrap().parse().unwrap();
    let keys = texts.by_ref().take(count).collect();
    let mut arguments: Vec<String> = texts.collect();
    let behind = arguments.len() - script.header.arguments.len();
    let of_member = script.header.group.as_ref().map_or(usize::MAX, |group| group.arguments.len());
    let keep = if behind % of_member == 1 { arguments.pop() } else { None };
    Some(Call { script, keys, arguments, keep })
}

impl Call<'_> {
    /// The arguments by name.
    fn values(&self) -> BTreeMap<&str, &str> {
        let names = self.script.header.arguments.iter().map(|argument| argument.name.as_str());
        names.zip(self.arguments.iter().map(String::as_str)).collect()
    }

    /// The keys that the header makes of the arguments.
    fn expected_keys(&self, tag: &str) -> Vec<String> {
        let header = &self.script.header;
        let mut values = self.values();
        // These two are in no argument of `count`, so they are what the key says.
        let owner = self.keys[0].trim_start_matches(tag).strip_suffix(":sessions");
        if let Some((kind, owner)) = owner.and_then(|owner| owner.trim_start_matches(':').split_once(':')) {
            values.entry("kind").or_insert(kind);
            values.entry("owner").or_insert(owner);
        }
        let mut keys: Vec<String> =
            header.keys.iter().map(|key| filled(&key.pattern, tag, &values)).collect();
        let patterns = header
            .group
            .iter()
            .flat_map(|group| group.keys.iter().map(|key| &key.pattern))
            .collect::<Vec<_>>();
        for values in self.members() {
            keys.extend(patterns.iter().map(|pattern| filled(pattern, tag, &values)));
        }
        if self.keep.is_some() {
            keys.extend([EVENTS, EXPIRY].map(|pattern| pattern.replace("{ns:p}", tag)));
            let own = header.keys.iter().map(|key| (key.pattern.as_str(), self.values()));
            let members = self.members().into_iter();
            let of_members = members
                .flat_map(|values| patterns.iter().map(move |pattern| (pattern.as_str(), values.clone())));
            for (pattern, values) in own.chain(of_members) {
                let Some(stream) = node_stream(pattern) else { continue };
                let is_named = names(pattern).any(|name| !values[name].is_empty());
                keys.push(filled(if is_named { &stream } else { EVENTS }, tag, &values));
            }
        }
        keys
    }

    /// The arguments of each member of the group, by name.
    fn members(&self) -> Vec<BTreeMap<&str, &str>> {
        let Some(group) = &self.script.header.group else {
            return Vec::new();
        };
        let arguments = &self.arguments[self.script.header.arguments.len()..];
        let names = group.arguments.iter().map(|argument| argument.name.as_str());
        let members = arguments.chunks(group.arguments.len());
        members.map(|member| names.clone().zip(member.iter().map(String::as_str)).collect()).collect()
    }

    fn check_arguments(&self) {
        let header = &self.script.header;
        self.check_fit(&header.arguments, &self.values());
        for values in self.members() {
            self.check_fit(&header.group.as_ref().unwrap().arguments, &values);
        }
    }

    fn check_fit(&self, arguments: &[Argument], values: &BTreeMap<&str, &str>) {
        let stem = self.script.stem();
        for argument in arguments {
            let value = values[argument.name.as_str()];
            let fits = match (argument.kind, argument.bytes) {
                _ if value.is_empty() => argument.empty,
                ("integer", _) => value.parse().is_ok_and(|number| {
                    argument.minimum.unwrap() <= number && number <= argument.maximum.unwrap()
                }),
                ("word", _) => argument.words.iter().any(|word| word == value),
                (_, Some(bytes)) => value.chars().count() as u64 == bytes,
                _ => true,
            };
            assert!(fits, "{stem}: {} is {value:?}", argument.name);
        }
    }

    fn check_defaults(&self) {
        let values = self.values();
        for argument in &self.script.header.arguments {
            if let Some(default) = &argument.default {
                let (stem, name) = (self.script.stem(), argument.name.as_str());
                let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
                assert_eq!(values[name], default, "{stem}: {name} by default");
            }
        }
    }
}

/// A key as its pattern makes it: `<id>` is the value of that name, `<holder_id|id>` the first that is not empty. Where there
/// is none, the record stands in.
pub(super) fn filled(pattern: &str, tag: &str, values: &BTreeMap<&str, &str>) -> String {
    let mut key = String::new();
    let mut rest = pattern.strip_prefix("{ns:p}").unwrap();
    while let Some((before, behind)) = rest.split_once('<') {
        let (hole, after) = behind.split_once('>').unwrap();
        let value = names(&format!("<{hole}>")).map(|name| values[name]).find(|value| !value.is_empty());
        let Some(value) = value else {
            return filled(UNNAMED, tag, values);
        };
        key.push_str(before);
        key.push_str(value);
        rest = after;
    }
    format!("{tag}{key}{rest}")
}

/// What a transaction reads, where that does not tell and a script has to.
async fn read_by_scripts(context: &Context, store: &Store) {
    let session = context.session(store, "planted").await;
    store.freeze(&session, Freezing::new(TaskId::random(), "elsewhere")).await.unwrap();
    for index in [context.user_key("user-planted"), context.key("migrations")] {
        let _: i64 = context.command(&["ZADD", &index, "1", "nobody"]).await;
    }
    let of_user = Selector::user("user-planted");
    assert_eq!(store.list(&of_user, &PageRequest::first(100)).await.unwrap().sessions.len(), 1);
    assert!(!store.migrations(0, 200).await.unwrap().migrations.is_empty());
    register(store, "planted").await;
    context.command::<()>(&["SET", &context.key("node:planted:lease"), "garbage"]).await;
    store.lapsed_nodes().await.unwrap_err();
}

/// What is broken, mended; the damage is that of others and some more.
async fn mend_by_scripts(context: &Context, store: &Store, operator: &RedisStore) {
    let session = context.session(store, "broken").await;
    context.command::<()>(&["SET", &context.record_key(session.id()), "garbage"]).await;
    let session = context.session(store, "bare").await;
    context.command::<()>(&["DEL", &context.user_key(session.user().unwrap())]).await;
    let mut verifier = operator.verifier();
    while let Some(violation) = verifier.next().await.unwrap() {
        operator.repair(&violation).await.unwrap();
    }
}

#[tokio::test]
async fn the_crate_sends_the_keys_and_arguments_that_the_headers_name() {
    check_what_is_sent(0).await;
}

#[tokio::test]
async fn in_a_namespace_with_events_the_crate_names_the_streams_that_the_headers_say_and_how_many_are_kept() {
    let telling = check_what_is_sent(1000).await;
    let expected = scripts().into_iter().filter(|script| script.header.events.is_some());
    assert_eq!(telling, expected.map(|script| script.stem().to_owned()).collect::<BTreeSet<_>>());
}

/// Holds each call against its header, and returns the scripts that were asked for events.
async fn check_what_is_sent(events: u32) -> BTreeSet<String> {
    let context = Context::own(&[]).await;
    let store = context.store_at(Rules::new().events(events)).await;
    let strict = context.store_at(rules_that_evict().events(events)).await;
    let builder = context.builder(Rules::new().events(events)).clock(context.clock.clone());
    let operator = builder.build().await.unwrap();
    let monitor = redis::Client::open(context.server().url()).unwrap().get_async_monitor().await.unwrap();
    let mut lines = monitor.into_on_message::<String>();
    do_each_operation(&context.clock, &store, &strict).await;
    read_by_scripts(&context, &store).await;
    mend_by_scripts(&context, &store, &operator).await;
    context.command::<String>(&["ECHO", "exercised"]).await;

    let mut by_sha = BTreeMap::new();
    for script in scripts() {
        let sha: String = context.command(&["SCRIPT", "LOAD", &script.source]).await;
        by_sha.insert(sha, script);
    }
    let (mut seen, mut groups) = (BTreeSet::new(), BTreeSet::new());
    let (mut holders, mut owners) = (BTreeSet::new(), BTreeSet::new());
    let mut telling = BTreeSet::new();
    while let Some(line) = lines.next().await {
        if line.contains("exercised") {
            break;
        }
        let Some(call) = call_of(&line, &by_sha) else {
            continue;
        };
        let stem = call.script.stem();
        assert_eq!(call.keys, call.expected_keys(&format!("{{{}:0}}", context.namespace)), "{stem}");
        call.check_arguments();
        if let Some(keep) = &call.keep {
            assert_eq!(*keep, events.to_string(), "{stem}");
            telling.insert(stem.to_owned());
        }
        if seen.insert(stem.to_owned()) {
            call.check_defaults();
        }
        if call.arguments.len() > call.script.header.arguments.len() {
            groups.insert(stem.to_owned());
        }
        if call.values().get("as_node").is_some_and(|node| !node.is_empty()) {
            owners.insert(stem.to_owned());
        }
        if call.values().get("holder_id").is_some_and(|holder| !holder.is_empty()) {
            holders.insert(stem.to_owned());
        }
    }
    // `get` is for other languages: the crate reads by GET.
    let mut expected = stems_in("lua", ".lua");
    expected.remove("get");
    assert_eq!(seen, expected);
    let groups: Vec<String> = groups.into_iter().collect();
    assert_eq!(
        groups,
        ["create", "create_many", "delete_user", "list", "migrations", "nodes", "reap", "recover", "rotate"]
    );
    let fenced = ["bind", "create", "delete", "patch", "refresh", "rotate", "unbind", "update"];
    assert_eq!(owners.into_iter().collect::<Vec<_>>(), fenced);
    assert_eq!(holders.into_iter().collect::<Vec<_>>(), ["bind", "create"]);
    telling
}

#[tokio::test]
async fn get_lua_reads_what_the_crate_reads() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let source = script("get").source;
    let get = async |id: &SessionId| -> Vec<redis::Value> {
        let (key, now) = (context.record_key(id), context.clock.now_ms().to_string());
        context.command(&["EVAL", &source, "1", &key, &now]).await
    };
    let record: Vec<u8> = context.command(&["GET", &context.record_key(session.id())]).await;
    let bulk = |text: &[u8]| redis::Value::BulkString(text.to_vec());
    assert_eq!(get(session.id()).await, [bulk(b"ok"), bulk(&record)]);
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap().session;
    assert_eq!(get(session.id()).await, [bulk(b"moved"), bulk(rotated.id().as_str().as_bytes())]);
    context.clock.advance(DEFAULT_TTL);
    assert_eq!(get(rotated.id()).await, [bulk(b"missing")]);
    context.command::<()>(&["SET", &context.record_key(session.id()), "junk"]).await;
    assert_eq!(get(session.id()).await, [bulk(b"corrupt"), bulk(b"record")]);
}
