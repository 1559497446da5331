//! Why a command failed, and the exit code of the program.

use std::fmt;
use std::io;

use cloakroom::{Error, Invalid};

use crate::counted::counted;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store refused, or did not answer.
    Store(Error),
    /// A file, or another input or output.
    Io(String, io::Error),
    /// Nothing was found.
    Nothing(&'static str),
    /// The operator did not say yes.
    NotConfirmed(&'static str),
    /// This many were refused; the rest is done.
    Partly(u64),
    /// This many violations were found.
    Violated(u64),
    /// This many partitions do not answer; the contents of the rest were printed.
    Away { partitions: usize, of: u16 },
    /// Several sessions match.
    Several(&'static str),
    /// A failure at one of the two places of a migration.
    At(&'static str, Box<Self>),
    /// Stopped by Ctrl-C or by an error, with how to continue.
    Stopped { how_to_go_on: String, why: Option<Box<Self>> },
    /// The content of a file is wrong.
    File(String),
}

impl Failure {
    /// Says at which of the two places of a migration it failed.
    pub(crate) fn at(self, place: &'static str) -> Self {
        Self::At(place, Box::new(self))
    }

    /// The exit code of the program.
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

    /// A word for it.
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
