//! The commands that a script runs, read from its source: a user's ACL has to allow them.

use std::collections::BTreeSet;

use crate::minify::{Part, parts, words};

/// The ways in which a script runs a command. The command's name follows.
const CALLS: [&str; 3] = ["redis.call(", "redis.pcall(", "typed_call("];

/// The function of `lua/lib/permission.lua` that asks whether the user may run the commands after its call.
const QUESTION: &str = "permission_ask";

/// The two placeholders in it for these commands: as calls of `may`, and as names.
const MAY_REST: &str = "PERMISSION_MAY_REST";
const REST: &str = "PERMISSION_REST";

/// The commands that a piece of Lua runs.
pub fn commands(code: &str) -> Result<BTreeSet<String>, String> {
    let calls =
        CALLS.iter().flat_map(|call| code.match_indices(call).map(|(at, _)| &code[at + call.len()..]));
    calls.filter_map(name).collect()
}

/// The command name at the start of a call's arguments. `None`: the call passes its arguments on, and its
/// callers name the command.
fn name(arguments: &str) -> Option<Result<String, String>> {
    if arguments.starts_with("...)") {
        return None;
    }
    let name = arguments.strip_prefix('\'').and_then(|rest| rest.split('\'').next());
    let is_name = |name: &&str| name.chars().all(|character| character.is_ascii_uppercase());
    Some(name.filter(is_name).map(str::to_owned).ok_or_else(|| {
        let line = arguments.lines().next().unwrap_or_default();
        format!("a call without the name of its command: {line}")
    }))
}

/// A minified script in which the body of the question replaces each call of it.
pub(crate) fn with_questions(code: &str) -> Result<String, String> {
    let parts = parts(code);
    let Some(question) = parts.iter().find(|part| part.name == Some(QUESTION)) else {
        return Ok(code.to_owned());
    };
    let body: Vec<&str> = question.code.lines().map(str::trim).collect();
    let body = body.get(1..body.len() - 1).ok_or("the question has no body")?.join(" ");
    let mut asking = String::with_capacity(code.len());
    for (at, part) in parts.iter().enumerate().filter(|(_, part)| part.name != Some(QUESTION)) {
        let mut rest = part.code;
        while let Some((before, behind)) = rest.split_once(&format!("{QUESTION}(")) {
            if part.name.is_some() {
                return Err(format!("{QUESTION} is called in a function"));
            }
            let (but, behind) = behind.split_once(')').ok_or("a call without an end")?;
            asking += before;
            let but: Vec<&str> = but.split(", ").collect();
            asking += &asked(&body, &commands(&behind_it(&parts, at, &but))?);
            rest = behind;
        }
        asking += rest;
    }
    Ok(asking)
}

fn asked(body: &str, commands: &BTreeSet<String>) -> String {
    let each = |one: fn(&String) -> String| commands.iter().map(one).collect::<Vec<_>>();
    let may = each(|command| format!("may('{command}', key)")).join(" and ");
    let names = each(|command| format!("'{command}'")).join(", ");
    format!("do {} end", body.replace(MAY_REST, &may).replace(REST, &names))
}

/// The code that may run from a part of a script on, with the functions that it calls, except some.
fn behind_it(parts: &[Part<'_>], at: usize, but: &[&str]) -> String {
    let mut behind: String = parts[at..].iter().map(|part| part.code).collect();
    let is_asked_for = |name: &str| name != QUESTION && !but.contains(&name);
    let mut functions: Vec<&Part<'_>> =
        parts[..at].iter().filter(|part| part.name.is_some_and(is_asked_for)).collect();
    loop {
        let words: BTreeSet<&str> = words(&behind).collect();
        let (used, other): (Vec<_>, Vec<_>) =
            functions.into_iter().partition(|part| part.name.is_some_and(|name| words.contains(name)));
        if used.is_empty() {
            return behind;
        }
        functions = other;
        let used: String = used.iter().map(|part| part.code).collect();
        behind += &used;
    }
}

#[cfg(test)]
mod tests {
    use super::{commands, with_questions};

    #[test]
    fn a_command_is_what_a_call_begins_with() {
        let found = commands("redis.call('GET', key) typed_call('ZADD', k)\nredis.pcall(...)").unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["GET", "ZADD"]);
        assert!(commands("redis.call(name, key)").is_err());
    }

    const CODE: &str = "local function permission_ask(...)\n  return PERMISSION_MAY_REST or\n  { PERMISSION_REST }\nend\n\
        local function read()\n  redis.call('GET')\nend\n\
        local function deep_undo()\n  redis.call('ZADD')\nend\n\
        local function deep()\n  redis.call('SET')\n  deep_undo()\nend\n\
        local function write()\n  deep()\nend\n\
        read()\nif x then permission_ask(write, deep_undo) else permission_ask() end\nwrite()\nredis.call('DEL')\n";

    #[test]
    fn what_a_script_asks_for_is_what_it_may_run_behind_the_question() {
        let asking = with_questions(CODE).unwrap();
        let (_, rest) = asking.split_once("\nread()\n").unwrap();
        assert_eq!(
            rest,
            "if x then do return may('DEL', key) or { 'DEL' } end else do return may('DEL', key) and may('SET', key) \
             and may('ZADD', key) or { 'DEL', 'SET', 'ZADD' } end end\nwrite()\nredis.call('DEL')\n"
        );
        assert!(!asking.contains("permission_ask"));
    }

    #[test]
    fn only_the_script_itself_asks() {
        assert!(with_questions(&CODE.replace("  deep()", "  permission_ask()")).is_err());
        assert_eq!(with_questions("redis.call('GET')\n").unwrap(), "redis.call('GET')\n");
    }
}
