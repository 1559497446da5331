//! A script's header, read: what a call passes, and what it answers. `lua/README.md` has the grammar.

use serde::Serialize;

/// A script's header.
#[derive(Debug)]
pub struct Header {
    pub stem: String,
    pub summary: String,
    pub keys: Vec<Key>,
    pub arguments: Vec<Argument>,
    pub group: Option<Group>,
    pub replies: Vec<Reply>,
    pub needs: Vec<Need>,
    pub writes: String,
    /// Which events it tells, if it tells any.
    pub events: Option<String>,
    pub again: String,
    pub uses: Vec<String>,
}

/// `KEYS[1]  record  string  {ns:p}:session:<id>`
#[derive(Debug, Serialize)]
pub struct Key {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub pattern: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// `ARGV[9]  ttl_ms  integer; default: 1800000`
#[derive(Debug, Serialize)]
pub struct Argument {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// How many, of an argument that has just so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Whether it may be empty.
    pub empty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_means: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// `KEYS[7+]  victim  group  pattern pattern; at most 200` and `ARGV[16+]  victim  group  id, ttl_ms (integer)`
#[derive(Debug, Serialize)]
pub struct Group {
    pub name: String,
    pub keys: Vec<String>,
    pub arguments: Vec<Argument>,
    pub at_most: usize,
}

/// `{"ok", version, evicted_id...}  a note`
#[derive(Debug, Serialize)]
pub struct Reply {
    pub word: String,
    pub fields: Vec<String>,
    /// Behind the fields, if the call asked for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub optional: Vec<String>,
    /// Behind those, what repeats.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rest: Vec<Repeat>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// `id...`, to the end of the reply, or `removed*(id, record)`, as often as a field says.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Repeat {
    pub fields: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<String>,
}

/// `{"need", "routing", user, connection, node}  a note`
#[derive(Debug)]
pub struct Need {
    pub kind: String,
    pub fields: Vec<String>,
    pub rest: Vec<Repeat>,
    pub note: String,
}

impl Header {
    pub(crate) fn parse(stem: &str, source: &str) -> Result<Self, String> {
        let parsed = Self::of_source(stem, source);
        parsed.map_err(|reason| format!("lua/{stem}.lua: {reason}"))
    }

    fn of_source(stem: &str, source: &str) -> Result<Self, String> {
        let header = source.strip_prefix("--[[\n").ok_or("does not begin with its header")?;
        let (header, _) = header.split_once("]]\n").ok_or("the header has no end")?;
        let (summary, rest) = header.split_once("\n\n").ok_or("no summary")?;
        let (parameters, rest) = rest.split_once("\n\n").ok_or("no parameters")?;
        let rest = rest.trim_start().strip_prefix("Replies\n").ok_or("no replies")?;
        let (replies, rest) = rest.split_once("  Writes:").ok_or("no line Writes:")?;
        let (writes, rest) = rest.split_once("  Again:").ok_or("no line Again:")?;
        let (writes, events) = match writes.split_once("  Events:") {
            Some((writes, events)) => (writes, Some(one_line(events))),
            None => (writes, None),
        };
        let (again, uses) = rest.split_once("  Uses:").ok_or("no line Uses:")?;
        let summary = one_line(summary);
        let summary = summary.strip_prefix(&format!("{stem}: ")).ok_or("does not begin with its stem")?;

        let (keys, key_group) = parameters_of("KEYS[", parameters)?;
        let (arguments, argument_group) = parameters_of("ARGV[", parameters)?;
        let mut header = Self {
            stem: stem.to_owned(),
            summary: summary.to_owned(),
            keys: keys.iter().map(|line| key(line)).collect::<Result<_, _>>()?,
            arguments: arguments.iter().map(|line| argument(line)).collect::<Result<_, _>>()?,
            group: group(key_group, argument_group)?,
            replies: Vec::new(),
            needs: Vec::new(),
            writes: one_line(writes),
            events,
            again: one_line(again),
            uses: list(&one_line(uses)),
        };
        for line in entries(replies, &["{"])? {
            let reply = reply(&line)?;
            if reply.word == "need" { header.needs.push(need(reply)?) } else { header.replies.push(reply) }
        }
        Ok(header)
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

/// Lines with those that continue them.
fn entries(text: &str, starts: &[&str]) -> Result<Vec<String>, String> {
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if starts.iter().any(|start| line.starts_with(start)) {
            entries.push(line.to_owned());
        } else {
            let last = entries.last_mut().ok_or_else(|| format!("continues nothing: {line}"))?;
            *last = format!("{last} {line}");
        }
    }
    Ok(entries)
}

/// The numbered lines without their numbers, and the one that begins a group.
fn parameters_of(array: &str, text: &str) -> Result<(Vec<String>, Option<String>), String> {
    let lines = entries(text, &["KEYS[", "ARGV["])?;
    let (mut single, mut group) = (Vec::new(), None);
    for line in lines.iter().filter_map(|line| line.strip_prefix(array)) {
        let (index, rest) = line.split_once(']').ok_or_else(|| format!("no number: {line}"))?;
        if index.trim_end_matches('+') != (single.len() + 1).to_string() || group.is_some() {
            return Err(format!("not numbered in order: {line}"));
        }
        let rest = rest.trim_start().to_owned();
        if index.ends_with('+') { group = Some(rest) } else { single.push(rest) }
    }
    Ok((single, group))
}

/// A name and the clauses behind it.
fn clauses(line: &str) -> Result<(String, Vec<&str>), String> {
    let (name, rest) = line.split_once(' ').ok_or_else(|| format!("a name alone: {line}"))?;
    Ok((name.to_owned(), rest.split(';').map(str::trim).collect()))
}

fn key(line: &str) -> Result<Key, String> {
    let (name, clauses) = clauses(line)?;
    let (kind, pattern) = clauses[0].split_once(' ').ok_or_else(|| format!("no pattern: {line}"))?;
    if !["string", "zset"].contains(&kind) {
        return Err(format!("no type of a key: {kind}"));
    }
    let (kind, pattern) = (kind.to_owned(), pattern.trim().to_owned());
    Ok(Key { name, kind, pattern, note: clauses[1..].join("; ") })
}

fn argument(line: &str) -> Result<Argument, String> {
    let (name, clauses) = clauses(line)?;
    let (kind, bytes, words) = match clauses[0] {
        "integer" => ("integer", None, Vec::new()),
        "text" => ("text", None, Vec::new()),
        "utf-8" => ("utf-8", None, Vec::new()),
        "entries" => ("entries", None, Vec::new()),
        "8 bytes" => ("bytes", Some(8), Vec::new()),
        "32 bytes" => ("bytes", Some(32), Vec::new()),
        other => {
            let words =
                other.strip_prefix("word: ").ok_or_else(|| format!("no type of an argument: {other}"))?;
            ("word", None, list(words))
        }
    };
    let clause =
        |name: &str| clauses[1..].iter().find_map(|clause| clause.strip_prefix(name)).map(str::to_owned);
    let is_note = |clause: &&str| !clause.starts_with("empty: ") && !clause.starts_with("default: ");
    let notes: Vec<&str> = clauses[1..].iter().copied().filter(is_note).collect();
    let empty_means = clause("empty: ");
    Ok(Argument {
        kind,
        bytes,
        unit: name.ends_with("_ms").then_some("ms"),
        words,
        empty: empty_means.is_some(),
        empty_means,
        default: clause("default: "),
        note: notes.join("; "),
        name,
    })
}

fn group(keys: Option<String>, arguments: Option<String>) -> Result<Option<Group>, String> {
    let (keys, arguments) = match (keys, arguments) {
        (None, None) => return Ok(None),
        (Some(keys), Some(arguments)) => (keys, arguments),
        _ => return Err("a group has both keys and arguments".to_owned()),
    };
    let (name, key_clauses) = clauses(&keys)?;
    let (argument_name, arguments) = arguments.split_once(' ').ok_or("a group alone")?;
    if name != argument_name {
        return Err(format!("one group, two names: {name}, {argument_name}"));
    }
    let at_most = key_clauses.iter().find_map(|clause| clause.strip_prefix("at most ")?.parse().ok());
    let items = |clause: &str| clause.strip_prefix("group ").map(|items| items.trim().to_owned());
    let patterns = items(key_clauses[0]).ok_or("no group")?;
    Ok(Some(Group {
        name,
        keys: patterns.split_whitespace().map(str::to_owned).collect(),
        arguments: split_items(&items(arguments.trim()).ok_or("no group")?)
            .iter()
            .map(|item| member_argument(item))
            .collect::<Result<_, _>>()?,
        at_most: at_most.ok_or("a group does not say how many there are at most")?,
    }))
}

/// What stands in parentheses behind its name is as behind that of any argument. Without, it is text.
fn member_argument(item: &str) -> Result<Argument, String> {
    match item.split_once(" (") {
        Some((name, told)) => argument(&format!("{name} {}", told.trim_end_matches(')'))),
        None if item == "id" => argument("id text"),
        None => argument(&format!("{item} text; empty: none")),
    }
}

fn reply(line: &str) -> Result<Reply, String> {
    let (items, note) = line[1..].split_once('}').ok_or_else(|| format!("a reply without an end: {line}"))?;
    let mut items = split_items(items).into_iter();
    let word = items.next().and_then(|word| quoted(&word)).ok_or_else(|| format!("no word: {line}"))?;
    let mut reply = Reply {
        word,
        fields: Vec::new(),
        optional: Vec::new(),
        rest: Vec::new(),
        note: note.trim().to_owned(),
    };
    for item in items {
        if let Some(name) = item.strip_suffix('?') {
            reply.optional.push(name.to_owned());
        } else if let Some(fields) = item.strip_suffix("...") {
            reply.rest.push(Repeat { fields: in_parentheses(fields), times: None });
        } else if let Some((times, fields)) = item.split_once('*') {
            let times = Some(times.to_owned());
            reply.rest.push(Repeat { fields: in_parentheses(fields), times });
        } else if reply.optional.is_empty() && reply.rest.is_empty() {
            reply.fields.push(item);
        } else {
            return Err(format!("a field behind what may be absent or repeats: {line}"));
        }
    }
    Ok(reply)
}

fn need(reply: Reply) -> Result<Need, String> {
    let kind = reply.fields.first().and_then(|kind| quoted(kind)).ok_or("need does not say what")?;
    Ok(Need { kind, fields: reply.fields[1..].to_vec(), rest: reply.rest, note: reply.note })
}

/// Splits at the commas that are in no parentheses.
fn split_items(text: &str) -> Vec<String> {
    let mut depth = 0;
    let items = text.split(|character| {
        depth += i32::from(character == '(') - i32::from(character == ')');
        character == ',' && depth == 0
    });
    items.map(|item| item.trim().to_owned()).collect()
}

fn quoted(text: &str) -> Option<String> {
    Some(text.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}

fn in_parentheses(text: &str) -> Vec<String> {
    list(text.trim_start_matches('(').trim_end_matches(')'))
}
