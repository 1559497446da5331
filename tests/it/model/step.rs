//! What a case does: its steps, over few names, so that they meet; and how they are drawn.
//!
//! A `u8` is a name: of ids 0 to 4; of users, connections and nodes 1 to 3 (nodes to 2), and 0 for none.

use std::fmt;
use std::time::Duration;

use cloakroom::OperationId;
use proptest::option::weighted;
use proptest::prelude::*;

/// In the place of a user: a rotation to nobody.
pub(super) const NOBODY: u8 = 9;

/// JSON values of attributes. The last is what makes a session too large where it may have few bytes.
pub(super) const VALUES: [&str; 4] = ["1", "[]", "null", "\"a text that takes its forty-two bytes room\""];
pub(super) const KEYS: [&str; 3] = ["a", "ab", "b"];

/// One step of a case.
#[derive(Clone)]
pub(super) enum Step {
    /// A call of each store of a place. The operation id is of the step, so that it is the same everywhere.
    Call(OperationId, Place, Call),
    /// The call that was made so many calls before the last one, under its operation id.
    Again(u8),
    /// But not so far that a session would go by itself.
    Advance(Span),
    FlushScripts,
    /// The server ends all connections.
    Cut,
    /// A newly built store goes on.
    Reconnect,
}

/// Without the operation id, which is random: so that a failing case can be copied to the regressions.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(_, Place::Here, call) => write!(f, "here({call:?})"),
            Self::Call(_, Place::There, call) => write!(f, "there({call:?})"),
            Self::Again(back) => write!(f, "Step::Again({back})"),
            Self::Advance(span) => write!(f, "Step::Advance({span:?})"),
            Self::FlushScripts => f.write_str("Step::FlushScripts"),
            Self::Cut => f.write_str("Step::Cut"),
            Self::Reconnect => f.write_str("Step::Reconnect"),
        }
    }
}

/// A call, as a case of the regressions tells it.
pub(super) fn here(call: Call) -> Step {
    Step::Call(OperationId::random(), Place::Here, call)
}

/// The same of the other place.
pub(super) fn there(call: Call) -> Step {
    Step::Call(OperationId::random(), Place::There, call)
}

/// There are two, between which sessions are exported and imported.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Here,
    There,
}

/// What a call acts on.
#[derive(Clone, Copy, Debug)]
pub(super) enum On {
    Id(u8),
    /// One of the copies in hand, the latest first, as it was read.
    Copy(u8),
    /// The id of a copy in hand, and nothing else of it.
    IdOf(u8),
}

/// How far the clock moves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Span {
    Millisecond,
    Second,
    ThirdOfTtl,
    Ttl,
    /// As long as the id of a deleted session stays closed, and longer than an old one leads on.
    Tombstone,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Whose {
    User(u8),
    Node(u8),
}

/// An attribute or extension by its key, with its value; none removes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    Attribute(u8, Option<u8>),
    Extension(u8, Option<u8>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    Active,
    Suspended,
}

/// What an import may replace.
#[derive(Clone, Copy, Debug)]
pub(super) enum Replaces {
    Older,
    /// The version of one of the exports.
    At(u8),
    Nothing,
}

/// Idle times beside that of the rules.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ttl {
    Short,
    Long,
}

impl Ttl {
    pub(super) fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Short => 30,
            Self::Long => 1200,
        })
    }
}

/// Each operation with its input.
#[derive(Clone, Debug)]
#[rustfmt::skip] // A line each.
pub(super) enum Call {
    Create { id: Option<u8>, user: u8, connection: u8, node: u8, mode: Mode, ttl: Option<Ttl>, entries: Vec<Entry> },
    Get(On),
    Update { copy: u8, user: Option<u8>, connection: Option<u8>, node: Option<u8>, mode: Option<Mode>, ttl: Option<Ttl>, entry: Option<Entry> },
    /// Expects the version of a copy in hand.
    Patch { on: On, entries: Vec<Entry>, mode: Option<Mode>, ttl: Option<Ttl>, expect: Option<u8> },
    Refresh(On),
    RefreshAndGet(On),
    Rotate { on: On, id: Option<u8>, user: u8 },
    Bind { on: On, connection: u8, node: u8, take_over: bool },
    Unbind { on: On, connection: u8 },
    Delete(On),
    Export(On),
    /// One of the exports, the latest first; by the other of the two stores, or by the same.
    Import { export: u8, crossed: bool, replaces: Replaces },
    List { whose: Whose, size: usize },
    /// The page behind the last one.
    ListNext { size: usize },
    Count(Whose),
    ByConnection(u8),
    DeleteUser { user: u8, keep: Option<On> },
    /// So many seconds ago.
    Expired { ago_s: Option<u64>, skip: usize, limit: usize },
    Reap(usize),
}

impl Call {
    /// The name of the operation.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Get(_) => "get",
            Self::Update { .. } => "update",
            Self::Patch { .. } => "patch",
            Self::Refresh(_) => "refresh",
            Self::RefreshAndGet(_) => "refresh_and_get",
            Self::Rotate { .. } => "rotate",
            Self::Bind { .. } => "bind",
            Self::Unbind { .. } => "unbind",
            Self::Delete(_) => "delete",
            Self::Export(_) => "export",
            Self::Import { .. } => "import",
            Self::List { .. } => "list",
            Self::ListNext { .. } => "list_next",
            Self::Count(_) => "count",
            Self::ByConnection(_) => "by_connection",
            Self::DeleteUser { .. } => "delete_user",
            Self::Expired { .. } => "expired",
            Self::Reap(_) => "reap",
        }
    }

    pub(super) fn writes(&self) -> bool {
        use Call::{ByConnection, Count, Expired, Export, Get, List, ListNext};
        !matches!(
            self,
            Get(_) | Export(_) | List { .. } | ListNext { .. } | Count(_) | ByConnection(_) | Expired { .. }
        )
    }
}

pub(super) fn steps() -> BoxedStrategy<Step> {
    let span = prop_oneof![
        6 => Just(Span::Millisecond), 6 => Just(Span::Second), 4 => Just(Span::ThirdOfTtl), 1 => Just(Span::Ttl),
        1 => Just(Span::Tombstone),
    ];
    prop_oneof![
        130 => calls().prop_map(here),
        24 => calls().prop_map(there),
        24 => imports().prop_map(there),
        14 => prop_oneof![4 => Just(0_u8), 1 => 1..5_u8].prop_map(Step::Again),
        16 => span.prop_map(Step::Advance),
        1 => Just(Step::FlushScripts),
        1 => Just(Step::Cut),
        1 => Just(Step::Reconnect),
    ]
    .boxed()
}

fn on() -> BoxedStrategy<On> {
    prop_oneof![1 => id().prop_map(On::Id), 4 => copy().prop_map(On::Copy), 2 => copy().prop_map(On::IdOf)]
        .boxed()
}

fn id() -> impl Strategy<Value = u8> {
    0..5_u8
}

/// Mostly the latest.
fn copy() -> impl Strategy<Value = u8> {
    prop_oneof![2 => Just(0_u8), 3 => 0..4_u8]
}

fn user() -> impl Strategy<Value = u8> {
    prop_oneof![1 => Just(0_u8), 3 => Just(1), 2 => Just(2), 1 => Just(3)]
}

/// One that is none in one of three.
fn connection() -> impl Strategy<Value = u8> {
    prop_oneof![2 => Just(0_u8), 4 => 1..4_u8]
}

fn node() -> impl Strategy<Value = u8> {
    0..3_u8
}

fn entry() -> impl Strategy<Value = Entry> {
    (any::<bool>(), 0..3_u8, weighted(0.75, 0..4_u8)).prop_map(|(attribute, key, value)| match attribute {
        true => Entry::Attribute(key, value),
        false => Entry::Extension(key, value),
    })
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec(entry(), 0..3)
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![3 => Just(Mode::Active), 1 => Just(Mode::Suspended)]
}

fn ttl() -> impl Strategy<Value = Ttl> {
    prop_oneof![Just(Ttl::Short), Just(Ttl::Long)]
}

fn whose() -> impl Strategy<Value = Whose> {
    prop_oneof![3 => (1..4_u8).prop_map(Whose::User), 1 => (1..3_u8).prop_map(Whose::Node)]
}

fn calls() -> BoxedStrategy<Call> {
    prop_oneof![12 => writes(), 5 => reads()].boxed()
}

fn writes() -> BoxedStrategy<Call> {
    let create = (weighted(0.8, id()), user(), connection(), node(), mode(), weighted(0.2, ttl()), entries());
    let create = create.prop_map(|(id, user, connection, node, mode, ttl, entries)| Call::Create {
        id,
        user,
        connection,
        node,
        mode,
        ttl,
        entries,
    });
    let change = |some| weighted(0.25, some);
    let update = (copy(), change(user().boxed()), change(connection().boxed()), change(node().boxed()));
    let update = (update, weighted(0.2, mode()), weighted(0.2, ttl()), weighted(0.5, entry()));
    let update = update.prop_map(|((copy, user, connection, node), mode, ttl, entry)| Call::Update {
        copy,
        user,
        connection,
        node,
        mode,
        ttl,
        entry,
    });
    let patch = (on(), entries(), weighted(0.2, mode()), weighted(0.2, ttl()), weighted(0.3, copy()));
    let patch =
        patch.prop_map(|(on, entries, mode, ttl, expect)| Call::Patch { on, entries, mode, ttl, expect });
    let rotate = (on(), weighted(0.5, id()), prop_oneof![2 => Just(0_u8), 1 => Just(NOBODY), 4 => user()]);
    let bind = (on(), 1..4_u8, node(), any::<bool>());
    let bind =
        bind.prop_map(|(on, connection, node, take_over)| Call::Bind { on, connection, node, take_over });
    let delete_user = (1..4_u8, weighted(0.6, on()));
    prop_oneof![
        12 => create,
        5 => update,
        5 => patch,
        5 => on().prop_map(Call::Refresh),
        3 => on().prop_map(Call::RefreshAndGet),
        6 => rotate.prop_map(|(on, id, user)| Call::Rotate { on, id, user }),
        6 => bind,
        4 => (on(), 1..4_u8).prop_map(|(on, connection)| Call::Unbind { on, connection }),
        3 => on().prop_map(Call::Delete),
        2 => imports(),
        1 => delete_user.prop_map(|(user, keep)| Call::DeleteUser { user, keep }),
        1 => (1..4_usize).prop_map(Call::Reap),
    ]
    .boxed()
}

fn imports() -> BoxedStrategy<Call> {
    // Mostly the version that was exported before.
    let at = prop_oneof![3 => Just(1_u8), 1 => copy()].prop_map(Replaces::At);
    let replaces = prop_oneof![
        4 => Just(Replaces::Older), 2 => at, 1 => Just(Replaces::Nothing),
    ];
    let import = (copy(), any::<bool>(), replaces);
    import.prop_map(|(export, crossed, replaces)| Call::Import { export, crossed, replaces }).boxed()
}

fn reads() -> BoxedStrategy<Call> {
    let size = || 1..4_usize;
    let expired = (weighted(0.5, 0..90_u64), 0..2_usize, size());
    prop_oneof![
        5 => on().prop_map(Call::Get),
        8 => on().prop_map(Call::Export),
        2 => (whose(), size()).prop_map(|(whose, size)| Call::List { whose, size }),
        2 => size().prop_map(|size| Call::ListNext { size }),
        2 => whose().prop_map(Call::Count),
        3 => (1..4_u8).prop_map(Call::ByConnection),
        2 => expired.prop_map(|(ago_s, skip, limit)| Call::Expired { ago_s, skip, limit }),
    ]
    .boxed()
}
