//! Creates of callers at once, made by one script.
//!
//! A server does more around a script than in it: it makes the local functions, the arguments, the reply. So a create that
//! comes while others are under way is made together with those that came meanwhile, as `create_many` makes sessions: each
//! whole, each under its own operation id, each answered for itself. One that comes alone is made alone.

use tokio::sync::oneshot;

use crate::model::{Created, Error, NewSession, Obstacle, OperationId, Result, ValidatedSession};
use crate::redis::call::Operation;
use crate::redis::commands;
use crate::redis::commands::create_many;
use crate::redis::commands::create_many::BatchMember;
use crate::redis::store::RedisStore;
use crate::store::join::{Sent, together};

/// A create that waits to be sent.
pub(crate) struct Waiting {
    operation_id: OperationId,
    validated: ValidatedSession,
    answer: oneshot::Sender<Answer>,
}

/// What is told to a caller, and how many round trips it took.
type Answer = (Result<Created>, u32);

impl RedisStore {
    /// Makes a session, together with those that others make at the same time.
    ///
    /// Cancellation safety: a create that is dropped before it is sent is not sent.
    pub(crate) async fn make(&self, operation: &Operation<'_>, new: NewSession) -> Result<Created> {
        let (rules, operation_id) = (self.rules(), operation.id());
        let validated = new.check(rules, || rules.id_scheme.generate(&operation_id))?;
        if self.is_fenced() || (rules.limit.is_some() && !validated.index_fields.user.is_empty()) {
            return commands::create::run(operation, validated).await;
        }
        operation.about(&validated.id);
        let (answer, told) = oneshot::channel();
        let store = self.clone();
        let send = |waiting| async move { store.make_waiting(waiting).await };
        let answer = self.creates().answer(Waiting { operation_id, validated, answer }, told, send).await;
        let gone = || Error::Ambiguous { operation_id, source: "the runtime that sends is shut down".into() };
        let (answer, round_trips) = answer.unwrap_or_else(|| (Err(gone()), 0));
        operation.count_round_trips(round_trips);
        answer
    }

    async fn make_waiting(&self, mut waiting: Vec<Waiting>) {
        waiting.retain(|waiting| !waiting.answer.is_closed());
        let batches = std::iter::from_fn(|| {
            let batch = waiting.split_off(waiting.len().saturating_sub(create_many::MOST));
            (!batch.is_empty()).then_some(batch)
        });
        together(batches.map(|batch| -> Sent<'_, ()> { Box::pin(self.make_gathered(batch)) })).await;
    }

    async fn make_gathered(&self, batch: Vec<Waiting>) {
        let (mut callers, mut members) = (Vec::new(), Vec::new());
        for (place, Waiting { operation_id, validated, answer }) in batch.into_iter().enumerate() {
            callers.push(Some(answer));
            members.push(BatchMember { place, operation_id, validated });
        }
        let mut tell = |place: usize, answer: Answer| {
            if let Some(caller) = callers[place].take() {
                // Who does not wait any more needs none.
                drop(caller.send(answer));
            }
        };
        let (mut alone, mut before) = (Vec::new(), 0);
        if members.len() > 1 {
            before = 1;
            let answers = self.make_batch(members, &mut alone).await;
            answers.into_iter().for_each(|(place, answer)| tell(place, (answer, before)));
        } else {
            alone = members;
        }
        let calls = alone.into_iter().map(|BatchMember { place, operation_id, validated }| -> Sent<'_, _> {
            Box::pin(async move {
                let Ok(operation) = self.operation_as("create", Some(operation_id)) else {
                    return (place, (Err(Error::obstacle(Obstacle::Closed, None)), before));
                };
                let answer = commands::create::run(&operation, validated).await;
                (place, (answer, before + operation.round_trips()))
            })
        });
        together(calls).await.into_iter().for_each(|(place, answer)| tell(place, answer));
    }
}
