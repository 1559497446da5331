//! What the program says of itself, as it is kept in `help.txt`.

use crate::world::Ended;

#[test]
fn the_help_is_as_it_is_kept() {
    let mut all = String::new();
    for command in
        ["", "stats", "users", "list", "show", "kick", "export", "import", "verify", "repair", "completions"]
    {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_cloakroom"));
        program.args([command, "--help"].into_iter().filter(|argument| !argument.is_empty()));
        program.env_remove("CLOAKROOM_URL").env_remove("CLOAKROOM_NAMESPACE");
        all += &format!("$ cloakroom {command} --help\n{}\n", Ended::of(program.output().unwrap()).done());
    }
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/help.txt");
    if std::env::var_os("KEEP_HELP").is_some() {
        std::fs::write(kept, &all).unwrap();
    }
    // `KEEP_HELP=1 cargo test -p cloakroom-cli help` keeps it anew.
    assert_eq!(all, std::fs::read_to_string(kept).unwrap());
}
