//! Compares the scripts' headers with their bodies, with each other and with what the crate sends.

mod bounds;
mod broken_calls;
mod by_hand;
pub(crate) mod calls;
mod exported;
mod nameless;
mod noted;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cloakroom_export::header::{Header, Need};
use cloakroom_export::script;

use crate::support::repository::{self, root};

/// All the words that a reply may begin with.
const WORDS: [&str; 22] = [
    "ok",
    "again",
    "part",
    "unsure",
    "unchanged",
    "missing",
    "exists",
    "conflict",
    "moved",
    "rotated",
    "departed",
    "gone",
    "limit",
    "large",
    "need",
    "frozen",
    "taken",
    "fenced",
    "leased",
    "lapsed",
    "expired",
    "corrupt",
];

/// A script's header, read, its body, and what is sent.
struct Script {
    header: Header,
    body: String,
    source: String,
}

impl Script {
    fn stem(&self) -> &str {
        &self.header.stem
    }

    /// The words of its replies.
    fn words(&self) -> BTreeSet<String> {
        let mut words: BTreeSet<String> =
            self.header.replies.iter().map(|reply| reply.word.clone()).collect();
        if !self.header.needs.is_empty() {
            words.insert("need".to_owned());
        }
        words
    }
}

fn lua() -> PathBuf {
    root().join("lua")
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
    repository::scripts().iter().cloned().map(with_body).collect()
}

fn script(stem: &str) -> Script {
    scripts().into_iter().find(|script| script.stem() == stem).unwrap()
}

fn with_body(exported: script::Script) -> Script {
    let script::Script { header, source, general: _ } = exported;
    let whole = read(format!("lua/{}.lua", header.stem));
    let (_, body) = whole.split_once("]]\n").unwrap();
    Script { body: body.to_owned(), header, source }
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
    let mut modules = stems_in("src/redis/commands", ".rs");
    assert!(modules.remove("mod"));
    assert_eq!(scripts, modules);
    let tests = stems_in("tests/it", ".rs");
    let store = ["session_store", "node_registry", "migration_store"]
        .map(|name| read(format!("src/store/{name}.rs")))
        .concat();
    let memory = stems_in("src/memory/ops", ".rs");
    // What mends is of Redis alone: in memory nothing is stored without what leads to it.
    let (mends, operations): (Vec<_>, Vec<_>) = scripts.iter().partition(|stem| stem.starts_with("mend_"));
    assert!(!mends.is_empty() && tests.contains("verify"), "tests/it/verify.rs is missing");
    for stem in operations {
        assert!(memory.contains(stem.as_str()), "src/memory/ops/{stem}.rs is missing");
        assert!(tests.contains(stem.as_str()), "tests/it/{stem}.rs is missing");
        assert!(store.contains(&format!("async fn {stem}(")), "the store lacks {stem}");
    }
}

#[test]
fn operations_do_not_import_each_other() {
    for stem in stems_in("src/redis/commands", ".rs").into_iter().filter(|stem| stem != "mod") {
        let source = read(format!("src/redis/commands/{stem}.rs"));
        assert!(
            !source.contains("ops::") && !source.contains("super::"),
            "src/redis/commands/{stem}.rs imports another"
        );
    }
}

#[test]
fn every_key_and_argument_is_bound_to_its_name_in_the_first_lines_and_not_touched_by_number_below() {
    for script in scripts() {
        let (binding, rest) = binding_and_rest(&script.body);
        for key in &script.header.keys {
            let name = format!("{}_key", key.name);
            let short = if key.name.ends_with("_record") {
                key.name.replace("_record", "_key")
            } else {
                name.clone()
            };
            assert!(
                binding.contains(&name) || binding.contains(&short),
                "{}: {name} is not bound",
                script.stem()
            );
        }
        for (at, argument) in script.header.arguments.iter().enumerate() {
            let name = argument.name.trim_end_matches("_ms");
            // A word is bound to what it means, such as `takeover` for a policy.
            let bound = binding.contains(name) || argument.kind == "word";
            assert!(bound, "{}: {name} is not bound", script.stem());
            let checks: &[&str] = match (argument.kind, argument.bytes) {
                _ if name == "now" => &["clock_now("],
                _ if ["op_id", "bound"].contains(&name)
                    && (binding.contains("args_operation(ARGV[2], ARGV[3])")
                        || rest.contains("args_operation(op_id, bound_ms)")) =>
                {
                    continue;
                }
                ("integer", _) if argument.empty => &["args_optional_integer("],
                ("integer", _) => &["args_integer("],
                ("word", _) => &["args_word(", "args_choice(", "record_status("],
                (_, Some(8)) => &["args_token(", "args_optional_token("],
                (_, Some(_)) => &["args_op_ids("],
                ("entries", _) => &["entries_argument("],
                _ => continue,
            };
            // One that is bound as it comes is checked below, by its name.
            let is_checked = checks.iter().any(|check| {
                binding.contains(&format!("{check}ARGV[{}]", at + 1))
                    || rest.contains(&format!("{check}{}", argument.name))
            });
            assert!(is_checked, "{}: {name} is not checked", script.stem());
        }
        for at in 0..10 {
            for array in ["KEYS", "ARGV"] {
                assert!(
                    !rest.contains(&format!("{array}[{at}")),
                    "{}: {array} by number below",
                    script.stem()
                );
            }
        }
    }
}

#[test]
fn the_words_of_a_header_are_those_that_the_body_and_its_fragments_reply_with() {
    for script in scripts() {
        let own = literal_words(&script.body);
        let words = script.words();
        let unlisted: Vec<_> = own.difference(&words).collect();
        assert!(unlisted.is_empty(), "{}: {unlisted:?} are not in the header", script.stem());
        let mut possible = own;
        // A word may be chosen before the reply, as refresh does.
        possible.extend(
            WORDS.iter().filter(|word| script.body.contains(&format!("'{word}'"))).map(|&w| w.to_owned()),
        );
        possible.extend(literal_words(&script.source));
        for word in &words {
            assert!(possible.contains(word), "{}: {word} is in the header and in no reply", script.stem());
        }
    }
}

#[test]
fn the_kinds_of_need_are_those_of_the_scripts() {
    for script in scripts() {
        let (stem, source) = (script.stem(), &script.source);
        for Need { kind, .. } in &script.header.needs {
            let told = [format!("'need', '{kind}'"), format!("limit_need('{kind}'")];
            assert!(told.iter().any(|told| source.contains(told)), "{stem}: it never needs {kind}");
        }
    }
}

#[test]
fn the_scripts_have_nothing_that_minify_does_not_know() {
    for script in scripts() {
        assert!(!script.body.contains("[["), "{}: minify() knows no long strings", script.stem());
        for fragment in &script.header.uses {
            assert!(!read(format!("lua/lib/{fragment}.lua")).contains("[["), "{fragment}: no long strings");
        }
    }
}

/// Whether Lua names something of a fragment, which begins with the fragment's name.
fn names_fragment(code: &str, fragment: &str) -> bool {
    let mut words = code.split(|character: char| !character.is_alphanumeric() && character != '_');
    let prefixes = [format!("{fragment}_"), format!("{}_", fragment.to_uppercase())];
    words.any(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
}

#[test]
fn a_script_uses_just_the_fragments_that_it_names_and_those_have_no_load_time_effects() {
    let fragments = stems_in("lua/lib", ".lua");
    for script in scripts() {
        let (stem, uses) = (script.stem(), &script.header.uses);
        let sources: Vec<String> =
            uses.iter().map(|used| code(&read(format!("lua/lib/{used}.lua")))).collect();
        let body = code(&script.body);
        for (at, fragment) in uses.iter().enumerate() {
            assert!(fragments.contains(fragment), "{stem}: {fragment} is no fragment");
            let mut behind = sources[at + 1..].iter().chain([&body]);
            assert!(behind.any(|user| names_fragment(user, fragment)), "{stem}: nothing uses {fragment}");
            let mut before = sources[..at].iter();
            assert!(!before.any(|user| names_fragment(user, fragment)), "{stem}: {fragment} comes too late");
        }
        for other in fragments.iter().filter(|other| !uses.contains(other)) {
            let mut all = sources.iter().chain([&body]);
            assert!(!all.any(|user| names_fragment(user, other)), "{stem}: uses {other} unnamed");
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
fn no_line_of_a_script_is_wider_than_120_columns() {
    for directory in ["lua", "lua/lib", "lua/start"] {
        for stem in stems_in(directory, ".lua") {
            let path = format!("{directory}/{stem}.lua");
            for (at, line) in read(&path).lines().enumerate() {
                assert!(line.chars().count() <= 120, "{path}:{}: {line}", at + 1);
                assert_eq!(line.trim_end(), line, "{path}:{}: blanks at the end", at + 1);
            }
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
