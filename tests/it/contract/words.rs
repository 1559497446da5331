//! A word of a reply has one meaning: the same fields, whichever script answers it.

use std::collections::BTreeMap;

use cloakroom_export::header::Reply;

use super::scripts;

/// Words behind which stands what the operation's own success tells.
const OF_SUCCESS: [&str; 4] = ["ok", "again", "unchanged", "part"];

fn form(reply: &Reply) -> String {
    format!("{:?} {:?} {:?}", reply.fields, reply.optional, reply.rest)
}

#[test]
fn each_word_has_the_same_fields_in_every_script() {
    let mut known: BTreeMap<String, (String, String)> = BTreeMap::new();
    for script in scripts() {
        let is_of_success = |reply: &&Reply| OF_SUCCESS.contains(&reply.word.as_str());
        let replies = script.header.replies.iter().filter(|reply| !is_of_success(reply));
        for reply in replies.filter(|reply| reply.word != "corrupt") {
            let here = (form(reply), script.stem().to_owned());
            let (fields, elsewhere) = known.entry(reply.word.clone()).or_insert_with(|| here.clone());
            assert_eq!(*fields, here.0, "{} in {elsewhere} and {}", reply.word, here.1);
        }
    }
    assert!(known["taken"].0.contains("holder_id"), "the fields are read");
}

#[test]
fn what_was_done_before_or_is_so_already_is_told_in_the_fields_of_ok() {
    for script in scripts() {
        let replies = &script.header.replies;
        let ok = replies.iter().find(|reply| reply.word == "ok").unwrap();
        for reply in replies.iter().filter(|reply| ["again", "unchanged"].contains(&reply.word.as_str())) {
            assert_eq!(reply.fields, ok.fields, "{} of {}", reply.word, script.stem());
        }
    }
}

#[test]
fn corrupt_names_a_key_and_in_a_group_whose_it_is() {
    for script in scripts() {
        for reply in script.header.replies.iter().filter(|reply| reply.word == "corrupt") {
            let fields: Vec<&str> = reply.fields.iter().map(|field| field.name.as_str()).collect();
            assert_eq!(fields, ["key"], "{}", script.stem());
            let member = script.header.group.as_ref().map(|group| &group.arguments[0].name);
            let is_member = reply.optional.iter().all(|field| member == Some(&field.name));
            assert!(is_member && reply.rest.is_empty(), "{}", script.stem());
        }
    }
}
