//! What each operation costs as the stored sessions become more: a server for each number of them, asked in turn. A plain
//! GET of the same records tells what of it is the server's own: the more memory, the further away.

use std::sync::Arc;
use std::time::Duration;

use crate::contenders::{Cloakroom, Contender, NAMESPACE, Plain};
use crate::measure::drive;
use crate::operation::Operation;
use crate::options::Options;
use crate::payload::Payload;
use crate::results::{Results, Setting};
use crate::server::Server;
use crate::speed::Speed;
use crate::supply::Supply;
use crate::table;

const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
const ROUNDS: usize = 9;
/// Of one operation at one server in one round.
const LASTS: Duration = Duration::from_millis(50);
const SETTING: Setting = Setting { payload: Payload::SMALL, callers: 1, is_delayed: false };

/// With so many sessions stored.
pub(crate) struct Growth {
    pub(crate) sessions: u64,
    results: Results,
}

impl Growth {
    /// Microseconds of the server's commands, and those of half of the calls.
    fn costs(&self, who: &str, operation: Operation) -> Option<(f64, f64)> {
        let figure = self.results.find(who, operation, SETTING)?;
        Some((figure.command_micros(), figure.percentile(50.0)))
    }
}

pub(crate) async fn measure(options: &Options) -> Vec<Growth> {
    let operations: Vec<_> =
        Operation::SINGLE.into_iter().filter(|operation| options.wants_operation(*operation)).collect();
    let (sizes, rounds) = if options.quick { ([100, 200, 300], 1) } else { (SIZES, ROUNDS) };
    let (mut servers, mut grown) = (Vec::new(), Vec::new());
    for sessions in sizes {
        let server = Server::spawn(&[]).await;
        let plain: Arc<dyn Contender> = Arc::new(Plain::connect(server.url(), NAMESPACE, Vec::new()).await);
        let contender: Arc<dyn Contender> = Arc::new(Cloakroom::connect(server.url(), SETTING.payload).await);
        let mut redis = server.connect().await;
        drive(&mut redis, &contender, Operation::HundredAtOnce, Supply::crowd_by_hundreds(sessions), 4).await;
        servers.push((Speed::over(redis, options, sessions), [contender], [plain], server));
        grown.push(Growth { sessions, results: Results::default() });
    }
    for round in 0..rounds {
        for ((speed, contender, plain, _), grown) in servers.iter_mut().zip(&mut grown) {
            speed.round(contender, &operations, SETTING, LASTS, round, &mut grown.results).await;
            speed.round(plain, &[Operation::Get], SETTING, LASTS, round, &mut grown.results).await;
        }
    }
    grown
}

/// How much more each operation costs the server with the most sessions than with the least, and a plain GET.
pub(crate) fn ratios(grown: &[Growth]) -> Vec<(&'static str, f64)> {
    let (Some(least), Some(most)) = (grown.first(), grown.last()) else {
        return Vec::new();
    };
    let ratio =
        |(name, who, operation)| Some((name, most.costs(who, operation)?.0 / least.costs(who, operation)?.0));
    rows().filter_map(ratio).collect()
}

/// The name of each row, and whose figure it is.
fn rows() -> impl Iterator<Item = (&'static str, &'static str, Operation)> {
    let ours = Operation::SINGLE.into_iter().map(|operation| (operation.name(), "cloakroom", operation));
    [("plain GET", "plain SET/GET", Operation::Get)].into_iter().chain(ours)
}

pub(crate) fn table(grown: &[Growth]) -> String {
    let sizes: Vec<_> =
        grown.iter().map(|of| format!("{} sessions: server µs, p50 µs", of.sessions)).collect();
    let head: Vec<_> = ["operation"].into_iter().chain(sizes.iter().map(String::as_str)).collect();
    let row = |(name, who, operation): (&str, &str, Operation)| {
        let costs = grown.iter().filter_map(|of| of.costs(who, operation));
        let costs = costs.map(|(server, p50)| format!("{server:.1}, {p50:.0}"));
        [name.to_owned()].into_iter().chain(costs).collect::<Vec<_>>()
    };
    let rows: Vec<_> = rows().map(row).filter(|row| row.len() == head.len()).collect();
    table::markdown(&head, &rows)
}
