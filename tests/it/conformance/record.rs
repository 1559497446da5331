//! Records and entries, read and written by the layout that the bundle tells.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::bundle::{EntryLayout, Field, FreezeLayout, Layout};
use super::case::hex;

/// The longest id.
const ID_BYTES: usize = 128;

/// A big-endian integer.
fn integer(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn field<'a>(header: &[Field], name: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let field = header.iter().find(|field| field.name == name).unwrap();
    bytes.get(field.offset..field.offset + field.bytes)
}

fn text(bytes: &[u8]) -> Option<Value> {
    String::from_utf8(bytes.to_vec()).ok().map(Value::from)
}

/// Takes so many bytes from the front, if there are.
fn take<'a>(bytes: &mut &'a [u8], size: u64) -> Option<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(usize::try_from(size).unwrap())?;
    *bytes = rest;
    Some(front)
}

impl Layout {
    /// A record as a case has it. `None`: it is none.
    pub(crate) fn read(&self, bytes: &[u8]) -> Option<Value> {
        let number = |name: &str| Some(integer(field(&self.header, name, bytes)?));
        let mut record = Map::new();
        for Field { name, .. } in &self.header {
            match name.as_str() {
                "format" if number(name)? != 2 => return None,
                "op_ids" => {
                    let operations: Vec<_> = field(&self.header, name, bytes)?.chunks(8).map(hex).collect();
                    record.insert("operations".to_owned(), json!(operations));
                }
                "kind" | "status" => {
                    let words = if name == "kind" { &self.kinds } else { &self.statuses };
                    let (word, _) = words.iter().find(|&(_, of)| Some(*of) == number(name))?;
                    record.insert(name.clone(), json!(word));
                }
                size if size == "format" || size.ends_with("_size") => {}
                _ => {
                    record.insert(name.clone(), number(name)?.into());
                }
            }
        }
        let mut rest = bytes.get(self.header_bytes..)?;
        let is_migrating = record["status"] == "migrating";
        if record["kind"] == "live" && number("stored_until")? < number("expires_at")? {
            return None;
        }
        for name in &self.texts {
            let mut part = take(&mut rest, number(&format!("{name}_size"))?)?;
            if name == "body" && is_migrating {
                record.insert("freeze".to_owned(), self.freeze.read(&mut part, &self.statuses)?);
            }
            match name.as_str() {
                "body" if record["kind"] == "live" => {
                    record.insert("entries".to_owned(), self.entry.read(part)?)
                }
                "body" if record["kind"] == "departed" => {
                    record.insert("task".to_owned(), json!(hex(take(&mut part, self.departed_task_bytes)?)));
                    record.insert("place".to_owned(), text(part)?)
                }
                "body" if record["kind"] == "moved" && !(1..=ID_BYTES).contains(&part.len()) => return None,
                "body" => record.insert("new_id".to_owned(), text(part)?),
                name => record.insert(name.to_owned(), text(part)?),
            };
        }
        rest.is_empty().then_some(Value::Object(record))
    }
}

impl FreezeLayout {
    /// A freeze from the front of a body.
    fn read(&self, body: &mut &[u8], statuses: &BTreeMap<String, u64>) -> Option<Value> {
        let header = take(body, self.header_bytes as u64)?;
        let number = |name| Some(integer(field(&self.header, name, header)?));
        let word = |words: &BTreeMap<String, u64>, name| {
            let number = number(name)?;
            words.iter().find(|&(_, of)| *of == number).map(|(word, _)| word.clone())
        };
        Some(json!({
            "task": hex(field(&self.header, "task", header)?),
            "frozen_until": number("frozen_until")?,
            "span": number("span")?,
            "copies_until": number("copies_until")?,
            "status": word(statuses, "status").filter(|status| status != "migrating")?,
            "direction": word(&self.directions, "direction")?,
            "place": text(take(body, number("place_size")?)?)?,
            "node": text(take(body, number("node_size")?)?)?,
        }))
    }
}

impl EntryLayout {
    /// What the changes in a body come to: the last of a key counts, and an empty value removes.
    fn read(&self, mut bytes: &[u8]) -> Option<Value> {
        let mut entries: Vec<Value> = Vec::new();
        while !bytes.is_empty() {
            let header = take(&mut bytes, self.header_bytes as u64)?;
            let number = |name| Some(integer(field(&self.header, name, header)?));
            let (kind, _) = self.kinds.iter().find(|&(_, of)| Some(*of) == number("kind"))?;
            let key = text(take(&mut bytes, number("key_size")?)?)?;
            let json = text(take(&mut bytes, number("value_size")?)?)?;
            let removes = json == "";
            let entry = json!({ "kind": kind, "key": key, "json": json });
            let place =
                entries.iter().position(|one| one["kind"] == entry["kind"] && one["key"] == entry["key"]);
            match (place, removes) {
                (Some(place), true) => drop(entries.remove(place)),
                (Some(place), false) => entries[place] = entry,
                (None, true) => {}
                (None, false) => entries.push(entry),
            }
        }
        Some(Value::Array(entries))
    }

    /// An entry of a case, as it is stored and sent.
    pub(crate) fn write(&self, entry: &Value) -> Vec<u8> {
        let text = |name: &str| entry[name].as_str().unwrap();
        let (key, json) = (text("key"), text("json"));
        let mut bytes = Vec::new();
        for Field { name, bytes: size, .. } in &self.header {
            let number = match name.as_str() {
                "kind" => self.kinds[text("kind")],
                "key_size" => key.len() as u64,
                "value_size" => json.len() as u64,
                other => panic!("{other} in the header of an entry"),
            };
            bytes.extend_from_slice(&number.to_be_bytes()[8 - size..]);
        }
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(json.as_bytes());
        bytes
    }
}
