//! What may go wrong in what is stored, done on purpose.

use std::collections::BTreeMap;
use std::time::Duration;

use cloakroom::migration::{Freezing, TaskId};
use cloakroom::verify::ViolationKind::{self, *};
use cloakroom::{NewSession, Rotation, Session};

use crate::support::Context;
use crate::support::context::Store;
use crate::support::leases::register;

/// A way in which a session, or what leads to it, is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Damage {
    NotInExpiry,
    NotInUser,
    NotInNode,
    NoPointer,
    ExpiryScore,
    UserScore,
    NodeScore,
    PointsToNobody,
    PointsToAnother,
    RecordGone,
    RecordStays,
    UserStays,
    PointerStays,
    TombstoneStays,
    Garbage,
    CutOff,
    ForeignRecord,
    ForeignUser,
    ForeignPointer,
    Rivals,
    StrangerInUser,
    StrangerInNode,
    StrangerInExpiry,
    StrayPointer,
    BrokenPointer,
    RecordGoesEarly,
    UserGoesEarly,
    PointerGoesEarly,
    RotatedToItself,
    NotListed,
    Misplaced,
}

use Damage::*;

pub(crate) const ALL: [Damage; 31] = [
    NotInExpiry,
    NotInUser,
    NotInNode,
    NoPointer,
    ExpiryScore,
    UserScore,
    NodeScore,
    PointsToNobody,
    PointsToAnother,
    RecordGone,
    RecordStays,
    UserStays,
    PointerStays,
    TombstoneStays,
    Garbage,
    CutOff,
    ForeignRecord,
    ForeignUser,
    ForeignPointer,
    Rivals,
    StrangerInUser,
    StrangerInNode,
    StrangerInExpiry,
    StrayPointer,
    BrokenPointer,
    RecordGoesEarly,
    UserGoesEarly,
    PointerGoesEarly,
    RotatedToItself,
    NotListed,
    Misplaced,
];

/// A session that was damaged.
#[derive(Debug)]
pub(crate) struct Damaged {
    pub(crate) damage: Damage,
    pub(crate) session: Session,
}

impl Damage {
    /// What a verifier says of it, besides what follows from it.
    pub(crate) fn kind(self) -> ViolationKind {
        match self {
            NotInExpiry | NotInUser | NotInNode | NoPointer | NotListed => MissingEntry,
            ExpiryScore | UserScore | NodeScore => WrongScore,
            PointsToNobody | PointsToAnother | RotatedToItself => WrongPointer,
            RecordGone | StrangerInUser | StrangerInNode | StrangerInExpiry | StrayPointer => StrayEntry,
            RecordStays | UserStays | PointerStays | TombstoneStays => NoTtl,
            Garbage | CutOff | BrokenPointer => Corrupt,
            ForeignRecord | ForeignUser | ForeignPointer => ForeignType,
            Rivals => TwoHolders,
            RecordGoesEarly | UserGoesEarly | PointerGoesEarly => ShortTtl,
            Misplaced => WrongPartition,
        }
    }

    /// Whether the session is there afterwards as it was before it was damaged.
    pub(crate) fn heals(self) -> bool {
        !matches!(
            self,
            RecordGone
                | TombstoneStays
                | Garbage
                | CutOff
                | ForeignRecord
                | RotatedToItself
                | NotListed
                | Rivals
        )
    }
}

/// A session that a test damages or watches.
pub(crate) fn new(name: &str) -> NewSession {
    NewSession::new().user(format!("user-{name}")).connection(format!("c-{name}")).node("n-1")
}

/// The tag of the partition in which a session is.
fn tag(context: &Context, session: &Session) -> String {
    let partitions = context.partitions();
    partitions.tag(partitions.of(session.id().as_str()))
}

/// Damages a session.
pub(crate) async fn plant(context: &Context, store: &Store, damage: Damage, session: Session) -> Damaged {
    let (id, tag) = (session.id().as_str(), tag(context, &session));
    let key = |rest: String| format!("{tag}:{rest}");
    let (record, expiry) = (key(format!("session:{id}")), key("expiry".to_owned()));
    let user = key(format!("user:{}:sessions", session.user().unwrap()));
    let node = key(format!("node:{}:sessions", session.node().unwrap()));
    let pointer = key(format!("connection:{}:session", session.connection().unwrap()));
    let stranger = format!("stranger-{id}");
    let run = async |parts: &[&str]| context.command::<redis::Value>(parts).await;
    match damage {
        NotInExpiry => run(&["ZREM", &expiry, id]).await,
        NotInUser => run(&["ZREM", &user, id]).await,
        NotInNode => run(&["ZREM", &node, id]).await,
        NoPointer => run(&["DEL", &pointer]).await,
        ExpiryScore => run(&["ZADD", &expiry, "1700000000000", id]).await,
        UserScore => run(&["ZADD", &user, "7", id]).await,
        NodeScore => run(&["ZADD", &node, "7", id]).await,
        PointsToNobody => run(&["SET", &pointer, &stranger, "KEEPTTL"]).await,
        PointsToAnother => {
            let other = new(&stranger).id(context.partitions().id_near(&stranger, id));
            let other = NewSession::user(other, context.partitions().near(&stranger, id));
            let other = store.create(other).await.unwrap().session;
            run(&["SET", &pointer, other.id().as_str(), "KEEPTTL"]).await
        }
        RecordGone => run(&["DEL", &record]).await,
        RecordStays => run(&["PERSIST", &record]).await,
        UserStays => run(&["PERSIST", &user]).await,
        PointerStays => run(&["PERSIST", &pointer]).await,
        TombstoneStays => {
            store.delete(&session).await.unwrap();
            run(&["PERSIST", &record]).await
        }
        Garbage => run(&["SET", &record, "garbage", "KEEPTTL"]).await,
        CutOff => {
            let bytes: Vec<u8> = context.command(&["GET", &record]).await;
            let mut set = redis::cmd("SET");
            set.arg(&record).arg(&bytes[..bytes.len() - 1]).arg("KEEPTTL");
            set.query_async(&mut context.raw()).await.unwrap()
        }
        ForeignRecord | ForeignUser | ForeignPointer => {
            let key = match damage {
                ForeignRecord => &record,
                ForeignUser => &user,
                _ => &pointer,
            };
            run(&["DEL", key]).await;
            run(&["RPUSH", key, "foreign"]).await
        }
        Rivals => {
            run(&["DEL", &pointer]).await;
            let rival = format!("rival-{id}");
            let new = NewSession::new().user(context.partitions().near(&rival, id));
            store.create(new.connection(session.connection().unwrap()).node("n-1")).await.unwrap();
            redis::Value::Nil
        }
        StrangerInUser => run(&["ZADD", &user, "1", &stranger]).await,
        StrangerInNode => run(&["ZADD", &node, "1", &stranger]).await,
        StrangerInExpiry => run(&["ZADD", &expiry, "1700000000000", &stranger]).await,
        StrayPointer => {
            run(&["SET", &key(format!("connection:{stranger}:session")), id, "PX", "600000"]).await
        }
        BrokenPointer => {
            let long = "x".repeat(129);
            run(&["SET", &key(format!("connection:{stranger}:session")), &long, "PX", "600000"]).await
        }
        RecordGoesEarly => run(&["PEXPIRE", &record, "600000"]).await,
        UserGoesEarly => run(&["PEXPIRE", &user, "600000"]).await,
        PointerGoesEarly => run(&["PEXPIRE", &pointer, "600000"]).await,
        RotatedToItself => {
            store.rotate(&session, Rotation::new()).await.unwrap();
            let mut bytes: Vec<u8> = context.command(&["GET", &record]).await;
            let behind = bytes.len() - id.len();
            bytes[behind..].copy_from_slice(id.as_bytes());
            let mut set = redis::cmd("SET");
            set.arg(&record).arg(bytes).arg("KEEPTTL");
            set.query_async(&mut context.raw()).await.unwrap()
        }
        NotListed => {
            let freezing = Freezing::new(TaskId::random(), "elsewhere").span(Duration::from_secs(3600));
            store.freeze(&session, freezing).await.unwrap();
            run(&["ZREM", &key("migrations".to_owned()), id]).await
        }
        Misplaced => {
            let elsewhere = context.partitions().far("x", id);
            let there = context.partitions().tag(context.partitions().of(&elsewhere));
            let bytes: Vec<u8> = context.command(&["GET", &record]).await;
            let mut set = redis::cmd("SET");
            set.arg(format!("{there}:session:{id}")).arg(bytes).arg("PX").arg(3_600_000);
            set.query_async(&mut context.raw()).await.unwrap()
        }
    };
    Damaged { damage, session }
}

/// Damages what leads to all sessions, and to nodes. What a verifier says of it.
pub(crate) async fn plant_in_the_whole(
    context: &Context,
    store: &Store,
) -> BTreeMap<String, Vec<ViolationKind>> {
    register(store, "n-1").await;
    register(store, "n-2").await;
    let mut expected: BTreeMap<String, Vec<ViolationKind>> = BTreeMap::new();
    let run = async |parts: &[&str]| context.command::<redis::Value>(parts).await;
    for tag in context.partitions().tags() {
        let key = |rest: &str| format!("{tag}:{rest}");
        run(&["PERSIST", &key("expiry")]).await;
        run(&["ZREM", &key("nodes"), "n-1"]).await;
        run(&["ZREM", &key("nodes:kept"), "n-2"]).await;
        run(&["ZADD", &key("nodes:kept"), "9000000000000", "n-3"]).await;
        run(&["PERSIST", &key("contract")]).await;
        run(&["SET", &key("node:n-4:lease"), "broken", "PX", "600000"]).await;
        run(&["SET", &key("strange"), "1", "PX", "600000"]).await;
        expected.insert(key("expiry"), vec![NoTtl]);
        expected.insert(key("nodes"), vec![MissingEntry]);
        expected.insert(key("nodes:kept"), vec![MissingEntry, StrayEntry]);
        expected.insert(key("contract"), vec![NoTtl]);
        expected.insert(key("node:n-4:lease"), vec![Corrupt]);
        expected.insert(key("strange"), vec![UnknownKey]);
    }
    expected
}
