//! The rules of a case: part of what is random.

use std::time::Duration;

use cloakroom::{IdScheme, OnLimit, Rules};
use proptest::option::weighted;
use proptest::prelude::*;

use super::step::Span;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
/// The longest grace that there is.
const LONGEST: u64 = 10 * 365 * 24 * 3600 * SECOND;

/// The rules of a case, in milliseconds.
#[derive(Clone, Debug)]
pub(super) struct CaseRules {
    pub(super) ttl: u64,
    pub(super) lifetime: Option<u64>,
    pub(super) threshold_percent: u64,
    pub(super) touch: u64,
    pub(super) grace: u64,
    pub(super) limit: Option<(usize, Policy)>,
    pub(super) session_bytes: usize,
    pub(super) tokens: bool,
}

/// What happens to one session more than a user may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Policy {
    Reject,
    Evict,
}

impl CaseRules {
    /// How long an old id leads on, and how long that of a deleted session stays closed: longer than a case takes by
    /// the server's clock, by which their keys go.
    pub(super) const ROTATION: u64 = 5 * MINUTE;
    pub(super) const TOMBSTONE: u64 = 10 * MINUTE;

    /// Where a case of the regressions begins.
    pub(super) const fn usual() -> Self {
        Self {
            ttl: 10 * MINUTE,
            lifetime: None,
            threshold_percent: 50,
            touch: 0,
            grace: LONGEST,
            limit: None,
            session_bytes: 1_000_000,
            tokens: false,
        }
    }

    pub(super) fn rules(&self) -> Rules {
        let rules = Rules::new()
            .ttl(Duration::from_millis(self.ttl))
            .refresh_threshold(self.threshold_percent as f64 / 100.0)
            .touch_interval(Duration::from_millis(self.touch))
            .grace(Duration::from_millis(self.grace))
            .rotation_grace(Duration::from_millis(Self::ROTATION))
            .tombstone(Duration::from_millis(Self::TOMBSTONE))
            .session_bytes(self.session_bytes)
            .id_scheme(if self.tokens { IdScheme::Token } else { IdScheme::Uuid });
        let rules = match self.lifetime {
            Some(lifetime) => rules.max_lifetime(Duration::from_millis(lifetime)),
            None => rules,
        };
        match self.limit {
            Some((most, Policy::Reject)) => rules.sessions_per_user(most as u32, OnLimit::Reject),
            Some((most, Policy::Evict)) => rules.sessions_per_user(most as u32, OnLimit::EvictOldest),
            None => rules,
        }
    }

    pub(super) fn span(&self, span: Span) -> Duration {
        match span {
            Span::Millisecond => Duration::from_millis(1),
            Span::Second => Duration::from_secs(1),
            Span::ThirdOfTtl => Duration::from_millis(self.ttl / 3),
            Span::Ttl => Duration::from_millis(self.ttl),
            Span::Tombstone => Duration::from_millis(Self::TOMBSTONE),
        }
    }
}

pub(super) fn case_rules() -> BoxedStrategy<CaseRules> {
    let ttl = prop_oneof![Just(2 * MINUTE), Just(10 * MINUTE)];
    let lifetime = weighted(0.5, prop_oneof![Just(MINUTE), Just(15 * MINUTE)]);
    let threshold = prop_oneof![Just(50_u64), Just(100), Just(10), Just(33)];
    let touch = prop_oneof![2 => Just(0), 1 => Just(SECOND), 1 => Just(30 * SECOND), 1 => Just(2 * MINUTE)];
    let grace = prop_oneof![5 => Just(LONGEST), 1 => Just(20 * MINUTE)];
    let limit = weighted(0.6, (1..3_usize, prop_oneof![Just(Policy::Reject), Just(Policy::Evict)]));
    let bytes = prop_oneof![2 => Just(1_000_000_usize), 1 => Just(60), 1 => Just(45)];
    (ttl, lifetime, threshold, touch, grace, limit, bytes, any::<bool>())
        .prop_map(|(ttl, lifetime, threshold_percent, touch, grace, limit, session_bytes, tokens)| {
            CaseRules { ttl, lifetime, threshold_percent, touch, grace, limit, session_bytes, tokens }
        })
        .boxed()
}
