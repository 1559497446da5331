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
        let replies = script.header.replies.iter();
        for reply in
            replies.filter(|reply| !OF_SUCCESS.contains(&reply.word.as_str()) && reply.word != "corrupt")
        {
            let here = (form(reply), script.stem().to_owned());
            let (fields, elsewhere) = known.entry(reply.word.clone()).or_insert_with(|| here.clone());
            assert_eq!(*fields, here.0, "{} in {elsewhere} and {}", reply.word, here.1);
        }
    }
    assert_eq!(known["taken"].0, form(&taken()), "the words are read");
}

fn taken() -> Reply {
    Reply {
        word: "taken".to_owned(),
        fields: vec!["holder_id".to_owned()],
        optional: Vec::new(),
        rest: Vec::new(),
        note: String::new(),
    }
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
            assert_eq!(reply.fields, ["key"], "{}", script.stem());
            let member = script.header.group.as_ref().map(|group| &group.arguments[0].name);
            let is_member = |name: &String| member == Some(name);
            assert!(reply.rest.is_empty() && reply.optional.iter().all(is_member), "{}", script.stem());
        }
    }
}
