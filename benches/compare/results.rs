//! What was measured of speed, one figure for one contender doing one operation in one setting.

use hdrhistogram::Histogram;

use crate::counters::Cost;
use crate::driven::histogram;
use crate::measure::{Run, median};
use crate::operation::Operation;
use crate::payload::Payload;

/// In which an operation is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) payload: Payload,
    pub(crate) callers: usize,
    /// Whether the network takes half a millisecond each way.
    pub(crate) is_delayed: bool,
}

/// The rounds of one contender doing one operation.
pub(crate) struct Figure {
    pub(crate) contender: &'static str,
    pub(crate) operation: Operation,
    pub(crate) setting: Setting,
    rates: Vec<f64>,
    command_micros: Vec<f64>,
    latency: Histogram<u64>,
    cost: Cost,
}

impl Figure {
    /// Operations a second, the median of the rounds.
    pub(crate) fn a_second(&self) -> f64 {
        median(self.rates.clone())
    }

    /// Microseconds that so many of a hundred calls stay below.
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        self.latency.value_at_percentile(part) as f64 / 1000.0
    }

    fn each(&self, total: f64) -> f64 {
        total / self.latency.len().max(1) as f64
    }

    /// Microseconds that the server spent in commands, for one operation, the median of the rounds.
    pub(crate) fn command_micros(&self) -> f64 {
        median(self.command_micros.clone())
    }

    /// Microseconds of the server's thread for one operation, reading and answering included.
    pub(crate) fn server_micros(&self) -> f64 {
        self.each(self.cost.server_cpu.as_secs_f64() * 1e6)
    }

    /// Operations per second that one core of the server carries: the thread that runs the commands uses no other.
    pub(crate) fn a_core_second(&self) -> f64 {
        1e6 / self.server_micros()
    }

    /// Microseconds that this process used for one operation, on all its threads.
    pub(crate) fn client_micros(&self) -> f64 {
        self.each(self.cost.client_cpu.as_secs_f64() * 1e6)
    }

    pub(crate) fn bytes_in(&self) -> f64 {
        self.each(self.cost.bytes_in as f64)
    }

    pub(crate) fn bytes_out(&self) -> f64 {
        self.each(self.cost.bytes_out as f64)
    }

    pub(crate) fn reads(&self) -> f64 {
        self.each(self.cost.reads as f64)
    }
}

#[derive(Default)]
pub(crate) struct Results {
    pub(crate) figures: Vec<Figure>,
}

impl Results {
    pub(crate) fn find(&self, contender: &str, operation: Operation, setting: Setting) -> Option<&Figure> {
        let is_it = |figure: &&Figure| {
            figure.contender == contender && figure.operation == operation && figure.setting == setting
        };
        self.figures.iter().find(is_it)
    }

    /// Adds a round.
    pub(crate) fn add(&mut self, contender: &'static str, operation: Operation, setting: Setting, run: Run) {
        let known = self.figures.iter().position(|figure| {
            figure.contender == contender && figure.operation == operation && figure.setting == setting
        });
        let at = known.unwrap_or_else(|| {
            self.figures.push(Figure {
                contender,
                operation,
                setting,
                rates: Vec::new(),
                command_micros: Vec::new(),
                latency: histogram(),
                cost: Cost::default(),
            });
            self.figures.len() - 1
        });
        let figure = &mut self.figures[at];
        figure.rates.push(run.a_second());
        figure.command_micros.push(run.command_micros());
        figure.latency.add(run.latency).unwrap();
        figure.cost.add(run.cost);
    }
}
