//! What every store shares: ids, sessions, rules, errors, the clock, and what the operations take and give.
//!
//! It knows no store.

pub(crate) mod change;
pub(crate) mod clock;
pub(crate) mod connection;
pub(crate) mod create;
pub(crate) mod deletion;
pub(crate) mod duration;
pub(crate) mod entries;
pub(crate) mod entry_codec;
pub(crate) mod error;
pub(crate) mod expiry;
pub(crate) mod index_fields;
pub(crate) mod listing;
pub(crate) mod login;
pub(crate) mod migration;
pub(crate) mod node_identity;
pub(crate) mod nodes;
pub(crate) mod operation_id;
pub(crate) mod random;
pub(crate) mod refusal;
pub(crate) mod rules;
pub(crate) mod session;
pub(crate) mod session_id;
pub(crate) mod session_ref;
pub(crate) mod task_id;
pub(crate) mod transfer;
pub(crate) mod version;

pub use change::{Patch, Patched, Refreshed};
pub use clock::TestClock;
pub(crate) use clock::{Instant, now_ms};
pub use connection::{Binding, Bound, Unbound};
pub(crate) use create::ValidatedSession;
pub use create::{Created, NewSession};
pub use deletion::{Deleted, Removed, UserDeleted};
pub(crate) use duration::{LONGEST, check_count, check_duration, ms};
pub use entries::Entries;
pub(crate) use entry_codec::{changed_entries, decode_entries};
pub(crate) use error::Cause;
pub use error::{Error, Obstacle, Result};
pub use expiry::{Expired, Reaped};
pub(crate) use index_fields::{IndexFields, require_name, some};
pub(crate) use listing::IndexEntry;
pub use listing::{Cursor, Page, PageRequest, Selector};
pub use login::{Rotated, Rotation};
pub use migration::{
    Cleaned, Departed, Direction, Freezing, Frozen, Leftover, Migration, Migrations, Phase, Thawed,
};
pub(crate) use migration::{Freeze, RecentChanges, check_span};
pub use node_identity::NodeIdentity;
pub use nodes::{Claim, Claimed, Heartbeat, LeaseStatus, Node, RecoveredSession};
pub(crate) use nodes::{NodeFilter, Want};
pub use operation_id::OperationId;
pub(crate) use random::random;
pub use refusal::Refusal;
pub(crate) use rules::BATCH;
pub use rules::{OnLimit, Rules};
pub(crate) use session::Times;
pub use session::{Origin, Session, Status};
pub use session_id::{IdScheme, SessionId};
pub use session_ref::SessionRef;
pub use task_id::TaskId;
pub(crate) use transfer::{Coming, Replaces};
pub use transfer::{Export, Import, Imported};
pub use version::Version;
