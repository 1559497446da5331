//! A history that is played as it is written: one client behind a wire, and others past it.

use std::sync::Arc;

use cloakroom::Rules;

use super::call::{Call, End, View, Whose};
use super::client::{Client, Names};
use super::history::History;
use super::random::{behind, rules};
use super::wire::{Aim, At, Fault, Rewrite, Wire};
use crate::support::Context;

/// Where a history is played.
pub(super) struct Stage {
    pub(super) context: Context,
    pub(super) wire: Wire,
    pub(super) history: Arc<History>,
    pub(super) names: Names,
    /// What loses a reply sends the request again itself, and the store does not learn of it.
    pub(super) unseen: bool,
    /// What changes their requests too.
    _others_wire: Wire,
    /// Behind the wire.
    pub(super) client: Client,
    /// All others.
    pub(super) others: Client,
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::at(Context::redis().await, None).await
    }

    /// With requests that are changed on their way.
    pub(super) async fn at(context: Context, rewrite: Option<Rewrite>) -> Self {
        Self::by(context, rewrite, rules()).await
    }

    /// By other rules.
    pub(super) async fn by(context: Context, rewrite: Option<Rewrite>, rules: Rules) -> Self {
        let wire = Wire::start(context.server().address(), rewrite.clone()).await;
        let others_wire = Wire::start(context.server().address(), rewrite).await;
        let (names, history) = (Names::new("p"), Arc::new(History::default()));
        let store = behind(&wire, &context.namespace, rules.clone()).await;
        let client = Client::new(store, 0, names.clone(), history.clone());
        let others = behind(&others_wire, &context.namespace, rules).await;
        let others = Client::new(others, 1, names.clone(), history.clone());
        Self { context, wire, history, names, unseen: false, _others_wire: others_wire, client, others }
    }

    /// The key of a user's index.
    pub(super) fn index_of_user(&self, user: u8) -> String {
        self.context.user_key(&self.names.user(user))
    }

    /// The others, at another server.
    pub(super) async fn others_at(&self, context: &Context) -> Client {
        let builder = context.builder(rules()).namespace(&self.context.namespace);
        let store = crate::support::context::build(builder).await;
        Client::new(store, 2, self.names.clone(), self.history.clone())
    }

    /// Makes a call, of which the reply to a certain script is lost, counted from 0. Meanwhile others act, and then it is
    /// sent again.
    pub(super) async fn lost(&self, nth: u32, call: Call, meanwhile: impl Future<Output = ()>) -> End {
        let fault = if self.unseen { Fault::Twice } else { Fault::LoseReply };
        self.struck(fault, At::Scripts, nth, call, meanwhile).await
    }

    /// Makes a call. Where something happens to a request of it, others act meanwhile.
    pub(super) async fn struck(
        &self,
        fault: Fault,
        at: At,
        skips: u32,
        call: Call,
        meanwhile: impl Future<Output = ()>,
    ) -> End {
        let before = self.wire.fired();
        self.wire.aim(Aim { fault, skips, times: 1, at, then_wait: true });
        let meanwhile = async {
            self.wire.fires(before).await;
            meanwhile.await;
            self.wire.go_on();
        };
        tokio::join!(self.client.call(call), meanwhile).0
    }

    /// Makes a call of which a certain script arrives half at first. Something happens soon, and it is sent again. When so
    /// many scripts of it have passed, something else happens, and the rest of what is held arrives, before the next one.
    pub(super) async fn overtaken<T>(
        &self,
        nth: u32,
        call: impl Future<Output = T>,
        soon: impl Future<Output = ()>,
        passes: u32,
        meanwhile: impl Future<Output = ()>,
    ) -> T {
        let before = self.wire.fired();
        let at = At::Scripts;
        self.wire.aim(Aim { fault: Fault::Hold(500), skips: nth, times: 1, at, then_wait: true });
        let meanwhile = async {
            self.wire.fires(before).await;
            soon.await;
            self.wire.aim(Aim { fault: Fault::Wait, skips: passes, times: 1, at, then_wait: true });
            self.wire.go_on();
            self.wire.fires(before + 1).await;
            meanwhile.await;
            self.wire.release().await;
            self.wire.go_on();
        };
        tokio::join!(call, meanwhile).0
    }

    /// Makes a call of which a certain script arrives half at first. It is sent again; then others act; then the rest
    /// arrives.
    pub(super) async fn late(&self, nth: u32, call: Call, meanwhile: impl Future<Output = ()>) -> End {
        let before = self.wire.fired();
        self.wire.aim(Aim {
            fault: Fault::Hold(500),
            skips: nth,
            times: 1,
            at: At::Scripts,
            then_wait: false,
        });
        let end = self.client.call(call).await;
        assert!(self.wire.fired() > before, "nothing was held");
        meanwhile.await;
        self.wire.release().await;
        end
    }

    /// Makes a call of which the replies to a certain script are lost until the store gives up. Then others act, and the
    /// caller makes the call again, under its operation id.
    pub(super) async fn given_up(&self, nth: u32, call: Call, meanwhile: impl Future<Output = ()>) -> End {
        self.wire.aim(Aim {
            fault: Fault::LoseReply,
            skips: nth,
            times: u32::MAX,
            at: At::Scripts,
            then_wait: false,
        });
        let meanwhile = async {
            self.wire.rest();
            meanwhile.await;
        };
        self.client.call_again(call, meanwhile).await
    }

    /// Session 0, of user 1 on connection 1 at node 1, and a copy of it.
    pub(super) async fn create(&self) -> View {
        self.others.call(Call::Create { id: 0, user: 1, connection: 1, node: 1, value: 1 }).await;
        self.client.call(Call::Get { id: 0 }).await;
        self.client.copies()[0]
    }

    /// Others patch a session so often, each with a value of its own.
    pub(super) async fn patches(&self, id: u8, times: u32) {
        for value in 100..100 + times {
            self.others.call(patch(id, value)).await;
        }
    }

    pub(super) async fn get(&self, id: u8) {
        self.others.call(Call::Get { id }).await;
    }

    /// What there is at the end, and whether an order of all calls explains it.
    pub(super) async fn close(&self) {
        self.close_with(&self.others).await;
    }

    /// The same, seen by someone else.
    pub(super) async fn close_with(&self, others: &Client) {
        for id in 0..=3 {
            others.call(Call::Get { id }).await;
        }
        for user in 1..=2 {
            others.call(Call::List { whose: Whose::User(user) }).await;
        }
    }
}

/// A patch of the first attribute.
pub(super) fn patch(id: u8, value: u32) -> Call {
    Call::Patch { id, attribute: 0, value, expect: None }
}
