//! What keeps the promise, taken out piece by piece: with each piece gone, a play must have no order that explains it.
//! Else nobody would notice if it went.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cloakroom_export::script::{Script, read_all};

use super::stage::Stage;
use super::wire::Rewrite;
use super::{again, listing};
use crate::support::Context;
use crate::support::repository::root;

/// What is taken out.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    /// A text of a script or a fragment is another.
    Script { file: &'static str, from: &'static str, to: &'static str },
    /// An argument is empty wherever a script has it.
    Argument(&'static str),
    /// A transaction reads an index as it was before.
    Page,
    /// Not the store but something behind it sends again, so the store does not know of it.
    Unseen,
}

type Play = for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// What is gone, how it is taken out, and the play that shows it.
const MUTATIONS: &[(&str, Mutation, Play)] = &[
    (
        "a change is recognized by its operation id",
        script(
            "lib/record.lua",
            "== op_id then return record.version - age",
            "== 0 then return record.version - age",
        ),
        |stage| Box::pin(again::patch_and_another(stage)),
    ),
    ("a call has an operation id", Mutation::Argument("op_id"), |stage| {
        Box::pin(again::patch_and_another(stage))
    }),
    (
        "a record that notes four later changes is not sure",
        script("lib/record.lua", "if oldest < bound or", "if true or oldest < bound or"),
        |stage| Box::pin(again::patch_and_four_others(stage)),
    ),
    (
        "a record that notes four later changes is not sure of a bind",
        script("lib/record.lua", "if oldest < bound or", "if true or oldest < bound or"),
        |stage| Box::pin(again::bind_and_four_others(stage)),
    ),
    (
        "a first attempt that comes last is not the first",
        script("lib/args.lua", "local ARGS_ALONE = 100", "local ARGS_ALONE = 100000"),
        |stage| Box::pin(again::late_patch(stage)),
    ),
    (
        "a bind whose first attempt comes last is not the first",
        script("lib/args.lua", "local ARGS_ALONE = 100", "local ARGS_ALONE = 100000"),
        |stage| Box::pin(again::late_bind(stage)),
    ),
    (
        "nothing sends again within the time in which a call comes alone, and the store knows of it",
        Mutation::Unseen,
        |stage| Box::pin(again::patch_and_four_others(stage)),
    ),
    ("a create is in doubt after a lost reply", Mutation::Unseen, |stage| {
        Box::pin(again::create_and_four_others_and_a_delete(stage))
    }),
    ("an update is in doubt after a lost reply", Mutation::Unseen, |stage| {
        Box::pin(again::update_and_four_others(stage))
    }),
    ("a patch is in doubt after a lost reply", Mutation::Unseen, |stage| {
        Box::pin(again::patch_and_four_others_and_a_delete(stage))
    }),
    (
        "a rotation answers with the session of then",
        script("rotate.lua", " or taken.version ~= rotated then", " then"),
        |stage| Box::pin(again::rotation_and_a_patch(stage)),
    ),
    (
        "who lost a connection is not known for ever",
        script("bind.lua", "return unsure or {", "return {"),
        |stage| Box::pin(again::takeover_and_changes_of_the_loser(stage)),
    ),
    (
        "a list by the script reads its page again",
        script("list.lua", "if not same and not", "if not ids and not"),
        |stage| Box::pin(listing::list_by_the_script_and_a_create_and_a_patch(stage)),
    ),
    ("a list reads its page again in the transaction", Mutation::Page, |stage| {
        Box::pin(listing::list_and_a_create_and_a_patch_and_an_index_of_before(stage))
    }),
];

const fn script(file: &'static str, from: &'static str, to: &'static str) -> Mutation {
    Mutation::Script { file, from, to }
}

/// The scripts with one text in the place of another, by stem.
fn scripts(mutation: Mutation) -> Vec<Script> {
    let lua = root().join("lua");
    let Mutation::Script { file, from, to } = mutation else {
        return read_all(&lua).unwrap();
    };
    let directory = tempfile::tempdir().unwrap();
    copy(&lua, directory.path());
    copy(&lua.join("lib"), &directory.path().join("lib"));
    let path = directory.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{file} has {from:?} once");
    fs::write(path, text.replace(from, to)).unwrap();
    read_all(directory.path()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "lua") {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// Changes requests on their way, so that the scripts at the server are the mutated ones.
async fn rewrite(context: &Context, mutation: Mutation) -> Rewrite {
    let (mut names, mut sources) = (BTreeMap::new(), BTreeMap::new());
    let mut places = BTreeMap::new();
    for (script, mutated) in scripts(Mutation::Unseen).into_iter().zip(scripts(mutation)) {
        let name: String = context.command(&["SCRIPT", "LOAD", &script.source]).await;
        let mutated_name: String = context.command(&["SCRIPT", "LOAD", &mutated.source]).await;
        if let Mutation::Argument(argument) = mutation {
            let place = script.header.arguments.iter().position(|other| other.name == argument);
            places.extend(place.map(|place| (name.clone().into_bytes(), place)));
        }
        names.insert(name.into_bytes(), mutated_name.into_bytes());
        sources.insert(script.source.into_bytes(), mutated.source.into_bytes());
    }
    match mutation {
        Mutation::Script { .. } => {
            assert!(names.iter().any(|(name, mutated)| name != mutated), "{mutation:?}")
        }
        Mutation::Argument(_) => assert!(!places.is_empty(), "no script has {mutation:?}"),
        Mutation::Page | Mutation::Unseen => {}
    }
    let in_transaction = AtomicBool::new(false);
    Arc::new(move |words| {
        match &words[0][..] {
            b"MULTI" => in_transaction.store(true, Ordering::Relaxed),
            b"EXEC" => in_transaction.store(false, Ordering::Relaxed),
            b"ZRANGEBYSCORE"
                if matches!(mutation, Mutation::Page) && in_transaction.load(Ordering::Relaxed) =>
            {
                words[1].extend(listing::BEFORE.as_bytes());
            }
            _ => {}
        }
        if words[0] == b"SCRIPT" && words.len() == 3 {
            words[2] = sources.get(&words[2]).unwrap_or(&words[2]).clone();
        }
        if words[0] == b"EVALSHA" {
            let keys: usize = std::str::from_utf8(&words[2]).unwrap().parse().unwrap();
            let place = places.get(&words[1]).copied();
            // One that is of no operation stays as it is.
            words[1] = names.get(&words[1]).unwrap_or(&words[1]).clone();
            if let Some(place) = place {
                words[3 + keys + place].clear();
            }
        }
    })
}

#[tokio::test]
async fn each_piece_that_keeps_the_promise_is_missed_when_it_is_gone() {
    let mut unmissed = Vec::new();
    for (what, mutation, play) in MUTATIONS {
        let context = Context::redis().await;
        let rewrite = rewrite(&context, *mutation).await;
        let mut stage = Stage::at(context, Some(rewrite)).await;
        stage.unseen = matches!(mutation, Mutation::Unseen);
        play(&stage).await;
        stage.close().await;
        if stage.history.is_linearizable() {
            unmissed.push(what);
        }
    }
    assert!(unmissed.is_empty(), "nobody misses that {unmissed:?}");
}
