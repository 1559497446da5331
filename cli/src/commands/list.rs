//! list: lists the live sessions of a user or a node, oldest first.

use cloakroom::{PageRequest, RedisStore, Selector, SessionStore as _};

use crate::arguments::ListArguments;
use crate::failure::Failure;
use crate::output::Output;

/// How many sessions one page reads.
const PAGE: usize = 200;

pub(crate) async fn run(
    store: &RedisStore,
    arguments: &ListArguments,
    output: &Output,
) -> Result<(), Failure> {
    let output = &output.of(store.rules());
    let of = match (&arguments.user, &arguments.node) {
        (Some(user), _) => Selector::user(user),
        (_, node) => Selector::node(node.clone().unwrap_or_default()),
    };
    let (mut left, mut page) = (arguments.limit.unwrap_or(usize::MAX), PageRequest::first(PAGE));
    let mut is_first = true;
    loop {
        let read = store.list(&of, &page).await?;
        for session in read.sessions.iter().take(left) {
            if std::mem::take(&mut is_first) {
                output.heading(&output.columns())?;
            }
            output.tell(&output.session(session), &output.line(session))?;
        }
        left = left.saturating_sub(read.sessions.len());
        match read.next.filter(|_| left > 0) {
            Some(next) => page = PageRequest::after(next, PAGE),
            None if is_first => return Err(Failure::Nothing("there are no such sessions")),
            None => return Ok(()),
        }
    }
}
