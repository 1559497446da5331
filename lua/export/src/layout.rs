//! The layouts of a record and of a lease, read out of the fragments that pack and unpack them.

use std::collections::BTreeMap;

use serde::Serialize;

/// The layout of a record.
#[derive(Debug, Serialize)]
pub(crate) struct Layout {
    byte_order: &'static str,
    header: Vec<Field>,
    header_bytes: usize,
    /// How many bytes of a record hold everything except a session's entries.
    head_bytes: u64,
    /// Behind the header, each as long as its `_size` says.
    texts: [&'static str; 4],
    kinds: BTreeMap<String, u64>,
    statuses: BTreeMap<String, u64>,
    /// The content of the body, by kind.
    body: BTreeMap<&'static str, &'static str>,
    /// The block that begins the body of a record with the status `migrating`, whatever its kind.
    freeze: Freeze,
    /// The length of the task at the beginning of a departed record's body.
    departed_task_bytes: u64,
    entry: Entry,
}

/// How a session is frozen.
#[derive(Debug, Serialize)]
struct Freeze {
    header: Vec<Field>,
    header_bytes: usize,
    /// Behind the header.
    texts: [&'static str; 2],
    directions: BTreeMap<&'static str, u64>,
}

/// The layout of a node's lease.
#[derive(Debug, Serialize)]
pub(crate) struct Lease {
    header: Vec<Field>,
    header_bytes: usize,
}

impl Lease {
    /// `lease` is the source of that fragment.
    pub(crate) fn read(lease: &str) -> Result<Self, String> {
        let header = fields(&constant(lease, "LEASE")?, &unpacked(lease, "LEASE")?)?;
        Ok(Self { header_bytes: header.iter().map(|field| field.bytes).sum(), header })
    }
}

/// A field at a fixed offset.
#[derive(Debug, Serialize)]
struct Field {
    name: String,
    offset: usize,
    bytes: usize,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// An attribute or extension.
#[derive(Debug, Serialize)]
struct Entry {
    header: Vec<Field>,
    header_bytes: usize,
    /// Behind the header.
    texts: [&'static str; 2],
    kinds: BTreeMap<&'static str, u64>,
}

impl Layout {
    /// `record` and `entries` are the sources of those fragments; `header` is the constant with the format of the
    /// header.
    pub(crate) fn read(record: &str, entries: &str, header: &str) -> Result<Self, String> {
        let header = fields(&constant(record, header)?, &unpacked(record, header)?)?;
        let entry = fields(&constant(entries, "ENTRY_HEADER")?, &unpacked(entries, "ENTRY_HEADER")?)?;
        let freeze = fields(&constant(record, "FREEZE")?, &unpacked(record, "FREEZE")?)?;
        let number = |name: &str| {
            let text = constant(record, name)?;
            text.parse::<u64>().map_err(|_| format!("{name} is no number"))
        };
        let numbered = |names: &[&str]| -> Result<BTreeMap<String, u64>, String> {
            let named =
                |name: &&str| Ok(((*name).to_owned(), number(&format!("RECORD_{}", name.to_uppercase()))?));
            names.iter().map(named).collect()
        };
        Ok(Self {
            byte_order: "big-endian",
            header_bytes: header.iter().map(|field| field.bytes).sum(),
            header,
            head_bytes: number("RECORD_HEAD_SIZE")?,
            texts: ["user", "connection", "node", "body"],
            kinds: numbered(&["live", "moved", "deleted", "departed"])?,
            statuses: numbered(&["active", "suspended", "migrating"])?,
            body: BTreeMap::from([
                ("live", "entries, as a list of changes: the last of a key counts, an empty value removes"),
                ("moved", "the new id"),
                ("deleted", "nothing; or the new id where a login left it, which only a delete follows"),
                ("departed", "the task, all zero once it is cleaned up; then the place that it went to"),
            ]),
            freeze: Freeze {
                header_bytes: freeze.iter().map(|field| field.bytes).sum(),
                header: freeze,
                texts: ["place", "node"],
                directions: BTreeMap::from([
                    ("outgoing", number("FREEZE_OUTGOING")?),
                    ("incoming", number("FREEZE_INCOMING")?),
                    ("over", number("FREEZE_OVER")?),
                ]),
            },
            departed_task_bytes: number("RECORD_OP_ID_SIZE")?,
            entry: Entry {
                header_bytes: entry.iter().map(|field| field.bytes).sum(),
                header: entry,
                texts: ["key", "value"],
                kinds: BTreeMap::from([("attribute", 1), ("extension", 2)]),
            },
        })
    }
}

/// The format number of a record.
pub(crate) fn record_format(record: &str) -> Result<u64, String> {
    constant(record, "RECORD_FORMAT")?.parse().map_err(|_| "RECORD_FORMAT is no number".to_owned())
}

/// The other formats of a record that are read, by the names of the constants of their header formats.
pub(crate) fn other_formats(record: &str) -> impl Iterator<Item = u64> + '_ {
    let format = |line: &str| line.strip_prefix("local RECORD_")?.split_once("_HEADER = ")?.0.parse().ok();
    record.lines().filter_map(format)
}

/// The value that a fragment assigns to a name, also in an assignment of several.
fn constant(source: &str, name: &str) -> Result<String, String> {
    for line in source.lines().filter_map(|line| line.strip_prefix("local ")) {
        let Some((names, values)) = line.split_once(" = ") else { continue };
        let code = values.split_once(" --").map_or(values, |(code, _)| code);
        if names == name {
            return Ok(code.trim().trim_matches('\'').to_owned());
        }
        if let Some(at) = names.split(", ").position(|other| other == name) {
            return code.split(", ").nth(at).map(str::to_owned).ok_or_else(|| format!("{name} has no value"));
        }
    }
    Err(format!("no constant {name}"))
}

/// The names that the fields of a format are unpacked to.
fn unpacked(source: &str, format: &str) -> Result<Vec<String>, String> {
    let unpacking = format!("= struct.unpack({format}, ");
    let (before, _) = source.split_once(&unpacking).ok_or_else(|| format!("nothing unpacks {format}"))?;
    let (_, names) = before.rsplit_once("local ").ok_or("unpacked to nothing")?;
    Ok(names.split(',').map(|name| name.trim().to_owned()).collect())
}

/// The fields of a format of Lua's `struct`: `B` is a byte, `I8` an integer of eight bytes, `c32` 32 bytes.
fn fields(format: &str, names: &[String]) -> Result<Vec<Field>, String> {
    let codes = format.strip_prefix('>').ok_or("a format that is not big-endian")?;
    let starts: Vec<usize> = codes.match_indices(char::is_alphabetic).map(|(at, _)| at).collect();
    if starts.len() != names.len() {
        return Err(format!("{} fields in the format, {} names", starts.len(), names.len()));
    }
    let mut offset = 0;
    let mut fields = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let code = &codes[starts[at]..starts.get(at + 1).copied().unwrap_or(codes.len())];
        let (kind, size) = match code.split_at(1) {
            ("B", "") => ("integer", "1"),
            ("I", size) => ("integer", size),
            ("c", size) => ("bytes", size),
            _ => return Err(format!("an unknown code in a format: {code}")),
        };
        let bytes = size.parse().map_err(|_| format!("no size: {code}"))?;
        fields.push(Field { name: name.clone(), offset, bytes, kind });
        offset += bytes;
    }
    Ok(fields)
}
