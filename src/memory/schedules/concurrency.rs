//! Calls that meet, in thousands of orders of their steps: their answers and the resulting state are those of some
//! order of the whole calls.
//!
//! A schedule that fails is printed by shuttle, with its seed: the command of `schedules` with `SHUTTLE_RANDOM_SEED=<seed>`
//! runs it again, and so does `shuttle::replay` with the schedule. Which names share a shard is part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use crate::memory::schedules::small_store::{TTL, World};
use crate::memory::snapshot::Stored;
use crate::model::{OnLimit, Rules};

const SCHEDULES: usize = 500;

/// Changes of priority in a schedule of the second kind: most bugs need few.
const DEPTH: usize = 3;

/// A whole call, and what it answered.
type Step = fn(&World) -> String;

/// The answers of the calls, in the order in which they are written, and the stored data at the end.
type Outcome = (Vec<String>, BTreeMap<String, Stored>);

/// A store before the calls.
#[derive(Clone)]
struct Scene {
    rules: Rules,
    capacity: usize,
    prepare: fn(&mut World),
}

impl Scene {
    fn new(prepare: fn(&mut World)) -> Self {
        Self { rules: Rules::new(), capacity: 100, prepare }
    }

    fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    fn capacity(mut self, sessions: usize) -> Self {
        self.capacity = sessions;
        self
    }

    fn world(&self) -> World {
        let mut world = World::new(self.rules.clone(), self.capacity);
        (self.prepare)(&mut world);
        world
    }

    /// Runs the calls at once, and checks that they went as in some order, and that every order occurs.
    fn meet<const CALLS: usize>(self, calls: [Step; CALLS]) {
        let orders = self.orders(&calls);
        let met = Arc::new(Mutex::new(BTreeSet::new()));
        let noted = met.clone();
        let known = orders.clone();
        let run = move || {
            let world = self.world();
            let told = thread::scope(|scope| {
                let threads = calls.map(|call| {
                    let world = &world;
                    scope.spawn(move || call(world))
                });
                threads.map(|thread| thread.join().unwrap()).to_vec()
            });
            world.check();
            let outcome = (told, world.snapshot());
            let order = known.iter().position(|order| *order == outcome);
            noted.lock().unwrap().insert(order.unwrap_or_else(|| panic!("as in no order: {outcome:#?}")));
        };
        in_many_schedules(run);
        assert_eq!(met.lock().unwrap().len(), orders.len(), "orders that were never met");
    }

    /// The results of the calls one after the other, in all orders.
    fn orders(&self, calls: &[Step]) -> Vec<Outcome> {
        let (scene, calls, found) = (self.clone(), calls.to_vec(), Arc::new(Mutex::new(Vec::new())));
        let into = found.clone();
        let run = move || {
            for order in permutations(calls.len()) {
                let world = scene.world();
                let mut told = vec![String::new(); calls.len()];
                for at in order {
                    told[at] = calls[at](&world);
                }
                world.check();
                let outcome = (told, world.snapshot());
                let mut found = into.lock().unwrap();
                if !found.contains(&outcome) {
                    found.push(outcome);
                }
            }
        };
        shuttle::check_random(run, 1);
        let orders = found.lock().unwrap();
        orders.clone()
    }
}

/// Chooses by chance at each step, and by priorities that change seldom, which finds bugs that need long
/// waits.
fn in_many_schedules(run: impl Fn() + Clone + Send + Sync + 'static) {
    shuttle::check_random(run.clone(), SCHEDULES);
    shuttle::check_pct(run, SCHEDULES, DEPTH);
}

fn permutations(length: usize) -> Vec<Vec<usize>> {
    if length == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(length - 1).into_iter();
    let insert = |shorter: Vec<usize>| {
        (0..length).map(move |at| {
            let mut order = shorter.clone();
            order.insert(at, length - 1);
            order
        })
    };
    shorter.flat_map(insert).collect()
}

#[test]
fn of_creates_of_one_id_with_one_connection_one_makes_the_session() {
    let scene = Scene::new(|_| {});
    scene.meet([
        |world| world.create("a", "ann", "socket"),
        |world| world.create("a", "bob", "socket"),
        |world| world.create("b", "ann", "socket"),
    ]);
}

#[test]
fn an_expired_session_is_in_the_way_of_a_create_and_handed_out_once() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "socket");
        world.clock.advance(TTL);
    });
    scene.meet([
        |world| world.create("a", "bob", "socket"),
        |world| world.reap(),
        |world| world.refresh("a"),
    ]);
}

#[test]
fn two_sessions_take_each_others_connection() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "one");
        world.create("b", "bob", "two");
    });
    scene.meet([
        |world| world.take_over("a", "two"),
        |world| world.take_over("b", "one"),
        |world| world.by_connection("one"),
    ]);
}

#[test]
fn a_late_unbind_meets_a_take_over() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "one");
        world.create("b", "bob", "two");
    });
    scene.meet([
        |world| world.take_over("a", "two"),
        |world| world.unbind("b", "two"),
        |world| world.unbind("a", "one"),
    ]);
}

#[test]
fn of_two_rotations_one_gives_the_new_id() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "socket");
    });
    scene.meet([
        |world| world.rotate("a", "b", ""),
        |world| world.rotate("a", "c", ""),
        |world| format!("{:?}", world.get("a")),
    ]);
}

#[test]
fn a_login_meets_a_logout() {
    let scene = Scene::new(|world| {
        world.create("a", "", "socket");
    });
    scene.meet([|world| world.rotate("a", "b", "ann"), |world| world.delete("a"), |world| world.list("ann")]);
}

#[test]
fn a_rotation_meets_a_delete_and_a_bind() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "one");
    });
    scene.meet([
        |world| world.rotate("a", "b", ""),
        |world| world.delete("a"),
        |world| world.take_over("a", "two"),
    ]);
}

#[test]
fn a_refresh_and_a_reap_meet_as_the_session_expires() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "socket");
        world.clock.advance(TTL - Duration::from_millis(1));
    });
    scene.meet([
        |world| world.refresh("a"),
        |world| {
            world.clock.advance(Duration::from_millis(1));
            world.reap()
        },
    ]);
}

#[test]
fn an_eviction_meets_binds_of_the_one_to_go() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "one");
    });
    scene.rules(Rules::new().sessions_per_user(1, OnLimit::EvictOldest)).meet([
        |world| world.create("b", "ann", "two"),
        |world| world.take_over("a", "three"),
        |world| world.unbind("a", "one"),
    ]);
}

#[test]
fn two_creates_at_a_limit_of_one_leave_one() {
    let scene = Scene::new(|_| {});
    scene.clone().rules(Rules::new().sessions_per_user(1, OnLimit::EvictOldest)).meet([
        |world| world.create("a", "ann", "one"),
        |world| world.create("b", "ann", "two"),
        |world| world.list("ann"),
    ]);
    scene.rules(Rules::new().sessions_per_user(1, OnLimit::Reject)).meet([
        |world| world.create("a", "ann", "one"),
        |world| world.create("b", "ann", "two"),
        |world| world.list("ann"),
    ]);
}

#[test]
fn a_log_out_everywhere_meets_a_create_and_a_bind() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "one");
        world.create("b", "ann", "two");
        world.clock.advance(Duration::from_millis(1));
    });
    scene.meet([
        |world| world.delete_user("ann"),
        |world| world.create("c", "ann", "three"),
        |world| world.take_over("a", "two"),
    ]);
}

#[test]
fn a_list_meets_a_log_out_everywhere() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "one");
        world.create("b", "ann", "two");
    });
    scene.meet([
        |world| world.delete_user("ann"),
        |world| world.list("ann"),
        |world| world.rotate("a", "c", "bob"),
    ]);
}

#[test]
fn an_import_meets_a_delete_and_a_patch() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "socket");
        world.export_newer("a");
    });
    scene.meet([|world| world.import(), |world| world.delete("a"), |world| world.patch("a", "late")]);
}

#[test]
fn an_import_and_a_create_want_one_connection() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "socket");
        world.export_newer("a");
        world.delete("a");
        world.clock.advance(Duration::from_secs(30));
    });
    scene.meet([
        |world| world.import(),
        |world| world.create("b", "bob", "of elsewhere"),
        |world| world.create("a", "ann", "socket"),
    ]);
}

#[test]
fn of_two_updates_of_one_version_one_is_saved() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "one");
        world.create("b", "bob", "two");
    });
    scene.meet([
        |world| world.update("a", "bob", "three"),
        |world| world.update("a", "", "two"),
        |world| world.take_over("b", "three"),
    ]);
}

#[test]
fn patches_of_different_attributes_are_both_there() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "one");
    });
    scene.meet([
        |world| world.patch("a", "one"),
        |world| world.patch("a", "two"),
        |world| world.refresh("a"),
    ]);
}

#[test]
fn of_three_creates_two_find_room() {
    let scene = Scene::new(|_| {});
    scene.capacity(2).meet([
        |world| world.create("a", "ann", "one"),
        |world| world.create("b", "ann", "two"),
        |world| world.create("c", "bob", "three"),
    ]);
}

#[test]
fn an_expired_session_makes_way_for_one_create_and_is_handed_to_it() {
    let scene = Scene::new(|world| {
        world.create("old", "ann", "one");
        world.clock.advance(Duration::from_millis(1));
        world.create("live", "ann", "two");
        world.clock.advance(TTL - Duration::from_millis(1));
    });
    scene.capacity(2).meet([
        |world| world.create("b", "ann", "three"),
        |world| world.create("c", "bob", "four"),
        |world| world.reap(),
    ]);
}

#[test]
fn a_session_that_an_eviction_removes_makes_way_in_a_full_store() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "one");
        world.create("b", "bob", "two");
    });
    scene.capacity(2).rules(Rules::new().sessions_per_user(1, OnLimit::EvictOldest)).meet([
        |world| world.create("c", "ann", "three"),
        |world| world.create("d", "eve", "four"),
        |world| world.delete("b"),
    ]);
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_a_create_from_its_end() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "socket");
        world.clock.advance(TTL);
    });
    scene.meet([
        |world| world.create("a", "bob", "socket"),
        |world| {
            world.clock.set_ms(1_000_000);
            String::new()
        },
    ]);
}

/// Too many calls to list all orders.
#[test]
fn whatever_meets_leaves_each_session_with_its_entries() {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let one = |world: &World| {
        let [x, y, z] = [(); 3].map(|()| NAMES[thread_rng().gen_range(0..NAMES.len())]);
        match thread_rng().gen_range(0..14) {
            0..=2 => world.create(x, y, z),
            3 => world.rotate(x, y, ""),
            4 => world.rotate(x, y, z),
            5 | 6 => world.take_over(x, y),
            7 => world.unbind(x, y),
            8 => world.update(x, y, z),
            9 => world.delete(x),
            10 => world.delete_user(x),
            11 => world.reap(),
            12 => world.refresh(x),
            _ => {
                world.clock.advance(TTL / 2);
                world.list(x)
            }
        }
    };
    let scene = Scene::new(|world| {
        world.create("a", "a", "a");
        world.create("b", "a", "b");
    });
    let rules = Rules::new().sessions_per_user(2, OnLimit::EvictOldest).tombstone(Duration::from_millis(1));
    let scene = scene.rules(rules.rotation_grace(Duration::from_millis(1))).capacity(3);
    in_many_schedules(move || {
        let world = scene.world();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..4).for_each(|_| drop(one(&world))));
            }
        });
        world.check();
    });
}

#[test]
fn of_two_recoveries_one_takes_each_session() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "one");
        world.create("b", "bob", "two");
        world.register("one");
        world.register("other");
    });
    scene.meet([
        |world| world.recover("one"),
        |world| world.recover("other"),
        |world| world.by_connection("one"),
    ]);
}

#[test]
fn a_node_that_comes_back_meets_a_recovery_and_a_bind_elsewhere() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "one");
        world.create("b", "bob", "two");
        world.register("live");
    });
    scene.meet([
        |world| world.recover("live"),
        |world| world.register("gateway"),
        |world| world.take_over("a", "three"),
    ]);
}

#[test]
fn a_recovery_meets_a_logout_and_a_heartbeat() {
    let scene = Scene::new(|world| {
        world.create("a", "ann", "one");
        world.register("live");
    });
    scene.meet([|world| world.recover("live"), |world| world.delete("a"), |world| world.register("live")]);
}
