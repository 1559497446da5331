//! A hundred sessions by one call, against a hundred calls awaited together: each a script of its own, and as the store
//! sends them, which gathers what comes at once.

use std::sync::Arc;

use crate::contenders::Contender;
use crate::operation::{HUNDRED, Operation};
use crate::payload::Payload;
use crate::results::{Results, Setting};
use crate::speed::Speed;

/// Sessions a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) apart: f64,
    pub(crate) singly: f64,
    pub(crate) at_once: f64,
}

/// One caller, for each call is a hundred already.
pub(crate) async fn measure(speed: &mut Speed<'_>, contender: &Arc<dyn Contender>) -> Batch {
    let setting = Setting { payload: Payload::SMALL, callers: 1, is_delayed: false };
    let mut results = Results::default();
    speed.hundreds(contender, setting, &mut results).await;
    let sessions = |operation| {
        let figure = results.find(contender.name(), operation, setting).expect("it was measured");
        figure.a_second() * HUNDRED as f64
    };
    Batch {
        apart: sessions(Operation::HundredApart),
        singly: sessions(Operation::HundredSingly),
        at_once: sessions(Operation::HundredAtOnce),
    }
}
