//! What a crash left, brought to its end.

use crate::migration::directions::Directions;
use crate::migration::task::Report;
use crate::migration::transfer::{Arrival, Outcome, Transfer};
use crate::model::{Error, Migration, Phase, Result};

/// How many to read at once.
const MIGRATIONS_PER_PAGE: usize = 200;

/// What a resumption came to.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Resumed {
    /// Those that were brought to an end, or could not be now.
    pub reports: Vec<Report>,
    /// How many were on their way to or from another place than these two.
    pub foreign: usize,
}

impl Resumed {
    /// How many wait, because their source has lost what it knew and [`LostSource::Report`](crate::migration::LostSource::Report) is
    /// the policy.
    #[must_use]
    pub fn unclaimed(&self) -> usize {
        self.reports.iter().filter(|report| report.outcome == Ok(Outcome::Unclaimed)).count()
    }

    /// How many could not be brought to an end.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.reports.iter().filter(|report| report.outcome.is_err()).count()
    }
}

/// Brings all to their end that are on their way between the two stores, by the lists of both.
pub(crate) async fn resume(directions: &Directions) -> Result<Resumed> {
    let mut resumed = Resumed::default();
    let (remote, local) = (&directions.to_remote, &directions.to_local);
    for (transfer, back) in [(remote, local), (local, remote)] {
        let mut skip = 0;
        loop {
            let page = transfer.source.store.migrations(skip, MIGRATIONS_PER_PAGE).await?;
            // Those that have expired are passed over, and those that do not end stay in the list.
            let mut stay = page.next.map_or(0, |next| next.saturating_sub(skip + page.migrations.len()));
            for migration in &page.migrations {
                stay += usize::from(!one(directions, transfer, back, migration, &mut resumed).await);
            }
            if page.next.is_none() {
                break;
            }
            skip += stay;
        }
    }
    Ok(resumed)
}

/// Whether it came to its end.
async fn one(
    directions: &Directions,
    transfer: &Transfer,
    back: &Transfer,
    migration: &Migration,
    resumed: &mut Resumed,
) -> bool {
    if migration.place != transfer.target.place {
        resumed.foreign += 1;
        return false;
    }
    // What this store takes in is on the way from the other.
    let is_outgoing = matches!(migration.phase, Phase::Outgoing { .. } | Phase::Departed);
    let transfer = if is_outgoing { transfer } else { back };
    let arrival = if is_outgoing {
        transfer.resume_outgoing(migration).await
    } else {
        transfer.resume_incoming(migration).await
    };
    let (report, cleaned) = finish(directions, transfer, migration, arrival).await;
    resumed.reports.push(report);
    cleaned
}

async fn finish(
    directions: &Directions,
    transfer: &Transfer,
    migration: &Migration,
    arrival: Result<Arrival>,
) -> (Report, bool) {
    let task = migration.task;
    let told = |session, outcome: Result<_, Error>| {
        let report = Report { task, session, outcome };
        directions.tell(&report);
        report
    };
    match arrival {
        Ok(arrival) => {
            let report = told(arrival.id.clone(), Ok(arrival.outcome));
            let is_over = arrival.outcome != Outcome::Unclaimed;
            (report, transfer.clean_up(&arrival).await.is_ok() && is_over)
        }
        Err(error) => (told(migration.id.clone(), Err(error)), false),
    }
}
