//! kick: ends sessions. Their clients are logged out.

use std::time::{SystemTime, UNIX_EPOCH};

use cloakroom::migration::MigrationStore as _;
use cloakroom::operating::Position;
use cloakroom::{
    Error, PageRequest, RedisStore, Removed, Result as StoreResult, Selector, Session, SessionId, SessionRef,
    SessionStore as _,
};
use serde_json::json;

use crate::arguments::{KickArguments, selector};
use crate::ask;
use crate::commands::find;
use crate::counted::counted;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{Output, shown, time};
use crate::pace::Pace;
use crate::progress::{Unit, bar};

/// How many sessions are ended together at most.
const PAGE: usize = 200;

pub(crate) async fn run(
    store: &RedisStore,
    arguments: &KickArguments,
    output: &Output,
) -> Result<(), Failure> {
    let output = &output.of(store.rules());
    let mut kicked = Kicked::default();
    let ended = match arguments {
        KickArguments { session: Some(session), .. } => {
            one(store, session, arguments, output, &mut kicked).await
        }
        KickArguments { user: Some(user), .. } => of_user(store, user, arguments, &mut kicked).await,
        KickArguments { node: Some(node), .. } => of_node(store, node, arguments, &mut kicked).await,
        _ => all(store, arguments, &mut kicked).await,
    };
    if matches!(ended, Ok(()) | Err(Failure::Stopped { .. })) {
        let Kicked { done, kept, refused } = kicked;
        let mut text = format!("{} ended", counted(done, "session", "sessions"));
        for (count, what) in [(kept, "stayed"), (refused, "refused")] {
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        output.tell(&json!({"ended": done, "stayed": kept, "refused": refused}), &text)?;
    }
    ended?;
    if kicked.refused > 0 { Err(Failure::Partly(kicked.refused)) } else { Ok(()) }
}

/// The result of a kick.
#[derive(Clone, Copy, Debug, Default)]
struct Kicked {
    done: u64,
    /// Created too late for --before.
    kept: u64,
    /// Corrupt sessions.
    refused: u64,
}

impl Kicked {
    /// Counts the results of some sessions. An error that concerns none of them ends the command.
    fn note(&mut self, deleted: Vec<StoreResult<Option<Removed>>>) -> StoreResult<()> {
        for deleted in deleted {
            match deleted {
                // Another caller was faster, or it has expired.
                Ok(removed) => self.done += u64::from(removed.is_some()),
                Err(Error::Corrupt { .. } | Error::Refused(_)) => self.refused += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn confirm(arguments: &KickArguments, question: &str) -> Result<(), Failure> {
    if arguments.yes { Ok(()) } else { ask::confirm(question) }
}

async fn one(
    store: &RedisStore,
    session: &str,
    arguments: &KickArguments,
    output: &Output,
    kicked: &mut Kicked,
) -> Result<(), Failure> {
    let of = selector(arguments.user.as_ref(), arguments.node.as_ref());
    let id = find::session(store, session, of).await?;
    let nothing = || Failure::Nothing(find::NO_SESSION);
    let session = store.get_fresh(&id).await?.ok_or_else(nothing)?;
    let user = session.user().map_or_else(|| "nobody".to_owned(), shown);
    confirm(arguments, &format!("End the session {} of {user}?", output.id(session.id())))?;
    if store.delete(&session).await?.is_none() {
        return Err(nothing());
    }
    kicked.done = 1;
    Ok(())
}

async fn of_user(
    store: &RedisStore,
    user: &str,
    arguments: &KickArguments,
    kicked: &mut Kicked,
) -> Result<(), Failure> {
    let of = Selector::user(user);
    let count = store.count(&of).await?;
    if count == 0 {
        return Err(Failure::Nothing("the user has no live session"));
    }
    let sessions = counted(count, "session", "sessions");
    confirm(arguments, &format!("End {sessions} of the user {}?", shown(user)))?;
    // Up to a second's worth of sessions are ended at once.
    if count > u64::from(arguments.rate.per_second) {
        page_by_page(store, &of, count, arguments, kicked).await?;
    }
    // Also the sessions that no page shows.
    let deleted = store.delete_user(user, None).await?;
    kicked.done += deleted.removed.len() as u64 + deleted.unreadable;
    kicked.refused += deleted.corrupt.len() as u64;
    Ok(())
}

async fn of_node(
    store: &RedisStore,
    node: &str,
    arguments: &KickArguments,
    kicked: &mut Kicked,
) -> Result<(), Failure> {
    let of = Selector::node(node);
    let count = store.count(&of).await?;
    if count == 0 {
        return Err(Failure::Nothing("the node has no live session"));
    }
    let sessions = counted(count, "session", "sessions");
    confirm(arguments, &format!("End {sessions} of the node {}?", shown(node)))?;
    page_by_page(store, &of, count, arguments, kicked).await
}

async fn page_by_page(
    store: &RedisStore,
    of: &Selector,
    count: u64,
    arguments: &KickArguments,
    kicked: &mut Kicked,
) -> Result<(), Failure> {
    let (mut pace, interrupt) = (Pace::new(arguments.rate.per_second), Interrupt::listen());
    let size = pace.page(PAGE);
    let progress = bar("kick", Some(count), Unit::Things);
    let mut page = PageRequest::first(size);
    loop {
        let read = store.list(of, &page).await?;
        pace.wait_for(read.sessions.len()).await;
        let sessions: Vec<&dyn SessionRef> = read.sessions.iter().map(|it| it as &dyn SessionRef).collect();
        kicked.note(store.delete_many(&sessions).await)?;
        progress.set_position(kicked.done);
        let Some(next) = read.next else {
            progress.finish_and_clear();
            return Ok(());
        };
        if interrupt.is_set() {
            progress.finish_and_clear();
            let how_to_go_on = "the same command again".to_owned();
            return Err(Failure::Stopped { how_to_go_on, why: None });
        }
        page = PageRequest::after(next, size);
    }
}

/// Walks through all sessions by the time of their expiry. Ended sessions leave the walk, and used ones move ahead, so
/// none is missed and few are met twice.
async fn all(store: &RedisStore, arguments: &KickArguments, kicked: &mut Kicked) -> Result<(), Failure> {
    let before_ms = arguments.before.map(ms);
    let mut from = arguments.from.as_deref().map(str::parse::<Position>).transpose()?;
    let stored = store.stored().await?;
    let sessions = counted(stored, "session", "sessions");
    let which = match before_ms {
        Some(before) => format!("those of the {sessions} that were created before {}", time(before)),
        None => format!("all {sessions}"),
    };
    confirm(arguments, &format!("End {which} of the namespace?"))?;
    let (mut pace, interrupt) = (Pace::new(arguments.rate.per_second), Interrupt::listen());
    let size = pace.page(PAGE);
    let progress = bar("kick", Some(stored), Unit::Things);
    loop {
        let stopped = |from: &Option<Position>, why: Option<Failure>| {
            progress.finish_and_clear();
            let how_to_go_on = match from {
                Some(from) => format!("the same command with --from {from}"),
                None => "the same command again".to_owned(),
            };
            Failure::Stopped { how_to_go_on, why: why.map(Box::new) }
        };
        if interrupt.is_set() {
            return Err(stopped(&from, None));
        }
        pace.wait_for(size).await;
        let page = async {
            let page = store.walk(from.as_ref(), size).await?;
            let ids: Vec<SessionId> = page.sessions.into_iter().map(|passed| passed.id).collect();
            let ids = match before_ms {
                Some(before) => made_before(store, ids, before, kicked).await?,
                None => ids,
            };
            let sessions: Vec<&dyn SessionRef> = ids.iter().map(|id| id as &dyn SessionRef).collect();
            kicked.note(store.delete_many(&sessions).await)?;
            Ok::<_, Failure>(page.next)
        };
        let next = page.await.map_err(|why| stopped(&from, Some(why)))?;
        progress.set_position(kicked.done + kicked.kept);
        if next.is_none() {
            progress.finish_and_clear();
            return Ok(());
        }
        from = next;
    }
}

/// The sessions that were created before a time. One that cannot be read is included, and counts as refused
/// if it cannot be ended.
async fn made_before(
    store: &RedisStore,
    ids: Vec<SessionId>,
    before_ms: u64,
    kicked: &mut Kicked,
) -> StoreResult<Vec<SessionId>> {
    let mut meant = Vec::new();
    for (id, read) in ids.iter().zip(store.get_many(&ids).await) {
        let is_meant = |session: &Session| session.created_at_ms() < before_ms;
        match read {
            Ok(Some(session)) if is_meant(&session) => meant.push(id.clone()),
            Ok(Some(_)) => kicked.kept += 1,
            // It has ended already.
            Ok(None) => {}
            Err(Error::Corrupt { .. } | Error::Refused(_)) => meant.push(id.clone()),
            Err(error) => return Err(error),
        }
    }
    Ok(meant)
}

fn ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
