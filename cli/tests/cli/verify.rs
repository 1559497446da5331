//! verify, repair.

use cloakroom::SessionStore as _;
use serde_json::json;

use crate::world::{World, is_discreet};

/// Sends a command past the store.
async fn send(world: &World, parts: &[&str]) {
    let client = cloakroom::clients::redis::Client::open(world.server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = cloakroom::clients::redis::cmd(parts[0]);
    command.arg(&parts[1..]).query_async::<()>(&mut connection).await.unwrap();
}

#[tokio::test]
async fn verify_finds_nothing_where_nothing_is_wrong() {
    for partitions in [1, 16] {
        let world = World::of_partitions(partitions).await;
        for user in ["ann", "bob"] {
            world.session(user, "n").await;
        }
        let told = world.run(&["verify", "--json"]).told();
        assert_eq!((told.len(), &told[0]["sessions"], &told[0]["violations"]), (1, &json!(2), &json!(0)));
        assert!(world.run(&["repair", "--apply"]).done().contains("0 mended, 0 gone, 0 left"));
    }
}

#[tokio::test]
async fn what_verify_names_repair_mends_when_it_is_told_to_and_leaves_alone_what_is_not_ours() {
    let world = World::new().await;
    let session = world.session("ann", "n").await;
    let pointer = format!("{{shop:0}}:connection:{}:session", session.connection().unwrap());
    send(&world, &["DEL", "{shop:0}:user:ann:sessions"]).await;
    send(&world, &["DEL", &pointer]).await;
    send(&world, &["SET", "{shop:0}:strange", "\u{1b}[31m", "PX", "600000"]).await;

    let verified = world.run(&["verify"]).failed(6);
    for expected in [
        "missing_entry    {shop:0}:user:ann:sessions",
        "missing_entry    {shop:0}:connection:#",
        "unknown_key      {shop:0}:strange",
        "3 violations in 1 session",
    ] {
        assert!(verified.out.contains(expected), "{}", verified.out);
    }
    assert!(is_discreet(&verified.out, &session), "{}", verified.out);
    assert_eq!(verified.error, "cloakroom: 3 violations\n");
    let revealed = world.run(&["verify", "--json", "--reveal"]).failed(6).out;
    assert!(revealed.contains(&pointer) && revealed.contains(session.id().as_str()), "{revealed}");

    let tried = world.run(&["repair", "--json"]).failed(6);
    assert_eq!(tried.out.matches("\"repaired\":\"to_mend\"").count(), 2, "{}", tried.out);
    assert!(world.store.session_by_connection(session.connection().unwrap()).await.unwrap().is_none());
    let repaired = world.run(&["repair", "--apply"]).failed(6);
    assert!(repaired.out.contains("1 mended, 1 gone, 1 left"), "{}", repaired.out);
    assert!(is_discreet(&repaired.out, &session), "{}", repaired.out);
    let found = world.store.session_by_connection(session.connection().unwrap()).await.unwrap().unwrap();
    assert_eq!(found.version(), session.version());

    send(&world, &["DEL", "{shop:0}:strange"]).await;
    assert!(world.run(&["verify"]).done().starts_with("0 violations in 1 session, "));
}
