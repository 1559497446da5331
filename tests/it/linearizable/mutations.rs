//! Removes the parts that keep the promise, one at a time: without each part, a play must have no order that explains
//! it. Otherwise nobody would notice the loss of that part.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cloakroom_export::script::{Script, read_all};

#[cfg(target_os = "linux")]
use super::clocks;
use super::stage::Stage;
use super::wire::Rewrite;
use super::{again, listing, overtaken};
use crate::support::Context;
use crate::support::repository::{root, scripts};

/// What is taken out.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    /// A text of a script or a fragment is another.
    Script { file: &'static str, from: &'static str, to: &'static str },
    /// An argument is empty wherever a script has it.
    Argument(&'static str),
    /// A transaction reads an index as it was before.
    Page,
    /// A bound is so many milliseconds later, as by a clock that is ahead.
    Bound(u64),
    /// A text of a fragment is another, and something behind the store sends again.
    UnseenScript { file: &'static str, from: &'static str, to: &'static str },
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
        "a bind that is recognized does not know what the session had before",
        script("bind.lua", "{ 'again', first", "{ 'ok', first"),
        |stage| Box::pin(overtaken::bind_before_an_unbind(stage)),
    ),
    (
        "a bind that is recognized does not know who lost the connection",
        script("bind.lua", "{ 'again', first", "{ 'ok', first"),
        |stage| Box::pin(overtaken::takeover_from_another_holder(stage)),
    ),
    (
        "a tombstone notes the changes before it, the create among them",
        script("lib/record.lua", SPEAKS, FORGETS),
        |stage| Box::pin(again::create_and_a_delete(stage)),
    ),
    (
        "the old id of a rotation notes the changes before it, the create among them",
        script("rotate.lua", "op_id .. op_ids:sub(1, -ARGS_TOKEN_SIZE - 1)", "RECORD_OTHERS_NONE .. op_id"),
        |stage| Box::pin(again::create_and_a_rotation(stage)),
    ),
    (
        "a tombstone notes the changes before it, a patch among them",
        Mutation::UnseenScript { file: "lib/record.lua", from: SPEAKS, to: FORGETS },
        |stage| Box::pin(again::patch_and_a_delete(stage)),
    ),
    (
        "a tombstone notes the delete",
        Mutation::UnseenScript { file: "lib/record.lua", from: SPEAKS, to: FORGETS },
        |stage| Box::pin(again::delete_and_a_look(stage)),
    ),
    (
        "a tombstone notes the times of the changes before it",
        script(
            "lib/record.lua",
            SPEAKS,
            "record_speak(record, now + ttl) record.third_gap = RECORD_GAP_NONE",
        ),
        |stage| Box::pin(again::create_and_four_others_and_a_delete(stage)),
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

/// The line by which a tombstone is made, and the same with the ids of the noted changes taken out.
const SPEAKS: &str = "record_speak(record, now + ttl)";
const FORGETS: &str = "record_speak(record, now + ttl) record.op_ids = ARGS_NO_TOKEN:rep(RECORD_OP_IDS)";

const fn script(file: &'static str, from: &'static str, to: &'static str) -> Mutation {
    Mutation::Script { file, from, to }
}

/// The scripts with one text in the place of another; `None`: the mutation changes no script.
fn mutated_scripts(mutation: Mutation) -> Option<Vec<Script>> {
    let (Mutation::Script { file, from, to } | Mutation::UnseenScript { file, from, to }) = mutation else {
        return None;
    };
    let lua = root().join("lua");
    let directory = tempfile::tempdir().unwrap();
    copy(&lua, directory.path());
    copy(&lua.join("lib"), &directory.path().join("lib"));
    let path = directory.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{file} has {from:?} once");
    fs::write(path, text.replace(from, to)).unwrap();
    Some(read_all(directory.path()).unwrap())
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
    let (mut places, mut is_seen) = (BTreeMap::new(), false);
    let mutated_scripts = mutated_scripts(mutation);
    for (script, mutated) in scripts().iter().zip(mutated_scripts.as_deref().unwrap_or(scripts())) {
        let name: String = context.command(&["SCRIPT", "LOAD", &script.source]).await;
        // A rule of a fragment may stand in an ordinary way too: then it is gone from both.
        let is_of_fragment = matches!(
            mutation,
            Mutation::Script { file, .. } | Mutation::UnseenScript { file, .. } if file.starts_with("lib/")
        );
        is_seen |= script.general != mutated.general || script.source != mutated.source;
        let mutated_source = if is_of_fragment { &mutated.general } else { &mutated.source };
        let mutated_name: String = context.command(&["SCRIPT", "LOAD", mutated_source]).await;
        let changed = match mutation {
            Mutation::Argument(argument) => Some(argument),
            Mutation::Bound(_) => Some("bound_ms"),
            _ => None,
        };
        if let Some(argument) = changed {
            let place = script.header.arguments.iter().position(|other| other.name == argument);
            places.extend(place.map(|place| (name.clone().into_bytes(), place)));
        }
        names.insert(name.into_bytes(), mutated_name.into_bytes());
        sources.insert(script.source.clone().into_bytes(), mutated_source.clone().into_bytes());
    }
    match mutation {
        Mutation::Script { .. } | Mutation::UnseenScript { .. } => {
            assert!(is_seen, "no script has {mutation:?}")
        }
        Mutation::Argument(_) | Mutation::Bound(_) => {
            assert!(!places.is_empty(), "no script has {mutation:?}")
        }
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
                let argument = &mut words[3 + keys + place];
                let number = std::str::from_utf8(argument).ok().and_then(|text| text.parse::<u64>().ok());
                *argument = match (mutation, number) {
                    (Mutation::Bound(later), Some(bound)) => (bound + later).to_string().into_bytes(),
                    _ => Vec::new(),
                };
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
        stage.unseen = matches!(mutation, Mutation::Unseen | Mutation::UnseenScript { .. });
        play(&stage).await;
        stage.close().await;
        if stage.history.is_linearizable() {
            unmissed.push(what);
        }
    }
    assert!(unmissed.is_empty(), "nobody misses that {unmissed:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn that_the_times_of_changes_never_decrease_is_missed_when_it_is_gone() {
    let rule = "if now > changed_at then since, changed_at = now - changed_at, now end";
    let mutation = script("patch.lua", rule, "changed_at = now");
    let (clock, stage) = clocks::by_clock(async |context| Some(rewrite(context, mutation).await)).await;
    clocks::patch_while_the_clock_is_set_back(&clock, &stage).await;
    assert!(!stage.history.is_linearizable());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn that_a_create_which_comes_after_its_tombstone_is_unsure_is_missed_when_it_is_gone() {
    let mutation = script("create.lua", "if not record and args_stale(", "if false and args_stale(");
    let (clock, stage) = clocks::by_clock(async |context| Some(rewrite(context, mutation).await)).await;
    clocks::create_and_the_end_of_the_tombstone(&clock, &stage).await;
    assert!(!stage.history.is_linearizable());
}

/// As if the clock of the server that is ahead had told the bound.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn that_the_lowest_of_several_servers_times_is_the_bound_is_missed_when_it_is_gone() {
    let mutation = Mutation::Bound((clocks::AHEAD * 1000.0) as u64);
    let pair = clocks::Pair::new(clocks::AHEAD, async |context| Some(rewrite(context, mutation).await)).await;
    clocks::patch_and_a_failover_to_a_clock_that_is_ahead(&pair).await;
    assert!(!pair.stage.history.is_linearizable());
}

/// So it is what the mutations take out that the plays above miss.
#[tokio::test]
async fn a_tombstone_answers_what_something_behind_the_store_sends_again() {
    let plays: [Play; 2] = [
        |stage| Box::pin(again::patch_and_a_delete(stage)),
        |stage| Box::pin(again::delete_and_a_look(stage)),
    ];
    for play in plays {
        let mut stage = Stage::new().await;
        stage.unseen = true;
        play(&stage).await;
        stage.close().await;
        stage.history.assert_linearizable();
    }
}
