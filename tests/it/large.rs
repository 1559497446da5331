//! Large sessions: calls that remove them never read them; calls that return or rewrite them stop at a number of bytes,
//! and say that there is more.

mod beside;
mod measured;

use std::collections::BTreeSet;
use std::time::Duration;

use cloakroom::migration::{Freezing, TaskId};
use cloakroom::nodes::Claim;
use cloakroom::{
    Cursor, Error, Invalid, NewSession, OnLimit, PageRequest, Patch, Refusal, Rules, Selector, Session,
    SessionId,
};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::expect::{refusal, session_id as id};
use crate::support::leases::register;
use crate::support::sessions::{create_many, ids};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const MINUTE: Duration = Duration::from_secs(60);

fn rules() -> Rules {
    Rules::new().ttl(MINUTE).session_bytes(4 * MIB).value_bytes(4 * MIB)
}

/// A session of Ann's whose entries take so many bytes.
fn of_size(bytes: usize, name: &str) -> NewSession {
    // Five bytes of header, one of key, two of quotes.
    let value = "x".repeat(bytes - 8);
    NewSession::new().id(id(name)).user("ann").node("gateway").set("a", &value).unwrap()
}

async fn made(store: &Store, count: usize, bytes: usize) -> Vec<SessionId> {
    ids(&create_many(store, count, |at| of_size(bytes, &format!("{at:04}"))).await)
}

/// How many bytes the server has sent, and how many it was sent to read by GET and MGET.
async fn sent(context: &Context) -> u64 {
    let stats: String = context.command(&["INFO", "stats"]).await;
    let line = stats.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    line.unwrap().trim().parse().unwrap()
}

/// What a call makes the server send.
async fn reply_of<T>(context: &Context, call: impl Future<Output = cloakroom::Result<T>>) -> (T, usize) {
    let before = sent(context).await;
    let answer = call.await.unwrap();
    // The first count's own reply is below 10 KiB.
    (answer, usize::try_from(sent(context).await - before).unwrap())
}

#[rstest]
#[tokio::test]
async fn a_session_may_hold_15_mib_with_the_longest_names_and_freeze_and_not_a_byte_more(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().session_bytes(15 * MIB).value_bytes(15 * MIB)).await;
    let name = "n".repeat(256);
    let most = of_size(15 * MIB, "s").user(&name).connection(&name).node(&name);
    let mut session = store.create(most).await.unwrap().session;
    let patch = Patch::new().set("b", &1).unwrap();
    let is_refused = refusal(store.patch(&session, patch).await);
    assert_eq!(is_refused, Refusal::TooLarge { bytes: 15 * MIB as u64 + 7, entries: 2 });
    session.set("a", &"y".repeat(15 * MIB - 8)).unwrap();
    store.update(&mut session).await.unwrap();
    let freezing = Freezing::new(TaskId::random(), &*name).node(&*name);
    store.freeze(&session, freezing).await.unwrap();
    let stored = store.get(session.id()).await.unwrap().unwrap();
    assert!(stored.attributes() == session.attributes() && stored.node() == Some(&*name));
    assert!(store.delete(session.id()).await.unwrap().is_some());
    context.check().await;
}

#[tokio::test]
async fn logging_out_everywhere_and_deleting_read_no_payload() {
    let context = Context::own(&[]).await;
    let store = context.store_at(rules()).await;
    let all = made(&store, 41, 256 * KIB).await;
    let before = context.count().await;
    let (_, bytes) = reply_of(&context, store.delete(&all[40])).await;
    assert!(bytes < 16 * KIB, "{bytes}");
    let (deleted, bytes) = reply_of(&context, store.delete_user("ann", None)).await;
    assert_eq!(deleted.removed.len(), 40);
    assert!(bytes < 256 * KIB, "{bytes}");
    // Nor did the scripts: they have no connection to look at, and so nothing that is read whole.
    let commands = context.cost_since(&before).await.commands;
    assert!(!commands.contains_key("get") && !commands.contains_key("mget"), "{commands:?}");
    context.check().await;
}

#[tokio::test]
async fn a_script_frees_32_mib_at_most_and_a_log_out_everywhere_goes_on() {
    let context = Context::own(&[]).await;
    let store = context.store_at(rules()).await;
    made(&store, 20, 4 * MIB).await;
    let before = context.count().await;
    let deleted = store.delete_user("ann", None).await.unwrap();
    assert_eq!(deleted.removed.len(), 20);
    // 7 of a bit more than 4 MiB fit.
    assert_eq!(context.cost_since(&before).await.scripts, 3);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_login_above_the_limit_evicts_large_sessions_and_reports_all_of_them(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let all = made(&store, 20, 4 * MIB).await;
    let limited = context.store_at(rules().sessions_per_user(1, OnLimit::EvictOldest)).await;
    let created = limited.create(of_size(100, "new")).await.unwrap();
    let evicted: Vec<_> = created.evicted.into_iter().map(|removed| removed.id).collect();
    assert_eq!(evicted, all);
    assert_eq!(context.entries(&context.user_key("ann")).await, ["new"]);
    context.check().await;
}

#[tokio::test]
async fn a_reap_hands_out_2_mib_at_most_and_says_that_there_is_more() {
    let context = Context::own(&[]).await;
    let store = context.store_at(rules()).await;
    let all = made(&store, 20, 256 * KIB).await;
    context.clock.advance(MINUTE);
    let mut reaped = Vec::new();
    // A record is a little larger than its entries.
    for (count, more) in [(7, true), (7, true), (6, false)] {
        let (batch, bytes) = reply_of(&context, store.reap(200)).await;
        assert_eq!((batch.sessions.len(), batch.more), (count, more));
        assert!(bytes < 2 * MIB + 64 * KIB, "{bytes}");
        assert!(batch.sessions.iter().all(|session| session.attributes().len() == 1));
        reaped.extend(ids(&batch.sessions));
        context.check().await;
    }
    assert_eq!(reaped, all);
}

#[tokio::test]
async fn a_session_that_is_larger_than_a_reap_may_hand_out_goes_alone() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    let all = made(&store, 3, 4 * MIB).await;
    context.clock.advance(MINUTE);
    for (id, more) in all.iter().zip([true, true, false]) {
        let batch = store.reap(200).await.unwrap();
        assert_eq!((ids(&batch.sessions), batch.more), (vec![id.clone()], more));
    }
    context.check().await;
}

#[tokio::test]
async fn a_claim_rewrites_1_mib_at_most_and_tells_where_to_go_on() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    register(&store, "live").await;
    let all = made(&store, 10, 256 * KIB).await;
    let mut taken = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let mut claim = Claim::new("gateway", "live");
        if let Some(after) = after {
            claim = claim.after(after);
        }
        let claimed = store.recover(claim).await.unwrap();
        assert_eq!(claimed.sessions.len(), 3.min(10 - taken.len()));
        assert!(claimed.stale.is_empty() && claimed.corrupt.is_empty());
        taken.extend(claimed.sessions.into_iter().map(|session| session.id));
        after = claimed.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(taken, all);
    let session: Session = store.get(&all[9]).await.unwrap().unwrap();
    assert_eq!((session.node(), session.attributes().len()), (Some("live"), 1));
    context.check().await;
}

#[tokio::test]
async fn a_claim_of_named_sessions_names_those_that_were_left() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    register(&store, "live").await;
    let all = made(&store, 5, 256 * KIB).await;
    let claimed = store.recover(Claim::new("gateway", "live").only(all.clone())).await.unwrap();
    assert_eq!((claimed.sessions.len(), claimed.stale.as_slice(), claimed.next), (3, &all[3..], None));
    let claimed = store.recover(Claim::new("gateway", "live").only(claimed.stale)).await.unwrap();
    assert_eq!((claimed.sessions.len(), claimed.stale.len()), (2, 0));
    context.check().await;
}

#[tokio::test]
async fn a_list_hands_out_2_mib_at_most_or_one_session_and_tells_where_to_go_on() {
    let context = Context::own(&[]).await;
    let store = context.store_at(rules()).await;
    for (count, bytes, at_once) in [(20, 256 * KIB, 7), (3, 4 * MIB, 1)] {
        let all = made(&store, count, bytes).await;
        let (mut seen, mut request) = (Vec::new(), PageRequest::first(100));
        loop {
            let (page, sent) = reply_of(&context, store.list(&Selector::user("ann"), &request)).await;
            // What is cut off is read once more, by the script.
            assert!(sent < 4 * MIB + bytes + 64 * KIB, "{sent}");
            assert_eq!(page.sessions.len(), at_once.min(count - seen.len()));
            seen.extend(ids(&page.sessions));
            match page.next {
                Some(next) => request = PageRequest::after(next, 100),
                None => break,
            }
        }
        assert_eq!(seen, all);
        store.delete_user("ann", None).await.unwrap();
        context.clock.advance(MINUTE);
    }
    context.check().await;
}

#[tokio::test]
async fn migrations_are_told_without_their_sessions_entries() {
    let context = Context::own(&[]).await;
    let store = context.store_at(rules()).await;
    let all = made(&store, 10, 256 * KIB).await;
    for id in &all {
        let freezing = Freezing::new(TaskId::random(), "elsewhere").node("there");
        store.freeze(id, freezing).await.unwrap();
    }
    let (page, bytes) = reply_of(&context, store.migrations(0, 200)).await;
    let told: BTreeSet<_> = page.migrations.into_iter().map(|migration| migration.id).collect();
    assert_eq!(told, all.into_iter().collect());
    assert!(bytes < 64 * KIB, "{bytes}");
}

#[tokio::test]
async fn many_creates_send_1_mib_of_entries_at_a_time() {
    let context = Context::own(&[]).await;
    let store = context.store_at(rules()).await;
    let before = context.count().await;
    let new = (0..10).map(|at| of_size(256 * KIB, &at.to_string())).collect();
    assert!(store.create_many(new).await.iter().all(Result::is_ok));
    assert_eq!(context.cost_since(&before).await.scripts, 4);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_session_has_1024_entries_at_most_unless_the_rules_say_otherwise(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let with =
        |count: usize| (0..count).fold(NewSession::new(), |new, at| new.set(at.to_string(), &at).unwrap());
    let store = context.store(Rules::new()).await;
    let too_many = |result: cloakroom::Result<_>| match refusal(result) {
        Refusal::TooLarge { entries, .. } => entries,
        other => panic!("{other:?}"),
    };
    let before = context.dump().await;
    assert_eq!(too_many(store.create(with(1025)).await.map(drop)), 1025);
    assert_eq!(context.dump().await, before);

    let mut session = store.create(with(1024)).await.unwrap().session;
    let before = context.dump().await;
    let one_more = || Patch::new().set("x", &1).unwrap();
    assert_eq!(too_many(store.patch(&session, one_more()).await.map(drop)), 1025);
    // Of one that goes another may come.
    session.set("x", &1).unwrap();
    assert_eq!(too_many(store.update(&mut session).await), 1025);
    assert_eq!(context.dump().await, before);
    store.patch(&session, one_more().remove("0")).await.unwrap();
    let changes = (0..1025).fold(Patch::new(), |patch, at| patch.remove(at.to_string()));
    let error = store.patch(&session, changes).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid(Invalid { field: "changes", .. })), "{error:?}");

    // What has more than a limit that was lowered may have other values, and no more of them.
    let lowered = context.store(Rules::new().session_entries(10)).await;
    lowered.patch(&session, Patch::new().set("1", &7).unwrap()).await.unwrap();
    assert_eq!(too_many(lowered.patch(&session, Patch::new().set("y", &1).unwrap()).await.map(drop)), 1025);
    let raised = context.store(Rules::new().session_entries(2000)).await;
    raised.patch(&session, Patch::new().set("y", &1).unwrap()).await.unwrap();
    context.check().await;
}
