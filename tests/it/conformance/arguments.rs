//! Arguments of a wrong form, each in the place of each right one: an error, and nothing changes.

use super::bundle::{Argument, Operation};
use super::call::Sent;
use super::{Runner, State, exported, files, load, same};
use crate::support::Context;

/// What no argument of this type may be.
fn wrong(argument: &Argument) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match argument.kind.as_str() {
        // Each of the cases expires later.
        "integer" if argument.name == "deadline_ms" => texts(&["1", "0x10", "-0"]),
        "integer" => texts(&[
            "0x10",
            " 5 ",
            "5 ",
            "1e3",
            "+5",
            "-0",
            "-1",
            "1.5",
            "5\0x",
            "inf",
            "nan",
            "x",
            "99999999999999999999",
        ]),
        // Bytes of no character, a character cut off, one of a longer form than it needs, a surrogate, beyond the last.
        "utf-8" => vec![
            vec![0xff],
            vec![0xe2, 0x82],
            vec![b'a', 0x80],
            vec![0xc0, 0xaf],
            vec![0xe0, 0x80, 0xaf],
            vec![0xed, 0xa0, 0x80],
            vec![0xf0, 0x80, 0x80, 0xaf],
            vec![0xf4, 0x90, 0x80, 0x80],
            // What is well formed within it makes it no character.
            vec![0xe2, 0xc3, 0xa9, 0x82, 0xac],
        ],
        "word" => texts(&["x", "ACTIVE", "yes\0"]),
        // The four ids of an import may be zeros: a session may have had fewer changes.
        "bytes" if argument.name == "operations" => vec![vec![], vec![7; 31], vec![7; 33]],
        "bytes" => vec![vec![0; 8], vec![7; 7], vec![7; 9]],
        "entries" => {
            let of_kind = |kind| vec![kind, 1, 0, 0, 1, b'a', b'1'];
            let mut wrong = vec![b"x".to_vec(), of_kind(0), of_kind(3), of_kind(1)[..6].to_vec()];
            wrong.push([&of_kind(1)[..], b"x"].concat());
            // In changes an empty value removes an entry.
            if argument.name != "changes" {
                wrong.push(vec![1, 1, 0, 0, 0, b'a']);
            }
            wrong
        }
        _ => Vec::new(),
    }
}

/// The arguments of a call in their order, with their types: those of each member of a group behind the others.
fn in_order(operation: &Operation, sent: usize) -> impl Iterator<Item = &Argument> {
    let group = operation.group.iter().flat_map(|group| &group.arguments).cycle();
    operation.arguments.iter().chain(group).take(sent)
}

impl Runner<'_> {
    async fn is_refused(&self, operation: &Operation, sent: &Sent, at: usize, wrong: Vec<u8>) -> bool {
        let mut arguments = sent.arguments.clone();
        arguments[at] = wrong;
        let mut evalsha = redis::cmd("EVALSHA");
        evalsha.arg(&operation.sha1).arg(sent.keys.len()).arg(&sent.keys).arg(arguments);
        let answer = evalsha.query_async::<redis::Value>(&mut self.context.raw()).await;
        answer.is_err_and(|error| error.to_string().contains("cloakroom: "))
    }
}

#[tokio::test]
async fn an_argument_of_a_wrong_form_is_refused_and_changes_nothing() {
    let bundle = exported();
    let mut context = Context::redis().await;
    load(&context, &bundle).await;
    let mut accepted = Vec::new();
    for file in files().values() {
        let (name, operation) = (&file.operation, &bundle.operations[&file.operation]);
        context.namespace = format!("{}-{name}", context.namespace.split('-').next().unwrap());
        let runner = Runner { context, bundle: &bundle, defaults: &file.defaults };
        // A call that would write, with as many members of a group as any.
        let writing = file.cases.iter().filter(|case| case.call.reply[0] == "ok");
        let case = writing.max_by_key(|case| {
            case.call.with.values().map(|value| value.as_array().map_or(0, Vec::len)).sum::<usize>()
        });
        let case = case.unwrap_or_else(|| panic!("{name} has no case that is answered ok"));
        runner.prepare(case).await.unwrap();
        let before: State = runner.state().await;
        let sent = runner.sent(&case.call);
        for (at, argument) in in_order(operation, sent.arguments.len()).enumerate() {
            for wrong in wrong(argument) {
                if !runner.is_refused(operation, &sent, at, wrong.clone()).await {
                    accepted.push(format!(
                        "{name}: {} as {:?}",
                        argument.name,
                        String::from_utf8_lossy(&wrong)
                    ));
                }
            }
        }
        if let Err(differences) = same("what a refusal leaves", &before, &runner.state().await) {
            accepted.push(format!("{name}: {differences}"));
        }
        // In the right form it is answered, so what was refused above was the form.
        if let Err(error) = runner.answer(&case.call).await {
            accepted.push(format!("{name}: {error}"));
        }
        context = runner.context;
    }
    assert!(accepted.is_empty(), "{} are accepted:\n{}", accepted.len(), accepted.join("\n"));
}
