//! The common parts of the repair scripts: what they are asked to do, and how they name what is wrong.

use crate::model::Result;
use crate::redis::reply::Reply;

/// What a repair script is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Report what is wrong, and change nothing.
    Tell,
    Mend,
}

impl Want {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tell => "tell",
            Self::Mend => "mend",
        }
    }
}

/// The words for all that is wrong, or was until now.
pub(crate) fn wrong(reply: Reply) -> Result<Vec<String>> {
    let mut reply = reply.expect_ok()?;
    let mut words = Vec::new();
    while !reply.is_empty() {
        words.push(reply.text()?);
    }
    Ok(words)
}
