//! `lua/bundle.json`, validated by its schema.

// A test that unwraps a wrong answer has found something.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

/// Where the schema is while it is compiled: nothing is read from there.
const SCHEMA: &str = "file:///bundle.schema.json";

fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// What a bundle is valid by.
struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource(SCHEMA, read("bundle.schema.json")).unwrap();
        let index = compiler.compile(SCHEMA, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, index }
    }

    fn errors(&self, bundle: &Value) -> Option<String> {
        self.schemas.validate(bundle, self.index).err().map(|error| format!("{error:#}"))
    }
}

#[test]
fn the_bundle_is_valid_by_its_schema() {
    if let Some(errors) = Schema::new().errors(&read("bundle.json")) {
        panic!("{errors}");
    }
}

/// Where something stands in the bundle, and what is put in its place; null takes it away.
const DAMAGE: [(&str, &str, &str); 12] = [
    ("", "bundle", "2"),
    ("", "contract", "null"),
    ("", "more", "1"),
    ("/keys/session", "type", r#""hash""#),
    ("/operations/create/keys/0", "access", "null"),
    ("/operations/create/group/keys/0", "name", "null"),
    ("/operations/create/arguments/9", "maximum", "null"),
    ("/operations/create/arguments/9", "default", r#""1800000""#),
    ("/operations/create/arguments/8", "words", "null"),
    ("/operations/create/arguments/8", "role", r#""unheard_of""#),
    ("/operations/create/replies/0/fields/0", "type", "null"),
    ("/operations/create/needs/1/run", "ids", "null"),
];

#[test]
fn a_bundle_that_lacks_something_or_has_more_is_not_valid() {
    let (schema, bundle) = (Schema::new(), read("bundle.json"));
    for (place, name, value) in DAMAGE {
        let mut damaged = bundle.clone();
        let object = damaged.pointer_mut(place).unwrap().as_object_mut().unwrap();
        match serde_json::from_str(value).unwrap() {
            Value::Null => drop(object.remove(name).unwrap()),
            value => drop(object.insert(name.to_owned(), value)),
        }
        assert!(schema.errors(&damaged).is_some(), "{name} of {place:?} as {value} is valid");
    }
}

/// All texts that stand under a name anywhere in a document.
fn texts_under<'v>(document: &'v Value, name: &str, texts: &mut BTreeSet<&'v str>) {
    match document {
        Value::Object(object) => {
            texts.extend(object.get(name).and_then(Value::as_str));
            object.values().for_each(|value| texts_under(value, name, texts));
        }
        Value::Array(values) => values.iter().for_each(|value| texts_under(value, name, texts)),
        _ => {}
    }
}

#[test]
fn the_schema_explains_no_word_that_the_bundle_does_not_have() {
    let (schema, bundle) = (read("bundle.schema.json"), read("bundle.json"));
    for (place, name) in [
        ("/$defs/role", "role"),
        ("/$defs/access", "access"),
        ("/$defs/key_type", "type"),
        ("/$defs/argument/properties/type", "type"),
        ("/$defs/field/properties/type", "type"),
        ("/$defs/operation/properties/effect", "effect"),
        ("/$defs/operation/properties/moved", "moved"),
    ] {
        let mut used = BTreeSet::new();
        texts_under(&bundle, name, &mut used);
        for word in schema.pointer(place).unwrap()["oneOf"].as_array().unwrap() {
            let known = word["const"].as_str().unwrap();
            assert!(used.contains(known), "{place}: {known}");
            assert_ne!(word["description"], json!(""), "{place}: {known}");
        }
    }
}
