//! export and import.

use std::fs;
use std::path::{Path, PathBuf};

use cloakroom::migration::MigrationStore as _;
use cloakroom::{NewSession, Patch, RedisStore, Session, SessionStore as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{Ended, World};

fn in_a_directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sessions.jsonl");
    (directory, file)
}

async fn sessions(world: &World, count: usize) -> Vec<Session> {
    let mut sessions = Vec::new();
    for at in 0..count {
        sessions.push(world.session(&format!("user-{at}"), "n").await);
    }
    sessions
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn what_is_exported_is_brought_in_elsewhere_as_it_was() {
    for partitions in [1, 16] {
        let world = World::of_partitions(partitions).await;
        let sessions = sessions(&world, 50).await;
        let (_directory, file) = in_a_directory();
        let exported = world.run(&["export", text(&file), "--json", "--rate", "100000"]).told();
        assert_eq!(exported, [json!({"written": 50, "refused": 0})]);
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600, "its owner alone may read it");
        }
        let (there, count) = (World::new().await, partitions.to_string());
        let import = || {
            let arguments = ["import", text(&file), "--json", "--partitions", &count];
            Ended::of(there.program_for("other", &arguments).output().unwrap()).told()
        };
        assert_eq!(import(), [json!({"brought": 50, "here": 0, "expired": 0, "refused": {}})]);
        let store = RedisStore::builder(there.server.url()).namespace("other").partitions(partitions);
        let store = store.build().await.unwrap();
        for session in &sessions {
            assert_eq!(store.get(session.id()).await.unwrap().as_ref(), Some(session));
        }
        // Again it changes nothing, and what was changed there meanwhile stays.
        store.patch(&sessions[0], Patch::new().set("later", &1).unwrap()).await.unwrap();
        assert_eq!(import(), [json!({"brought": 0, "here": 50, "expired": 0, "refused": {}})]);
        let later = store.get(sessions[0].id()).await.unwrap().unwrap();
        assert_eq!(later.get::<u64>("later").unwrap(), Some(1));
    }
}

#[tokio::test]
async fn an_export_goes_on_where_one_of_before_ended_and_begins_no_file_twice() {
    let world = World::new().await;
    let sessions = sessions(&world, 40).await;
    let (_directory, file) = in_a_directory();
    world.run(&["export", text(&file), "--rate", "100"]).done();
    let whole = fs::read_to_string(&file).unwrap();
    assert!(world.run(&["export", text(&file)]).failed(1).error.contains("exists"));
    assert_eq!(fs::read_to_string(&file).unwrap(), whole);
    // In the middle of a line, and of a page.
    for at in [whole.len() / 3, whole.len() / 2, whole.len() - 5, whole.find('\n').unwrap() + 1] {
        fs::write(&file, &whole[..at]).unwrap();
        let resumed = world.run(&["export", text(&file), "--resume", "--json"]).told();
        let written = resumed[0]["written"].as_u64().unwrap();
        assert!((40..80).contains(&written), "{written}");
        let lines = fs::read_to_string(&file).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for session in &sessions {
            assert!(lines.iter().any(|line| line["id"] == session.id().as_str()));
        }
        assert_eq!(lines.last().unwrap()["end"], written);
    }
    let again = world.run(&["export", text(&file), "--resume", "--json"]).told();
    assert!(again[0]["written"].as_u64().unwrap() >= 40, "it was whole");
}

#[tokio::test]
async fn a_file_that_has_no_end_is_brought_in_and_told() {
    let world = World::new().await;
    sessions(&world, 5).await;
    let (_directory, file) = in_a_directory();
    world.run(&["export", text(&file)]).done();
    let whole = fs::read_to_string(&file).unwrap();
    let cut = whole.lines().nth(3).unwrap();
    fs::write(&file, &whole[..whole.find(cut).unwrap() + 10]).unwrap();
    let broken = Ended::of(world.program_for("b", &["import", text(&file)]).output().unwrap());
    assert!(broken.failed(1).error.contains("line 4: no JSON"));
    fs::write(&file, &whole[..whole.find(cut).unwrap()]).unwrap();
    let ended = Ended::of(world.program_for("c", &["import", text(&file)]).output().unwrap()).failed(1);
    assert_eq!(ended.out, "2 sessions imported\n");
    assert!(ended.error.contains("has no end"), "{}", ended.error);
    let partial = world.program_for("d", &["import", text(&file), "--partial"]).output().unwrap();
    assert_eq!(Ended::of(partial).done(), "2 sessions imported\n");
}

#[tokio::test]
async fn what_cannot_be_brought_in_is_told_by_why_and_the_rest_is() {
    let world = World::new().await;
    let sessions = sessions(&world, 3).await;
    let (_directory, file) = in_a_directory();
    world.run(&["export", text(&file)]).done();
    let there = World::new().await;
    // Another session has the id of one, and another the connection of the next.
    there.store.create(NewSession::new().id(sessions[0].id().clone())).await.unwrap();
    let taken = sessions[1].connection().unwrap();
    there.store.create(NewSession::new().connection(taken)).await.unwrap();
    let ended = there.run(&["import", text(&file), "--json"]).failed(5);
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(told["brought"], 1);
    assert_eq!(told["refused"], json!({"conflict": 1, "taken": 1}));
    assert_eq!(there.store.stored().await.unwrap(), 3);
}

#[tokio::test]
async fn a_file_that_is_no_export_is_refused() {
    let world = World::new().await;
    let (_directory, file) = in_a_directory();
    for content in ["x", "{}", "[1]", "{\"id\":\"a\"}"] {
        fs::write(&file, format!("{content}\n")).unwrap();
        let refused = world.run(&["import", text(&file)]).failed(1);
        assert!(refused.error.contains("line 1"), "{}", refused.error);
        world.run(&["export", text(&file), "--resume"]).failed(1);
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{content}\n"), "it is left as it was");
    }
    assert!(world.run(&["import", "/nowhere/at-all"]).failed(1).error.contains("/nowhere/at-all"));
}
