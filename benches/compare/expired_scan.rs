//! Which sessions have expired: read from an index, or found by looking at all that there is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use crate::contenders::{Cloakroom, Contender, SeveralCommands};
use crate::measure::{drive, fill, median};
use crate::operation::Operation;
use crate::options::Options;
use crate::payload::Payload;
use crate::subject::Subject;
use crate::supply::Supply;
use crate::table;

const EXPIRED: u64 = 1000;
/// Live sessions, in each run.
const MOST: u64 = 1_000_000;
const TIMES: usize = 30;
const BATCH: usize = 200;

/// Among so many live sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpiredScan {
    pub(crate) live: u64,
    /// To read which 1,000 have expired.
    pub(crate) ours: Duration,
    /// The same by SCAN and a GET each, where it was tried.
    pub(crate) by_scan: Option<Duration>,
    /// To remove them, with all that leads to them, by batches of 200.
    pub(crate) reaping: Duration,
}

pub(crate) async fn measure(
    redis: &mut MultiplexedConnection,
    url: &str,
    options: &Options,
) -> Vec<ExpiredScan> {
    let expired = if options.quick { 20 } else { EXPIRED };
    let by_scan = by_scan(redis, url, options.sessions, expired).await;
    redis::cmd("FLUSHALL").query_async::<()>(redis).await.unwrap();
    let cloakroom = Arc::new(Cloakroom::connect(url, Payload::SMALL).await);
    let contender: Arc<dyn Contender> = cloakroom.clone();
    let mut sizes = vec![options.sessions / 10, options.sessions];
    if !options.quick && options.sessions < MOST {
        sizes.push(MOST);
    }
    let (mut stored, mut measured) = (0, Vec::new());
    for live in sizes {
        let created = live.min(options.sessions);
        let more = Supply::part_of_crowd(stored.min(created), created);
        drive(redis, &contender, Operation::Create, more, 256).await;
        cloakroom.copy_crowd(redis, stored.max(created), live).await;
        stored = live;
        for number in live..live + expired {
            // A millisecond, the shortest, is over before all are made.
            cloakroom.create_for(Subject::expired(number), Duration::from_millis(1)).await;
        }
        let ours = reading(&cloakroom, expired).await;
        let start = Instant::now();
        let mut reaped = 0;
        while reaped < expired {
            let batch = cloakroom.reap(BATCH).await as u64;
            assert!(batch > 0, "{reaped} of {expired} were reaped");
            reaped += batch;
        }
        let by_scan = (live == options.sessions).then_some(by_scan);
        measured.push(ExpiredScan { live, ours, by_scan, reaping: start.elapsed() });
    }
    measured
}

/// The median of some, with all found each time.
async fn reading(cloakroom: &Cloakroom, expired: u64) -> Duration {
    let deadline = Instant::now() + Duration::from_secs(60);
    while cloakroom.expired().await as u64 != expired {
        assert!(Instant::now() < deadline, "not all have expired");
    }
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let start = Instant::now();
        assert_eq!(cloakroom.expired().await as u64, expired);
        times.push(start.elapsed().as_secs_f64());
    }
    Duration::from_secs_f64(median(times))
}

async fn by_scan(redis: &mut MultiplexedConnection, url: &str, live: u64, expired: u64) -> Duration {
    redis::cmd("FLUSHALL").query_async::<()>(redis).await.unwrap();
    let several = Arc::new(SeveralCommands::connect(url, Payload::SMALL).await);
    let contender: Arc<dyn Contender> = several.clone();
    fill(redis, &contender, live).await;
    for number in live..live + expired {
        several.create_for(Subject::expired(number), Duration::ZERO).await;
    }
    let start = Instant::now();
    assert_eq!(several.expired().await.len() as u64, expired);
    start.elapsed()
}

pub(crate) fn table(measured: &[ExpiredScan]) -> String {
    let row = |of: &ExpiredScan| {
        let by_scan = of.by_scan.map_or_else(|| "–".to_owned(), |took| format!("{took:.1?}"));
        vec![of.live.to_string(), format!("{:.2?}", of.ours), by_scan, format!("{:.1?}", of.reaping)]
    };
    table::markdown(
        &["live sessions", "ours, read", "SCAN and GET each", "ours, reaped by 200"],
        &measured.iter().map(row).collect::<Vec<_>>(),
    )
}
