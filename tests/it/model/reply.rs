//! The answer of a step, in a form that compares a store with the model.

use cloakroom::{Error, Refusal, Removed, Session, Status};

use crate::model::coverage::AMBIGUOUS;

/// A word, what else a reply tells, and the sessions in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reply {
    pub(super) word: &'static str,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) sessions: Vec<Seen>,
}

/// A session, field by field.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) connection: String,
    pub(super) node: String,
    pub(super) status: Status,
    pub(super) version: u64,
    pub(super) ttl: u64,
    pub(super) created_at: u64,
    pub(super) last_active: u64,
    pub(super) expires_at: u64,
    /// 0 for none.
    pub(super) deadline: u64,
    /// Key and JSON text, sorted by key.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) extensions: Vec<(String, String)>,
}

impl Seen {
    pub(super) fn of(session: &Session) -> Self {
        let owned = |name: Option<&str>| name.unwrap_or_default().to_owned();
        let entries = |entries: &cloakroom::Entries| {
            entries.iter().map(|(key, json)| (key.to_owned(), json.to_owned())).collect()
        };
        Self {
            id: session.id().as_str().to_owned(),
            user: owned(session.user()),
            connection: owned(session.connection()),
            node: owned(session.node()),
            status: session.status(),
            version: session.version().get(),
            ttl: crate::support::expect::ms(session.ttl()),
            created_at: session.created_at_ms(),
            last_active: session.last_active_ms(),
            expires_at: session.expires_at_ms(),
            deadline: session.deadline_ms().unwrap_or(0),
            attributes: entries(session.attributes()),
            extensions: entries(session.extensions()),
        }
    }
}

impl Reply {
    pub(super) fn word(word: &'static str) -> Self {
        Self { word, ..Self::default() }
    }

    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }

    #[must_use]
    pub(super) fn with_session(mut self, session: Seen) -> Self {
        self.sessions.push(session);
        self
    }

    /// Sessions that went for this one, with what is to be closed of each.
    #[must_use]
    pub(super) fn with_removed(self, removed: &[Removed]) -> Self {
        removed.iter().fold(self, |reply, removed| {
            let name = |name: &Option<String>| name.clone().unwrap_or_default();
            reply.removed(removed.id.as_str(), &name(&removed.connection), &name(&removed.node))
        })
    }

    #[must_use]
    pub(super) fn removed(self, id: &str, connection: &str, node: &str) -> Self {
        self.with("removed", format!("{id} at {connection:?} on {node:?}"))
    }

    #[must_use]
    pub(super) fn with_sessions(self, sessions: &[Session]) -> Self {
        sessions.iter().fold(self, |reply, session| reply.with_session(Seen::of(session)))
    }

    /// Without what a call that is repeated need not tell again: with an id as its target, a bind cannot.
    pub(super) fn told_once(&mut self) {
        self.fields.retain(|(name, _)| !["connection", "node", "taken from"].contains(name));
        if self.word == "taking over" {
            self.word = "ok";
        }
    }

    pub(super) fn error(error: &Error) -> Self {
        let Error::Refused(refusal) = error else {
            if error.is_ambiguous() {
                return Self::word(AMBIGUOUS);
            }
            return Self::word("error").with("error", format!("{error:?}"));
        };
        match refusal {
            Refusal::Missing => Self::word("missing"),
            Refusal::Exists => Self::word("exists"),
            Refusal::Gone => Self::word("gone"),
            Refusal::Conflict { current } => Self::word("conflict").with("version", current),
            Refusal::Rotated { to: Some(to) } => Self::word("moved").with("to", to.as_str()),
            Refusal::Rotated { to: None } => Self::word("rotated"),
            Refusal::Limit { live } => Self::word("limit").with("live", live),
            Refusal::TooLarge { bytes, .. } => Self::word("too large").with("bytes", bytes),
            Refusal::Taken => Self::word("taken"),
            other => Self::word("other").with("refusal", other),
        }
    }
}

/// The word for a session that was created.
pub(super) fn created(evicting: bool, reaping: bool) -> &'static str {
    match (evicting, reaping) {
        (false, false) => "ok",
        (true, false) => "ok evicting",
        (false, true) => "ok reaping",
        (true, true) => "ok evicting and reaping",
    }
}

/// The word for a page of a list.
pub(super) fn on_page(more: bool) -> &'static str {
    if more { "more" } else { "last" }
}
