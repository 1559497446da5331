//! Random histories: a few clients, a few ids, and what breaks between them and the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use cloakroom::{RedisStore, Rules, SessionStore};
use fastrand::Rng;
use tokio::sync::watch;

use super::call::{Answer, Call, End, View, Whose};
use super::client::{Client, Names};
use super::history::History;
use super::wire::{Aim, At, Fault, Rewrite, Wire};
use crate::support::Context;
use crate::support::context::Store;

/// The most clients of a history.
pub(super) const CLIENTS: usize = 6;
const USERS: u8 = 2;
const CONNECTIONS: u8 = 3;
const NODES: u8 = 2;

/// What a call came to, by its name, and what happened to requests: how often.
pub(super) type Tally = BTreeMap<(&'static str, &'static str), u64>;

/// The clients of one history after the other: a store and a wire for each.
pub(super) struct Lane {
    context: Arc<Context>,
    wires: Vec<Wire>,
    stores: Vec<Arc<dyn SessionStore>>,
    /// Past the wires.
    direct: Store,
    pub(super) tally: Tally,
}

/// Tombstones and what a rotation leaves stay as long as any history takes, for the model knows no time.
pub(super) fn rules() -> Rules {
    let hour = Duration::from_secs(3600);
    Rules::new().tombstone(hour).rotation_grace(hour)
}

/// A store behind a wire, which gives up before long. A machine that is too busy for it sees more ambiguous calls.
pub(super) async fn behind(wire: &Wire, namespace: &str, rules: Rules) -> Arc<dyn SessionStore> {
    let builder = RedisStore::builder(&wire.url).namespace(namespace).rules(rules).pool_size(2);
    let builder = builder.deadline(Duration::from_secs(4)).connect_timeout(Duration::from_secs(4));
    Arc::new(builder.build().await.unwrap())
}

impl Lane {
    pub(super) async fn new(context: &Arc<Context>, rewrite: Option<Rewrite>) -> Self {
        let (mut wires, mut stores) = (Vec::new(), Vec::new());
        for _ in 0..CLIENTS {
            let wire = Wire::start(context.server().address(), rewrite.clone()).await;
            stores.push(behind(&wire, &context.namespace, rules()).await);
            wires.push(wire);
        }
        let direct = context.store(rules()).await;
        Self { context: context.clone(), wires, stores, direct, tally: Tally::new() }
    }

    /// Runs the history of a seed, and returns it if it is not linearizable.
    pub(super) async fn run(&mut self, seed: u64) -> Option<Arc<History>> {
        let mut rng = Rng::with_seed(seed);
        let names = Names::new(format!("h{seed:x}"));
        let history = Arc::new(History::default());
        let scene = Arc::new(Scene::new(&mut rng));
        let clients = rng.usize(3..=CLIENTS);
        let (wires, stores) = (&self.wires, &self.stores);
        let calls = (0..clients).map(|number| {
            let client = Client::new(stores[number].clone(), number, names.clone(), history.clone());
            let actor = Actor {
                client,
                wire: &wires[number],
                scene: scene.clone(),
                rng: rng.fork(),
                tally: Tally::new(),
            };
            actor.run()
        });
        let calls: Vec<_> = calls.collect();
        let calls = futures::future::join_all(calls);
        let (mut tallies, disturbed) = tokio::join!(calls, disturb(&self.context, rng.fork()));
        tallies.push(disturbed);
        tallies.into_iter().flatten().for_each(|(key, count)| *self.tally.entry(key).or_default() += count);

        // All that is still on its way arrives, and then it is as it stays.
        futures::future::join_all(self.wires.iter().map(Wire::release)).await;
        let last = Client::new(self.direct.clone(), CLIENTS, names.clone(), history.clone());
        for id in 0..scene.ids.load(Ordering::SeqCst) {
            last.call(Call::Get { id }).await;
        }
        for user in 1..=USERS {
            last.call(Call::List { whose: Whose::User(user) }).await;
        }
        for node in 1..=NODES {
            last.call(Call::List { whose: Whose::Node(node) }).await;
        }
        for entry in history.entries() {
            *self.tally.entry((entry.call.name(), word(&entry.end))).or_default() += 1;
        }
        if history.is_linearizable() { None } else { Some(history) }
    }
}

/// What a call came to, in a word.
fn word(end: &End) -> &'static str {
    match end {
        End::Unknown => "unknown",
        End::NotExecuted => "not executed",
        End::Answered(Answer::Refused(_)) => "refused",
        End::Answered(_) => "answered",
    }
}

/// What the clients of a history share.
struct Scene {
    /// How many ids there are by now: those of the beginning, and one for each rotation.
    ids: AtomicU8,
    first_ids: u8,
    /// Each call sets a value of its own.
    value: AtomicU32,
    /// How many calls each client makes.
    calls: usize,
    /// How many calls of a hundred something happens to.
    faults: u8,
}

impl Scene {
    fn new(rng: &mut Rng) -> Self {
        let ids = rng.u8(1..=3);
        Self {
            ids: AtomicU8::new(ids),
            first_ids: ids,
            value: AtomicU32::new(1),
            calls: rng.usize(4..=8),
            faults: *rng.choice([0, 20, 35, 50].iter()).unwrap(),
        }
    }
}

/// One client of a history at work.
struct Actor<'a> {
    client: Client,
    wire: &'a Wire,
    scene: Arc<Scene>,
    rng: Rng,
    tally: Tally,
}

impl Actor<'_> {
    async fn run(mut self) -> Tally {
        let (wire, mut rng) = (self.wire, self.rng.fork());
        let (done, mut is_done) = watch::channel(());
        let calls = async move {
            for number in 0..self.scene.calls {
                let call = if number == 0 && self.rng.u8(..4) > 0 { self.create() } else { self.choose() };
                self.turn(call).await;
            }
            drop(done);
            self.tally
        };
        // What is held arrives in between: soon, or when its call has long been sent again.
        let arrivals = async {
            loop {
                let pause = Duration::from_millis(if rng.bool() { rng.u64(0..20) } else { rng.u64(80..200) });
                let ended = tokio::time::timeout(pause, is_done.changed()).await.is_ok();
                wire.release().await;
                if ended {
                    return;
                }
            }
        };
        tokio::join!(calls, arrivals).0
    }

    async fn turn(&mut self, call: Call) {
        let before = self.wire.fired();
        let aim = self.take_aim();
        aim.into_iter().for_each(|aim| self.wire.aim(aim));
        match self.rng.u8(..100) {
            0..6 => {
                let patience = Duration::from_micros(self.rng.u64(0..3000));
                self.client.call_until(call, tokio::time::sleep(patience)).await;
            }
            6..56 => {
                let pause = Duration::from_millis(self.rng.u64(0..50));
                self.client.call_again(call, tokio::time::sleep(pause)).await;
            }
            _ => {
                self.client.call(call).await;
            }
        }
        self.wire.rest();
        if let Some(aim) = aim {
            let hits = self.wire.fired() - before;
            *self.tally.entry(("fault", aim.fault.name())).or_default() += hits;
        }
    }

    fn take_aim(&mut self) -> Option<Aim> {
        let rng = &mut self.rng;
        if rng.u8(..100) >= self.scene.faults {
            return None;
        }
        let fault = match rng.u8(..10) {
            0..5 => Fault::LoseReply,
            5..6 => Fault::LoseRequest,
            6..9 => Fault::Hold(rng.u16(1..1000)),
            _ => Fault::Kill,
        };
        let times = match rng.u8(..24) {
            0 => 12, // more than a store tries
            1..4 => 3,
            4..8 => 2,
            _ => 1,
        };
        let at = if rng.u8(..4) == 0 { At::Calls } else { At::Scripts };
        let skips = *rng.choice([0, 0, 0, 1, 2].iter()).unwrap();
        Some(Aim { fault, skips, times, at, then_wait: false })
    }

    /// One of the ids that there are, mostly one of the first.
    fn id(&mut self) -> u8 {
        let all = self.scene.ids.load(Ordering::SeqCst);
        if self.rng.bool() { self.rng.u8(..self.scene.first_ids) } else { self.rng.u8(..all) }
    }

    fn copy(&mut self) -> Option<View> {
        let copies = self.client.copies();
        self.rng.choice(copies.iter().rev().take(3)).copied()
    }

    fn value(&self) -> u32 {
        self.scene.value.fetch_add(1, Ordering::SeqCst)
    }

    fn create(&mut self) -> Call {
        let (id, value) = (self.rng.u8(..self.scene.first_ids), self.value());
        let rng = &mut self.rng;
        let (user, connection, node) = (rng.u8(..=USERS), rng.u8(..=CONNECTIONS), rng.u8(..=NODES));
        Call::Create { id, user, connection, node, value }
    }

    fn choose(&mut self) -> Call {
        let (id, copy, value) = (self.id(), self.copy(), self.value());
        let rng = &mut self.rng;
        let (user, connection, node) = (rng.u8(..=USERS), rng.u8(1..=CONNECTIONS), rng.u8(..=NODES));
        match rng.u8(..100) {
            0..6 => self.create(),
            6..14 => Call::Get { id },
            14..18 => Call::ByConnection { connection },
            18..22 => Call::Refresh { id },
            22..26 => Call::RefreshAndGet { id },
            26..36 => match copy {
                Some(copy) => Call::Update { copy, user: if rng.u8(..4) == 0 { user } else { 0 }, value },
                None => Call::Get { id },
            },
            36..64 => {
                let expect = copy.filter(|_| rng.u8(..8) == 0);
                // A value that it may have already.
                let value = if rng.u8(..8) == 0 { 1_000_000 } else { value };
                Call::Patch { id, attribute: rng.u8(..2), value, expect }
            }
            64..72 => {
                let to = self.scene.ids.fetch_add(1, Ordering::SeqCst);
                Call::Rotate { id, to, user: if rng.bool() { user } else { 0 } }
            }
            72..84 => Call::Bind { id, connection, node, take_over: rng.bool() },
            84..87 => Call::Unbind { id, connection },
            87..90 => Call::Delete { id },
            90..92 => Call::DeleteUser { user: rng.u8(1..=USERS) },
            92..93 => Call::Count { whose: Whose::User(rng.u8(1..=USERS)) },
            93..97 => Call::List { whose: Whose::User(rng.u8(1..=USERS)) },
            _ => Call::List { whose: Whose::Node(rng.u8(1..=NODES)) },
        }
    }
}

/// What happens to the server meanwhile: its scripts are forgotten, its memory is full.
async fn disturb(context: &Context, mut rng: Rng) -> Tally {
    let mut tally = Tally::new();
    for _ in 0..rng.u8(..3) {
        tokio::time::sleep(Duration::from_micros(rng.u64(0..60_000))).await;
        match rng.u8(..12) {
            0..5 => {
                context.command::<()>(&["SCRIPT", "FLUSH"]).await;
                *tally.entry(("server", "scripts flushed")).or_default() += 1;
            }
            5 => {
                context.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
                tokio::time::sleep(Duration::from_micros(rng.u64(0..2000))).await;
                context.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
                *tally.entry(("server", "memory full")).or_default() += 1;
            }
            _ => {}
        }
    }
    tally
}
