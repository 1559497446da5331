//! Reads the lines behind `Replies` of a header: what a script answers.

use serde::Serialize;

use crate::field::Field;
use crate::parameter::split_items;

/// `{"ok", version, evicted_id...}  a note`
#[derive(Clone, Debug, Serialize)]
pub struct Reply {
    pub word: String,
    pub fields: Vec<Field>,
    /// Behind the fields, if the call asked for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub optional: Vec<Field>,
    /// The repeating fields behind those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rest: Vec<Repeat>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// `id...`, to the end of the reply, or `removed*(id, record)`, as often as a field says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repeat {
    pub fields: Vec<Field>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<String>,
}

/// `{"need", "routing", user, connection, node}  a note`
#[derive(Clone, Debug)]
pub struct Need {
    pub kind: String,
    pub fields: Vec<Field>,
    pub rest: Vec<Repeat>,
    pub note: String,
}

/// All forms of reply: those of a `need`, and the others.
pub(crate) fn replies(lines: &[String]) -> Result<(Vec<Reply>, Vec<Need>), String> {
    let (mut replies, mut needs) = (Vec::new(), Vec::new());
    for line in lines {
        let (items, note) =
            line[1..].split_once('}').ok_or_else(|| format!("a reply without an end: {line}"))?;
        let items = split_items(items);
        let word = quoted(&items[0]).ok_or_else(|| format!("no word: {line}"))?;
        let read = |word: String, fields: &[String]| {
            reply(word, fields, note.trim()).map_err(|why| format!("{why}: {line}"))
        };
        if word == "need" {
            let kind = items.get(1).and_then(|kind| quoted(kind));
            let kind = kind.ok_or_else(|| format!("need does not say what: {line}"))?;
            let reply = read(word, &items[2..])?;
            needs.push(Need { kind, fields: reply.fields, rest: reply.rest, note: reply.note });
        } else {
            replies.push(read(word, &items[1..])?);
        }
    }
    Ok((replies, needs))
}

fn reply(word: String, items: &[String], note: &str) -> Result<Reply, String> {
    let (mut fields, mut optional, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        if let Some(name) = item.strip_suffix('?') {
            optional.push(Field::of(name)?);
        } else if let Some(fields) = item.strip_suffix("...") {
            rest.push(Repeat { fields: in_parentheses(fields)?, times: None });
        } else if let Some((times, fields)) = item.split_once('*') {
            rest.push(Repeat { fields: in_parentheses(fields)?, times: Some(times.to_owned()) });
        } else if optional.is_empty() && rest.is_empty() {
            fields.push(Field::of(item)?);
        } else {
            return Err("a field behind what may be absent or repeats".to_owned());
        }
    }
    Ok(Reply { word, fields, optional, rest, note: note.to_owned() })
}

fn quoted(text: &str) -> Option<String> {
    Some(text.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}

fn in_parentheses(text: &str) -> Result<Vec<Field>, String> {
    let names = text.trim_start_matches('(').trim_end_matches(')').split(',');
    names.map(|name| Field::of(name.trim())).collect()
}
