//! Foreign types and garbage, planted at each key in turn: corrupt, named or reported, and nothing changed.

use cloakroom::{Error, PageRequest, Result, Selector, SessionId};

use super::world::{Call, World, named};
use crate::support::Context;
use crate::support::expect::session_id;
use crate::support::record::HEADER;

/// What the call has to say of what is planted.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// `Error::Corrupt` with this part.
    Names(&'static str),
    /// The call succeeds for the rest, and lists this session as corrupt.
    Reports(&'static str),
}
use Answer::{Names, Reports};

const RECORD: &str = "session:main";
const EXPIRY: &str = "expiry";
const USER: &str = "user:user-main:sessions";
const CONNECTION: &str = "connection:connection-main:session";
const NODE: &str = "node:node-main:sessions";
const NEW_RECORD: &str = "session:new";
const NEW_USER: &str = "user:user-new:sessions";
const NEW_CONNECTION: &str = "connection:connection-new:session";
const NEW_NODE: &str = "node:node-new:sessions";

/// Each operation with each key that it touches.
const TABLE: &[(Call, &[(&str, Answer)])] = &[
    (Call::CreateAgain, &[(RECORD, Names("record"))]),
    (
        Call::Create,
        &[
            (NEW_RECORD, Names("record")),
            (EXPIRY, Names("expiry")),
            (NEW_USER, Names("user")),
            (NEW_CONNECTION, Names("connection")),
            (NEW_NODE, Names("node")),
        ],
    ),
    (
        Call::CreateMany,
        &[
            (NEW_RECORD, Names("record")),
            (EXPIRY, Names("expiry")),
            (NEW_CONNECTION, Names("connection")),
            (NEW_NODE, Names("node")),
        ],
    ),
    (
        Call::CreateHeld,
        &[
            ("session:holder", Names("holder_record")),
            ("connection:connection-holder:session", Names("connection")),
        ],
    ),
    (Call::CreateCrowded, &[(EXPIRY, Names("expiry")), (CROWDED, Names("user"))]),
    (Call::Get, &[(RECORD, Names("record"))]),
    (Call::ByConnection, &[(CONNECTION, Names("connection")), (RECORD, Names("record"))]),
    (
        Call::Update,
        &[
            (RECORD, Names("record")),
            (EXPIRY, Names("expiry")),
            (USER, Names("user")),
            (CONNECTION, Names("connection")),
            (NODE, Names("node")),
            (NEW_USER, Names("new_user")),
            (NEW_CONNECTION, Names("new_connection")),
            (NEW_NODE, Names("new_node")),
        ],
    ),
    (Call::UpdateHeld, &[("session:holder", Names("holder_record"))]),
    (Call::Patch, INDEXED),
    (Call::Refresh, &[(RECORD, Names("record")), (EXPIRY, Names("expiry"))]),
    (Call::RefreshAndGet, &[(RECORD, Names("record")), (EXPIRY, Names("expiry"))]),
    (Call::Rotate, INDEXED),
    (Call::Rotate, &[(NEW_RECORD, Names("new_record")), (NEW_USER, Names("new_user"))]),
    (Call::RotateCrowded, &[(EXPIRY, Names("expiry")), (CROWDED, Names("new_user"))]),
    (
        Call::Bind,
        &[
            (RECORD, Names("record")),
            (CONNECTION, Names("connection")),
            (NODE, Names("node")),
            (NEW_CONNECTION, Names("new_connection")),
            (NEW_NODE, Names("new_node")),
        ],
    ),
    (
        Call::BindTaking,
        &[("session:holder", Names("holder_record")), ("node:node-holder:sessions", Names("holder_node"))],
    ),
    (Call::Unbind, &[(RECORD, Names("record")), (CONNECTION, Names("connection")), (NODE, Names("node"))]),
    (Call::Delete, INDEXED),
    (Call::Freeze, &[(RECORD, Names("record")), ("migrations", Names("migrations"))]),
    (
        Call::Import,
        &[
            (NEW_RECORD, Names("record")),
            (EXPIRY, Names("expiry")),
            (NEW_USER, Names("new_user")),
            (NEW_CONNECTION, Names("new_connection")),
            (NEW_NODE, Names("new_node")),
        ],
    ),
    (Call::ImportHeld, &[("session:holder", Names("holder_record"))]),
    (Call::ImportLater, INDEXED),
    (
        Call::ImportLater,
        &[
            (NEW_USER, Names("new_user")),
            (NEW_CONNECTION, Names("new_connection")),
            (NEW_NODE, Names("new_node")),
        ],
    ),
    (Call::ListUser, &[(USER, Names("owner"))]),
    (Call::ListNode, &[(NODE, Names("owner"))]),
    (Call::Count, &[(USER, Names("owner")), (EXPIRY, Names("expiry"))]),
    (Call::Expired, &[(EXPIRY, Names("expiry"))]),
    (Call::Reap, &[(EXPIRY, Names("expiry"))]),
    (
        Call::DeleteUser,
        &[
            (EXPIRY, Names("expiry")),
            (USER, Names("user")),
            (RECORD, Reports("main")),
            (CONNECTION, Reports("main")),
            (NODE, Reports("main")),
        ],
    ),
    (
        Call::Heartbeat,
        &[("nodes", Names("nodes")), ("nodes:kept", Names("kept")), ("node:live:lease", Names("lease"))],
    ),
    (Call::Nodes, &[("nodes", Names("nodes"))]),
    (
        Call::Recover,
        &[
            ("nodes", Names("nodes")),
            ("nodes:kept", Names("kept")),
            ("node:node-main:lease", Names("lease")),
            ("node:live:lease", Names("new_lease")),
            (EXPIRY, Names("expiry")),
            (NODE, Names("node")),
            ("node:live:sessions", Names("new_node")),
            (RECORD, Reports("main")),
            (CONNECTION, Reports("main")),
        ],
    ),
];

/// All that a session is indexed in.
const INDEXED: &[(&str, Answer)] = &[
    (RECORD, Names("record")),
    (EXPIRY, Names("expiry")),
    (USER, Names("user")),
    (CONNECTION, Names("connection")),
    (NODE, Names("node")),
];

/// The index of a user who has as many sessions as allowed.
const CROWDED: &str = "user:user-victim:sessions";

/// What a session has that is to be evicted.
const VICTIM: [&str; 3] =
    ["session:victim", "connection:connection-victim:session", "node:node-victim:sessions"];

/// What is planted at a key in the place of what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weed {
    List,
    Hash,
    Set,
    /// A string where a sorted set is expected, a sorted set where a string is.
    Swapped,
    /// A record that is shorter than its header.
    Short,
    /// A record of a format that is not known.
    Format,
    /// A record with something behind it.
    Long,
    /// A record that lacks its end.
    Cut,
    /// A record whose entries run over its end.
    Entries,
    /// A record that is kept for less long than its session.
    Outlived,
}

const FOREIGN: [Weed; 4] = [Weed::List, Weed::Hash, Weed::Set, Weed::Swapped];
const BROKEN: [Weed; 6] = [Weed::Short, Weed::Format, Weed::Long, Weed::Cut, Weed::Entries, Weed::Outlived];

/// What is broken behind the owners of a session.
const REMOVABLE: [Weed; 3] = [Weed::Long, Weed::Cut, Weed::Entries];

/// What to plant at a key, for a call that looks at it as closely as this one.
fn weeds(call: Call, key: &str) -> Vec<Weed> {
    let mut weeds = FOREIGN.to_vec();
    if key.starts_with("session:") {
        weeds.extend(BROKEN);
    }
    // The header is all that a refresh reads, whatever the payload's size.
    if call == Call::Refresh {
        weeds.retain(|weed| !matches!(weed, Weed::Long | Weed::Cut | Weed::Entries));
    }
    // Nor does who removes a session read more than that, and who it belongs to.
    if matches!(call, Call::Delete | Call::DeleteUser | Call::Reap) {
        weeds.retain(|weed| !REMOVABLE.contains(weed));
    }
    // To those that neither read nor return the entries they are opaque.
    let opaque = match call {
        Call::Create
        | Call::CreateMany
        | Call::CreateAgain
        | Call::CreateHeld
        | Call::Update
        | Call::UpdateHeld => true,
        Call::Bind | Call::BindTaking | Call::Unbind => true,
        // It appends, and reads them only when it makes the changes.
        Call::Patch => true,
        Call::Import | Call::ImportHeld | Call::ImportLater | Call::Recover => true,
        Call::Rotate => key == NEW_RECORD,
        _ => false,
    };
    if opaque {
        weeds.retain(|weed| *weed != Weed::Entries);
    }
    weeds
}

/// Plants something at a key, and puts aside what was there, its TTL with it.
async fn plant(context: &Context, key: &str, weed: Weed) {
    if context.exists(key).await {
        let _: () = context.command(&["RENAME", key, &aside(key)]).await;
    }
    let sorted =
        [":sessions", ":expiry", ":nodes", ":kept", ":migrations"].iter().any(|end| key.ends_with(end));
    let command: &[&str] = match weed {
        Weed::List => &["RPUSH", key, "x"],
        Weed::Hash => &["HSET", key, "x", "y"],
        Weed::Set => &["SADD", key, "x"],
        Weed::Swapped if sorted => &["SET", key, "x"],
        Weed::Swapped => &["ZADD", key, "1", "x"],
        _ => return plant_record(context, key, weed).await,
    };
    let _: redis::Value = context.command(command).await;
}

async fn plant_record(context: &Context, key: &str, weed: Weed) {
    let record: Option<Vec<u8>> = context.command(&["GET", &aside(key)]).await;
    let record = match record {
        Some(record) => record,
        // There is none at a key that is to be new: one that another session has, then.
        None => context.command(&["GET", &context.key(RECORD)]).await,
    };
    let mut command = redis::cmd("SET");
    let command = command.arg(key).arg(broken(record, weed));
    let _: () = command.query_async(&mut context.raw()).await.unwrap();
}

/// Where no scan of the namespace comes.
fn aside(key: &str) -> String {
    format!("aside:{key}")
}

async fn restore(context: &Context, key: &str) {
    let _: i64 = context.command(&["DEL", key]).await;
    if context.exists(&aside(key)).await {
        let _: () = context.command(&["RENAME", &aside(key), key]).await;
    }
}

fn broken(mut record: Vec<u8>, weed: Weed) -> Vec<u8> {
    let (user, connection, node) = (record[4], record[6], record[8]);
    let entries = HEADER + [user, connection, node].map(usize::from).iter().sum::<usize>();
    match weed {
        Weed::Short => record.truncate(HEADER - 1),
        Weed::Format => record[0] = 1,
        Weed::Long => record.push(b'x'),
        Weed::Cut => record.truncate(record.len() - 1),
        // The key's length, which is the second field of an entry.
        Weed::Entries => record[entries + 1] = 200,
        // The last time of the header, in milliseconds since the epoch.
        Weed::Outlived => record[HEADER - 6..HEADER].fill(0),
        Weed::List | Weed::Hash | Weed::Set | Weed::Swapped => unreachable!("{weed:?} is no record"),
    }
    record
}

fn holds(answer: Answer, result: &Result<Vec<SessionId>>) -> bool {
    match (answer, result) {
        (Names(part), Err(Error::Corrupt { what })) => what == part,
        (Reports(name), Ok(corrupt)) => *corrupt == [session_id(name)],
        _ => false,
    }
}

#[tokio::test]
async fn whatever_is_planted_at_a_key_is_named_and_nothing_changes() {
    let mut context = Context::redis().await;
    let mut wrong = Vec::new();
    for (call, keys) in TABLE {
        context.namespace = format!("t{:016x}", fastrand::u64(..));
        let world = World::new(&context).await;
        for (rest, answer) in *keys {
            let key = context.key(rest);
            for weed in weeds(*call, rest) {
                plant(&context, &key, weed).await;
                let before = context.dump().await;
                let result = world.run(*call).await;
                if !holds(*answer, &result) {
                    wrong.push(format!("{call:?} with {weed:?} at {rest}: {result:?}, not {answer:?}"));
                }
                if context.dump().await != before {
                    wrong.push(format!("{call:?} with {weed:?} at {rest} changed something"));
                }
                restore(&context, &key).await;
            }
        }
        // With nothing planted it says nothing of the kind, so what it said above was for what was planted.
        match world.run(*call).await {
            Ok(corrupt) => assert!(corrupt.is_empty(), "{call:?}: {corrupt:?}"),
            Err(error) => assert!(error.is_refused(), "{call:?}: {error}"),
        }
        context.check().await;
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_session_that_cannot_be_read_is_left_out_of_a_list_and_keeps_its_entry() {
    let context = Context::redis().await;
    let world = World::new(&context).await;
    let sound = named("sound").node("node-main");
    let sound = world.store.create(sound).await.unwrap().session;
    let key = context.key(RECORD);
    for weed in FOREIGN.into_iter().chain(BROKEN) {
        plant(&context, &key, weed).await;
        let before = context.dump().await;
        let page = PageRequest::first(10);
        let page = world.store.list(&Selector::node("node-main"), &page).await.unwrap();
        assert_eq!(page.sessions, std::slice::from_ref(&sound), "{weed:?}");
        assert_eq!(context.dump().await, before, "{weed:?}");
        restore(&context, &key).await;
    }
    context.check().await;
}

#[tokio::test]
async fn nothing_that_is_planted_at_a_victim_keeps_a_login_from_making_it_go() {
    for call in [Call::CreateCrowded, Call::RotateCrowded] {
        for rest in VICTIM {
            for weed in weeds(call, rest) {
                let context = Context::redis().await;
                let world = World::new(&context).await;
                let key = context.key(rest);
                plant(&context, &key, weed).await;
                let result = world.run(call).await;
                assert!(result.is_ok(), "{call:?} with {weed:?} at {rest}: {result:?}");
                let left = context.entries(&context.user_key("user-victim")).await;
                assert_eq!(left, ["new"], "{call:?} with {weed:?} at {rest}");
                restore(&context, &key).await;
            }
        }
    }
}

#[tokio::test]
async fn a_session_with_broken_entries_is_removed_by_its_header() {
    for (call, name) in [(Call::Delete, "main"), (Call::DeleteUser, "main"), (Call::Reap, "dead")] {
        for weed in REMOVABLE {
            let context = Context::redis().await;
            let world = World::new(&context).await;
            let key = context.key(format!("session:{name}"));
            plant(&context, &key, weed).await;
            let result = world.run(call).await;
            assert!(result.as_ref().is_ok_and(Vec::is_empty), "{call:?} with {weed:?}: {result:?}");
            assert!(!context.exists(&context.key(format!("user:user-{name}:sessions"))).await);
            assert!(!context.exists(&context.key(format!("node:node-{name}:sessions"))).await);
            assert!(!context.exists(&context.key(format!("connection:connection-{name}:session"))).await);
            context.check().await;
        }
    }
}

/// What an expired session has.
const DEAD: [&str; 4] = [
    "session:dead",
    "user:user-dead:sessions",
    "connection:connection-dead:session",
    "node:node-dead:sessions",
];

#[tokio::test]
async fn what_a_reap_cannot_remove_is_set_aside_once_and_nobody_comes_by_it_again() {
    for rest in DEAD {
        for weed in weeds(Call::Reap, rest) {
            let context = Context::redis().await;
            let world = World::new(&context).await;
            let key = context.key(rest);
            plant(&context, &key, weed).await;
            let what = format!("{weed:?} at {rest}");
            let record: Vec<u8> = context.command(&["DUMP", &context.key("session:dead")]).await;
            assert_eq!(world.run(Call::Reap).await.unwrap(), [session_id("dead")], "{what}");
            let aside = context.key("aside:dead");
            // The checksum of DUMP covers the value.
            assert_eq!(context.command::<Vec<u8>>(&["DUMP", &aside]).await, record, "{what}");
            let week = 7 * 24 * 3_600_000;
            assert!((week - 60_000..=week).contains(&context.pttl(&aside).await), "{what}");
            for gone in DEAD.iter().filter(|gone| **gone != rest && rest != "session:dead") {
                assert!(!context.exists(&context.key(gone)).await, "{what}: {gone}");
            }
            let before = context.dump().await;
            assert!(world.run(Call::Reap).await.unwrap().is_empty(), "{what}");
            assert_eq!(context.dump().await, before, "{what}");
        }
    }
}

#[tokio::test]
async fn a_pointer_to_an_impossible_id_is_in_nobodys_way() {
    for id in [&[b'x'; 129][..], b"\xff", b""] {
        for call in
            [Call::Create, Call::CreateMany, Call::Update, Call::Bind, Call::Import, Call::ImportLater]
        {
            let context = Context::redis().await;
            let world = World::new(&context).await;
            let mut set = redis::cmd("SET");
            set.arg(context.key(NEW_CONNECTION)).arg(id).arg("PX").arg(600_000);
            let _: () = set.query_async(&mut context.raw()).await.unwrap();
            let result = world.run(call).await;
            assert!(result.is_ok(), "{call:?} with {id:?}: {result:?}");
            context.check().await;
        }
    }
}

/// Ids that are none, under which there is nothing.
const NO_IDS: [&[u8]; 3] = [&[b'x'; 129], b"\xff\xfe", b"half \xe2\x82"];

async fn enter(context: &Context, index: &str, score: u64, id: &[u8]) {
    let mut zadd = redis::cmd("ZADD");
    zadd.arg(context.key(index)).arg(score).arg(id);
    let _: i64 = zadd.query_async(&mut context.raw()).await.unwrap();
}

#[tokio::test]
async fn an_index_entry_that_is_no_session_id_stops_nothing() {
    for (rest, calls) in [
        (EXPIRY, &[Call::Expired, Call::Reap][..]),
        (USER, &[Call::ListUser, Call::Count, Call::DeleteUser]),
        (NODE, &[Call::ListNode, Call::Recover]),
        ("user:user-victim:sessions", &[Call::CreateCrowded]),
        ("user:user-victim:sessions", &[Call::RotateCrowded]),
        ("migrations", &[Call::Migrations]),
        ("nodes", &[Call::Nodes]),
    ] {
        let context = Context::redis().await;
        let world = World::new(&context).await;
        for id in NO_IDS {
            enter(&context, rest, 1, id).await;
        }
        for call in calls {
            let result = world.run(*call).await;
            assert!(result.as_ref().is_ok_and(Vec::is_empty), "{call:?} with {rest}: {result:?}");
        }
        let bytes: Vec<Vec<u8>> = context.command(&["ZRANGE", &context.key(rest), "0", "-1"]).await;
        let left = bytes.iter().filter(|id| NO_IDS.contains(&id.as_slice())).count();
        // A node's name goes when its time is over; a login does not look at more than it has to. All others lead nowhere,
        // and are dropped.
        let stays = ["nodes", "user:user-victim:sessions"].contains(&rest);
        assert_eq!(left, if stays { 3 } else { 0 }, "{rest}: {bytes:?}");
    }
}

/// Gives the session of this name another id, user, connection or node, which is no text, in all that it has.
async fn make_unreadable(context: &Context, session: &str, what: &str) -> Vec<u8> {
    let mut raw = context.raw();
    let record: Vec<u8> = context.command(&["GET", &context.key(format!("session:{session}"))]).await;
    let bad = |name: &str| -> Vec<u8> {
        let text = if name == "id" { session.to_owned() } else { format!("{name}-{session}") };
        if name == what { [&text.as_bytes()[1..], b"\xff"].concat() } else { text.into_bytes() }
    };
    let [id, user, connection, node] = ["id", "user", "connection", "node"].map(bad);
    let head = &record[..HEADER];
    let names = [user.as_slice(), &connection, &node].concat();
    let changed = [head, &names, &record[HEADER + names.len()..]].concat();
    let key = |kind: &str, name: &[u8], suffix: &str| {
        [context.key(kind).as_bytes(), b":", name, suffix.as_bytes()].concat()
    };
    let mut pipe = redis::pipe();
    let score: f64 = context.command(&["ZSCORE", &context.key(EXPIRY), session]).await;
    pipe.del(context.key(format!("session:{session}")));
    for (kind, suffix) in [("user", "sessions"), ("connection", "session"), ("node", "sessions")] {
        pipe.del(context.key(format!("{kind}:{kind}-{session}:{suffix}")));
    }
    pipe.zrem(context.key(EXPIRY), session).zadd(context.key(EXPIRY), id.as_slice(), score);
    pipe.cmd("SET").arg(key("session", &id, "")).arg(changed).arg("PX").arg(7_200_000);
    pipe.cmd("SET").arg(key("connection", &connection, ":session")).arg(&id).arg("PX").arg(7_200_000);
    for index in [key("user", &user, ":sessions"), key("node", &node, ":sessions")] {
        pipe.zadd(&index, id.as_slice(), 1).pexpire(&index, 7_200_000);
    }
    let _: () = pipe.query_async(&mut raw).await.unwrap();
    id
}

#[tokio::test]
async fn a_session_whose_id_or_owners_are_no_texts_is_passed_over_and_can_be_removed() {
    for what in ["id", "user", "connection", "node"] {
        for call in [Call::ListUser, Call::Count, Call::Delete, Call::DeleteUser, Call::Reap, Call::Recover] {
            // Its id, user or node is what these name.
            let names_it = match call {
                Call::Delete => what == "id",
                Call::ListUser | Call::Count | Call::DeleteUser => what == "user",
                Call::Recover => what == "node",
                _ => false,
            };
            if names_it {
                continue;
            }
            let context = Context::redis().await;
            let world = World::new(&context).await;
            let id = make_unreadable(&context, "main", what).await;
            if call == Call::Reap {
                context.clock.advance(std::time::Duration::from_secs(3600));
            }
            let result = world.run(call).await;
            assert!(result.as_ref().is_ok_and(Vec::is_empty), "{call:?} with {what}: {result:?}");
            if matches!(call, Call::Delete | Call::DeleteUser | Call::Reap) {
                let ids: Vec<Vec<u8>> = context.command(&["ZRANGE", &context.key(EXPIRY), "0", "-1"]).await;
                assert!(!ids.contains(&id), "{call:?} with {what}");
            }
        }
    }
}

#[tokio::test]
async fn a_victim_whose_id_or_owners_are_no_texts_makes_way_for_a_login() {
    for what in ["id", "connection", "node"] {
        for call in [Call::CreateCrowded, Call::RotateCrowded] {
            let context = Context::redis().await;
            let world = World::new(&context).await;
            let id = make_unreadable(&context, "victim", what).await;
            let result = world.run(call).await;
            assert!(result.is_ok(), "{call:?} with {what}: {result:?}");
            assert_eq!(
                context.entries(&context.user_key("user-victim")).await,
                ["new"],
                "{call:?} with {what}"
            );
            let ids: Vec<Vec<u8>> = context.command(&["ZRANGE", &context.key(EXPIRY), "0", "-1"]).await;
            assert!(!ids.contains(&id), "{call:?} with {what}");
        }
    }
}

#[tokio::test]
async fn what_was_removed_and_cannot_be_told_is_counted() {
    let context = Context::redis().await;
    let world = World::new(&context).await;
    make_unreadable(&context, "main", "id").await;
    let deleted = world.store.delete_user("user-main", None).await.unwrap();
    assert_eq!((deleted.removed.len(), deleted.corrupt.len(), deleted.unreadable), (0, 0, 1));

    let context = Context::redis().await;
    let world = World::new(&context).await;
    make_unreadable(&context, "main", "user").await;
    context.clock.advance(std::time::Duration::from_secs(3600));
    let reaped = world.store.reap(200).await.unwrap();
    assert_eq!((reaped.sessions.len(), reaped.corrupt.len(), reaped.unreadable), (3, 0, 1));

    let context = Context::redis().await;
    let world = World::new(&context).await;
    make_unreadable(&context, "main", "id").await;
    let claimed = world.store.recover(cloakroom::nodes::Claim::new("node-main", "live")).await.unwrap();
    assert_eq!((claimed.sessions.len(), claimed.unreadable), (0, 1));
    assert!(!context.exists(&context.key(NODE)).await, "it is taken all the same");
}
