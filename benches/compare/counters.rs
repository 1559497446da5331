//! What the server has counted, and what this process has used.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use redis::aio::MultiplexedConnection;

/// The counts at one moment.
pub(crate) struct Counters {
    commands: BTreeMap<String, Command>,
    reads: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// Of the thread that runs the commands.
    server_cpu: Duration,
    client_cpu: Duration,
    /// The reply with these counts, which the next ones count.
    own_bytes: u64,
}

#[derive(Clone, Copy, Default)]
struct Command {
    calls: u64,
    micros: u64,
}

/// What came between two moments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    /// Calls and microseconds by command.
    commands: BTreeMap<String, (u64, u64)>,
    /// How often something arrived: with one caller and little data, round trips.
    pub(crate) reads: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) server_cpu: Duration,
    pub(crate) client_cpu: Duration,
}

/// INFO as it is sent.
const OWN_REQUEST: u64 = "*2\r\n$4\r\nINFO\r\n$10\r\neverything\r\n".len() as u64;

impl Counters {
    pub(crate) async fn read(redis: &mut MultiplexedConnection) -> Self {
        let info = info(redis, "everything").await;
        let number = |name| field(&info, name).parse().unwrap();
        // Redis 6.2 has no figure of the one thread.
        let cpu = |which| {
            let of_the_thread = find(&info, &format!("used_cpu_{which}_main_thread:"));
            let seconds = of_the_thread.unwrap_or_else(|| field(&info, &format!("used_cpu_{which}:")));
            Duration::from_secs_f64(seconds.parse().unwrap())
        };
        Self {
            commands: info.lines().filter_map(command).collect(),
            reads: number("total_reads_processed:"),
            bytes_in: number("total_net_input_bytes:"),
            bytes_out: number("total_net_output_bytes:"),
            server_cpu: cpu("user") + cpu("sys"),
            client_cpu: client_cpu(),
            own_bytes: (info.len() + format!("${}\r\n\r\n", info.len()).len()) as u64,
        }
    }

    pub(crate) async fn since(self, redis: &mut MultiplexedConnection) -> Cost {
        // Before the second INFO, which costs this process something.
        let client_cpu = client_cpu();
        let now = Self::read(redis).await;
        let mut commands = BTreeMap::new();
        for (name, after) in now.commands {
            let before = self.commands.get(&name).copied().unwrap_or_default();
            if after.calls > before.calls && name != "info" {
                commands.insert(name, (after.calls - before.calls, after.micros - before.micros));
            }
        }
        Cost {
            commands,
            reads: now.reads - self.reads - 1,
            bytes_in: now.bytes_in - self.bytes_in - OWN_REQUEST,
            bytes_out: now.bytes_out - self.bytes_out - self.own_bytes,
            server_cpu: now.server_cpu.saturating_sub(self.server_cpu),
            client_cpu: client_cpu.saturating_sub(self.client_cpu),
        }
    }
}

impl Cost {
    /// Microseconds that the server spent in commands. Those within a script or transaction are counted by the server
    /// twice, in it and under their own names. So of a transaction counts what is in it. Where there were scripts, only
    /// they count, and the TIME and GET beside them: a script has one of each at most.
    pub(crate) fn command_micros(&self) -> u64 {
        let (scripts, of_scripts) = self.commands.get("evalsha").copied().unwrap_or_default();
        let beside = |name: &str, calls: u64, micros: u64| match name {
            "exec" | "evalsha" => 0,
            "time" | "get" => micros * calls.saturating_sub(scripts) / calls,
            _ if scripts == 0 => micros,
            _ => 0,
        };
        of_scripts
            + self.commands.iter().map(|(name, (calls, micros))| beside(name, *calls, *micros)).sum::<u64>()
    }

    /// The commands, and how often each was called.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (&str, u64)> {
        self.commands.iter().map(|(name, (calls, _))| (name.as_str(), *calls))
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (name, (calls, micros)) in other.commands {
            let sum = self.commands.entry(name).or_default();
            *sum = (sum.0 + calls, sum.1 + micros);
        }
        self.reads += other.reads;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.server_cpu += other.server_cpu;
        self.client_cpu += other.client_cpu;
    }
}

pub(crate) async fn info(redis: &mut MultiplexedConnection, section: &str) -> String {
    redis::cmd("INFO").arg(section).query_async(redis).await.unwrap()
}

fn find<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// A field of INFO, by its name with the colon.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> &'a str {
    find(info, name).unwrap_or_else(|| panic!("INFO has no {name}"))
}

fn command(line: &str) -> Option<(String, Command)> {
    let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    let mut figures = figures.split(',').filter_map(|figure| figure.split_once('='));
    let mut next = |wanted| figures.find(|(name, _)| *name == wanted)?.1.parse().ok();
    Some((name.to_owned(), Command { calls: next("calls")?, micros: next("usec")? }))
}

/// What the threads of this process have used. Zero where the system does not tell it so.
fn client_cpu() -> Duration {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return Duration::ZERO;
    };
    let used = |path| fs::read_to_string(path).ok()?.split(' ').next()?.parse::<u64>().ok();
    Duration::from_nanos(threads.flatten().filter_map(|thread| used(thread.path().join("schedstat"))).sum())
}
