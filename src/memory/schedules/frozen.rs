//! A frozen session, planted: calls can read and remove it, but not change it.

use crate::memory::locked_shards::LockedShards;
use crate::memory::ops::{bind, delete, get, import, update};
use crate::memory::schedules::small_store::{TTL, World, id, told};
use crate::model::{Binding, Direction, Export, Freeze, Import, OnLimit, Rules, SessionId, Status, TaskId};

const FROZEN: &str = "refused: the session is being migrated";

/// "frozen" is being migrated, and has the connection "one"; "live" is another user's.
fn world() -> World {
    let world = World::new(Rules::new().sessions_per_user(1, OnLimit::EvictOldest), 100);
    world.create("frozen", "ann", "one");
    world.create("live", "bob", "two");
    let mut locked = LockedShards::lock(&world.memory.shards, world.memory.shards.whole(), 0);
    let freeze = Freeze {
        task: TaskId::random(),
        until: u64::MAX,
        span: u64::MAX,
        status: Status::Active,
        direction: Direction::Outgoing,
        place: "elsewhere".to_owned(),
        node: String::new(),
    };
    locked.edit(&id("frozen"), |record| record.freeze = Some(Box::new(freeze)));
    drop(locked);
    world
}

/// Runs a call on such a store, and checks that it changed nothing.
fn refused(call: fn(&World) -> String) {
    let test = move || {
        let world = world();
        let before = world.snapshot();
        assert_eq!(call(&world), FROZEN);
        assert_eq!(world.snapshot(), before, "a refused call changed something");
        world.check();
    };
    shuttle::check_random(test, 1);
}

/// Runs a call on such a store, which it may change.
fn allowed(call: fn(&World)) {
    let test = move || {
        let world = world();
        call(&world);
        world.check();
    };
    shuttle::check_random(test, 1);
}

fn is_gone(world: &World, id: &SessionId) -> bool {
    get::run(&world.call(), id).unwrap().is_none()
}

#[test]
fn a_frozen_session_is_not_patched() {
    refused(|world| world.patch("frozen", "late"));
}

#[test]
fn a_frozen_session_is_not_updated() {
    refused(|world| {
        let mut session = world.get("frozen").unwrap();
        // As in a copy that was read before the freeze.
        session.status = Status::Active;
        session.set_user("eve");
        told(update::run(world.call(), &mut session))
    });
}

#[test]
fn a_copy_that_was_read_frozen_is_not_saved_either() {
    refused(|world| told(update::run(world.call(), &mut world.get("frozen").unwrap())));
}

#[test]
fn a_frozen_session_is_not_refreshed() {
    refused(|world| {
        world.clock.advance(TTL / 2);
        world.refresh("frozen")
    });
}

#[test]
fn a_frozen_session_is_not_rotated() {
    refused(|world| world.rotate("frozen", "new", ""));
}

#[test]
fn nobody_logs_in_with_a_frozen_session() {
    refused(|world| world.rotate("frozen", "new", "bob"));
}

#[test]
fn a_frozen_session_is_not_bound() {
    refused(|world| world.take_over("frozen", "three"));
}

#[test]
fn a_connection_is_not_taken_over_from_a_frozen_session() {
    refused(|world| world.take_over("live", "one"));
}

#[test]
fn a_frozen_session_keeps_its_connection() {
    refused(|world| world.unbind("frozen", "one"));
}

#[test]
fn nothing_is_imported_in_the_place_of_a_frozen_session() {
    refused(|world| {
        let mut newer = world.get("frozen").unwrap();
        (newer.status, newer.version) = (Status::Active, crate::model::Version::new(10));
        told(import::run(world.call(), &Import::new(Export::new(newer, Default::default()))))
    });
}

#[test]
fn the_connection_of_a_frozen_session_is_taken_as_that_of_any_other() {
    allowed(|world| {
        let refusal = "refused: the connection belongs to another session";
        assert_eq!(told(bind::run(world.call(), &id("live"), &Binding::new("one"))), refusal);
        assert_eq!(world.create("new", "eve", "one"), refusal);
    });
}

#[test]
fn a_connection_that_a_frozen_session_does_not_have_is_not_detached() {
    allowed(|world| assert_eq!(world.unbind("frozen", "two"), "Some(false)"));
}

#[test]
fn a_frozen_session_is_found_by_id_connection_and_user() {
    allowed(|world| {
        assert_eq!(world.get("frozen").unwrap().status(), Status::Migrating);
        assert!(world.by_connection("one").contains("Migrating"));
        assert!(world.list("ann").contains("Migrating"));
    });
}

#[test]
fn a_frozen_session_is_deleted() {
    allowed(|world| {
        assert!(delete::run(world.call(), &id("frozen")).unwrap().is_some());
        assert!(is_gone(world, &id("frozen")));
    });
}

#[test]
fn a_log_out_everywhere_deletes_a_frozen_session_too() {
    allowed(|world| {
        assert!(world.delete_user("ann").contains("one"));
        assert!(is_gone(world, &id("frozen")));
    });
}

#[test]
fn a_frozen_session_is_evicted_at_the_limit() {
    allowed(|world| {
        assert!(world.create("new", "ann", "three").contains("one"));
        assert!(is_gone(world, &id("frozen")));
    });
}

#[test]
fn a_frozen_session_expires_and_is_reaped() {
    allowed(|world| {
        world.clock.advance(TTL);
        assert!(is_gone(world, &id("frozen")));
        assert!(world.reap().contains("Migrating"));
    });
}
