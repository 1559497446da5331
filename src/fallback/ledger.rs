//! What the store has, may have, and must still learn of the sessions kept here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::fallback::base::Base;
use crate::fallback::upload::{Brought, Step, Upload};
use crate::model::{Removed, SessionId};

/// What the store has, may have, and must still learn of the sessions kept here.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By local id. A session that was made here and never sent has no entry.
    pub(crate) known: HashMap<SessionId, Known>,
    /// Maps the id that a session has or may have in the store to its id here, if they differ.
    renamed: HashMap<SessionId, SessionId>,
    pub(crate) revoked: HashSet<SessionId>,
    pub(crate) revoked_users: Vec<UserRevocation>,
}

/// What the store has of a session that is kept here.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The store's version of the session. A session that was made here has none.
    pub(crate) base: Option<Base>,
    /// The upload that was sent and not answered: the store may have done it. It is retried unchanged before any
    /// other, so there is never more than one.
    pub(crate) sent: Option<Arc<Upload>>,
}

/// A log-out everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserRevocation {
    pub(crate) user: String,
    /// The session to keep, by its id in the store.
    pub(crate) keep: Option<SessionId>,
}

/// A logout that the store must still learn of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Revocation {
    User(UserRevocation),
    Session(SessionId),
}

impl Known {
    /// The knowledge after an upload was answered.
    pub(crate) fn after(self, upload: &Upload, brought: &Brought) -> Self {
        let unsure = self.base.as_ref().map(|base| base.unsure.clone()).unwrap_or_default();
        let there = |version| Some(Base { id: upload.id.clone(), version, unsure });
        let base = match (&upload.step, brought) {
            (_, Brought::Ours(version)) => there(*version),
            (Step::Rotation(_), Brought::There(version) | Brought::Changed(version)) => there(*version),
            (Step::Rotation(_), Brought::Missing) => None,
            (_, Brought::There(_)) => there(upload.session().version()),
            _ => self.base,
        };
        Self { base, sent: None }
    }

    /// The ids that the session has or may have in the store.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &SessionId> {
        let base = self.base.as_ref().map(|base| &base.id);
        base.into_iter().chain(self.sent.as_ref().map(|sent| &sent.id))
    }
}

impl Ledger {
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.pending_revocations() == 0
    }

    pub(crate) fn pending_revocations(&self) -> usize {
        self.revoked.len() + self.revoked_users.len()
    }

    /// Whether an id was logged out here and the store does not know yet.
    pub(crate) fn is_revoked(&self, id: &SessionId) -> bool {
        self.revoked.contains(id) || self.renamed.contains_key(id)
    }

    /// The id here of a session that the store may have under another.
    pub(crate) fn here<'a>(&'a self, id: &'a SessionId) -> &'a SessionId {
        self.renamed.get(id).unwrap_or(id)
    }

    /// Records what the store has of a session, if anything.
    pub(crate) fn note(&mut self, id: &SessionId, known: Known) {
        if known.base.is_none() && known.sent.is_none() {
            return;
        }
        for other in known.ids().filter(|other| *other != id) {
            self.renamed.insert(other.clone(), id.clone());
        }
        self.known.insert(id.clone(), known);
    }

    /// Forgets what the store had of a session.
    pub(crate) fn strike(&mut self, id: &SessionId) -> Option<Known> {
        let known = self.known.remove(id)?;
        for other in known.ids() {
            self.renamed.remove(other);
        }
        Some(known)
    }

    /// Records that a session got another id here.
    pub(crate) fn rotated(&mut self, old: &SessionId, new: &SessionId) {
        if let Some(known) = self.strike(old) {
            self.note(new, known);
        }
    }

    /// Records that a session ended here, and must end in the store if it is there.
    fn revoke(&mut self, id: &SessionId) {
        if let Some(known) = self.strike(id) {
            self.revoked.extend(known.ids().cloned());
        }
    }

    /// Gives a session up here. The ids that it left here lead nowhere any more, whatever the store has under them.
    /// Returns whether it was known.
    pub(crate) fn give_up(&mut self, id: &SessionId) -> bool {
        let Some(known) = self.strike(id) else {
            return false;
        };
        self.revoked.extend(known.ids().filter(|other| *other != id).cloned());
        true
    }

    pub(crate) fn revoke_all(&mut self, removed: &[Removed]) {
        for removed in removed {
            self.revoke(&removed.id);
        }
    }

    /// The next logout that the store must learn of.
    pub(crate) fn next_revocation(&self) -> Option<Revocation> {
        let user = self.revoked_users.first().cloned().map(Revocation::User);
        user.or_else(|| self.revoked.iter().next().cloned().map(Revocation::Session))
    }

    /// Records that the store has applied a logout. The same logout may have come again meanwhile; that one
    /// stays.
    pub(crate) fn forget(&mut self, revocation: &Revocation) {
        match revocation {
            Revocation::User(user) => {
                let told = self.revoked_users.iter().position(|other| other == user);
                told.map(|at| self.revoked_users.remove(at));
            }
            Revocation::Session(id) => {
                self.revoked.remove(id);
            }
        }
    }
}
