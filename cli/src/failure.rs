//! Why a command did not do what was asked, and with which code the program ends then.

use std::fmt;
use std::io;

use cloakroom::{Error, Invalid};

use crate::counted::counted;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store said no, or nothing.
    Store(Error),
    /// A file, or what is read and written besides.
    Io(String, io::Error),
    /// There is nothing of the kind.
    Nothing(&'static str),
    /// Whoever was asked did not say yes.
    NotConfirmed(&'static str),
    /// So many were refused, and the rest is done.
    Partly(u64),
    /// So much of what is stored does not agree.
    Violated(u64),
    /// So many of the partitions do not answer, and what the rest has is told.
    Away { partitions: usize, of: u16 },
    /// It may be one or the other.
    Several(&'static str),
    /// At which of two places it is.
    At(&'static str, Box<Self>),
    /// By Ctrl-C, or by an error: how to go on.
    Stopped { how_to_go_on: String, why: Option<Box<Self>> },
    /// What is in a file is not what was to be there.
    File(String),
}

impl Failure {
    /// The same, where it could be at another place.
    pub(crate) fn at(self, place: &'static str) -> Self {
        Self::At(place, Box::new(self))
    }

    /// With which code the program ends.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Store(Error::Invalid(_)) | Self::Several(_) => 2,
            Self::Store(_) | Self::Io(..) | Self::File(_) => 1,
            Self::Nothing(_) => 3,
            Self::NotConfirmed(_) => 4,
            Self::Partly(_) | Self::Away { .. } => 5,
            Self::Violated(_) => 6,
            Self::At(_, why) | Self::Stopped { why: Some(why), .. } => why.code(),
            Self::Stopped { why: None, .. } => 130,
        }
    }

    /// One word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Io(..) => "io",
            Self::File(_) => "file",
            Self::Nothing(_) => "nothing",
            Self::NotConfirmed(_) => "not_confirmed",
            Self::Partly(_) => "partly",
            Self::Violated(_) => "violated",
            Self::Away { .. } => "away",
            Self::Several(_) => "several",
            Self::At(_, why) | Self::Stopped { why: Some(why), .. } => why.word(),
            Self::Stopped { why: None, .. } => "interrupted",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Io(what, error) => write!(f, "{what}: {error}"),
            Self::Nothing(what) | Self::NotConfirmed(what) | Self::Several(what) => f.write_str(what),
            Self::Partly(refused) => {
                write!(f, "{} refused", counted(*refused, "session was", "sessions were"))
            }
            Self::Violated(count) => f.write_str(&counted(*count, "violation", "violations")),
            Self::Away { partitions, of } => write!(f, "{partitions} of {of} partitions do not answer"),
            Self::At(place, why) => write!(f, "{place}: {why}"),
            Self::Stopped { how_to_go_on, why: Some(why) } => write!(f, "{why}; to go on: {how_to_go_on}"),
            Self::Stopped { how_to_go_on, why: None } => write!(f, "interrupted; to go on: {how_to_go_on}"),
            Self::File(what) => f.write_str(what),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Store(invalid.into())
    }
}
