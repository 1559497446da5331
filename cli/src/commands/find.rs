//! One session, by what somebody has of it: its id, or what `list` shows in its place.

use cloakroom::{PageRequest, RedisStore, Selector, SessionId, SessionStore as _};

use crate::ask;
use crate::failure::Failure;
use crate::pace::Pace;

/// Where there is none. Who has it from `list` has forgotten whose it is.
pub(crate) const NO_SESSION: &str =
    "there is no live session with this id (what `list` shows in its place needs --user or --node beside it)";

/// How many are read at once, and how many a second.
const PAGE: usize = 200;
const PER_SECOND: u32 = 20_000;

/// The id of a session: the argument itself, or the one among some sessions that it stands for.
pub(crate) async fn session(
    store: &RedisStore,
    argument: &str,
    among: Option<Selector>,
) -> Result<SessionId, Failure> {
    let Some(of) = among else { return ask::session_id(argument) };
    let named = ask::argument(argument)?;
    // As logs have it.
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
                return Err(Failure::Several("two of the sessions are shown so: name it by its id"));
            }
        }
        let Some(next) = read.next else { break };
        page = PageRequest::after(next, PAGE);
    }
    found.ok_or(Failure::Nothing("there is no such session among them"))
}
