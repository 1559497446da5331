//! Many sessions at once, each answered as if it came alone.

use std::collections::HashMap;

use crate::model::{Created, NewSession, OperationId, Result, ValidatedSession};
use crate::redis::commands;
use crate::redis::commands::create_many;
use crate::redis::commands::create_many::BatchMember;
use crate::redis::store::RedisStore;
use crate::store::join::{Sent, together};

/// Answers by the places of what was asked for.
type Answers<T> = Vec<Option<Result<T>>>;

fn unanswered<T>(count: usize) -> Answers<T> {
    (0..count).map(|_| None).collect()
}

fn all<T>(answers: Answers<T>) -> Vec<Result<T>> {
    answers.into_iter().map(|answer| answer.expect("each place is answered once")).collect()
}

impl RedisStore {
    /// Makes sessions by a script for each batch. What the script leaves is created alone, and so is whoever is a user's
    /// with a limit, or made by a node under its lease, of which the script knows nothing.
    pub(crate) async fn make_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>> {
        let rules = self.rules();
        let call = self.given_operation_id().unwrap_or_else(OperationId::random);
        let mut answers = unanswered(new.len());
        let (mut members, mut alone) = (Vec::new(), Vec::new());
        for (place, new) in new.into_iter().enumerate() {
            let operation_id = call.nth(place);
            match new.check(rules, || rules.id_scheme.generate(&operation_id)) {
                Ok(validated)
                    if self.is_fenced()
                        || (rules.limit.is_some() && !validated.index_fields.user.is_empty()) =>
                {
                    alone.push(BatchMember { place, operation_id, validated });
                }
                Ok(validated) => members.push(BatchMember { place, operation_id, validated }),
                Err(error) => answers[place] = Some(Err(error)),
            }
        }
        while !members.is_empty() {
            let later = members.split_off(members.len().min(create_many::MOST));
            for (place, answer) in self.make_batch(members, &mut alone).await {
                answers[place] = Some(answer);
            }
            members = later;
        }
        for (place, answer) in self.make_alone(alone).await {
            answers[place] = Some(answer);
        }
        all(answers)
    }

    /// Runs the script once, and adds those that it leaves to `alone`.
    pub(crate) async fn make_batch(
        &self,
        batch: Vec<BatchMember>,
        alone: &mut Vec<BatchMember>,
    ) -> Vec<(usize, Result<Created>)> {
        let made = match self.operation("create_many") {
            Ok(operation) => operation.observe(create_many::run(&operation, &batch)).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(made) => {
                let (made, left) = made.split(batch, self.rules());
                alone.extend(left);
                let created = |session| Created { session, evicted: Vec::new(), reaped: Vec::new() };
                made.into_iter().map(|(place, session)| (place, Ok(created(session)))).collect()
            }
            Err(error) => {
                let errors = error.of_many(batch.len(), |at| batch[at].operation_id);
                batch.iter().zip(errors).map(|(member, error)| (member.place, Err(error))).collect()
            }
        }
    }

    /// Creates sessions together, but those of a user one after the other, in order: which of them a limit refuses or
    /// evicts is no matter of luck.
    async fn make_alone(&self, members: Vec<BatchMember>) -> Vec<(usize, Result<Created>)> {
        let mut queues: Vec<Vec<BatchMember>> = Vec::new();
        let mut queue_of: HashMap<String, usize> = HashMap::new();
        for member in members {
            let user = member.validated.index_fields.user.clone();
            let next = queues.len();
            let queue = if user.is_empty() { next } else { *queue_of.entry(user).or_insert(next) };
            if queue == next {
                queues.push(Vec::new());
            }
            queues[queue].push(member);
        }
        let calls = queues.into_iter().map(|queue| -> Sent<'_, _> {
            Box::pin(async move {
                let mut answers = Vec::with_capacity(queue.len());
                for BatchMember { place, operation_id, validated } in queue {
                    answers.push((place, self.make_one(operation_id, validated).await));
                }
                answers
            })
        });
        together(calls).await.into_iter().flatten().collect()
    }

    async fn make_one(&self, id: OperationId, validated: ValidatedSession) -> Result<Created> {
        let operation = self.operation_as("create", Some(id))?;
        operation.observe(commands::create::run(&operation, validated)).await
    }
}
