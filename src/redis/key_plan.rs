//! The keys that a call declares, and the loop that adds the keys that the script asks for.

use redis::Cmd;

use crate::model::{
    Cause, Error, IndexFields, Obstacle, Refusal, Removed, Result, Session, SessionId, SessionRef,
};
use crate::redis::bulk as batch;
use crate::redis::bulk::Candidate;
use crate::redis::call::Call;
use crate::redis::reply::Reply;
use crate::redis::script::Script;

/// How often a script may ask for more keys before the call gives up. Without interference, four rounds are the
/// most. Each further one means that another call was faster; a hundred logins of one user at once get in each
/// other's way that often. The deadline ends it too.
const NEED_ROUNDS: u32 = 128;

/// The keys that a call declares: a guess, which the script corrects.
#[derive(Debug)]
pub(crate) struct KeyPlan {
    pub(crate) id: SessionId,
    pub(crate) index_fields: IndexFields<Vec<u8>>,
    /// The session that has the connection which this session will get.
    pub(crate) holder: Option<Candidate>,
    /// Sessions of the user to evict.
    pub(crate) victims: Vec<Candidate>,
    /// The user whose sessions count against the limit.
    user: String,
    /// Removed while making room.
    pub(crate) removed: Vec<Removed>,
    /// Expired sessions that were in the way, reaped.
    pub(crate) reaped: Vec<Session>,
    /// The call had happened already: the session's earlier fields in its reply are those that the call
    /// declared.
    pub(crate) is_again: bool,
    /// Why an earlier attempt with other keys may have happened, if it may.
    doubt_before: Option<Cause>,
    moved: OnRotated,
    /// Whether it names owners that are not valid text.
    names: Names,
}

/// The users, connections and nodes of a session that a call can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// Valid text only: the call returns or keeps the session.
    Texts,
    /// Any bytes: the call removes the session.
    Any,
}

/// What a call does with an id that was rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRotated {
    /// Acts on the session under its new id, once.
    Follow,
    /// It has followed once. An id that was rotated twice leads nowhere.
    Followed,
    /// Returns the new id as the answer.
    Answer,
}

impl KeyPlan {
    /// Plans for a session that exists, by what is known of it.
    pub(crate) fn of(session: &dyn SessionRef, moved: OnRotated) -> Self {
        Self::new(session.id().clone(), &session.hint().index_fields(), moved)
    }

    pub(crate) fn new(id: SessionId, index_fields: &IndexFields, moved: OnRotated) -> Self {
        Self {
            id,
            index_fields: index_fields.to_bytes(),
            holder: None,
            victims: Vec::new(),
            user: index_fields.user.clone(),
            removed: Vec::new(),
            reaped: Vec::new(),
            is_again: false,
            doubt_before: None,
            moved,
            names: Names::Texts,
        }
    }

    /// Also names bytes that are not valid text, for a call that removes the session.
    pub(crate) fn of_any_names(mut self) -> Self {
        self.names = Names::Any;
        self
    }

    /// Counts the limit against another user than the session's.
    pub(crate) fn for_user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// Runs a script until it has all the keys that it needs, and returns its answer.
    pub(crate) async fn settle(
        &mut self,
        call: &Call,
        script: &'static Script,
        cmd: impl Fn(&Self) -> Cmd,
    ) -> Result<Reply> {
        call.about(&self.id);
        let mut rounds = 0;
        while rounds < NEED_ROUNDS {
            let mut reply = call.run(script, || cmd(self)).await?;
            match reply.word.as_str() {
                "need" => {
                    self.doubt_before = call.doubt();
                    if !self.supply(call, &mut reply).await? {
                        rounds += 1;
                    }
                }
                "again" => {
                    if let Some(doubt) = self.doubt_before.take() {
                        return Err(call.ambiguous(doubt));
                    }
                    self.is_again = true;
                    return Ok(reply.into_ok());
                }
                "moved" if self.moved == OnRotated::Follow => {
                    let id = reply.session_id()?;
                    if !call.is_near(&id) {
                        return Err(Error::Refused(Refusal::Rotated { to: Some(id) }));
                    }
                    self.id = id;
                    self.moved = OnRotated::Followed;
                }
                "moved" if self.moved == OnRotated::Followed => return Ok(Reply::missing()),
                _ => return Ok(reply),
            }
        }
        Err(Error::obstacle(Obstacle::Contended, None))
    }

    /// Adds the keys that the script asked for, and returns whether it removed sessions that were in the way.
    /// That counts as progress: a user with thousands of sessions takes many rounds.
    async fn supply(&mut self, call: &Call, reply: &mut Reply) -> Result<bool> {
        match reply.text()?.as_str() {
            "routing" => {
                let (user, connection, node) = (reply.bytes()?, reply.bytes()?, reply.bytes()?);
                let are_texts = [&user, &connection, &node].map(|name| std::str::from_utf8(name).is_ok());
                if self.names == Names::Texts && are_texts.contains(&false) {
                    return Err(Error::corrupt("record"));
                }
                self.index_fields = IndexFields { user, connection, node };
                Ok(false)
            }
            "holder" => {
                let (id, node) = (reply.bytes()?, reply.bytes()?);
                self.holder = Some(Candidate::new(id, IndexFields { node, ..IndexFields::default() }));
                Ok(false)
            }
            "reap" => {
                let outcome = batch::reap(call, &reply.rest_ids()?).await?;
                let went = outcome.removed.len() + outcome.corrupt.len();
                self.reaped.extend(outcome.removed);
                Ok(went > 0 || outcome.unreadable > 0)
            }
            "evict" => {
                self.victims = batch::candidates(call, reply.rest_ids()?).await?;
                Ok(false)
            }
            "remove" => {
                let surplus = batch::candidates(call, reply.rest_ids()?).await?;
                let outcome = batch::remove(call, &self.user, &surplus).await?;
                self.removed.extend(outcome.removed);
                Ok(outcome.stale.len() + outcome.corrupt.len() + outcome.left < surplus.len())
            }
            _ => Err(Error::corrupt("reply that needs something unknown")),
        }
    }

    pub(crate) fn holder_id(&self) -> &[u8] {
        self.holder.as_ref().map_or(b"", |holder| &holder.id)
    }

    pub(crate) fn holder_node(&self) -> &[u8] {
        self.holder.as_ref().map_or(b"", |holder| &holder.index_fields.node)
    }

    /// The record key of the holder; without one, the session's own stands in.
    pub(crate) fn holder_key(&self, call: &Call) -> Vec<u8> {
        let own = self.id.as_str().as_bytes();
        call.keys().session(self.holder.as_ref().map_or(own, |holder| &holder.id))
    }

    /// Three keys of each victim.
    pub(crate) fn victim_keys(&self, call: &Call) -> Vec<Vec<u8>> {
        let keys_of = |victim: &Candidate| {
            let [record, _, _, connection, node] = call.keys().of_session(&victim.id, &victim.index_fields);
            [record, connection, node]
        };
        self.victims.iter().flat_map(keys_of).collect()
    }

    /// The node of each victim.
    pub(crate) fn victim_nodes(&self) -> impl Iterator<Item = &[u8]> {
        self.victims.iter().map(|victim| victim.index_fields.node.as_slice())
    }

    /// Three arguments of each victim.
    pub(crate) fn victim_arguments(&self, cmd: &mut Cmd) {
        for victim in &self.victims {
            cmd.arg(&victim.id).arg(&victim.index_fields.connection).arg(&victim.index_fields.node);
        }
    }

    /// All sessions that were removed for the limit: before the script, and by it, as the rest of its reply
    /// names them.
    pub(crate) fn evicted(&mut self, reply: &mut Reply) -> Result<Vec<Removed>> {
        let mut removed = std::mem::take(&mut self.removed);
        removed.extend(batch::removed(&self.victims, reply.rest_ids()?)?);
        Ok(removed)
    }
}
