//! What a script does to each of its keys, by the line `Writes:` of its header: `record, expiry; rarely connection`.

use serde::Serialize;

use crate::parameter::{Group, Key};

/// What a script may do to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    Read,
    ReadWrite,
}

/// What stands in `Writes:` of a script that writes nothing.
pub(crate) const NOTHING: &str = "nothing.";

/// Sets what is written.
pub(crate) fn set(writes: &str, keys: &mut [Key], mut group: Option<&mut Group>) -> Result<(), String> {
    if writes == NOTHING {
        return Ok(());
    }
    // Not all headers name their keys yet: of one that does not, all are taken for written.
    let Some(written) = named(writes, keys, group.as_deref()) else {
        let members = group.into_iter().flat_map(|group| &mut group.keys);
        keys.iter_mut().chain(members).for_each(|key| key.access = Access::ReadWrite);
        return Ok(());
    };
    for name in written {
        let own = keys.iter_mut().find(|key| key.name == name);
        let member = group.iter_mut().flat_map(|group| {
            let prefix = format!("{}_", group.name);
            group.keys.iter_mut().filter(move |key| name.strip_prefix(&prefix) == Some(&key.name))
        });
        own.into_iter().chain(member).for_each(|key| key.access = Access::ReadWrite);
    }
    Ok(())
}

/// The names of keys in the line, if it is of nothing else.
fn named<'a>(writes: &'a str, keys: &[Key], group: Option<&Group>) -> Option<Vec<&'a str>> {
    let parts = writes.strip_suffix('.')?.split([',', ';']).map(str::trim);
    let names: Vec<&str> = parts.map(|part| part.trim_start_matches("rarely ")).collect();
    let is_key = |name: &str| {
        let is_member = |group: &Group| {
            let of_group = name.strip_prefix(&group.name).and_then(|rest| rest.strip_prefix('_'));
            group.keys.iter().any(|key| Some(key.name.as_str()) == of_group)
        };
        keys.iter().any(|key| key.name == name) || group.is_some_and(is_member)
    };
    names.iter().all(|name| is_key(name)).then_some(names)
}
