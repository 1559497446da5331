//! Finishes the migrations that a crash interrupted.

use crate::migration::directions::Directions;
use crate::migration::task::Report;
use crate::migration::transfer::{Arrival, Outcome, Transfer};
use crate::model::{Error, Migration, Phase, Result};

/// How many to read at once.
const MIGRATIONS_PER_PAGE: usize = 200;

/// The result of a resumption.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Resumed {
    /// The migrations that it finished, or could not finish now.
    pub reports: Vec<Report>,
    /// How many were on their way between other stores than these two.
    pub foreign: usize,
}

impl Resumed {
    /// How many wait, because their source has lost its data and the policy is
    /// [`LostSource::Report`](crate::migration::LostSource::Report).
    #[must_use]
    pub fn unclaimed(&self) -> usize {
        self.reports.iter().filter(|report| report.outcome == Ok(Outcome::Unclaimed)).count()
    }

    /// How many could not be finished.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.reports.iter().filter(|report| report.outcome.is_err()).count()
    }
}

/// Finishes all migrations between the two stores, as the lists of both name them.
pub(crate) async fn resume(directions: &Directions) -> Result<Resumed> {
    let mut resumed = Resumed::default();
    let (remote, local) = (&directions.to_remote, &directions.to_local);
    for (transfer, back) in [(remote, local), (local, remote)] {
        let mut skip = 0;
        loop {
            let page = transfer.source.store.migrations(skip, MIGRATIONS_PER_PAGE).await?;
            // Expired ones are not in the page, and those that do not end stay in the list.
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

/// Whether the migration was finished.
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
    // A session that comes into this store leaves the other.
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
