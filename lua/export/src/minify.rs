//! Minifies a script: removes comments and unused code, and puts constants in their places.
//!
//! A server creates every local function of a script again at each call, and each outer variable that a function uses
//! is one more allocation. So unused code of fragments would cost a third of a script's time.
//!
//! The export does this, so no client does it at run time, and all clients send the same bytes.

use std::collections::BTreeMap;

/// Lua that does the same as the source, still one statement per line. It knows strings in quotes, and block comments
/// on lines of their own; the scripts have no long strings.
pub(crate) fn minify(source: &str) -> String {
    used(&folded(&statements(source)))
}

/// Without comments and blank lines.
fn statements(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut in_block = false;
    for line in source.lines() {
        if in_block || line.starts_with("--[[") {
            in_block = !line.ends_with("]]");
            continue;
        }
        let statement = without_comment(line).trim_end();
        if !statement.is_empty() {
            code.push_str(statement);
            code.push('\n');
        }
    }
    code
}

fn without_comment(line: &str) -> &str {
    let mut end = 0;
    for piece in pieces(line) {
        if line[end..].starts_with("--") {
            break;
        }
        end += piece.len();
    }
    &line[..end]
}

/// The words, strings and other characters of a line, in order; together they are the line.
pub(crate) fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = match first {
            '\'' | '"' => string_end(rest, first),
            _ if is_word(first) => rest.find(|character| !is_word(character)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        Some(piece)
    })
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn string_end(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Replaces the names of constants (`local NAME = 1`, `local ONE, TWO = 1, 'two'`, outside of functions) by their
/// values. A name may come before its constant: an ordinary form comes before its fragments.
fn folded(code: &str) -> String {
    let values: BTreeMap<_, _> = code.lines().filter_map(constants).flatten().collect();
    let mut folded = String::with_capacity(code.len());
    for line in code.lines().filter(|line| constants(line).is_none()) {
        pieces(line).for_each(|piece| folded.push_str(values.get(piece).copied().unwrap_or(piece)));
        folded.push('\n');
    }
    folded
}

fn constants(line: &str) -> Option<Vec<(&str, &str)>> {
    let (names, values) = line.strip_prefix("local ")?.split_once(" = ")?;
    let (names, values) = (names.split(", "), values.split(", "));
    let is_name =
        |name: &str| name.chars().all(|character| character.is_ascii_uppercase() || character == '_');
    let is_value = |value: &str| {
        value.parse::<u64>().is_ok() || (value.starts_with('\'') && string_end(value, '\'') == value.len())
    };
    let same = names.clone().count() == values.clone().count();
    (same && names.clone().all(is_name) && values.clone().all(is_value)).then(|| names.zip(values).collect())
}

/// Removes unused local functions and variables of fragments.
fn used(code: &str) -> String {
    let mut parts = parts(code);
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    words(code).for_each(|word| *uses.entry(word).or_default() += 1);
    loop {
        let is_used = |part: &Part<'_>| part.name.is_none_or(|name| uses[name] > part.own_uses);
        let (kept, unused): (Vec<_>, Vec<_>) = parts.into_iter().partition(is_used);
        if unused.is_empty() {
            return kept.iter().map(|part| part.code).collect();
        }
        let gone = unused.iter().flat_map(|part| words(part.code));
        gone.for_each(|word| *uses.entry(word).or_default() -= 1);
        parts = kept;
    }
}

/// The words of a code, names among them.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.lines().flat_map(pieces).filter(|piece| piece.starts_with(is_word))
}

/// A function or variable outside of functions, or other code.
pub(crate) struct Part<'a> {
    /// What it defines.
    pub(crate) name: Option<&'a str>,
    /// How often it uses that name itself.
    own_uses: usize,
    pub(crate) code: &'a str,
}

/// A script taken apart.
pub(crate) fn parts(code: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = code;
    while !rest.is_empty() {
        let line = rest.split_inclusive('\n').next().unwrap_or(rest);
        let is_function = line.starts_with("local function ");
        let end = match is_function && !line.ends_with(" end\n") {
            true => rest.find("\nend\n").map_or(rest.len(), |at| at + "\nend\n".len()),
            false => line.len(),
        };
        let (part, behind) = rest.split_at(end);
        let name = if is_function { pieces(line).nth(4) } else { table_of_constants(line) };
        let own_uses = words(part).filter(|piece| Some(*piece) == name).count();
        parts.push(Part { name, own_uses, code: part });
        rest = behind;
    }
    parts
}

/// The name of a table of a fragment, on a line: `local NAMES = { … }`.
fn table_of_constants(line: &str) -> Option<&str> {
    let (name, value) = line.strip_prefix("local ")?.split_once(" = ")?;
    let is_table = value.starts_with('{') && value.ends_with("}\n");
    (is_table && name.chars().all(|character| character.is_ascii_uppercase() || character == '_'))
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::minify;

    #[test]
    fn comments_go_and_what_looks_like_one_in_a_string_stays() {
        assert_eq!(minify("--[[\n  header\n]]\n\nreturn '-- no' -- yes\n-- yes"), "return '-- no'\n");
        assert_eq!(minify("return 5 - 3 --yes"), "return 5 - 3\n");
    }

    #[test]
    fn constants_stand_where_they_are_used_but_not_in_strings() {
        let source =
            "local MOST = 3\nlocal ONE, TWO = 1, 'two'\nreturn MOST + ONE, TWO .. 'MOST', t.ONE_MORE";
        assert_eq!(minify(source), "return 3 + 1, 'two' .. 'MOST', t.ONE_MORE\n");
    }

    #[test]
    fn what_is_not_used_goes_with_what_only_that_uses() {
        let source = "local WORDS = { a = 1 }\nlocal function inner() return WORDS end\nlocal function outer()\n  \
                      return inner()\nend\nlocal function own(n)\n  return own(n)\nend\nlocal kept = 1\nreturn 'outer'";
        assert_eq!(minify(source), "local kept = 1\nreturn 'outer'\n");
        let user = source.replace("'outer'", "outer()");
        assert_eq!(minify(&user).lines().count(), 7);
        assert!(!minify(&user).contains("own"));
    }
}
