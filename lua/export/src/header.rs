//! Reads a script's header: what a call passes, and what the script answers. `lua/headers.md` has the
//! grammar.

pub use crate::field::Field;
pub use crate::parameter::{Access, Argument, Group, Key};
pub use crate::reply::{Need, Repeat, Reply};

use crate::parameter::Parameters;
use crate::{access, reply, role};

/// A script's header.
#[derive(Clone, Debug)]
pub struct Header {
    pub stem: String,
    pub summary: String,
    pub keys: Vec<Key>,
    pub arguments: Vec<Argument>,
    pub group: Option<Group>,
    pub replies: Vec<Reply>,
    pub needs: Vec<Need>,
    pub writes: String,
    /// The events that it writes, if any.
    pub events: Option<String>,
    pub again: String,
    pub uses: Vec<String>,
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

        let parameters = Parameters::parse(&entries(parameters, &["KEYS[", "ARGV["])?)?;
        let Parameters { mut keys, mut arguments, mut group } = parameters;
        let (replies, needs) = reply::replies(&entries(replies, &["{"])?)?;
        let writes = one_line(writes);
        access::set(&writes, &mut keys, group.as_mut())?;
        role::set(stem, &needs, &mut arguments)?;
        role::set_of_members(group.as_mut())?;
        Ok(Self {
            stem: stem.to_owned(),
            summary: summary.to_owned(),
            keys,
            arguments,
            group,
            replies,
            needs,
            writes,
            events,
            again: one_line(again),
            uses: list(&one_line(uses)),
        })
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

/// Joins lines with the lines that continue them.
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
