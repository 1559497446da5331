//! Reads the lines KEYS and ARGV of a header: what a call passes.

use serde::Serialize;
use serde_json::Value;

/// The most that any integer may be, unless its line says less: `ARGS_MOST` of `lua/lib/args.lua`.
const INTEGER_MOST: u64 = 35_184_372_088_831;

/// What a script may do to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    Read,
    ReadWrite,
}

/// `KEYS[1]  record  string  {ns:p}:session:<id>`
#[derive(Clone, Debug, Serialize)]
pub struct Key {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub pattern: String,
    pub access: Access,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// `ARGV[9]  ttl_ms  integer from 1 to 315360000000; default: 1800000`
#[derive(Clone, Debug, Serialize)]
pub struct Argument {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What it is for; it follows from the whole header.
    pub role: &'static str,
    /// The number of bytes, if it is fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Whether it may be empty.
    pub empty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_means: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// `KEYS[7+]  victim  group  record string pattern, node zset pattern; at most 200` and
/// `ARGV[16+]  victim  group  id (text), ttl_ms (integer from 1)`
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    pub name: String,
    pub keys: Vec<Key>,
    pub arguments: Vec<Argument>,
    pub at_most: usize,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Everything that a call passes.
pub(crate) struct Parameters {
    pub(crate) keys: Vec<Key>,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) group: Option<Group>,
}

impl Parameters {
    /// Parses lines of a header, each joined with its continuation.
    pub(crate) fn parse(lines: &[String]) -> Result<Self, String> {
        let (keys, key_group) = numbered("KEYS[", lines)?;
        let (arguments, argument_group) = numbered("ARGV[", lines)?;
        Ok(Self {
            keys: keys.iter().map(|line| key(line)).collect::<Result<_, _>>()?,
            arguments: arguments.iter().map(|line| argument(line)).collect::<Result<_, _>>()?,
            group: group(key_group, argument_group)?,
        })
    }
}

/// The numbered lines without their numbers, and the one that begins a group.
fn numbered(array: &str, lines: &[String]) -> Result<(Vec<String>, Option<String>), String> {
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
    Ok(Key { name, kind, pattern, access: Access::Read, note: clauses[1..].join("; ") })
}

fn argument(line: &str) -> Result<Argument, String> {
    let (name, clauses) = clauses(line)?;
    let mut argument = of_type(clauses[0])?;
    argument.unit = name.ends_with("_ms").then_some("ms");
    argument.name = name;
    let mut notes = Vec::new();
    for clause in &clauses[1..] {
        if let Some(meaning) = clause.strip_prefix("empty: ") {
            (argument.empty, argument.empty_means) = (true, Some(meaning.to_owned()));
        } else if let Some(default) = clause.strip_prefix("default: ") {
            argument.default = Some(match argument.kind {
                "integer" => number(default)?.into(),
                _ => default.into(),
            });
        } else {
            notes.push(*clause);
        }
    }
    argument.note = notes.join("; ");
    Ok(argument)
}

/// An argument of `integer from 1 to 9`, `text of up to 256 bytes`, `text of at least 1 byte`, `utf-8 of 1 to 128 bytes`,
/// `word: yes, no`, `8 bytes`.
fn of_type(told: &str) -> Result<Argument, String> {
    let mut argument = Argument {
        name: String::new(),
        kind: "word",
        role: "",
        bytes: None,
        minimum_bytes: None,
        maximum_bytes: None,
        minimum: None,
        maximum: None,
        unit: None,
        words: Vec::new(),
        empty: false,
        empty_means: None,
        default: None,
        note: String::new(),
    };
    if let Some(words) = told.strip_prefix("word: ") {
        argument.words = words.split(',').map(|word| word.trim().to_owned()).collect();
    } else if let Some(range) = told.strip_prefix("integer from ") {
        let (least, most) = range.split_once(" to ").unwrap_or((range, ""));
        argument.kind = "integer";
        argument.minimum = Some(number(least)?);
        argument.maximum = Some(if most.is_empty() { INTEGER_MOST } else { number(most)? });
    } else if let Some(bytes) = told.strip_suffix(" bytes").filter(|told| !told.contains(' ')) {
        (argument.kind, argument.bytes) = ("bytes", Some(number(bytes)?));
    } else {
        let (kind, size) = told.split_once(" of ").unwrap_or((told, ""));
        let known = ["text", "utf-8", "entries"].into_iter().find(|known| *known == kind);
        argument.kind = known.ok_or_else(|| format!("no type of an argument: {told}"))?;
        let size = size.trim_end_matches('s').trim_end_matches(" byte");
        if let Some(most) = size.strip_prefix("up to ") {
            argument.maximum_bytes = Some(number(most)?);
        } else if let Some(least) = size.strip_prefix("at least ") {
            argument.minimum_bytes = Some(number(least)?);
        } else if let Some((least, most)) = size.split_once(" to ") {
            (argument.minimum_bytes, argument.maximum_bytes) = (Some(number(least)?), Some(number(most)?));
        }
    }
    Ok(argument)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("no number: {text}"))
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
    let items = |clause: &str| -> Result<Vec<String>, String> {
        let items = clause.trim().strip_prefix("group ").ok_or("no group")?;
        Ok(split_items(items.trim()))
    };
    let at_most = key_clauses.get(1).and_then(|clause| clause.strip_prefix("at most ")?.parse().ok());
    Ok(Some(Group {
        name,
        keys: items(key_clauses[0])?.iter().map(|item| key(item)).collect::<Result<_, _>>()?,
        arguments: items(arguments)?.iter().map(|item| member_argument(item)).collect::<Result<_, _>>()?,
        at_most: at_most.ok_or("a group does not say how many there are at most")?,
        note: key_clauses[2..].join("; "),
    }))
}

/// The text in parentheses behind its name has the form of any argument.
fn member_argument(item: &str) -> Result<Argument, String> {
    let told = item.split_once(" (").and_then(|(name, told)| Some((name, told.strip_suffix(')')?)));
    let (name, told) = told.ok_or_else(|| format!("a name alone: {item}"))?;
    argument(&format!("{name} {told}"))
}

/// Splits at the commas outside of parentheses.
pub(crate) fn split_items(text: &str) -> Vec<String> {
    let mut depth = 0;
    let items = text.split(|character| {
        depth += i32::from(character == '(') - i32::from(character == ')');
        character == ',' && depth == 0
    });
    items.map(|item| item.trim().to_owned()).collect()
}
