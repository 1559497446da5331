//! What the program says of itself, as it is kept in `help.txt`.

use crate::world::{Ended, PROGRAM};

#[test]
fn the_help_is_as_it_is_kept() {
    let whole = help(&[]);
    // A command stands at two spaces, what is said of it behind that.
    let (_, commands) = whole.split_once("\nCommands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let commands = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let mut all = format!("$ cloakroom --help\n{whole}\n");
    for command in commands.filter(|command| !["", "help"].contains(command)) {
        all += &format!("$ cloakroom {command} --help\n{}\n", help(&[command]));
    }
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/help.txt");
    if std::env::var_os("KEEP_HELP").is_some() {
        std::fs::write(kept, &all).unwrap();
    }
    // `KEEP_HELP=1 cargo test -p cloakroom-cli help` keeps it anew.
    assert_eq!(all, std::fs::read_to_string(kept).unwrap());
}

fn help(command: &[&str]) -> String {
    let mut program = std::process::Command::new(PROGRAM);
    program.args(command).arg("--help").env_clear();
    Ended::of(program.output().unwrap()).done()
}
