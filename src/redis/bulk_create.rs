//! Makes many sessions at once, each with the answer that it would get alone.

use std::sync::Arc;

use std::collections::{BTreeMap, HashMap};

use crate::model::{Created, NewSession, OperationId, Result, ValidatedSession};
use crate::redis::call::Call;
use crate::redis::commands;
use crate::redis::commands::create_many::{BatchMember, batch_len};
use crate::redis::store::RedisStore;
use crate::store::join::{PendingCall, join};
use crate::stored::partitions::Partition;

/// An answer, with the session's position in the call.
type Placed = (usize, Result<Created>);

impl RedisStore {
    /// Makes sessions by one script per batch of one partition. The sessions that the script leaves are created alone.
    /// So are sessions that the script cannot make: those of a user with a limit, those with a lifetime of their own,
    /// and those that a node makes under its lease.
    pub(crate) async fn make_many(&self, new: Vec<NewSession>) -> Vec<Result<Created>> {
        let (rules, partitions) = (&self.config().rules, self.partitions());
        let call = self.operation_id.unwrap_or_else(OperationId::random);
        let mut answers: Vec<Placed> = Vec::with_capacity(new.len());
        let (mut groups, mut alone) = (BTreeMap::<Partition, Vec<BatchMember>>::new(), Vec::new());
        for (place, new) in new.into_iter().enumerate() {
            let operation_id = call.nth(place);
            let made_id = |user: &str| partitions.new_id(&operation_id, user);
            let checked = new.check(rules, made_id).and_then(|session| {
                partitions.check(&session.id, &session.index_fields.user)?;
                Ok(session)
            });
            match checked {
                Ok(session) => {
                    let is_alone = self.creates_alone(rules, &session);
                    let member = BatchMember { place, operation_id, session };
                    let home = partitions.of(member.session.id.as_str());
                    if is_alone { alone.push(member) } else { groups.entry(home).or_default().push(member) }
                }
                Err(error) => answers.push((place, Err(error))),
            }
        }
        for (partition, mut members) in groups {
            while !members.is_empty() {
                let later = members.split_off(batch_len(&members));
                answers.extend(self.make_batch(partition, members, &mut alone).await);
                members = later;
            }
        }
        answers.extend(self.make_alone(alone).await);
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Runs the script once, and adds those that it leaves to `alone`.
    async fn make_batch(
        &self,
        partition: Partition,
        batch: Vec<BatchMember>,
        alone: &mut Vec<BatchMember>,
    ) -> Vec<Placed> {
        let mut batch = batch;
        let members = &mut batch;
        let body = |call: Arc<Call>| async move { commands::create_many::run(&call, members).await };
        let made = self.call_in(partition, "create_many", self.operation_id, body).await;
        match made {
            Ok(made) => {
                let (made, left) = made.split(batch);
                alone.extend(left);
                made.into_iter().map(|(place, created)| (place, Ok(created))).collect()
            }
            Err(error) => {
                let of = |member: &BatchMember| (member.place, Err(error.clone().under(member.operation_id)));
                batch.iter().map(of).collect()
            }
        }
    }

    /// Creates sessions together, but those of one user one after the other, in order. So the limit's choice of which
    /// to refuse or evict does not depend on luck.
    async fn make_alone(&self, members: Vec<BatchMember>) -> Vec<Placed> {
        let mut queues: Vec<Vec<BatchMember>> = Vec::new();
        let mut queue_of: HashMap<String, usize> = HashMap::new();
        for member in members {
            let user = member.session.index_fields.user.clone();
            let next = queues.len();
            let queue = if user.is_empty() { next } else { *queue_of.entry(user).or_insert(next) };
            if queue == next {
                queues.push(Vec::new());
            }
            queues[queue].push(member);
        }
        let calls = queues.into_iter().map(|queue| -> PendingCall<'_, _> {
            Box::pin(async move {
                let mut answers = Vec::with_capacity(queue.len());
                for BatchMember { place, operation_id, session } in queue {
                    answers.push((place, self.make_one(operation_id, session).await));
                }
                answers
            })
        });
        join(calls).await.into_iter().flatten().collect()
    }

    async fn make_one(&self, id: OperationId, session: ValidatedSession) -> Result<Created> {
        let body = |call: Arc<Call>| async move { commands::create::make(&call, session).await };
        self.call_as("create", Some(id), body).await
    }
}
