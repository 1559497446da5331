//! A hundred sessions by one call, against a hundred calls awaited together.

use std::sync::Arc;

use crate::contenders::Contender;
use crate::operation::{HUNDRED, Operation};
use crate::payload::Payload;
use crate::results::{Results, Setting};
use crate::speed::Speed;

/// Sessions a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) singly: f64,
    pub(crate) at_once: f64,
    /// A hundred of the several-command way, awaited together.
    pub(crate) several: f64,
}

/// One caller, for each call is a hundred already.
pub(crate) async fn measure(speed: &mut Speed<'_>, contenders: &[Arc<dyn Contender>]) -> Option<Batch> {
    let setting = Setting { payload: Payload::SMALL, callers: 1, is_delayed: false };
    let mut results = Results::default();
    speed.hundreds(contenders, setting, &mut results).await;
    let sessions =
        |name, operation| Some(results.find(name, operation, setting)?.a_second() * HUNDRED as f64);
    Some(Batch {
        singly: sessions("cloakroom", Operation::HundredSingly)?,
        at_once: sessions("cloakroom", Operation::HundredAtOnce)?,
        several: sessions("several commands", Operation::HundredSingly)?,
    })
}

pub(crate) fn table(batch: Batch) -> String {
    let Batch { singly, at_once, several } = batch;
    format!(
        "Sessions per second, 100 awaited together: {at_once:.0} by one `create_many`, {singly:.0} by `create` for each, \
         {several:.0} by several commands for each.\n"
    )
}
