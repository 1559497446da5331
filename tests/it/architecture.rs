//! The layers of `src/`, read from its `use` lines: which way they point, and that no two files import each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rows of ARCHITECTURE.md. What is in a row imports from its own folder and from the rows before.
const ROWS: [&[&str]; 7] = [
    &["model"],
    &["stored"],
    &["store"],
    &["redis", "memory", "background"],
    &["nodes", "fallback", "migration", "draining"],
    &["connect", "testing", "docs"],
    &["lib"],
];

fn source() -> PathBuf {
    crate::support::repository::root().join("src")
}

/// A module's path, such as `redis::call`, without `mod`.
type Module = String;

fn module_of(path: &Path) -> Module {
    let path = path.strip_prefix(source()).unwrap().with_extension("");
    let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
    parts.strip_suffix(&["mod"]).unwrap_or(&parts).join("::")
}

fn files_in(directory: &Path, files: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_in(&path, files);
        } else {
            files.insert(module_of(&path), fs::read_to_string(&path).unwrap());
        }
    }
}

fn files() -> BTreeMap<Module, String> {
    let mut files = BTreeMap::new();
    files_in(&source(), &mut files);
    files
}

/// The code of a file, without comments, and without what is compiled for its tests only.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let is_test = line.trim() == "#[cfg(test)]" || line.trim().starts_with("#[cfg(all(test");
        if is_test {
            // The item below: one line, or all lines to its end, which is indented as it is.
            let Some(item) = lines.next() else { break };
            let indent = &item[..item.len() - item.trim_start().len()];
            let ends = [format!("{indent}}}"), format!("{indent}}};")];
            if !item.trim_end().ends_with(';') && !item.trim_end().ends_with('}') {
                lines.by_ref().find(|line| ends.iter().any(|end| line == end));
            }
            continue;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// All paths into this crate that a file names, braces taken apart: `model::{Error, Result}` is two.
fn paths(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let is_whole =
            !code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:$".contains(before));
        if is_whole {
            take_apart("", &code[at + "crate::".len()..], &mut paths);
        }
    }
    paths
}

/// Takes the path apart that a text begins with, and returns what is behind it.
fn take_apart<'t>(prefix: &str, text: &'t str, paths: &mut BTreeSet<String>) -> &'t str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let (path, mut rest) = text.split_at(end);
    let path = format!("{prefix}{path}");
    let Some(group) = rest.strip_prefix('{').filter(|_| path.ends_with("::")) else {
        paths.insert(path.trim_end_matches("::").to_owned());
        return rest;
    };
    rest = group.trim_start();
    while !rest.starts_with('}') && !rest.is_empty() {
        rest = take_apart(&path, rest, paths);
        rest = rest[rest.find([',', '}']).unwrap_or(rest.len())..].trim_start_matches(',').trim_start();
    }
    rest.strip_prefix('}').unwrap_or(rest)
}

/// Which files a file imports: for each path the longest part that is a module.
fn imports() -> BTreeMap<Module, BTreeSet<Module>> {
    let files = files();
    let module = |path: &str| {
        let mut path = path;
        loop {
            if files.contains_key(path) {
                return Some(path.to_owned());
            }
            path = path.rsplit_once("::")?.0;
        }
    };
    let of = |(name, text): (&Module, &String)| {
        let mut imported: BTreeSet<Module> =
            paths(&code(text)).iter().filter_map(|path| module(path)).collect();
        imported.remove(name);
        (name.clone(), imported)
    };
    files.iter().map(of).collect()
}

fn folder(module: &str) -> &str {
    module.split("::").next().unwrap()
}

fn row(module: &str) -> usize {
    let row = ROWS.iter().position(|row| row.contains(&folder(module)));
    row.unwrap_or_else(|| panic!("src/{} stands in no row of ARCHITECTURE.md", folder(module)))
}

#[test]
fn layers_point_one_way() {
    for (module, imported) in imports() {
        for other in imported {
            let is_allowed = folder(&module) == folder(&other) || row(&other) < row(&module);
            assert!(is_allowed, "{module} imports {other}, which is not below it");
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    fn visit(
        module: &str,
        imports: &BTreeMap<Module, BTreeSet<Module>>,
        way: &mut Vec<Module>,
        seen: &mut BTreeSet<Module>,
    ) {
        assert!(!way.iter().any(|before| before == module), "a circle: {} -> {module}", way.join(" -> "));
        if seen.insert(module.to_owned()) {
            way.push(module.to_owned());
            imports[module].iter().for_each(|other| visit(other, imports, way, seen));
            way.pop();
        }
    }
    let (imports, mut seen) = (imports(), BTreeSet::new());
    imports.keys().for_each(|module| visit(module, &imports, &mut Vec::new(), &mut seen));
}

#[test]
fn only_the_folder_of_redis_names_its_crates() {
    for (module, text) in files().iter().filter(|(module, _)| folder(module) != "redis" && *module != "lib") {
        for line in code(text).lines() {
            let names = ["redis::", "bb8::", "bb8_redis::"]
                .into_iter()
                .any(|name| line.match_indices(name).any(|(at, _)| !line[..at].ends_with([':', '_'])));
            assert!(!names, "src/{module} names a crate of Redis: {line}");
        }
    }
}

#[test]
fn the_house_has_few_rooms() {
    let rooms = fs::read_dir(source()).unwrap().count();
    assert!(rooms <= 14, "{rooms} files and folders in src/");
}
