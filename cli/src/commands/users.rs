//! users: lists users with live sessions, by a scan of all keys of the servers.

use std::collections::HashSet;

use cloakroom::RedisStore;
use serde_json::json;

use crate::arguments::UsersArguments;
use crate::failure::Failure;
use crate::output::{Output, shown};
use crate::pace::Pace;
use crate::progress::{Unit, bar};

/// How many keys one call looks at, at most.
const KEYS: usize = 1000;

pub(crate) async fn run(
    store: &RedisStore,
    arguments: &UsersArguments,
    output: &Output,
) -> Result<(), Failure> {
    let mut pace = Pace::new(arguments.per_second);
    let keys = pace.page(KEYS);
    // A user may be found twice.
    let (mut told, mut next) = (HashSet::new(), None);
    let progress = bar("users", None, Unit::Things);
    output.heading("SESSIONS  USER")?;
    loop {
        pace.wait_for(keys).await;
        let found = store.users(next.as_ref(), keys).await?;
        for (user, sessions) in found.users {
            if told.contains(&user) {
                continue;
            }
            let line = format!("{sessions:>8}  {}", shown(&user));
            progress.suspend(|| output.tell(&json!({"user": user, "sessions": sessions}), &line))?;
            told.insert(user);
        }
        progress.set_position(told.len() as u64);
        next = found.next;
        if next.is_none() {
            progress.finish_and_clear();
            return Ok(());
        }
    }
}
