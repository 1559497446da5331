//! Replies, read by the forms that the bundle has of them.

use std::collections::BTreeSet;

use redis::Value as Answer;
use serde_json::{Value, json};

use super::bundle::{Bundle, Operation, Repeat, ReplyField};

/// The names of what stands in a reply, and which of its forms this is.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    /// Names and types.
    fields: Vec<(&'a str, &'a str)>,
    pub(crate) forms: BTreeSet<String>,
}

impl Operation {
    /// All forms that its replies have: a word without what may be left out, and with each of that.
    pub(crate) fn forms(&self) -> BTreeSet<String> {
        let mut forms: BTreeSet<String> =
            self.needs.iter().map(|need| format!("need {}", need.kind)).collect();
        for reply in &self.replies {
            forms.insert(reply.word.clone());
            let optional = reply.optional.iter().map(|field| field.name.as_str());
            for more in optional.chain(reply.rest.iter().map(label)) {
                forms.insert(format!("{} with {more}", reply.word));
            }
        }
        forms
    }

    /// How a reply reads. `None`: it has none of the forms.
    pub(crate) fn read(&self, reply: &[Value]) -> Option<Reading<'_>> {
        let word = reply.first()?.as_str()?;
        let (mut read, fields, optional, rest) = if word == "need" {
            let kind = reply.get(1)?.as_str()?;
            let need = self.needs.iter().find(|need| need.kind == kind)?;
            (vec![("word", "word"), ("kind", "word")], &need.fields, None, &need.rest)
        } else {
            let form = self.replies.iter().find(|form| form.word == word)?;
            (vec![("word", "word")], &form.fields, Some(&form.optional), &form.rest)
        };
        read.extend(fields.iter().map(told));
        let mut more = BTreeSet::new();
        for field in optional.into_iter().flatten().filter(|_| reply.len() > read.len()).collect::<Vec<_>>() {
            read.push(told(field));
            more.insert(field.name.as_str());
        }
        for repeat in rest {
            let left = reply.len().checked_sub(read.len())?;
            let times = match &repeat.times {
                None => left / repeat.fields.len(),
                Some(counter) => {
                    let at = read.iter().position(|(name, _)| name == counter)?;
                    usize::try_from(reply[at].as_u64()?).unwrap()
                }
            };
            for _ in 0..times {
                read.extend(repeat.fields.iter().map(told));
            }
            if times > 0 {
                more.insert(label(repeat));
            }
        }
        let word = if word == "need" { format!("need {}", reply[1].as_str()?) } else { word.to_owned() };
        let mut forms: BTreeSet<String> = more.iter().map(|more| format!("{word} with {more}")).collect();
        if word.starts_with("need") || forms.is_empty() {
            forms = BTreeSet::from([word]);
        }
        (read.len() == reply.len()).then_some(Reading { fields: read, forms })
    }
}

fn told(field: &ReplyField) -> (&str, &str) {
    (&field.name, &field.kind)
}

fn label(repeat: &Repeat) -> &str {
    repeat.times.as_ref().unwrap_or(&repeat.fields[0].name)
}

/// An answer of the server as a case would have it.
pub(crate) fn answered(
    bundle: &Bundle,
    operation: &Operation,
    answer: &Answer,
) -> Result<Vec<Value>, String> {
    let Answer::Array(parts) = answer else {
        return Err(format!("not an array: {answer:?}"));
    };
    let mut reply = Vec::new();
    for part in parts {
        reply.push(match part {
            Answer::Int(number) => json!(number),
            Answer::BulkString(bytes) => json!(String::from_utf8_lossy(bytes)),
            other => return Err(format!("{other:?} in a reply")),
        });
    }
    let reading = operation.read(&reply).ok_or_else(|| format!("none of its forms: {reply:?}"))?;
    for (at, _) in reading.fields.iter().enumerate().filter(|(_, (_, kind))| *kind == "record") {
        let record = match &parts[at] {
            Answer::BulkString(bytes) => bundle.record.read(bytes),
            _ => None,
        };
        reply[at] = json!({ "record": record.ok_or("what should be a record is none")? });
    }
    Ok(reply)
}
