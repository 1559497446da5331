//! Reads which keys a script writes, from the line `Writes:` of its header: `record, expiry; rarely connection`.

use crate::parameter::{Access, Group, Key};

/// The line `Writes:` of a script that writes nothing.
pub(crate) const NOTHING: &str = "nothing.";

/// Marks the written keys.
pub(crate) fn set(writes: &str, keys: &mut [Key], mut group: Option<&mut Group>) -> Result<(), String> {
    if writes == NOTHING {
        return Ok(());
    }
    let names = writes.strip_suffix('.').ok_or("Writes: has no end")?.split([',', ';']).map(str::trim);
    for name in names.map(|name| name.trim_start_matches("rarely ")) {
        let own = keys.iter_mut().find(|key| key.name == name);
        let key = own.or_else(|| member(name, group.as_deref_mut()));
        key.ok_or_else(|| format!("Writes: names no key: {name}"))?.access = Access::ReadWrite;
    }
    Ok(())
}

/// The key of a group that a name means: `victim_record` is the key `record` of the group `victim`.
fn member<'a>(name: &str, group: Option<&'a mut Group>) -> Option<&'a mut Key> {
    let group = group?;
    let own = name.strip_prefix(&group.name)?.strip_prefix('_')?;
    group.keys.iter_mut().find(|key| key.name == own)
}
