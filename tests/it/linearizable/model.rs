//! What one namespace promises, one call at a time: no clock, no keys, no indexes.

use std::collections::BTreeSet;

use super::call::{Answer, Call, Refused, View, Whose};

/// What is under each id, by its number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Slot {
    #[default]
    Nothing,
    Live(Live),
    Rotated(u8),
    /// Rotated, and another user's since: only a delete follows.
    LoggedIn(u8),
    Deleted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Live {
    view: View,
    /// When the call returned that made it its user's.
    owned_since: u64,
}

/// What happens at one instant.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Call(Call),
    /// A part of a `delete_user`: one session is removed.
    Remove {
        user: u8,
        id: u8,
    },
    /// The end of a `delete_user`: what the user had when it began, by this time, is gone.
    NoneLeft {
        user: u8,
        since: u64,
    },
}

impl State {
    pub(super) fn new(ids: usize) -> Self {
        Self { slots: vec![Slot::Nothing; ids] }
    }

    /// What lives.
    pub(super) fn live(&self) -> impl Iterator<Item = View> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Live(live) => Some(live.view),
            _ => None,
        })
    }

    /// The answer to an act that returns at a time, which it changes the state by.
    pub(super) fn act(&mut self, act: &Act, returns: u64) -> Answer {
        match *act {
            Act::Call(ref call) => self.call(call, returns),
            Act::Remove { user, id } => match self.slots[usize::from(id)] {
                Slot::Live(Live { view, .. }) if view.user == user => {
                    self.put(id, Slot::Deleted);
                    Answer::Removed(vec![(id, view.connection, view.node)])
                }
                _ => Answer::Removed(Vec::new()),
            },
            Act::NoneLeft { user, since } => {
                let left = |slot: &Slot| matches!(slot, Slot::Live(live) if live.view.user == user && live.owned_since < since);
                Answer::Ended(!self.slots.iter().any(left))
            }
        }
    }

    fn call(&mut self, call: &Call, returns: u64) -> Answer {
        match *call {
            Call::Create { id, user, connection, node, value } => {
                let view =
                    View { id, version: 1, values: [value, 0], user, connection, node, suspended: false };
                self.create(view, returns)
            }
            Call::Get { id } | Call::RefreshAndGet { id } => match self.find(id) {
                Err(Refused::Left) => Answer::Refused(Refused::Left),
                found => Answer::Found(found.ok()),
            },
            Call::Refresh { id } => match self.find(id) {
                Err(Refused::Left) => Answer::Refused(Refused::Left),
                found => Answer::Refreshed(found.ok().map(|view| (view.id, view.version))),
            },
            Call::Update { copy, user, value } => self.update(copy, user, value, returns),
            Call::Patch { id, attribute, value, expect } => {
                let mut view = match self.find(id) {
                    Ok(view) => view,
                    Err(refused) => return Answer::Refused(refused),
                };
                if expect.is_some_and(|copy| copy.version != view.version) {
                    return Answer::Refused(Refused::Conflict(view.version));
                }
                view.values[usize::from(attribute)] = value;
                self.change(&mut view);
                Answer::Patched { id: view.id, version: view.version, changed: true }
            }
            Call::Rotate { id, to, user } => self.rotate(id, to, user, returns),
            Call::Bind { id, connection, node, take_over } => self.bind(id, connection, node, take_over),
            Call::Unbind { id, connection } => {
                let found = match self.find(id) {
                    Err(Refused::Left) => return Answer::Refused(Refused::Left),
                    found => found.ok().filter(|view| view.connection == connection),
                };
                found.iter().for_each(|view| self.detach(*view));
                Answer::Ended(found.is_some())
            }
            Call::Delete { id } => {
                let found = match self.slots[usize::from(id)] {
                    Slot::LoggedIn(to) => self.here(to),
                    _ => self.find(id).ok(),
                };
                found.iter().for_each(|view| self.put(view.id, Slot::Deleted));
                Answer::Ended(found.is_some())
            }
            Call::List { whose } => Answer::Listed(self.of(whose).collect::<BTreeSet<_>>()),
            Call::Count { whose } => Answer::Counted(self.of(whose).count() as u64),
            Call::ByConnection { connection } => {
                Answer::Found(self.live().find(|view| view.connection == connection))
            }
            Call::DeleteUser { .. } => unreachable!("it happens in parts"),
        }
    }

    fn put(&mut self, id: u8, slot: Slot) {
        self.slots[usize::from(id)] = slot;
    }

    /// The live session with this very id.
    fn here(&self, id: u8) -> Option<View> {
        match self.slots[usize::from(id)] {
            Slot::Live(live) => Some(live.view),
            _ => None,
        }
    }

    /// The live session with an id, or with the one that it was rotated to.
    fn find(&self, id: u8) -> Result<View, Refused> {
        let id = match self.slots[usize::from(id)] {
            Slot::Rotated(to) => to,
            _ => id,
        };
        let was_left = matches!(self.slots[usize::from(id)], Slot::LoggedIn(_));
        self.here(id).ok_or(if was_left { Refused::Left } else { Refused::Missing })
    }

    /// Counts a change of a live session.
    fn change(&mut self, view: &mut View) {
        view.version += 1;
        if let Slot::Live(live) = &mut self.slots[usize::from(view.id)] {
            live.view = *view;
        }
    }

    fn detach(&mut self, mut view: View) {
        (view.connection, view.node, view.suspended) = (0, 0, true);
        self.change(&mut view);
    }

    fn of(&self, whose: Whose) -> impl Iterator<Item = View> {
        self.live().filter(move |view| match whose {
            Whose::User(user) => view.user == user,
            Whose::Node(node) => view.node == node,
        })
    }

    /// Another live session that has a connection.
    fn holder(&self, connection: u8, but: u8) -> Option<View> {
        self.live().find(|view| connection != 0 && view.connection == connection && view.id != but)
    }

    fn create(&mut self, view: View, returns: u64) -> Answer {
        match self.slots[usize::from(view.id)] {
            Slot::Live(_) => Answer::Refused(Refused::Exists),
            Slot::Rotated(to) => Answer::Refused(Refused::Rotated(to)),
            Slot::LoggedIn(_) | Slot::Deleted => Answer::Refused(Refused::Gone),
            Slot::Nothing if self.holder(view.connection, view.id).is_some() => {
                Answer::Refused(Refused::Taken)
            }
            Slot::Nothing => {
                self.put(view.id, Slot::Live(Live { view, owned_since: returns }));
                Answer::Made(view)
            }
        }
    }

    fn update(&mut self, copy: View, user: u8, value: u32, returns: u64) -> Answer {
        let stored = match self.find(copy.id) {
            Ok(stored) => stored,
            Err(refused) => return Answer::Refused(refused),
        };
        if copy.version != stored.version {
            return Answer::Refused(Refused::Conflict(stored.version));
        }
        let mut view = View { id: stored.id, values: [value, copy.values[1]], ..copy };
        if user != 0 {
            view.user = user;
        }
        self.change(&mut view);
        if view.user != stored.user
            && let Slot::Live(live) = &mut self.slots[usize::from(view.id)]
        {
            live.owned_since = returns;
        }
        Answer::Saved { id: view.id, version: view.version }
    }

    fn rotate(&mut self, id: u8, to: u8, user: u8, returns: u64) -> Answer {
        let live = match self.slots[usize::from(id)] {
            Slot::Live(live) => live,
            // Another rotation was first.
            Slot::Rotated(to) => {
                return match self.find(to) {
                    Ok(view) => Answer::Rotated { view, by_another: true },
                    Err(refused) => Answer::Refused(refused),
                };
            }
            Slot::LoggedIn(_) => return Answer::Refused(Refused::Left),
            _ => return Answer::Refused(Refused::Missing),
        };
        if self.slots[usize::from(to)] != Slot::Nothing {
            return Answer::Refused(Refused::Exists);
        }
        let Live { mut view, mut owned_since } = live;
        let login = user != 0 && user != view.user;
        if login {
            (view.user, owned_since) = (user, returns);
        }
        (view.id, view.version) = (to, view.version + 1);
        self.put(to, Slot::Live(Live { view, owned_since }));
        self.put(id, if login { Slot::LoggedIn(to) } else { Slot::Rotated(to) });
        Answer::Rotated { view, by_another: false }
    }

    fn bind(&mut self, id: u8, connection: u8, node: u8, take_over: bool) -> Answer {
        let had = match self.find(id) {
            Ok(had) => had,
            Err(refused) => return Answer::Refused(refused),
        };
        let holder = self.holder(connection, had.id);
        if holder.is_some() && !take_over {
            return Answer::Refused(Refused::Taken);
        }
        let mut view = View { connection, node, suspended: false, ..had };
        let changed = view != had;
        if changed {
            holder.iter().for_each(|holder| self.detach(*holder));
            self.change(&mut view);
        }
        Answer::Bound {
            id: view.id,
            version: view.version,
            connection: had.connection,
            node: had.node,
            taken_from: holder.map_or(0, |holder| holder.id),
            changed,
        }
    }
}
