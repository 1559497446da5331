//! The bounds of arguments: at each of them a script takes the argument, and beyond it refuses the call by its name.

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
        add(sized(least - 1), false);
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
    vec![b'x'; usize::try_from(bytes).unwrap()]
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

/// A call of which all arguments but one are good.
fn call(context: &Context, script: &Script, tried: &str, at: usize, value: &[u8]) -> redis::Cmd {
    let group = script.header.group.iter().flat_map(|group| &group.keys);
    let keys = script.header.keys.iter().chain(group).enumerate();
    // In a key each for each call, so that none finds what another one left.
    let keys: Vec<String> = keys.map(|(key, _)| context.key(format!("{tried}:{key}"))).collect();
    let mut call = redis::cmd("EVAL");
    call.arg(&script.source).arg(keys.len()).arg(keys);
    for (other, argument) in arguments(script).into_iter().enumerate() {
        call.arg(match argument.name.as_str() {
            _ if other == at => value,
            "holder_id" | "as_node" | "lease_id" if argument.empty => b"",
            // It does not go with an entry that is as large as one may be.
            "limit" if script.stem() != "expired" => b"0",
            _ => good(argument).as_bytes(),
        });
    }
    call
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
                let call = call(&context, &script, &format!("{name} {at} {nth}"), at, &value);
                let before = context.keys().await;
                let answer = call.query_async::<redis::Value>(&mut context.raw()).await;
                let said = answer.err().map(|error| error.to_string()).unwrap_or_default();
                let told = String::from_utf8_lossy(&value[..value.len().min(20)]).into_owned();
                let refused = said.contains(&format!("cloakroom: {} is no ", argument.name))
                    || said.contains(&format!("cloakroom: {} are more than ", argument.name));
                let is_right = if is_within { said.is_empty() } else { refused };
                assert!(is_right, "{name} of {} bytes, {told:?}: {said:?}", value.len());
                assert!(
                    is_within || context.keys().await == before,
                    "{name}, {told:?}: something was written"
                );
                tried.insert(name);
            }
        }
    }
    assert!(tried.contains("create ttl_ms") && tried.contains("create_many entries"), "{tried:?}");
}
