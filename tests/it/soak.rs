//! A day of a fleet's sessions: each step of a quarter of an hour some expire, are reaped, and others come in their place.
//!
//! The clock is moved, so a day takes as long as its calls. `CLOAKROOM_SOAK` sets how many sessions there are at any time (2,000
//! if not); ten million need some 13 GB. What is the same on any machine is asserted. The figures are printed:
//! `CLOAKROOM_SOAK=1000000 cargo test --test it -- soak --nocapture`

#![expect(clippy::print_stdout, reason = "figures are a part of what it is for")]

use std::time::{Duration, Instant};

use cloakroom::{NewSession, Rules, SessionId};

use crate::support::Context;
use crate::support::context::Store;
use crate::support::expect::session_id;

const STEP: Duration = Duration::from_secs(900);
const DAY: Duration = Duration::from_secs(86_400);
/// Of a day.
const STEPS: usize = 96;
/// Of so few all that is stored is looked at.
const FEW: usize = 20_000;
/// Calls of each kind whose times are told, where a step has as many sessions.
const SAMPLE: usize = 1000;

fn sessions() -> usize {
    let wanted = std::env::var("CLOAKROOM_SOAK").ok();
    let wanted = wanted.map_or(2000, |wanted| wanted.parse().expect("CLOAKROOM_SOAK is a number"));
    // As many in each step.
    wanted / STEPS * STEPS
}

fn name(number: usize) -> SessionId {
    session_id(&format!("session-{number:09}"))
}

fn new(number: usize, ttl: Duration) -> NewSession {
    let new = NewSession::new().id(name(number)).user(format!("user-{number:09}")).ttl(ttl);
    new.connection(format!("connection-{number:09}")).set("data", &"x".repeat(300)).unwrap()
}

struct Soak {
    context: Context,
    store: Store,
    /// How many there are at any time.
    sessions: usize,
    /// How many were made.
    made: usize,
}

impl Soak {
    async fn new(sessions: usize) -> Self {
        let context = Context::own(&[]).await;
        let store = context.store_at(Rules::new().refresh_threshold(1.0)).await;
        Self { context, store, sessions, made: 0 }
    }

    async fn make(&mut self, count: usize, ttl: impl Fn(usize) -> Duration) {
        for first in (self.made..self.made + count).step_by(1000) {
            let end = (first + 1000).min(self.made + count);
            let made = self.store.create_many((first..end).map(|at| new(at, ttl(at))).collect()).await;
            assert!(made.iter().all(Result::is_ok));
        }
        self.made += count;
    }

    /// Reaps until nothing has expired that is not reaped. How many that was, and how long it took.
    async fn reap(&self) -> (usize, Duration) {
        let (began, mut reaped) = (Instant::now(), 0);
        loop {
            let batch = self.store.reap(200).await.unwrap();
            assert!(batch.corrupt.is_empty() && batch.dropped == 0);
            reaped += batch.sessions.len();
            if !batch.more {
                break;
            }
        }
        assert!(self.store.expired(None, 0, 1).await.unwrap().is_empty());
        (reaped, began.elapsed())
    }

    /// No key grows with the sessions but the expiry index: each has a record, a user's index and a connection's pointer. It has a
    /// note of its own TTL, and beside it there is the contract.
    async fn check_keys(&self) {
        let keys: usize = self.context.command(&["DBSIZE"]).await;
        assert_eq!(keys, 3 * self.sessions + 2);
        let expiry: usize = self.context.command(&["ZCARD", &self.context.key("expiry")]).await;
        assert_eq!(expiry, self.sessions + 1);
        let last = self.context.key(format!("user:user-{:09}:sessions", self.made - 1));
        assert_eq!(self.context.command::<usize>(&["ZCARD", &last]).await, 1);
    }

    async fn check_all(&self) {
        if self.sessions <= FEW {
            self.context.check().await;
        }
    }

    async fn bytes_per_session(&self) -> usize {
        let info: String = self.context.command(&["INFO", "memory"]).await;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
        used.trim().parse::<usize>().unwrap() / self.sessions
    }

    /// Makes sessions one by one, and tells what that takes, and what it takes to read and to refresh them.
    async fn make_and_tell(&mut self, count: usize, when: &str) {
        let (mut created, mut read, mut refreshed) = (Vec::new(), Vec::new(), Vec::new());
        for number in self.made..self.made + count {
            let began = Instant::now();
            self.store.create(new(number, 2 * DAY)).await.unwrap();
            created.push(began.elapsed());
            let began = Instant::now();
            assert!(self.store.get(&name(number)).await.unwrap().is_some());
            read.push(began.elapsed());
            let began = Instant::now();
            assert!(self.store.refresh(&name(number)).await.unwrap().is_some());
            refreshed.push(began.elapsed());
        }
        self.made += count;
        let [created, read, refreshed] = [created, read, refreshed].map(|mut took| {
            took.sort_unstable();
            let [half, most] = [50, 99].map(|part| took[took.len() * part / 100].as_micros());
            format!("{half} and {most}")
        });
        println!("{when}: create {created} us, get {read} us, refresh {refreshed} us (half, 99 of 100)");
    }
}

#[tokio::test]
async fn in_a_day_of_sessions_all_that_expire_are_reaped_and_no_key_grows_but_the_expiry_index() {
    let mut soak = Soak::new(sessions()).await;
    let each = soak.sessions / STEPS;
    let began = Instant::now();
    // As many expire in each step of the day. Those that come in their place do not within it.
    soak.make(soak.sessions, |number| STEP * u32::try_from(number % STEPS + 1).unwrap()).await;
    println!("{} sessions made in {:.0?}", soak.sessions, began.elapsed());
    soak.check_keys().await;
    soak.check_all().await;
    println!("{} bytes of the server per session", soak.bytes_per_session().await);
    let (mut longest, mut all, began) = (Duration::ZERO, Duration::ZERO, Instant::now());
    for step in 0..STEPS {
        soak.context.clock.advance(STEP);
        let (reaped, took) = soak.reap().await;
        assert_eq!(reaped, each, "step {step}");
        (longest, all) = (longest.max(took), all + took);
        let told = if step == 0 || step == STEPS - 1 { SAMPLE.min(each) } else { 0 };
        soak.make(each - told, |_| 2 * DAY).await;
        if told > 0 {
            soak.make_and_tell(told, &format!("step {}", step + 1)).await;
        }
        soak.check_keys().await;
    }
    soak.check_all().await;
    println!(
        "{STEPS} steps in {:.0?}, of which reaping {all:.0?}; {each} sessions of a step were reaped in {longest:.0?} at most",
        began.elapsed()
    );
    println!("{} bytes of the server per session", soak.bytes_per_session().await);

    soak.context.clock.advance(3 * DAY);
    assert_eq!(soak.reap().await.0, soak.sessions);
    let left = soak.context.keys_but_expiry().await;
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(
        soak.context.command::<Vec<String>>(&["ZRANGE", &soak.context.key("expiry"), "0", "-1"]).await,
        [""]
    );
}
