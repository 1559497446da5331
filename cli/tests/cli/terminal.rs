//! The program at a terminal: what it asks, draws, and says when it is interrupted.

use std::path::PathBuf;
use std::process::Command;

use cloakroom::migration::MigrationStore as _;
use cloakroom::{NewSession, Rules, SessionStore as _};
use tempfile::TempDir;

use crate::world::{PROGRAM, World, eventually, is_discreet};

/// A shell in a terminal of tmux, which ends when this is dropped.
struct Terminal {
    directory: TempDir,
}

impl Terminal {
    /// The shell knows the program, and where the sessions are.
    fn open(world: &World) -> Self {
        let terminal = Self { directory: tempfile::tempdir().unwrap() };
        let mut tmux =
            terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "150", "-y", "40", "sh"]);
        let programs = PathBuf::from(PROGRAM).parent().unwrap().to_str().unwrap().to_owned();
        tmux.env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap())).env("PS1", "> ");
        tmux.env("CLOAKROOM_URL", world.server.url()).env("CLOAKROOM_NAMESPACE", "shop").env_remove("ENV");
        // As each user has one.
        tmux.env("LANG", "C.UTF-8").env("LC_ALL", "C.UTF-8");
        let output = tmux.output().expect("there is no tmux: ./tests/run installs one");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        terminal
    }

    /// Each terminal has a server of its own.
    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(self.directory.path().join("tmux")).args(arguments).env_remove("TMUX");
        tmux
    }

    fn press(&self, keys: &[&str]) {
        assert!(self.tmux(&[&["send-keys"], keys].concat()).status().unwrap().success());
    }

    fn types(&self, line: &str) {
        self.press(&["-l", line]);
        self.press(&["Enter"]);
    }

    /// All that was printed since it was opened.
    fn screen(&self) -> String {
        let output = self.tmux(&["capture-pane", "-p", "-J", "-S", "-"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until there is a line that is so, and answers it.
    async fn line(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut found = None;
        eventually(what, async || {
            found = self.screen().lines().find(|line| is_so(line)).map(str::to_owned);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    async fn shows(&self, text: &str) -> String {
        self.line(text, |line| line.contains(text)).await
    }

    /// Waits for the end of the program, and answers its exit code.
    async fn code(&self) -> String {
        self.types("echo code $?");
        // Behind the prompt, where it was typed before that came.
        let code = |line: &str| {
            let (_, code) = line.split_once("code ")?;
            code.starts_with(|c: char| c.is_ascii_digit()).then(|| code.trim().to_owned())
        };
        let line = self.line("a code", |line| code(line).is_some()).await;
        self.types("clear");
        eventually("it is clear", async || !self.screen().contains("code ")).await;
        code(&line).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One whose shell has ended is as gone.
        let _ = self.tmux(&["kill-server"]).output();
    }
}

async fn stored(world: &World) -> u64 {
    world.store.stored().await.unwrap()
}

#[tokio::test]
async fn kick_asks_and_does_what_is_answered() {
    let world = World::new().await;
    let session = world.session("ann", "n1").await;
    let terminal = Terminal::open(&world);
    for (answer, code, left) in [("n", "4", 1), ("", "4", 1), ("y", "0", 0)] {
        terminal.types("cloakroom kick --user ann");
        terminal.shows("End 1 session of the user ann? [y/N]").await;
        assert_eq!(stored(&world).await, 1);
        terminal.types(answer);
        terminal.shows(if left == 0 { "1 session ended" } else { "cloakroom: nothing was done" }).await;
        assert!(is_discreet(&terminal.screen(), &session));
        assert_eq!(terminal.code().await, code);
        assert_eq!(stored(&world).await, left);
    }
}

#[tokio::test]
async fn a_bar_shows_how_far_kick_is_and_ctrl_c_tells_how_to_go_on() {
    let world = World::new().await;
    for _ in 0..40 {
        world.store.create(NewSession::new()).await.unwrap();
    }
    let terminal = Terminal::open(&world);
    terminal.types("cloakroom kick --all --yes --rate 20");
    let is_under_way = |line: &str| {
        let done = line.split_once("/40").and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok());
        line.starts_with("kick ") && done.is_some_and(|done: u64| done > 0)
    };
    let bar = terminal.line("a bar", is_under_way).await;
    assert!(bar.contains('█'), "{bar}");
    terminal.press(&["C-c"]);
    let told = terminal.shows("interrupted; to go on: the same command with --from ").await;
    let (_, from) = told.split_once(" --from ").unwrap();
    let left = stored(&world).await;
    assert!(left > 0 && left < 40);
    terminal.shows(&format!("{} sessions ended", 40 - left)).await;
    assert_eq!(terminal.code().await, "130");
    terminal.types(&format!("cloakroom kick --all --yes --from {from}"));
    terminal.shows(&format!("{left} sessions ended")).await;
    assert_eq!(terminal.code().await, "0");
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test]
async fn watch_shows_a_logout_that_is_made_elsewhere() {
    let world = World::with(1, Rules::new().events(100)).await;
    let session = world.session("ann", "n1").await;
    let terminal = Terminal::open(&world);
    terminal.types("cloakroom watch");
    terminal.shows("AT  ").await;
    world.store.delete(&session).await.unwrap();
    let line = terminal.shows("deleted").await;
    assert!(line.contains("ended") && line.contains(&session.id().short_hash()), "{line}");
    assert!(line.contains("ann") && is_discreet(&terminal.screen(), &session), "{line}");
    terminal.press(&["C-c"]);
    terminal.shows("interrupted; to go on: the same command with --from ").await;
    assert_eq!(terminal.code().await, "130");
}
