//! `lua/dist` and `lua/bundle.json`, held against what they are made of and against the documents.

use std::collections::BTreeSet;
use std::path::Path;

use cloakroom_export::bundle;
use serde_json::Value;

use super::{lua, read, scripts, stems_in};

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

#[test]
fn the_record_of_the_bundle_is_that_of_the_scripts_and_of_the_documents() {
    let bundle = exported();
    let record = &bundle["record"];
    let size = format!("local RECORD_HEADER_SIZE = {}\n", record["header_bytes"]);
    assert!(read("lua/lib/record.lua").contains(&size));
    let size = format!("local ENTRY_HEADER_SIZE = {}\n", record["entry"]["header_bytes"]);
    assert!(read("lua/lib/entries.lua").contains(&size));

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
    let table: BTreeSet<String> = bundle::KEYS.iter().map(|(_, pattern)| nameless(pattern)).collect();
    for script in scripts() {
        let own = script.header.keys.iter().map(|key| key.pattern.as_str());
        let group = script.header.group.iter().flat_map(|group| group.keys.iter().map(String::as_str));
        for pattern in own.chain(group) {
            for kind in ["user", "node"] {
                let pattern = nameless(&pattern.replace("<kind>", kind));
                assert!(table.contains(&pattern), "{}: {pattern}", script.stem());
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
