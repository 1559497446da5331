//! Makes the calls of a history on a store, and records them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use cloakroom::{
    Binding, Error, NewSession, OperationId, Page, PageRequest, Patch, Refreshed, Refusal, Result, Rotation,
    Selector, Session, SessionId, SessionStore, Status,
};

use super::call::{Answer, Call, End, Refused, View, Whose};
use super::history::History;

/// The names that stand behind the numbers of a history, which no other history has.
#[derive(Clone, Debug)]
pub(super) struct Names(String);

/// The two attributes of a session.
const ATTRIBUTES: [&str; 2] = ["a", "b"];

impl Names {
    pub(super) fn new(prefix: impl Into<String>) -> Self {
        Self(prefix.into())
    }

    /// Empty for none.
    fn name(&self, kind: char, number: u8) -> String {
        if number == 0 { String::new() } else { format!("{}-{kind}{number}", self.0) }
    }

    pub(super) fn id(&self, number: u8) -> SessionId {
        SessionId::new(format!("{}-i{number}", self.0)).unwrap()
    }

    pub(super) fn user(&self, number: u8) -> String {
        self.name('u', number)
    }

    pub(super) fn connection(&self, number: u8) -> String {
        self.name('c', number)
    }

    pub(super) fn node(&self, number: u8) -> String {
        self.name('n', number)
    }

    pub(super) fn selector(&self, whose: Whose) -> Selector {
        match whose {
            Whose::User(user) => Selector::user(self.user(user)),
            Whose::Node(node) => Selector::node(self.node(node)),
        }
    }

    fn number(&self, name: Option<&str>) -> u8 {
        let digits = |name: &str| name.strip_prefix(&self.0).unwrap()[2..].parse().unwrap();
        name.map_or(0, digits)
    }

    fn id_number(&self, id: &SessionId) -> u8 {
        self.number(Some(id.as_str()))
    }

    fn view(&self, session: &Session) -> View {
        View {
            id: self.id_number(session.id()),
            version: short(session.version().get()),
            values: ATTRIBUTES.map(|attribute| session.get(attribute).unwrap().unwrap_or(0)),
            user: self.number(session.user()),
            connection: self.number(session.connection()),
            node: self.number(session.node()),
            suspended: session.status() == Status::Suspended,
        }
    }
}

fn short(version: u64) -> u32 {
    u32::try_from(version).unwrap()
}

/// Who makes calls.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) store: Arc<dyn SessionStore>,
    number: usize,
    names: Names,
    history: Arc<History>,
    /// What it was shown, by what it looked like: an update saves a copy.
    copies: Arc<Mutex<BTreeMap<View, Session>>>,
}

/// What a call that was not dropped came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) end: End,
    /// Of an ambiguous one.
    operation_id: Option<OperationId>,
}

impl Client {
    pub(super) fn new(
        store: Arc<dyn SessionStore>,
        number: usize,
        names: Names,
        history: Arc<History>,
    ) -> Self {
        Self { store, number, names, history, copies: Arc::default() }
    }

    /// What it was shown.
    pub(super) fn copies(&self) -> Vec<View> {
        self.copies.lock().unwrap().keys().copied().collect()
    }

    /// Reads a page of a user's or node's sessions, which is not noted.
    pub(super) async fn page(&self, whose: Whose, size: usize) -> Page {
        self.store.list(&self.names.selector(whose), &PageRequest::first(size)).await.unwrap()
    }

    /// Makes a call, and notes it.
    pub(super) async fn call(&self, call: Call) -> End {
        self.noted(call, self.never_again(), std::future::pending()).await
    }

    /// The same, and makes it again under the same operation id if it is ambiguous, when something else has ended.
    pub(super) async fn call_again(&self, call: Call, first: impl Future<Output = ()>) -> End {
        self.noted(call, Some(first), std::future::pending()).await
    }

    /// A call that is dropped when something else ends.
    pub(super) async fn call_until(&self, call: Call, until: impl Future<Output = ()>) -> End {
        self.noted(call, self.never_again(), until).await
    }

    fn never_again(&self) -> Option<std::future::Ready<()>> {
        None
    }

    async fn noted(
        &self,
        call: Call,
        again: Option<impl Future<Output = ()>>,
        until: impl Future<Output = ()>,
    ) -> End {
        let at = self.history.begin(self.number, call.clone());
        let made = async {
            let first = self.make(&*self.store, &call).await;
            let (Some(id), Some(meanwhile)) = (first.operation_id, again) else {
                return first.end;
            };
            meanwhile.await;
            self.history.made_again(at);
            self.make(&*self.store.with_operation_id(id), &call).await.end
        };
        let end = tokio::select! {
            biased;
            end = made => end,
            () = until => End::Unknown,
        };
        self.history.end(at, end.clone());
        end
    }

    async fn make(&self, store: &dyn SessionStore, call: &Call) -> Outcome {
        match self.answer(store, call).await {
            Ok(answer) => Outcome { end: End::Answered(answer), operation_id: None },
            Err(Error::Ambiguous { operation_id, .. }) => {
                Outcome { end: End::Unknown, operation_id: Some(operation_id) }
            }
            Err(Error::NotExecuted { .. }) => Outcome { end: End::NotExecuted, operation_id: None },
            Err(Error::Refused(refusal)) => {
                let refused = self.refused(refusal);
                Outcome { end: End::Answered(Answer::Refused(refused)), operation_id: None }
            }
            Err(error) => panic!("{call:?}: {error:?}"),
        }
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        match refusal {
            Refusal::Missing => Refused::Missing,
            Refusal::Exists => Refused::Exists,
            Refusal::Gone => Refused::Gone,
            Refusal::Rotated { to: Some(to) } => Refused::Rotated(self.names.id_number(&to)),
            Refusal::Rotated { to: None } => Refused::Left,
            Refusal::Conflict { current } => Refused::Conflict(short(current.get())),
            Refusal::Taken => Refused::Taken,
            refusal => panic!("no call of a history is refused so: {refusal:?}"),
        }
    }

    fn shown(&self, session: &Session) -> View {
        let view = self.names.view(session);
        self.copies.lock().unwrap().insert(view, session.clone());
        view
    }

    async fn answer(&self, store: &dyn SessionStore, call: &Call) -> Result<Answer> {
        let names = &self.names;
        Ok(match *call {
            Call::Create { id, user, connection, node, value } => {
                let new = NewSession::new().id(names.id(id)).user(names.user(user));
                let new = new.connection(names.connection(connection)).node(names.node(node));
                Answer::Made(self.shown(&store.create(new.set(ATTRIBUTES[0], &value)?).await?.session))
            }
            Call::Get { id } => {
                Answer::Found(store.get(&names.id(id)).await?.map(|session| self.shown(&session)))
            }
            Call::RefreshAndGet { id } => {
                let found = store.refresh_and_get(&names.id(id)).await?;
                Answer::Found(found.map(|session| self.shown(&session)))
            }
            Call::Refresh { id } => {
                let refreshed = store.refresh(&names.id(id)).await?;
                let seen =
                    |refreshed: Refreshed| (names.id_number(&refreshed.id), short(refreshed.version.get()));
                Answer::Refreshed(refreshed.map(seen))
            }
            Call::Update { copy, user, value } => {
                let mut session = self.copies.lock().unwrap()[&copy].clone();
                session.set(ATTRIBUTES[0], &value)?;
                if user != 0 {
                    session.set_user(names.user(user));
                }
                store.update(&mut session).await?;
                let view = self.shown(&session);
                Answer::Saved { id: view.id, version: view.version }
            }
            Call::Rotate { id, to, user } => {
                let rotation = Rotation::new().new_id(names.id(to));
                let rotation = if user == 0 { rotation } else { rotation.user(names.user(user)) };
                let rotated = store.rotate(&names.id(id), rotation).await?;
                Answer::Rotated { view: self.shown(&rotated.session), by_another: rotated.by_another }
            }
            Call::ByConnection { connection } => {
                let found = store.session_by_connection(&names.connection(connection)).await?;
                Answer::Found(found.map(|session| self.shown(&session)))
            }
            Call::List { whose } => {
                let page = store.list(&names.selector(whose), &PageRequest::first(100)).await?;
                Answer::Listed(page.sessions.iter().map(|session| self.shown(session)).collect())
            }
            _ => return self.answer_plainly(store, call).await,
        })
    }

    /// Those that show no session.
    async fn answer_plainly(&self, store: &dyn SessionStore, call: &Call) -> Result<Answer> {
        let names = &self.names;
        Ok(match *call {
            Call::Patch { id, attribute, value, expect } => {
                let mut patch = Patch::new().set(ATTRIBUTES[usize::from(attribute)], &value)?;
                if let Some(copy) = expect {
                    patch = patch.expect(self.copies.lock().unwrap()[&copy].version());
                }
                let patched = store.patch(&names.id(id), patch).await?;
                let version = short(patched.version.get());
                Answer::Patched { id: names.id_number(&patched.id), version, changed: patched.changed }
            }
            Call::Bind { id, connection, node, take_over } => {
                let binding = Binding::new(names.connection(connection)).node(names.node(node));
                let binding = if take_over { binding.take_over() } else { binding };
                let bound = store.bind(&names.id(id), binding).await?;
                Answer::Bound {
                    id: names.id_number(&bound.id),
                    version: short(bound.version.get()),
                    connection: names.number(bound.previous_connection.as_deref()),
                    node: names.number(bound.previous_node.as_deref()),
                    taken_from: bound.taken_from.map_or(0, |id| names.id_number(&id)),
                    changed: bound.changed,
                }
            }
            Call::Unbind { id, connection } => {
                Answer::Ended(store.unbind(&names.id(id), &names.connection(connection)).await?)
            }
            Call::Count { whose } => Answer::Counted(store.count(&names.selector(whose)).await?),
            Call::Delete { id } => Answer::Ended(store.delete(&names.id(id)).await?.is_some()),
            Call::DeleteUser { user } => {
                let removed = store.delete_user(&names.user(user), None).await?.removed;
                let removed = removed.iter().map(|removed| {
                    let connection = names.number(removed.connection.as_deref());
                    (names.id_number(&removed.id), connection, names.number(removed.node.as_deref()))
                });
                Answer::Removed(removed.collect())
            }
            _ => unreachable!("{} shows a session", call.name()),
        })
    }
}
