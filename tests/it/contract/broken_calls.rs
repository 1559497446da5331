//! Calls that break the contract: the scripts answer with an error that names what is wrong, and change nothing.

use cloakroom::Rules;
use cloakroom_export::header::Argument;

use super::calls::filled;
use super::{Script, script, scripts};
use crate::support::Context;

#[tokio::test]
async fn a_call_with_too_few_arguments_breaks_the_contract_and_changes_nothing() {
    let context = Context::redis().await;
    for script in scripts() {
        let source = &script.source;
        let key = context.key("session:x");
        let error = context.try_command::<redis::Value>(&["EVAL", source, "1", &key]).await.unwrap_err();
        assert!(error.to_string().contains(&format!("cloakroom {}", script.stem())), "{error}");
    }
    assert!(context.keys().await.is_empty());
}

/// What a script says of a call with so many keys and arguments, none of which is any good.
async fn said_of(context: &Context, script: &Script, keys: usize, arguments: usize) -> String {
    let mut call = redis::cmd("EVAL");
    call.arg(&script.source).arg(keys);
    call.arg((0..keys).map(|at| context.key(format!("session:{at}"))).collect::<Vec<_>>());
    call.arg(vec!["?"; arguments]);
    call.query_async::<redis::Value>(&mut context.raw()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_script_takes_just_as_many_keys_and_arguments_as_its_header_has_and_says_so() {
    let context = Context::redis().await;
    for script in scripts() {
        let (stem, header) = (script.stem(), &script.header);
        let (keys, arguments) = (header.keys.len(), header.arguments.len());
        let mut told = format!("cloakroom {stem}: {keys} KEYS and {arguments} ARGV");
        let mut right = vec![(keys, arguments)];
        let mut wrong = vec![(keys + 1, arguments), (keys, arguments - 1), (keys, arguments + 1)];
        if keys > 0 {
            wrong.push((keys - 1, arguments));
        }
        if let Some(group) = &header.group {
            let (of_keys, of_arguments) = (group.keys.len(), group.arguments.len());
            told.push_str(&match of_arguments {
                of_arguments if of_arguments == of_keys => format!(", and {of_keys} of each per"),
                of_arguments => format!(", and {of_keys} KEYS and {of_arguments} ARGV per"),
            });
            let members = |count| (keys + of_keys * count, arguments + of_arguments * count);
            right.extend([members(1), members(group.at_most)]);
            let (one, two) = (members(1), members(2));
            wrong.extend([(one.0, two.1), (two.0, one.1), members(group.at_most + 1)]);
        }
        for (keys, arguments) in wrong {
            let said = said_of(&context, &script, keys, arguments).await;
            assert!(said.contains(&told), "{stem} with {keys} and {arguments}: {said}");
            if let Some(group) = &header.group {
                assert!(said.ends_with(&format!(", at most {}", group.at_most)), "{stem}: {said}");
            }
        }
        for (keys, arguments) in right {
            let said = said_of(&context, &script, keys, arguments).await;
            assert!(said.contains("cloakroom: ") && !said.contains(&told), "{stem}: {said}");
        }
    }
    assert!(context.keys().await.is_empty());
}

#[tokio::test]
async fn a_script_takes_each_word_that_its_header_lists() {
    let context = Context::redis().await;
    for script in scripts() {
        let header = &script.header;
        for (at, argument) in header.arguments.iter().enumerate() {
            for word in &argument.words {
                let mut call = redis::cmd("EVAL");
                call.arg(&script.source).arg(header.keys.len());
                for key in &header.keys {
                    call.arg(context.key(format!("{}:{}:{word}", script.stem(), key.name)));
                }
                for (other, argument) in header.arguments.iter().enumerate() {
                    call.arg(if other == at { word } else { good(argument) });
                }
                // One that does not go with the other arguments is refused too, but not as no word.
                let answer = call.query_async::<redis::Value>(&mut context.raw()).await;
                let said = answer.err().map(|error| error.to_string()).unwrap_or_default();
                let refused = format!("cloakroom: {} is no", argument.name);
                assert!(!said.contains(&refused), "{} with {word}: {said}", script.stem());
            }
        }
    }
}

#[tokio::test]
async fn an_argument_that_breaks_the_contract_is_an_error_and_changes_nothing() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let before = context.dump().await;
    for script in scripts() {
        let source = &script.source;
        for (at, argument) in script.header.arguments.iter().enumerate() {
            let bad = match argument.kind {
                "integer" => "-1.5",
                "word" => "bogus",
                "bytes" => "short",
                _ => continue,
            };
            let mut call = redis::cmd("EVAL");
            call.arg(source).arg(script.header.keys.len());
            for key in &script.header.keys {
                call.arg(context.key(format!("{}:{}", key.name, session.id().as_str())));
            }
            for (other, argument) in script.header.arguments.iter().enumerate() {
                call.arg(if other == at { bad } else { good(argument) });
            }
            let error = call.query_async::<redis::Value>(&mut context.raw()).await.unwrap_err();
            let named = format!("cloakroom: {} is no", argument.name);
            assert!(error.to_string().contains(&named), "{} {}: {error}", script.stem(), argument.name);
        }
    }
    assert_eq!(context.dump().await, before);
}

#[tokio::test]
async fn an_empty_name_or_id_is_an_error_where_one_has_to_be_given_and_changes_nothing() {
    let context = Context::redis().await;
    for script in scripts() {
        let header = &script.header;
        for (at, argument) in header.arguments.iter().enumerate() {
            if argument.empty || !["text", "utf-8"].contains(&argument.kind) {
                continue;
            }
            let mut call = redis::cmd("EVAL");
            call.arg(&script.source).arg(header.keys.len());
            call.arg(vec![context.key("session:x"); header.keys.len()]);
            for (other, argument) in header.arguments.iter().enumerate() {
                call.arg(if other == at { "" } else { good(argument) });
            }
            let error = call.query_async::<redis::Value>(&mut context.raw()).await.unwrap_err().to_string();
            let named = format!("cloakroom: {} is no text of ", argument.name);
            assert!(error.contains(&named), "{} {}: {error}", script.stem(), argument.name);
        }
    }
    assert!(context.keys().await.is_empty());
}

/// A call of `create_many` for two sessions, of which the second may have a bad argument.
fn call_of_two(context: &Context, script: &Script, bad: Option<(&str, &str)>) -> redis::Cmd {
    let (header, group) = (&script.header, script.header.group.as_ref().unwrap());
    let tag = format!("{{{}:0}}", context.namespace);
    let mut call = redis::cmd("EVAL");
    call.arg(&script.source).arg(1 + 2 * group.keys.len()).arg(context.key("expiry"));
    for member in ["one", "two"] {
        let values = ["id", "user", "connection", "node"].map(|name| (name, member)).into();
        call.arg(group.keys.iter().map(|key| filled(&key.pattern, &tag, &values)).collect::<Vec<_>>());
    }
    call.arg(header.arguments.iter().map(good).collect::<Vec<_>>());
    for member in ["one", "two"] {
        for argument in &group.arguments {
            let bad = bad.filter(|(name, _)| member == "two" && *name == argument.name);
            let own = if ["text", "utf-8"].contains(&argument.kind) { member } else { good(argument) };
            call.arg(bad.map_or(own, |(_, bad)| bad));
        }
    }
    call
}

#[tokio::test]
async fn a_bad_argument_of_a_member_is_an_error_and_nothing_is_written_of_those_before_it() {
    let context = Context::redis().await;
    let script = script("create_many");
    let long = "x".repeat(257);
    let names = ["id", "user", "connection", "node"].map(|name| (name, long.as_str()));
    let others = [("id", ""), ("op_id", "short"), ("status", "bogus"), ("ttl_ms", "0"), ("ttl_ms", "")];
    for (name, value) in names.into_iter().chain(others) {
        let call = call_of_two(&context, &script, Some((name, value)));
        let error = call.query_async::<redis::Value>(&mut context.raw()).await.unwrap_err();
        assert!(
            error.to_string().contains(&format!("cloakroom: {name} is no ")),
            "{name} {value:?}: {error}"
        );
        assert!(context.keys().await.is_empty(), "{name} {value:?}: something was written");
    }
    let call = call_of_two(&context, &script, None);
    call.query_async::<redis::Value>(&mut context.raw()).await.unwrap();
    for id in ["one", "two"] {
        assert!(context.exists(&context.key(format!("session:{id}"))).await, "{id} was not made");
    }
}

/// An argument as the contract wants it.
pub(super) fn good(argument: &Argument) -> &str {
    match (argument.kind, argument.bytes) {
        ("integer", _) => "500",
        ("word", _) => &argument.words[0],
        ("bytes", Some(8)) => "12345678",
        ("bytes", _) => "12345678123456781234567812345678",
        ("text" | "utf-8", _) => "x",
        _ => "",
    }
}
