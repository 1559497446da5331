//! Runs a case: makes the same calls on every store and on the model, compares each answer, and at the end all stored
//! data.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use cloakroom::{Cursor, Session};
use tokio::runtime::Runtime;

use super::coverage::{AMBIGUOUS, Coverage};
use super::picture::{Contents, Picture};
use super::plain::Plain;
use super::rules::CaseRules;
use super::step::{Call, Step, Whose};
use super::turn::{Exported, Outcome, Turn};
use crate::support::context::{On, Store};
use crate::support::expect::ms;
use crate::support::{Context, invariants};

/// The time at which each case begins, in milliseconds since the epoch.
const START: u64 = 1_800_000_000_000;
/// Copies of sessions in hand, and exports.
const HAND: usize = 4;
/// Calls that may be made again.
const HISTORY: usize = 5;
/// The stores of a place, as failures name them.
const STORES: [&str; 2] = ["redis", "memory"];

thread_local! {
    /// What the cases of this thread share, between two of them.
    static LANE: RefCell<Option<Lane>> = const { RefCell::new(None) };
}

/// Servers of its own, one a place, and what its cases came to.
pub(super) struct Lane {
    runtime: Runtime,
    servers: [Context; 2],
    pub(super) coverage: Coverage,
    pub(super) steps: u64,
}

impl Lane {
    /// This thread's, or a new one.
    pub(super) fn take() -> Self {
        LANE.take().unwrap_or_else(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut servers = runtime.block_on(async { [Context::own(&[]).await, Context::own(&[]).await] });
            servers[1].clock = servers[0].clock.clone();
            Self { runtime, servers, coverage: Coverage::new(), steps: 0 }
        })
    }
}

/// Where sessions are kept: in two stores, which should not differ, and in the model.
struct Place {
    rules: CaseRules,
    memory: Context,
    stores: [Store; 2],
    /// Of the last page of each store.
    cursors: [Option<(Whose, Cursor)>; 2],
    plain: Plain,
    /// The latest first.
    hand: Vec<Session>,
}

impl Place {
    async fn new(server: &mut Context, rules: &CaseRules) -> Self {
        server.begin_anew().await;
        let memory = server.another(On::Memory).await;
        let stores = [server.store_at(rules.rules()).await, memory.store_at(rules.rules()).await];
        let plain = Plain::new(rules.clone());
        Self { rules: rules.clone(), memory, stores, cursors: [None, None], plain, hand: Vec::new() }
    }

    /// All that is stored, compared, and the invariants.
    async fn compare(&self, server: &Context) {
        let now = server.clock.now_ms();
        let contents = [Contents::of(server, now).await, Contents::of(&self.memory, now).await];
        for (name, contents) in STORES.iter().zip(&contents) {
            let differences = self.plain.picture(now).differences(&Picture::of(contents));
            assert!(differences.is_empty(), "what {name} has differs:\n{differences}");
        }
        contents[0].assert_same(&contents[1]);
        for context in [server, &self.memory] {
            let violations = invariants::violations(context).await;
            assert!(violations.is_empty(), "invariants broken:\n{}", violations.join("\n"));
        }
    }
}

/// A case, as far as it has come.
pub(super) struct Case {
    /// `None` only while it is dropped.
    lane: Option<Lane>,
    places: [Place; 2],
    /// Of both places, the latest first, as the next.
    exports: Vec<Arc<Exported>>,
    history: VecDeque<Turn>,
    /// Whether connections were cut.
    is_cut: bool,
}

/// What is no refusal, and the refusals that a call is told which was sent twice.
const PROOFS: [&str; 9] =
    ["ok", "ok evicting", "taking over", "conflict", "exists", "gone", "moved", "rotated", AMBIGUOUS];

/// However a case ends, the next one needs the lane.
impl Drop for Case {
    fn drop(&mut self) {
        LANE.set(self.lane.take());
    }
}

impl Case {
    pub(super) fn new(rules: &[CaseRules; 2]) -> Self {
        let mut lane = Lane::take();
        let Lane { runtime, servers: [here, there], .. } = &mut lane;
        here.clock.set_ms(START);
        let places = runtime
            .block_on(async { [Place::new(here, &rules[0]).await, Place::new(there, &rules[1]).await] });
        Self { lane: Some(lane), places, exports: Vec::new(), history: VecDeque::new(), is_cut: false }
    }

    pub(super) fn step(&mut self, step: &Step) {
        let lane = self.lane.as_mut().unwrap();
        lane.steps += 1;
        let Lane { runtime, servers, .. } = lane;
        match step {
            Step::Call(operation_id, place, call) => {
                let (hand, exports) = (self.places[*place as usize].hand.clone(), self.exports.clone());
                let now = servers[0].clock.now_ms();
                let (operation_id, call) = (*operation_id, call.clone());
                self.first(Turn { operation_id, place: *place, call, now, hand, exports });
            }
            Step::Again(back) => {
                if let Some(turn) = self.history.get(usize::from(*back)).cloned() {
                    self.call(&turn);
                }
            }
            Step::Advance(span) => {
                let (clock, span) = (&servers[0].clock, self.places[0].rules.span(*span));
                let then = clock.now_ms() + ms(span);
                let mut lapses = self.places.iter().filter_map(|place| place.plain.first_to_lapse());
                if lapses.all(|lapse| then < lapse) {
                    clock.advance(span);
                }
            }
            Step::FlushScripts => runtime.block_on(on_both::<()>(servers, &["SCRIPT", "FLUSH"])),
            Step::Cut => {
                // A call that is sent again is in doubt where four changes were made in the moment in which it began.
                let then = servers[0].clock.now_ms() + 200;
                let mut lapses = self.places.iter().filter_map(|place| place.plain.first_to_lapse());
                if !lapses.all(|lapse| then < lapse) {
                    return;
                }
                servers[0].clock.advance(std::time::Duration::from_millis(200));
                self.is_cut = true;
                let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
                runtime.block_on(on_both::<u64>(servers, &kill));
            }
            Step::Reconnect => runtime.block_on(async {
                for (place, server) in self.places.iter_mut().zip(servers) {
                    let rules = || place.rules.rules();
                    place.stores = [server.store_at(rules()).await, place.memory.store_at(rules()).await];
                }
            }),
        }
    }

    /// A call that was not made before.
    fn first(&mut self, turn: Turn) {
        self.call(&turn);
        if turn.call.writes() {
            self.history.push_front(turn);
            self.history.truncate(HISTORY);
        }
    }

    /// One call of each store and of the model.
    fn call(&mut self, turn: &Turn) {
        let lane = self.lane.as_mut().unwrap();
        let now = lane.servers[0].clock.now_ms();
        let place = &mut self.places[turn.place as usize];
        let [on_redis, in_memory] = &mut place.cursors;
        let mut outcomes: [Outcome; 2] = lane.runtime.block_on(async {
            [
                turn.make(0, &*place.stores[0], on_redis).await,
                turn.make(1, &*place.stores[1], in_memory).await,
            ]
        });
        let made = outcomes[0].session.as_ref().map(|session| session.id().as_str());
        let expected = place.plain.answer(turn, now, made);
        for (name, outcome) in STORES.iter().zip(&mut outcomes) {
            if place.plain.has_recognized() {
                outcome.reply.told_once();
            }
            // After a cut a refusal proves nothing, and the state is compared all the same.
            if self.is_cut && outcome.reply.word == AMBIGUOUS && !PROOFS.contains(&expected.word) {
                outcome.reply = expected.clone();
            }
            assert_eq!(
                outcome.reply, expected,
                "{:?} {:?} at {now}: left what {name} answered, right the model",
                turn.place, turn.call
            );
        }
        let [Outcome { session, export, .. }, Outcome { session: same, export: other, .. }] = outcomes;
        assert_eq!(session, same, "the copies that redis and memory handed out");
        if let (Call::Export(on), Some(export), Some(other)) = (&turn.call, export, other) {
            assert_eq!(export, other, "what redis and memory exported");
            let plain = place.plain.exported(turn.target(*on).id().as_str());
            self.exports.insert(0, Arc::new(Exported { stores: [export, other], plain }));
            self.exports.truncate(HAND);
        }
        for word in [Some(expected.word), place.plain.noted] {
            word.into_iter()
                .for_each(|word| *lane.coverage.entry((turn.call.name(), word)).or_default() += 1);
        }
        place.hand.splice(0..0, session);
        place.hand.truncate(HAND);
    }

    /// All that is stored, everywhere.
    pub(super) fn compare_all(&self) {
        let Lane { runtime, servers, .. } = self.lane.as_ref().unwrap();
        for (place, server) in self.places.iter().zip(servers) {
            runtime.block_on(place.compare(server));
        }
    }
}

async fn on_both<T: redis::FromRedisValue>(servers: &[Context; 2], command: &[&str]) {
    for server in servers {
        server.command::<T>(command).await;
    }
}
