//! Finds one session by its id, or by the hash that `list` shows.

use cloakroom::{PageRequest, RedisStore, Selector, SessionId, SessionStore as _};

use crate::ask;
use crate::failure::Failure;
use crate::pace::Pace;

/// The error if there is none. Perhaps the operator has the hash from `list` but did not name the user or
/// node.
pub(crate) const NO_SESSION: &str =
    "there is no live session with this id (to name it by the hash that `list` shows, add --user or --node)";

/// How many sessions one page reads, and how many per second.
const PAGE: usize = 200;
const PER_SECOND: u32 = 20_000;

/// The id of a session: the argument itself, or the id among some sessions whose hash it is.
pub(crate) async fn session(
    store: &RedisStore,
    argument: &str,
    among: Option<Selector>,
) -> Result<SessionId, Failure> {
    let Some(of) = among else { return ask::session_id(argument) };
    let named = ask::argument(argument)?;
    // Logs write the hash with a #.
    let hash = named.strip_prefix('#').unwrap_or(&named);
    let (mut found, mut page) = (None, PageRequest::first(PAGE));
    let mut pace = Pace::new(PER_SECOND);
    loop {
        pace.wait_for(PAGE).await;
        let read = store.list(&of, &page).await?;
        for id in read.sessions.iter().map(|session| session.id()) {
            if id.as_str() == named {
                return Ok(id.clone());
            }
            if id.short_hash() == hash && found.replace(id.clone()).is_some() {
                return Err(Failure::Several("two of the sessions have this hash: use the id"));
            }
        }
        let Some(next) = read.next else { break };
        page = PageRequest::after(next, PAGE);
    }
    found.ok_or(Failure::Nothing("there is no such session among them"))
}
