//! Compares `lua/dist` and `lua/bundle.json` with their sources and with the documents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use cloakroom::{Entries, NewSession, Patch, Rules};
use cloakroom_export::header::Key;
use cloakroom_export::keys::KEYS;
use serde_json::Value;

use super::{lua, read, scripts, stems_in};
use crate::support::Context;
use crate::support::expect::ms;
use crate::support::leases::{LEASE, register};

fn exported() -> Value {
    serde_json::from_str(&read("lua/bundle.json")).unwrap()
}

#[test]
fn what_is_exported_is_what_the_scripts_make() {
    let files = cloakroom_export::files(&lua()).unwrap();
    for (path, fresh) in &files {
        let path = Path::new("lua").join(path);
        assert!(*fresh == read(&path), "{} is stale: run `cargo run -p cloakroom-export`", path.display());
    }
    assert_eq!(stems_in("lua/dist", ".lua"), stems_in("lua", ".lua"));
}

#[test]
fn the_bundle_has_the_sources_that_the_crate_embeds() {
    let bundle = exported();
    for stem in stems_in("lua", ".lua") {
        let embedded = read(format!("lua/dist/{stem}.lua"));
        assert!(bundle["operations"][&stem]["source"] == *embedded, "{stem}");
    }
}

/// The numbers in a header of some bytes, by name, as a layout of the bundle has them; and what is behind it.
fn numbers<'v>(layout: &'v Value, bytes: &'v [u8]) -> (BTreeMap<&'v str, u64>, &'v [u8]) {
    let mut numbers = BTreeMap::new();
    for field in layout["header"].as_array().unwrap().iter().filter(|field| field["type"] == "integer") {
        let [offset, size] =
            ["offset", "bytes"].map(|name| usize::try_from(field[name].as_u64().unwrap()).unwrap());
        let number =
            bytes[offset..offset + size].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        numbers.insert(field["name"].as_str().unwrap(), number);
    }
    let end = usize::try_from(layout["header_bytes"].as_u64().unwrap()).unwrap();
    (numbers, &bytes[end..])
}

/// The texts that are behind a header, each as long as that says, and what is behind them.
fn texts<'v>(
    layout: &'v Value,
    numbers: &BTreeMap<&str, u64>,
    mut bytes: &'v [u8],
) -> (BTreeMap<&'v str, &'v [u8]>, &'v [u8]) {
    let mut texts = BTreeMap::new();
    for name in layout["texts"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        let size = usize::try_from(numbers[format!("{name}_size").as_str()]).unwrap();
        let (text, rest) = bytes.split_at(size);
        texts.insert(name, text);
        bytes = rest;
    }
    (texts, bytes)
}

#[tokio::test]
async fn the_record_of_the_bundle_is_that_which_the_scripts_write() {
    let bundle = exported();
    let (record, grace) = (&bundle["record"], Duration::from_secs(90));
    let context = Context::redis().await;
    let rules =
        Rules::new().ttl(Duration::from_secs(60)).max_lifetime(Duration::from_secs(3600)).grace(grace);
    let store = context.store_at(rules).await;
    let mut extensions = Entries::default();
    extensions.set("layer", &[1, 2]).unwrap();
    let new = NewSession::new().user("ann").connection("socket").node("gateway-1").extensions(extensions);
    let made = store.create(new.set("color", "green").unwrap()).await.unwrap().session;
    context.clock.advance(Duration::from_millis(1234));
    store.patch(&made, Patch::new().set("color", "red").unwrap().suspend()).await.unwrap();
    context.clock.advance(Duration::from_secs(50));
    store.refresh(&made).await.unwrap().unwrap();
    let session = store.get(made.id()).await.unwrap().unwrap();

    let bytes = context.string(&context.record_key(made.id())).await.unwrap();
    let (numbers_of_it, rest) = numbers(record, &bytes);
    let (texts_of_it, rest) = texts(record, &numbers_of_it, rest);
    assert!(rest.is_empty(), "something is behind the record: {rest:?}");
    let expires_at = session.expires_at_ms();
    for (name, expected) in [
        ("format", bundle["record_format"].as_u64().unwrap()),
        ("kind", record["kinds"]["live"].as_u64().unwrap()),
        ("status", record["statuses"]["suspended"].as_u64().unwrap()),
        ("version", 2),
        ("created_at", made.created_at_ms()),
        ("ttl", 60_000),
        ("deadline", made.created_at_ms() + 3_600_000),
        ("last_active", context.clock.now_ms()),
        ("expires_at", expires_at),
        ("stored_until", expires_at + ms(grace)),
    ] {
        assert_eq!(numbers_of_it[name], expected, "{name}");
    }
    for (name, expected) in [("user", "ann"), ("connection", "socket"), ("node", "gateway-1")] {
        assert_eq!(texts_of_it[name], expected.as_bytes(), "{name}");
    }
    let (mut entries, mut body) = (BTreeMap::new(), texts_of_it["body"]);
    while !body.is_empty() {
        let (numbers, rest) = numbers(&record["entry"], body);
        let (texts, rest) = texts(&record["entry"], &numbers, rest);
        // Of the changes of a key the last counts.
        entries.insert((numbers["kind"], texts["key"]), texts["value"]);
        body = rest;
    }
    let kind = |name: &str| record["entry"]["kinds"][name].as_u64().unwrap();
    let (color, layer) = ((&b"color"[..], &b"\"red\""[..]), (&b"layer"[..], &b"[1,2]"[..]));
    let expected = [((kind("attribute"), color.0), color.1), ((kind("extension"), layer.0), layer.1)];
    assert_eq!(entries, BTreeMap::from(expected));
}

#[tokio::test]
async fn the_lease_of_the_bundle_is_that_which_the_scripts_write() {
    let lease = &exported()["lease"];
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    register(&store, "n").await;
    let bytes = context.string(&context.key("node:n:lease")).await.unwrap();
    let (numbers, rest) = numbers(lease, &bytes);
    let expected = [("deadline", context.clock.now_ms() + ms(LEASE)), ("length", ms(LEASE))];
    assert_eq!((numbers, rest), (BTreeMap::from(expected), &[][..]));
}

#[test]
fn the_record_of_the_bundle_is_that_of_the_documents() {
    let bundle = exported();
    let record = &bundle["record"];

    let internals = read("docs/internals.md");
    let (_, table) = internals.split_once("| offset | bytes | field |\n").unwrap();
    let mut rows = Vec::new();
    for row in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let bytes = match cells[2] {
            "2 each" => "2",
            "4 × 8" => "32",
            "" => continue,
            bytes => bytes,
        };
        for offset in cells[1].split(", ") {
            rows.push((offset.to_owned(), bytes.to_owned(), cells[3].to_owned()));
        }
    }
    let fields = record["header"].as_array().unwrap();
    assert_eq!(rows.len(), fields.len());
    for ((offset, bytes, told), field) in rows.iter().zip(fields) {
        assert_eq!((&field["offset"].to_string(), &field["bytes"].to_string()), (offset, bytes), "{told}");
        let name = field["name"].as_str().unwrap();
        let is_told = name.ends_with("_size") && told.starts_with("length")
            || name == "op_ids" && told.starts_with("operation ids")
            || told.starts_with(name);
        assert!(is_told, "{name} is told as {told}");
    }
    for (field, numbers) in [("kind", &record["kinds"]), ("status", &record["statuses"])] {
        let (_, _, told) = rows.iter().find(|(_, _, told)| told.starts_with(field)).unwrap();
        for (name, number) in numbers.as_object().unwrap() {
            // What the crate has another word for.
            let word = if name == "moved" { "rotated (`moved` in the scripts)" } else { name };
            assert!(told.contains(&format!("{number} {word}")), "{field}: {told}");
        }
    }
}

#[test]
fn every_key_that_a_script_takes_is_one_of_the_table() {
    let table: BTreeSet<String> =
        KEYS.iter().map(|(_, kind, pattern)| format!("{kind} {}", nameless(pattern))).collect();
    for script in scripts() {
        let group = script.header.group.iter().flat_map(|group| &group.keys);
        for Key { kind, pattern, .. } in script.header.keys.iter().chain(group) {
            for owner in ["user", "node"] {
                let key = format!("{kind} {}", nameless(&pattern.replace("<kind>", owner)));
                // What a key of any kind is mended by.
                let is_any = script.stem() == "mend_key" && key.starts_with("string {ns:p}:");
                assert!(is_any || table.contains(&key), "{}: {key}", script.stem());
            }
        }
    }
}

/// A pattern without the names in it.
fn nameless(pattern: &str) -> String {
    let mut parts = pattern.split(['<', '>']);
    let mut text = parts.next().unwrap().to_owned();
    while let (Some(_), Some(behind)) = (parts.next(), parts.next()) {
        text.push_str("<>");
        text.push_str(behind);
    }
    text
}
