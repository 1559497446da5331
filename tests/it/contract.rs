//! The scripts' headers, held against their bodies, against each other and against what the crate sends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloakroom::{
    Binding, NewSession, Owner, PageRequest, Patch, RedisStore, Rotation, Rules, SessionId, SessionStore as _,
};
use futures::StreamExt as _;

use crate::support::Context;

/// All the words that a reply may begin with.
const WORDS: [&str; 12] = [
    "ok",
    "unchanged",
    "missing",
    "exists",
    "conflict",
    "moved",
    "gone",
    "limit",
    "need",
    "frozen",
    "taken",
    "corrupt",
];

/// As the docs of `Rules::ttl` have it.
const DEFAULT_TTL: Duration = Duration::from_secs(30 * 60);

/// A script's header and body, taken apart.
struct Script {
    stem: String,
    body: String,
    keys: Vec<Parameter>,
    arguments: Vec<Parameter>,
    words: BTreeSet<String>,
    uses: Vec<String>,
}

impl Script {
    /// As a server is to load it: the fragments that it names, then itself.
    fn source(&self) -> String {
        let fragments = self.uses.iter().map(|used| format!("lua/lib/{used}.lua"));
        let files = fragments.chain([format!("lua/{}.lua", self.stem)]);
        files.map(read).collect::<Vec<_>>().join("\n")
    }
}

/// A line such as `KEYS[1]  record  string  {ns:p}:session:<id>`.
struct Parameter {
    name: String,
    kind: String,
    /// A group of any number begins here.
    is_group: bool,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn stems_in(directory: &str, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(directory)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn scripts() -> Vec<Script> {
    stems_in("lua", ".lua").into_iter().map(|stem| parse(&stem)).collect()
}

fn parse(stem: &str) -> Script {
    let source = read(format!("lua/{stem}.lua"));
    let (header, body) = source.strip_prefix("--[[\n").unwrap().split_once("]]\n").unwrap();
    assert!(header.trim_start().starts_with(&format!("{stem}: ")), "{stem}: the header begins with the stem");
    let field = |name: &str| {
        let line = header.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("{stem}: the header lacks {name}")).trim().to_owned()
    };
    assert!(!field("Writes:").is_empty() && !field("Again:").is_empty());
    let replies = header.split_once("Replies\n").unwrap().1;
    let words = replies.lines().filter_map(|line| line.trim().strip_prefix("{\"")?.split('"').next());
    Script {
        stem: stem.to_owned(),
        body: body.to_owned(),
        keys: parameters(header, "KEYS["),
        arguments: parameters(header, "ARGV["),
        words: words.map(str::to_owned).collect(),
        uses: field("Uses:").split(", ").map(str::to_owned).collect(),
    }
}

fn parameters(header: &str, prefix: &str) -> Vec<Parameter> {
    let lines = header.lines().filter_map(|line| line.trim().strip_prefix(prefix));
    let parameters = lines.enumerate().map(|(at, line)| {
        let (index, rest) = line.split_once(']').unwrap();
        assert_eq!(index.trim_end_matches('+'), (at + 1).to_string(), "numbered in order: {line}");
        let mut columns = rest.split_whitespace();
        Parameter {
            name: columns.next().unwrap().to_owned(),
            kind: columns.next().unwrap().trim_end_matches([',', ':']).to_owned(),
            is_group: index.ends_with('+'),
        }
    });
    parameters.collect()
}

/// How many there are at least, before a group of any number.
fn fixed(parameters: &[Parameter]) -> usize {
    parameters.iter().filter(|parameter| !parameter.is_group).count()
}

/// Lua without its comments.
fn code(lua: &str) -> String {
    let lines = lua.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    lines.collect::<Vec<_>>().join("\n")
}

/// The words that a piece of Lua replies with: `{ 'word'` in it.
fn literal_words(lua: &str) -> BTreeSet<String> {
    let starts = lua.match_indices("{ '").map(|(at, _)| &lua[at + 3..]);
    let words = starts.filter_map(|rest| rest.split_once('\'')).map(|(word, _)| word.to_owned());
    words.filter(|word| WORDS.contains(&word.as_str())).collect()
}

/// The lines that bind KEYS and ARGV: from the body's beginning to its second empty line.
fn binding_and_rest(body: &str) -> (&str, &str) {
    body.trim_start_matches('\n').split_once("\n\n").unwrap()
}

#[test]
fn each_operation_has_its_script_its_module_its_tests_and_its_method() {
    let scripts = stems_in("lua", ".lua");
    let mut modules = stems_in("src/ops", ".rs");
    assert!(modules.remove("mod"));
    assert_eq!(scripts, modules);
    let (tests, store) = (stems_in("tests/it", ".rs"), read("src/store.rs"));
    for stem in &scripts {
        assert!(tests.contains(stem), "tests/it/{stem}.rs is missing");
        assert!(store.contains(&format!("async fn {stem}(")), "the store lacks {stem}");
    }
}

#[test]
fn operations_do_not_import_each_other() {
    for stem in stems_in("src/ops", ".rs").into_iter().filter(|stem| stem != "mod") {
        let source = read(format!("src/ops/{stem}.rs"));
        assert!(
            !source.contains("ops::") && !source.contains("super::"),
            "src/ops/{stem}.rs imports another"
        );
    }
}

#[test]
fn the_arity_that_a_script_checks_is_that_of_its_header() {
    for script in scripts() {
        let (keys, arguments) = (fixed(&script.keys), fixed(&script.arguments));
        let message = format!("'ERR cloakroom {}: {keys} KEYS and {arguments} ARGV", script.stem);
        assert!(script.body.contains(&message), "{}: no {message}", script.stem);
        let grouped = |parameters: &[Parameter]| parameters.last().is_some_and(|last| last.is_group);
        assert_eq!(grouped(&script.keys), grouped(&script.arguments), "{}: groups go together", script.stem);
    }
}

#[test]
fn every_key_and_argument_is_bound_to_its_name_in_the_first_lines_and_not_touched_by_number_below() {
    for script in scripts() {
        let (binding, rest) = binding_and_rest(&script.body);
        for key in script.keys.iter().filter(|key| !key.is_group) {
            let name = format!("{}_key", key.name);
            let short = if key.name.ends_with("_record") {
                key.name.replace("_record", "_key")
            } else {
                name.clone()
            };
            assert!(
                binding.contains(&name) || binding.contains(&short),
                "{}: {name} is not bound",
                script.stem
            );
        }
        for (at, argument) in script.arguments.iter().enumerate().filter(|(_, argument)| !argument.is_group) {
            let name = argument.name.trim_end_matches("_ms");
            // A word is bound to what it means, such as `takeover` for a policy.
            let bound = binding.contains(name) || argument.kind == "word";
            assert!(bound, "{}: {name} is not bound", script.stem);
            let check = match argument.kind.as_str() {
                _ if name == "now" => "clock_now(",
                "integer" => "integer(",
                "word" => "args_word(",
                "8" => "args_op_id(",
                _ => continue,
            };
            let checked = format!("{check}ARGV[{}]", at + 1);
            assert!(binding.contains(&checked), "{}: {name} is not checked", script.stem);
        }
        for at in 0..10 {
            for array in ["KEYS", "ARGV"] {
                assert!(!rest.contains(&format!("{array}[{at}")), "{}: {array} by number below", script.stem);
            }
        }
    }
}

#[test]
fn the_words_of_a_header_are_those_that_the_body_and_its_fragments_reply_with() {
    for script in scripts() {
        let own = literal_words(&script.body);
        let unlisted: Vec<_> = own.difference(&script.words).collect();
        assert!(unlisted.is_empty(), "{}: {unlisted:?} are not in the header", script.stem);
        let mut possible = own;
        // A word may be put into a reply by a function of the script, such as refresh's `reply('ok')`.
        possible.extend(
            WORDS.iter().filter(|word| script.body.contains(&format!("('{word}')"))).map(|&w| w.to_owned()),
        );
        for fragment in &script.uses {
            possible.extend(literal_words(&read(format!("lua/lib/{fragment}.lua"))));
        }
        for word in &script.words {
            assert!(possible.contains(word), "{}: {word} is in the header and in no reply", script.stem);
        }
    }
}

#[test]
fn a_script_uses_just_the_fragments_that_it_names_and_those_have_no_load_time_effects() {
    let fragments = stems_in("lua/lib", ".lua");
    for script in scripts() {
        assert!(script.uses.iter().all(|used| fragments.contains(used)), "{}: unknown fragment", script.stem);
        let sources: Vec<String> =
            script.uses.iter().map(|used| read(format!("lua/lib/{used}.lua"))).collect();
        for (at, fragment) in script.uses.iter().enumerate() {
            let users = sources[at + 1..].iter().chain([&script.body]);
            let prefixes = [format!("{fragment}_"), format!("{}_", fragment.to_uppercase())];
            let used = users.into_iter().any(|user| prefixes.iter().any(|prefix| user.contains(prefix)));
            assert!(
                used || fragment == "entries" && script.body.contains("entries_"),
                "{}: {fragment}",
                script.stem
            );
        }
        for other in fragments.iter().filter(|other| !script.uses.contains(other)) {
            assert!(
                !code(&script.body).contains(&format!(" {other}_")),
                "{}: uses {other} unnamed",
                script.stem
            );
        }
    }
    for fragment in fragments {
        for line in read(format!("lua/lib/{fragment}.lua")).lines() {
            let definition = ["local ", "  ", "end", "--", "}"].iter().any(|start| line.starts_with(start));
            assert!(
                line.is_empty() || definition,
                "lua/lib/{fragment}.lua runs something when loaded: {line}"
            );
            assert!(
                !line.starts_with("local ") || !line.contains("redis."),
                "lua/lib/{fragment}.lua: {line}"
            );
        }
    }
}

#[test]
fn no_script_builds_a_key_or_reads_json_or_breaks_on_an_older_server() {
    let fragments = stems_in("lua/lib", ".lua").into_iter().map(|stem| format!("lua/lib/{stem}.lua"));
    let scripts = stems_in("lua", ".lua").into_iter().map(|stem| format!("lua/{stem}.lua"));
    for path in fragments.chain(scripts) {
        let source = read(&path);
        let code = code(source.split_once("]]\n").map_or(&*source, |(_, body)| body));
        for banned in ["cjson", "#!lua", "'EXPIRETIME'", "'PEXPIREAT'", "..'{'", "':session", "'SCAN'"] {
            assert!(!code.contains(banned), "{path} has {banned}");
        }
    }
}

/// Does each operation once, by the crate, so that the server sees each script called.
async fn exercise(store: &RedisStore) {
    let created = store.create(NewSession::new().user("ann").connection("c").node("n")).await.unwrap();
    let mut session = created.session;
    session.set("a", &1).unwrap();
    store.update(&mut session).await.unwrap();
    store.patch(&session, Patch::new().set("b", &2).unwrap()).await.unwrap();
    store.refresh(&session).await.unwrap().unwrap();
    let session = store.rotate(&session, Rotation::new()).await.unwrap().session;
    store.bind(&session, Binding::new("d").node("n")).await.unwrap();
    store.unbind(session.id(), "d").await.unwrap();
    store.list(&Owner::user("ann"), &PageRequest::first(10)).await.unwrap();
    store.count(&Owner::user("ann")).await.unwrap();
    store.delete(session.id()).await.unwrap();
    store.create(NewSession::new().user("ann")).await.unwrap();
    store.delete_user("ann", None).await.unwrap();
}

#[tokio::test]
async fn the_crate_sends_each_script_under_its_name_and_with_its_arity() {
    let context = Context::own(&[]).await;
    let monitor = redis::Client::open(context.server.url()).unwrap().get_async_monitor().await.unwrap();
    let mut lines = monitor.into_on_message::<String>();
    let store = context.store_at(Rules::new()).await;
    exercise(&store).await;
    let expired = store.create(NewSession::new()).await.unwrap().session;
    context.clock.advance(DEFAULT_TTL);
    assert_eq!(store.reap(10).await.unwrap().sessions.len(), 1);
    assert!(store.get(expired.id()).await.unwrap().is_none());
    context.command::<String>(&["ECHO", "exercised"]).await;

    let mut names = BTreeMap::new();
    for script in scripts() {
        let source = script.source();
        let sha: String = context.command(&["SCRIPT", "LOAD", &source]).await;
        names.insert(sha, script);
    }
    let mut seen = BTreeSet::new();
    while let Some(line) = lines.next().await {
        if line.contains("exercised") {
            break;
        }
        let Some((_, call)) = line.split_once("\"EVALSHA\" ") else {
            continue;
        };
        let parts: Vec<&str> = call[1..call.len() - 1].split("\" \"").collect();
        let script =
            names.get(parts[0]).unwrap_or_else(|| panic!("not made of what its header names: {line}"));
        let keys: usize = parts[1].parse().unwrap();
        check_arity(script, keys, parts.len() - 2 - keys);
        seen.insert(script.stem.clone());
    }
    // `get` is for other languages: the crate reads by GET.
    let mut expected = stems_in("lua", ".lua");
    expected.remove("get");
    assert_eq!(seen, expected);
}

fn check_arity(script: &Script, keys: usize, arguments: usize) {
    let (least_keys, least_arguments) = (fixed(&script.keys), fixed(&script.arguments));
    if script.keys.last().is_some_and(|last| last.is_group) {
        assert!(keys >= least_keys && arguments >= least_arguments, "{}", script.stem);
    } else {
        assert_eq!((keys, arguments), (least_keys, least_arguments), "{}", script.stem);
    }
}

#[tokio::test]
async fn a_call_with_too_few_arguments_breaks_the_contract_and_changes_nothing() {
    let context = Context::new().await;
    for script in scripts() {
        let source = script.source();
        let key = context.key("session:x");
        let error = context.try_command::<redis::Value>(&["EVAL", &source, "1", &key]).await.unwrap_err();
        assert!(error.to_string().contains(&format!("cloakroom {}", script.stem)), "{error}");
    }
    assert!(context.keys().await.is_empty());
}

#[tokio::test]
async fn an_argument_that_breaks_the_contract_is_an_error_and_changes_nothing() {
    let context = Context::new().await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let before = context.dump().await;
    for script in scripts() {
        let source = script.source();
        for (at, argument) in script.arguments.iter().enumerate().filter(|(_, argument)| !argument.is_group) {
            let bad = match argument.kind.as_str() {
                "integer" => "-1.5",
                "word" => "bogus",
                "8" => "short",
                _ => continue,
            };
            let mut call = redis::cmd("EVAL");
            call.arg(&source).arg(fixed(&script.keys));
            for key in script.keys.iter().filter(|key| !key.is_group) {
                call.arg(context.key(format!("{}:{}", key.name, session.id().as_str())));
            }
            for (other, argument) in script.arguments.iter().enumerate().filter(|(_, other)| !other.is_group)
            {
                call.arg(if other == at { bad } else { good(&script.stem, argument) });
            }
            let error = call.query_async::<redis::Value>(&mut context.raw.clone()).await.unwrap_err();
            let named = format!("cloakroom: {} is no", argument.name);
            assert!(error.to_string().contains(&named), "{} {}: {error}", script.stem, argument.name);
        }
    }
    assert_eq!(context.dump().await, before);
}

/// An argument as the contract wants it.
fn good(stem: &str, argument: &Parameter) -> &'static str {
    match (argument.kind.as_str(), argument.name.as_str()) {
        ("integer", _) => "500",
        ("8", _) => "12345678",
        ("word", "status") => "active",
        ("word", "policy") => {
            if stem == "bind" {
                "refuse"
            } else {
                "reject"
            }
        }
        ("word", "want") => "times",
        ("word", "kind") => "user",
        ("text", _) => "x",
        _ => "",
    }
}

#[tokio::test]
async fn get_lua_reads_what_the_crate_reads() {
    let context = Context::new().await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let source = parse("get").source();
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
