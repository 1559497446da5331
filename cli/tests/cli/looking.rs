//! stats, users, list, show, completions.

use cloakroom::nodes::{Heartbeat, NodeIdentity, NodeRegistry as _};
use cloakroom::{IdScheme, NewSession, RedisStore, Rules, SessionStore as _};
use serde_json::{Value, json};

use crate::world::{Ended, PROGRAM, World, is_discreet};

#[tokio::test]
async fn stats_tells_sessions_nodes_and_servers() {
    let world = World::of_partitions(4).await;
    for user in ["ann", "bob", "cid"] {
        world.session(user, "n1").await;
    }
    let node = NodeIdentity::new("n1").unwrap();
    world.store.heartbeat(&node, Heartbeat::register()).await.unwrap();
    let told = world.run(&["stats", "--json"]).told().remove(0);
    let address = world.server.url().trim_start_matches("redis://").trim_end_matches('/');
    assert_eq!(told["readiness"], "ready");
    assert_eq!([&told["sessions"], &told["partitions"], &told["expiry_lag_ms"]], [3, 4, 0]);
    assert_eq!(told["nodes"][0]["node"], "n1");
    assert_eq!((&told["nodes"][0]["sessions"], &told["nodes"][0]["is_live"]), (&json!(3), &json!(true)));
    let server = &told["servers"][0];
    assert_eq!((&server["server"], &server["role"]), (&json!(address), &json!("master")));
    assert_eq!([&server["contract"], &server["scripts_missing"]], [1, 0]);
    assert!(server["memory_used"].as_u64().unwrap() > 0 && server["latency_us"].is_u64());
    let text = world.run(&["stats"]).done();
    for expected in ["readiness   ready", "sessions    3", "partitions  4", "node        n1: 3 sessions"] {
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn users_are_told_once_each_with_their_sessions_in_any_number_of_partitions() {
    for partitions in [1, 16] {
        let world = World::of_partitions(partitions).await;
        for (user, count) in [("ann", 3), ("bob\u{1b}[31m", 1)] {
            for _ in 0..count {
                world.session(user, "n").await;
            }
        }
        let mut told = world.run(&["users", "--json", "--rate", "1000000"]).told();
        told.sort_by_key(|user| user["user"].to_string());
        let expected =
            [json!({"user": "ann", "sessions": 3}), json!({"user": "bob\u{1b}[31m", "sessions": 1})];
        assert_eq!(told, expected);
        let text = world.run(&["users"]).done();
        assert!(text.contains("       3  ann\n"), "{text}");
        assert!(!text.contains('\u{1b}'), "a terminal would act on it");
    }
}

#[tokio::test]
async fn list_tells_a_users_or_nodes_sessions_oldest_first_and_no_secret_unless_asked() {
    let world = World::of_partitions(16).await;
    let first = world.session("ann", "n1").await;
    let second = world.session("ann", "n2").await;
    world.session("bob", "n1").await;
    let hashes = |told: Vec<Value>| -> Vec<String> {
        told.iter().map(|session| session["hash"].as_str().unwrap().to_owned()).collect()
    };
    let mut oldest_first = [&first, &second];
    // Two that are made in one millisecond are in the order of their ids.
    oldest_first.sort_by_key(|session| (session.created_at_ms(), session.id().clone()));
    let expected = oldest_first.map(|session| session.id().short_hash());
    assert_eq!(hashes(world.run(&["list", "ann", "--json"]).told()), expected);
    assert_eq!(hashes(world.run(&["list", "ann", "--json", "--limit", "1"]).told()), expected[..1]);
    assert_eq!(world.run(&["list", "--node", "n1", "--json"]).told().len(), 2);
    for arguments in [&["list", "ann"][..], &["list", "ann", "--json"], &["list", "--node", "n2"]] {
        let text = world.run(arguments).done();
        assert!(is_discreet(&text, &first) && is_discreet(&text, &second), "{text}");
    }
    let text = world.run(&["list", "ann", "--reveal"]).done();
    assert!(text.contains(first.id().as_str()) && text.contains(first.connection().unwrap()), "{text}");
    let nobody = world.run(&["list", "nobody"]).failed(3);
    assert_eq!((nobody.out.as_str(), nobody.error.as_str()), ("", "cloakroom: there are no such sessions\n"));
}

#[tokio::test]
async fn show_tells_a_session_or_what_became_of_it() {
    let world = World::new().await;
    let session = world.session("ann", "n1").await;
    let id = session.id().as_str();
    for arguments in [&["show", id][..], &["show", id, "--json"]] {
        let text = world.run(arguments).done();
        assert!(is_discreet(&text, &session) && text.contains("ann"), "{text}");
    }
    // Where no history keeps it.
    let told = world.run_with(&format!("{id}\n"), &["show", "-", "--reveal", "--json"]).told().remove(0);
    assert_eq!([&told["id"], &told["connection"]], [id, session.connection().unwrap()]);
    assert_eq!(told["attributes"], json!({"attribute-key": "attribute-value"}));
    world.store.delete(&session).await.unwrap();
    let gone = world.run(&["show", id, "--json"]).failed(3);
    assert_eq!(gone.out, "{\"fate\":\"deleted\"}\n");
    let error: Value = serde_json::from_str(&gone.error).unwrap();
    assert_eq!(error["error"], "nothing");
    assert!(world.run(&["show", "never"]).failed(3).out.contains("nothing is known"));
}

#[tokio::test]
async fn each_shell_gets_its_completions_without_a_server() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text =
            Ended::of(std::process::Command::new(PROGRAM).args(["completions", shell]).output().unwrap());
        let text = text.done();
        for word in ["kick", "migrate", "watch", "to-url", "before"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
}

#[tokio::test]
async fn bash_completes_commands_and_options() {
    for (words, expected) in [("wa", "watch"), ("kick --bef", "--before"), ("migrate --to-u", "--to-url")] {
        let script = format!(
            "source <({PROGRAM} completions bash)
            COMP_WORDS=(cloakroom {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            _cloakroom cloakroom \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let completed = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(Ended::of(completed).done().trim(), expected);
    }
}

#[tokio::test]
async fn a_namespace_of_tokens_events_and_partitions_is_found_out() {
    let world = World::new().await;
    let builder = RedisStore::builder(world.server.url()).namespace("tokens").partitions(16);
    let store = builder.rules(Rules::new().id_scheme(IdScheme::Token).events(1000)).build().await.unwrap();
    let created = store.create(NewSession::new().user("ann")).await.unwrap();
    let run = |arguments: &[&str]| Ended::of(world.program_for("tokens", arguments).output().unwrap());
    assert_eq!(run(&["stats", "--json"]).told()[0]["partitions"], 16);
    let id = created.session.id().as_str();
    // It is no secret.
    assert_eq!(run(&["list", "ann", "--json"]).told()[0]["id"], id);
    assert!(run(&["list", "ann"]).done().contains(id));
    // Where an id is wanted, a token is refused, and not told.
    let token = created.token.unwrap();
    let refused = run(&["kick", token.expose(), "--yes"]).failed(2);
    assert!(!refused.error.contains(token.expose()), "{}", refused.error);
    assert_eq!(run(&["kick", id, "--yes"]).done(), "1 session ended\n");
}
