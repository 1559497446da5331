//! The bounds of arguments: at a bound a script accepts the argument; beyond it the script refuses the call and
//! names the argument.

use std::collections::BTreeSet;

use cloakroom::Rules;
use cloakroom_export::header::Argument;

use super::broken_calls::good;
use super::{Script, scripts};
use crate::support::Context;

/// A value of an argument, and whether a script takes it.
struct Try {
    value: Vec<u8>,
    is_within: bool,
}

/// A value at each bound, and one beyond.
fn tries(argument: &Argument) -> Vec<Try> {
    let mut tries = Vec::new();
    let mut add = |value: Vec<u8>, is_within| tries.push(Try { value, is_within });
    let number = |number: u64| number.to_string().into_bytes();
    for (bound, beyond) in [
        (argument.minimum, argument.minimum.and_then(|least| least.checked_sub(1))),
        (argument.maximum, argument.maximum.map(|most| most + 1)),
    ] {
        bound.into_iter().for_each(|bound| add(number(bound), true));
        beyond.into_iter().for_each(|beyond| add(number(beyond), false));
    }
    let sized: fn(u64) -> Vec<u8> = if argument.kind == "entries" { entries } else { text };
    if let Some(least) = argument.minimum_bytes {
        add(sized(least), true);
        // Nothing at all is what one that may be empty says.
        add(sized(least - 1), argument.empty && least == 1);
    }
    if let Some(most) = argument.maximum_bytes {
        add(sized(most), true);
        add(sized(most + 1), false);
    }
    if let Some(bytes) = argument.bytes {
        add(text(bytes), true);
        add(text(bytes - 1), false);
        add(text(bytes + 1), false);
    }
    tries
}

fn text(bytes: u64) -> Vec<u8> {
    vec![b'z'; usize::try_from(bytes).unwrap()]
}

/// One entry that takes so many bytes: a header of five, a key of one, and the value.
fn entries(bytes: u64) -> Vec<u8> {
    let value = text(bytes - 6);
    [&[1, 1][..], &(value.len() as u32).to_be_bytes()[1..], b"a", &value].concat()
}

/// The arguments of a call with one member of the group, if there is one.
fn arguments(script: &Script) -> Vec<&Argument> {
    let group = script.header.group.iter().flat_map(|group| &group.arguments);
    script.header.arguments.iter().chain(group).collect()
}

/// Keys that no other call has, so that none finds what another one left.
fn keys(context: &Context, script: &Script, tried: &str) -> Vec<String> {
    let group = script.header.group.as_ref().map_or(0, |group| group.keys.len());
    (0..script.header.keys.len() + group).map(|at| context.key(format!("{tried}:{at}"))).collect()
}

/// What an argument is in a call that tries another one: its default, or what goes with all others.
fn usual(argument: &Argument) -> Vec<u8> {
    match (argument.name.as_str(), &argument.default) {
        (_, Some(default)) => {
            default.as_str().map_or_else(|| default.to_string(), str::to_owned).into_bytes()
        }
        ("holder_id" | "as_node" | "lease_id", _) if argument.empty => Vec::new(),
        ("deadline_ms", _) => b"0".to_vec(),
        // Another one than the new node.
        ("node", _) => b"n".to_vec(),
        _ => good(argument).as_bytes().to_vec(),
    }
}

/// What a script says of a call of which one argument is tried.
async fn said_of(context: &Context, script: &Script, keys: &[String], at: usize, tried: &[u8]) -> String {
    let mut call = redis::cmd("EVAL");
    call.arg(&script.source).arg(keys.len()).arg(keys);
    for (other, argument) in arguments(script).into_iter().enumerate() {
        call.arg(if other == at { tried.to_vec() } else { usual(argument) });
    }
    let answer = call.query_async::<redis::Value>(&mut context.raw()).await;
    answer.err().map(|error| error.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn a_script_takes_an_argument_at_each_of_its_bounds_and_refuses_it_beyond_by_its_name() {
    let context = Context::redis().await;
    context.store_at(Rules::new()).await;
    let mut tried = BTreeSet::new();
    for script in scripts() {
        for (at, argument) in arguments(&script).into_iter().enumerate() {
            for (nth, Try { value, is_within }) in tries(argument).into_iter().enumerate() {
                let name = format!("{} {}", script.stem(), argument.name);
                let keys = keys(&context, &script, &format!("{name} {at} {nth}"));
                let said = said_of(&context, &script, &keys, at, &value).await;
                let told = String::from_utf8_lossy(&value[..value.len().min(20)]);
                let refused =
                    ["is no", "are more than"].map(|fault| format!("cloakroom: {} {fault} ", argument.name));
                let is_right = match is_within {
                    true => said.is_empty(),
                    false => refused.iter().any(|refused| said.contains(refused)),
                };
                assert!(is_right, "{name} of {} bytes, {told:?}: {said:?}", value.len());
                let exists: Vec<&str> =
                    ["EXISTS"].into_iter().chain(keys.iter().map(String::as_str)).collect();
                let is_untouched = is_within || context.command::<u64>(&exists).await == 0;
                assert!(is_untouched, "{name}, {told:?}: something was written");
                tried.insert(name);
            }
        }
    }
    assert!(tried.contains("create ttl_ms") && tried.contains("create_many entries"), "{tried:?}");
}
