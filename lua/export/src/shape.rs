//! The check with which each script begins: that a call passes as many keys and arguments as its header says.
//!
//! A few functions of the fragments are code that returns from the script itself and defines locals of the script.
//! Their bodies replace their calls.

use std::path::Path;

use crate::file::read;
use crate::header::Header;
use crate::keys::{names, node_stream};
use crate::minify::pieces;

/// The functions whose bodies replace their calls, with their fragments.
const SHAPES: [(&str, &str); 4] = [
    ("call", "call_alone"),
    ("call", "call_members"),
    ("event", "event_call"),
    ("event", "event_call_members"),
];

/// A script with the check in the place of its call, and the numbers of its header in the place of their names.
pub(crate) fn with_shape(lua: &Path, header: &Header, own: &str) -> Result<String, String> {
    let mut code = String::with_capacity(own.len());
    for line in own.lines() {
        match shape_called(line) {
            Some((fragment, name)) => {
                code += &body(&read(&lua.join(format!("lib/{fragment}.lua")))?, name)?;
            }
            None => code += line,
        }
        code.push('\n');
    }
    let numbers = numbers(header);
    let number =
        |word: &str| numbers.iter().find(|(name, _)| *name == word).map(|(_, number)| number.clone());
    let lines = code.lines().map(|line| {
        let is_comment = line.trim_start().starts_with("--");
        let words =
            pieces(line).map(|word| number(word).filter(|_| !is_comment).unwrap_or_else(|| word.to_owned()));
        words.collect::<String>() + "\n"
    });
    Ok(lines.collect())
}

/// The function that a line calls, with the names before it that the body defines.
fn shape_called(line: &str) -> Option<(&'static str, &'static str)> {
    let call = line.rsplit(" = ").next().filter(|_| line.starts_with("local ")).unwrap_or(line);
    let name = call.strip_suffix("()")?;
    SHAPES.into_iter().find(|(_, shape)| *shape == name)
}

/// The lines of a function except its first and its last.
fn body(fragment: &str, name: &str) -> Result<String, String> {
    let begin = format!("\nlocal function {name}()\n");
    let (_, rest) = fragment.split_once(&begin).ok_or_else(|| format!("no function {name}"))?;
    let (body, _) = rest.split_once("\nend\n").ok_or_else(|| format!("{name} has no end"))?;
    Ok(body.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect::<Vec<_>>().join("\n"))
}

fn numbers(header: &Header) -> Vec<(&'static str, String)> {
    let streams = header.keys.iter().filter(|key| node_stream(&key.pattern).is_some());
    // The stream of another session's node, which only loses something by the call, must not prevent the
    // call.
    let is_own = |pattern: &str| names(pattern).all(|name| name != "holder_node");
    let own_streams = streams.clone().filter(|key| is_own(&key.pattern)).count();
    let mut numbers = vec![
        ("HEADER_KEYS", header.keys.len().to_string()),
        ("HEADER_ARGUMENTS", header.arguments.len().to_string()),
        // The partition's stream and the expiry index come first.
        ("HEADER_EVENT_KEYS", (2 + streams.count()).to_string()),
        ("HEADER_OWN_STREAMS", own_streams.to_string()),
        ("HEADER_WRONG", format!("'ERR cloakroom {}: {}'", header.stem, counts(header))),
    ];
    if let Some(group) = &header.group {
        let member_streams = group.keys.iter().filter(|key| node_stream(&key.pattern).is_some()).count();
        numbers.extend([
            ("HEADER_MEMBERS", group.at_most.to_string()),
            ("HEADER_MEMBER_KEYS", group.keys.len().to_string()),
            ("HEADER_MEMBER_ARGUMENTS", group.arguments.len().to_string()),
            ("HEADER_MEMBER_STREAMS", member_streams.to_string()),
        ]);
    }
    numbers
}

/// How many keys and arguments a call without events passes, in words.
fn counts(header: &Header) -> String {
    let (keys, arguments) = (header.keys.len(), header.arguments.len());
    let Some(group) = &header.group else { return format!("{keys} KEYS and {arguments} ARGV") };
    let members = match (group.keys.len(), group.arguments.len()) {
        (of_keys, of_arguments) if of_keys == of_arguments => format!("{of_keys} of each"),
        (of_keys, of_arguments) => format!("{of_keys} KEYS and {of_arguments} ARGV"),
    };
    let (name, most) = (&group.name, group.at_most);
    format!("{keys} KEYS and {arguments} ARGV, and {members} per {name}, at most {most}")
}

#[cfg(test)]
mod tests {
    use super::{body, shape_called};

    #[test]
    fn a_line_that_calls_for_a_shape_is_known() {
        assert_eq!(shape_called("call_alone()"), Some(("call", "call_alone")));
        assert_eq!(shape_called("local stream_at, tell = event_call()"), Some(("event", "event_call")));
        assert_eq!(shape_called("local now = clock_now()"), None);
        assert_eq!(shape_called("  call_alone()"), None);
    }

    #[test]
    fn the_body_of_a_function_is_what_stands_in_it() {
        let fragment = "-- Why.\nlocal function one()\n  if x then\n    return 1\n  end\nend\n\nlocal function two()\nend\n";
        assert_eq!(body(fragment, "one").unwrap(), "if x then\n  return 1\nend");
        assert!(body(fragment, "three").is_err());
    }
}
