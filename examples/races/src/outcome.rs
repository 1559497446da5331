//! The outcome of each race, in one sentence.

use std::fmt;

/// After a request that saved during a logout.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SlowSave {
    /// The save was refused, for there was no session any more, and ann is logged out.
    Refused,
    /// The save was another error, and ann is logged out.
    Failed,
    /// The save had no effect and reported success, and ann is logged out.
    Ignored,
    /// The saved session is live.
    Back,
    /// The same, under an id that the slow request's response puts into the cookie.
    BackUnderNewId,
    /// The saved session is live, and it is missing in the list of ann's sessions.
    BackUnlisted,
}

impl fmt::Display for SlowSave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "ann is logged out; the save is refused",
            Self::Failed => "ann is logged out; the save is an error",
            Self::Ignored => "ann is logged out; the save does nothing and reports success",
            Self::Back => "ann is logged in again",
            Self::BackUnderNewId => "ann is logged in again, under a new id",
            Self::BackUnlisted => "ann is logged in again, and her list is empty",
        })
    }
}

/// After two logins at a limit of one session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TwoLogins {
    /// One session is live, and the other login was an error.
    OneRefused,
    /// Both logins found room.
    Both,
    /// Both are live, for there is no limit to set.
    NoLimit,
}

impl fmt::Display for TwoLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneRefused => "one session is live; the other login is refused",
            Self::Both => "two sessions are live: both logins had counted none",
            Self::NoLimit => "two sessions are live: it has no limit",
        })
    }
}

/// What is stored of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Whether its record is there.
    pub(crate) record: bool,
    /// Whether the list of its user's sessions has it; `None` where there are no such lists.
    pub(crate) listed: Option<bool>,
}

/// After a process that was killed in a logout, once per command of that logout.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// Wherever it was killed, the session and its place in the list were both there or both gone.
    AllOrNothing {
        /// The command that deleted both.
        deleted_by: String,
    },
    /// The session is there or gone, and there is no list.
    NoList {
        /// The command that deleted it.
        deleted_by: String,
    },
    /// Killed after a command, it left one without the other.
    Half {
        /// That command.
        killed_after: String,
        /// What it left.
        left: Left,
    },
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllOrNothing { deleted_by } => {
                write!(f, "nothing is left over: one {deleted_by} deletes all of it")
            }
            Self::NoList { deleted_by } => {
                write!(f, "nothing is left over: one {deleted_by}; it keeps no list of ann's sessions")
            }
            Self::Half { killed_after, left: Left { record: false, .. } } => {
                write!(f, "killed after {killed_after}, it leaves the deleted session in ann's list")
            }
            Self::Half { killed_after, .. } => {
                write!(f, "killed after {killed_after}, it leaves a live session that ann's list lacks")
            }
        }
    }
}

/// After the late disconnect of an old socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LateClose {
    /// The session still leads to the new socket.
    NewSocketKept,
    /// The session leads to no socket.
    NewSocketLost,
    /// Sessions lead to no sockets.
    NoSockets,
}

impl fmt::Display for LateClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NewSocketKept => "the session still leads to the new socket",
            Self::NewSocketLost => "the session has lost its open socket",
            Self::NoSockets => "its sessions lead to no sockets",
        })
    }
}
