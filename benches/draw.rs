//! What it takes to draw an id that fits its user, by the number of partitions: `cargo bench --bench draw`. No server is asked.

#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)] // a program, not a library

use std::hint::black_box;
use std::time::Instant;

use cloakroom::{IdScheme, RedisStore, Rules, SessionStore};
use hdrhistogram::Histogram;

const PARTITIONS: [u16; 5] = [1, 16, 64, 256, 1024];
const SCHEMES: [(&str, IdScheme); 2] = [("id", IdScheme::Uuid), ("token", IdScheme::Token)];
const ROUNDS: usize = 9;

/// A share of the draws of each.
fn draw(store: &RedisStore, draws: usize, took: &mut Histogram<u64>) {
    for number in 0..draws {
        let user = format!("user-{number}");
        let began = Instant::now();
        black_box(store.new_id(&user));
        took.record(began.elapsed().as_nanos() as u64).unwrap();
    }
}

#[tokio::main]
async fn main() {
    // `cargo test` only tries the bench.
    let draws = if std::env::args().any(|argument| argument == "--bench") { 20_000 } else { 20 };
    let store = |partitions: u16, scheme: IdScheme| {
        let builder = RedisStore::builder("redis://127.0.0.1/").partitions(partitions);
        builder.rules(Rules::new().id_scheme(scheme)).build_lazy().unwrap()
    };
    let mut all = Vec::new();
    for (name, scheme) in SCHEMES {
        for partitions in PARTITIONS {
            all.push((name, partitions, store(partitions, scheme), Vec::new()));
        }
    }
    for _ in 0..ROUNDS {
        for (_, _, store, rounds) in &mut all {
            let mut took = Histogram::new(3).unwrap();
            draw(store, draws, &mut took);
            rounds.push(took);
        }
    }
    println!("Microseconds per draw, {ROUNDS} rounds of {draws}: the round with the least mean.\n");
    println!("| what | partitions | mean | p50 | p99 |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, partitions, _, mut rounds) in all {
        rounds.sort_by(|one, other| one.mean().total_cmp(&other.mean()));
        let least = &rounds[0];
        let micros = |nanos: f64| nanos / 1000.0;
        let [p50, p99] = [0.5, 0.99].map(|part| micros(least.value_at_quantile(part) as f64));
        println!("| {name} | {partitions} | {:.2} | {p50:.2} | {p99:.2} |", micros(least.mean()));
    }
}
