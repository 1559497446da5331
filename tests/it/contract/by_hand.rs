//! Runs the commands that `lua/README.md` offers for pasting.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{lua, read};
use crate::support::context::Context;

/// The first block of a language behind a heading.
fn block(text: &str, heading: &str, language: &str) -> String {
    let (_, section) = text.split_once(heading).unwrap();
    let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// Whether a line is what was foretold, where `<time>` is any number and `<record>` anything.
fn is_told(line: &str, told: &str) -> bool {
    if let Some(before) = told.strip_suffix("<record>") {
        return line.strip_prefix(before).is_some_and(|record| !record.is_empty());
    }
    let (line, told): (Vec<_>, Vec<_>) = (line.split(' ').collect(), told.split(' ').collect());
    let is_word =
        |(word, told): (&&str, &&str)| word == told || *told == "<time>" && word.parse::<u64>().is_ok();
    line.len() == told.len() && line.iter().zip(&told).all(is_word)
}

#[tokio::test]
async fn the_session_of_the_readme_works_when_it_is_pasted() {
    let context = Context::own(&[]).await;
    let readme = read("lua/README.md");
    let (script, told) =
        (block(&readme, "## A session by hand", "sh"), block(&readme, "## A session by hand", "text"));
    let address = context.server().address();
    let (host, port) = address.split_once(':').unwrap();
    let pasted = format!("redis-cli() {{ command redis-cli -h {host} -p {port} \"$@\"; }}\n{script}");
    let mut bash = Command::new("bash")
        .current_dir(lua())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // As in a terminal, the lines come by standard input, and no command may eat them.
    let mut input = bash.stdin.take().unwrap();
    input.write_all(pasted.as_bytes()).await.unwrap();
    drop(input);
    let output = bash.wait_with_output().await.unwrap();
    let output = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = output.trim_end().split('\n').map(str::trim_end).collect();
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), told.len(), "{output}");
    for (line, told) in lines.iter().zip(told) {
        assert!(is_told(line, told), "{line:?} is not {told:?}");
    }
}
