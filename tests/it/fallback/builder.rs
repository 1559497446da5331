//! The settings that the builder accepts.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::fallback::{FallbackPolicy, FallbackStore, FallbackStoreBuilder};
use cloakroom::{Error, MemoryStore, Rules};

fn builder() -> FallbackStoreBuilder {
    FallbackStore::builder(Arc::new(MemoryStore::builder().build().unwrap()))
}

#[test]
fn each_bad_setting_is_named_with_its_limits() {
    let (zero, long) = (Duration::ZERO, Duration::from_secs(3601));
    let stale = |max_age| FallbackPolicy::ServeStale { max_age };
    let local = |ttl| FallbackPolicy::LocalOnly { ttl };
    for (builder, expected) in [
        (builder().failures(0), "failures is 0, must be at least 1"),
        (builder().cool_down(zero), "cool_down is 0ns, must be 1ms to 3600s"),
        (builder().cool_down(long), "cool_down is 3601s, must be 1ms to 3600s"),
        (builder().probe_timeout(zero), "probe_timeout is 0ns, must be 1ms to 3600s"),
        (builder().probe_timeout(long), "probe_timeout is 3601s, must be 1ms to 3600s"),
        (builder().max_copies(0), "max_copies is 0, must be 1 to 10000000"),
        (builder().max_copies(10_000_001), "max_copies is 10000001, must be 1 to 10000000"),
        (builder().max_local(0), "max_local is 0, must be 1 to 10000000"),
        (builder().max_revocations(0), "max_revocations is 0, must be 1 to 10000000"),
        (builder().policy(stale(zero)), "max_age is 0ns, must be 1ms to 3600s"),
        (builder().policy(stale(long)), "max_age is 3601s, must be 1ms to 3600s"),
        (builder().policy(local(zero)), "ttl is 0ns, must be 1ms to 3600s"),
        (builder().policy(local(long)), "ttl is 3601s, must be 1ms to 3600s"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
    // The rules are those of the store behind, which is not built with a bad one.
    let error = MemoryStore::builder().rules(Rules::new().grace(zero)).build().unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    assert_eq!(error.to_string(), "grace is 0ns, must be 1s to 315360000s");
}

#[test]
fn each_policy_is_built_and_nothing_of_what_is_debugged_is_secret() {
    for policy in [
        FallbackPolicy::FailClosed,
        FallbackPolicy::ServeStale { max_age: Duration::from_millis(1) },
        FallbackPolicy::LocalOnly { ttl: Duration::from_secs(3600) },
    ] {
        let builder = builder().policy(policy);
        assert!(format!("{builder:?}").contains("policy"), "{builder:?}");
        let store = builder.build().unwrap();
        assert!(format!("{store:?}").starts_with("FallbackStore"), "{store:?}");
    }
}
