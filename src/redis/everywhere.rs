//! Calls that concern all partitions of a namespace: a node's sessions, a connection, expired sessions, migrations.
//! With one partition none of this runs.

use std::sync::Arc;

use redis::{Cmd, Pipeline};

use crate::model::{
    Claim, Claimed, Cursor, Error, Expired, Migrations, OperationId, Page, PageRequest, Reaped, Refusal,
    Result, SESSIONS_PER_SCRIPT, Selector, Session, SessionId, check_count,
};
use crate::redis::call::Call;
use crate::redis::reply::Reply;
use crate::redis::script::{self, Script};
use crate::redis::store::RedisStore;
use crate::redis::{bulk, commands, lookup};
use crate::store::join::{PendingCall, join};
use crate::store::outcome;
use crate::stored::partitions::Partition;

impl RedisStore {
    /// Asks all partitions at once and returns their answers.
    async fn ask_all<'a, T, F>(&'a self, ask: impl Fn(Partition) -> F) -> Result<Vec<T>>
    where
        F: Future<Output = Result<T>> + Send + 'a,
    {
        let calls =
            self.partitions().all().map(|partition| -> PendingCall<'a, _> { Box::pin(ask(partition)) });
        join(calls).await.into_iter().collect()
    }

    /// The answer of each partition. It asks all together; if that fails as a whole, it asks each alone, so that one
    /// refusal does not hide the other answers.
    async fn answers<'a, T: Send + 'a, F>(
        &'a self,
        ask: impl Fn(Vec<Partition>) -> F,
    ) -> Vec<(Partition, Result<T>)>
    where
        F: Future<Output = Result<Vec<T>>> + Send + 'a,
    {
        let all: Vec<Partition> = self.partitions().all().collect();
        let answers = match ask(all.clone()).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(_) => {
                let alone = |partition: &Partition| -> PendingCall<'a, _> {
                    let asked = ask(vec![*partition]);
                    Box::pin(async move { asked.await?.pop().ok_or_else(|| Error::corrupt("reply")) })
                };
                join(all.iter().map(alone)).await
            }
        };
        all.into_iter().zip(answers).collect()
    }

    /// The answer of a repeatable script in each partition.
    pub(crate) async fn ask_each(
        &self,
        name: &'static str,
        script: &'static Script,
        cmd: impl Fn(&Call, Partition) -> Cmd + Sync,
    ) -> Vec<(Partition, Result<Reply>)> {
        let cmd = &cmd;
        self.answers(|partitions| {
            self.call(name, |call| async move {
                let cmds: Vec<Cmd> = partitions.into_iter().map(|partition| cmd(&call, partition)).collect();
                call.run_each(script, &cmds).await
            })
        })
        .await
    }

    pub(crate) async fn list_in(
        &self,
        partition: Partition,
        of: &Selector,
        page: &PageRequest,
    ) -> Result<Page> {
        let body = |call: Arc<Call>| async move { commands::list::run(&call, of, page).await };
        self.call_in(partition, "list", self.operation_id, body).await
    }

    /// A page of a node's sessions, merged from the pages of all partitions, each of one instant.
    pub(crate) async fn list_everywhere(&self, of: &Selector, page: &PageRequest) -> Result<Page> {
        let pages = self.ask_all(|partition| self.list_in(partition, of, page)).await?;
        Ok(Page::merged(pages, page.size))
    }

    pub(crate) async fn session_by_connection_in(
        &self,
        partition: Partition,
        connection: &str,
        pointer: Option<SessionId>,
    ) -> Result<Option<Session>> {
        let body =
            |call: Arc<Call>| async move { commands::get::by_connection(&call, connection, pointer).await };
        let call = self.begin("session_by_connection", self.operation_id)?;
        call.enter(partition);
        self.observe_by(call, body, outcome::of_search).await
    }

    /// The session that has a connection. If partitions name several, the one that was changed last: a connection may
    /// leave its session in one partition for another without the first one learning of it.
    pub(crate) async fn session_by_connection_everywhere(&self, connection: &str) -> Result<Option<Session>> {
        let body = |call: Arc<Call>| async move { commands::get::pointers(&call, connection).await };
        let pointers = self.call("session_by_connection", body).await?;
        let mut found = Vec::with_capacity(1);
        for (partition, pointer) in pointers {
            found.extend(self.session_by_connection_in(partition, connection, Some(pointer)).await?);
        }
        if found.len() < 2 {
            return Ok(found.pop());
        }
        let mut newest = None;
        for session in found {
            let id = session.id().clone();
            let changed = self
                .call("session_by_connection", |call| async move { lookup::changed_at(&call, &id).await })
                .await?;
            if changed.is_some() && newest.as_ref().is_none_or(|(at, _)| *at < changed) {
                newest = Some((changed, session));
            }
        }
        Ok(newest.map(|(_, session)| session))
    }

    /// A page of expired sessions, oldest first, merged from the pages of all partitions.
    pub(crate) async fn expired_everywhere(
        &self,
        before_ms: Option<u64>,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Expired>> {
        check_count("page size", limit, Expired::LARGEST_PAGE)?;
        let ask = |partition| async move {
            let mut all = Vec::new();
            let wanted = skip.saturating_add(limit);
            while all.len() < wanted {
                let (from, size) = (all.len(), (wanted - all.len()).min(Expired::LARGEST_PAGE));
                let body = |call: Arc<Call>| async move {
                    commands::expired::run(&call, before_ms, from, size).await
                };
                let page = self.call_in(partition, "expired", self.operation_id, body).await?;
                let is_last = page.len() < size;
                all.extend(page);
                if is_last {
                    break;
                }
            }
            Ok(all)
        };
        Ok(Expired::merged(self.ask_all(ask).await?.concat(), skip, limit))
    }

    pub(crate) async fn reap_in(&self, partition: Partition, batch: usize) -> Result<Reaped> {
        let body = |call: Arc<Call>| async move { commands::reap::run(&call, batch).await };
        self.call_in(partition, "reap", self.operation_id, body).await
    }

    /// Reaps in the partition where a session expired first; a lost reply loses the report of that partition only. A
    /// partition that fails, or where nothing can be removed now, does not hold up the others: its error is returned
    /// when the others have nothing left.
    pub(crate) async fn reap_somewhere(&self, batch: usize) -> Result<Reaped> {
        check_count("batch", batch, SESSIONS_PER_SCRIPT)?;
        let (mut expired, mut failures, mut more) = (Vec::new(), Failures::default(), false);
        for (partition, reply) in self.ask_each("reap", &script::EXPIRED, bulk::ask_first_expired).await {
            match reply.and_then(bulk::first_expired) {
                Ok(at) => expired.extend(at.map(|at| (at, partition))),
                Err(error) => failures.note("expired sessions were not reaped", error),
            }
        }
        expired.sort();
        let mut expired = expired.into_iter();
        while let Some((_, partition)) = expired.next() {
            match self.reap_in(partition, batch).await {
                Ok(reaped) if reaped.met_any() => {
                    let more = more || reaped.more || expired.len() > 0 || failures.any();
                    return Ok(Reaped { more, ..reaped });
                }
                Ok(reaped) => more |= reaped.more,
                // No other call reports the sessions that it reaped.
                Err(error @ Error::Ambiguous { .. }) => return Err(error),
                Err(error) => failures.note("expired sessions were not reaped", error),
            }
        }
        failures.worst().map_or_else(|| Ok(Reaped { more, ..Reaped::default() }), Err)
    }

    pub(crate) async fn migrations_in(
        &self,
        partition: Partition,
        skip: usize,
        limit: usize,
    ) -> Result<Migrations> {
        let body = |call: Arc<Call>| async move { commands::migrations::run(&call, skip, limit).await };
        self.call_in(partition, "migrations", self.operation_id, body).await
    }

    /// A page of the sessions on their way, from one partition: the partitions' lists are numbered one behind the
    /// other. Behind the last comes the error of those that could not be read.
    pub(crate) async fn migrations_everywhere(&self, skip: usize, limit: usize) -> Result<Migrations> {
        check_count("page size", limit, SESSIONS_PER_SCRIPT)?;
        let lengths = |partitions: Vec<Partition>| {
            self.call("migrations", |call| async move {
                let mut pipeline = Pipeline::with_capacity(partitions.len());
                for partition in partitions {
                    pipeline.cmd("ZCARD").arg(call.partitions().keys(partition).migrations());
                }
                let lengths = call.read(&pipeline, "migrations").await?;
                let length = |value| redis::from_redis_value(value).map_err(|_| Error::corrupt("migrations"));
                lengths.into_iter().map(length).collect::<Result<Vec<usize>>>()
            })
        };
        let (mut lists, mut total, mut failures) = (Vec::new(), 0, Failures::default());
        for (partition, length) in self.answers(lengths).await {
            match length {
                Ok(length) => {
                    lists.push((partition, total, length));
                    total += length;
                }
                Err(error) => failures.note("the migrations were not read", error),
            }
        }
        for (partition, before, length) in lists {
            if skip >= before + length {
                continue;
            }
            let from = skip.max(before);
            let page = match self.migrations_in(partition, from - before, limit).await {
                Ok(page) => page,
                Err(error) => {
                    failures.note("the migrations were not read", error);
                    continue;
                }
            };
            let has_more = before + length < total || failures.any();
            // Entries that led nowhere are gone from the list by now, and others may be gone too.
            let read = from + page.migrations.len();
            let next = page.next.map(|next| before + next).or(has_more.then_some(read));
            return Ok(Migrations { next, ..page });
        }
        failures.worst().map_or_else(|| Ok(Migrations { migrations: Vec::new(), next: None }), Err)
    }

    /// How many sessions the expiry indexes have, without the entries that hold the indexes' own TTLs.
    pub(crate) async fn stored_everywhere(&self) -> Result<u64> {
        let body = |call: Arc<Call>| async move {
            let partitions = call.partitions();
            let mut pipeline = Pipeline::with_capacity(2 * usize::from(partitions.count()));
            for partition in partitions.all() {
                let expiry = partitions.keys(partition).expiry();
                pipeline.cmd("ZCARD").arg(&expiry).cmd("ZSCORE").arg(&expiry).arg("");
            }
            let mut stored = 0;
            for pair in call.read(&pipeline, "expiry").await?.chunks_exact(2) {
                let count: u64 =
                    redis::from_redis_value_ref(&pair[0]).map_err(|_| Error::corrupt("expiry"))?;
                let has_note = pair[1] != redis::Value::Nil;
                stored += count.saturating_sub(has_note.into());
            }
            Ok(stored)
        };
        self.call("stored", body).await
    }

    /// Takes a batch of a node's sessions from one partition. The cursor leads to the next.
    pub(crate) async fn recover_everywhere(&self, claim: Claim) -> Result<Claimed> {
        if self.partitions().is_one() {
            return self.recover_in(Partition::default(), claim).await;
        }
        if let Some(only) = &claim.only {
            return self.recover_only(only.iter().cloned().collect(), &claim).await;
        }
        let first = claim.after.as_ref().map(|after| self.partitions().of(after.id.as_str()));
        let mut rest = self.partitions().all().skip_while(|at| first.is_some_and(|first| *at != first));
        let (mut after, mut failures, mut is_answered) = (claim.after.clone(), Failures::default(), false);
        while let Some(partition) = rest.next() {
            let batch = Claim { after: after.take(), ..claim.clone() };
            match self.recover_in(partition, batch).await {
                Ok(claimed) if claimed.is_empty() && claimed.next.is_none() => is_answered = true,
                Ok(mut claimed) => {
                    let behind = || rest.next().map(|next| self.beginning_of(next));
                    claimed.next = claimed.next.take().or_else(behind);
                    claimed.failed = failures.count;
                    return Ok(claimed);
                }
                // It may have taken some, so the caller must repeat it.
                Err(error @ Error::Ambiguous { .. }) => return Err(error),
                Err(error) => failures.note(NOT_RECOVERED, error),
            }
        }
        if is_answered {
            return Ok(Claimed { failed: failures.count, ..Claimed::default() });
        }
        failures.worst().map_or_else(|| Ok(Claimed::default()), Err)
    }

    async fn recover_in(&self, partition: Partition, claim: Claim) -> Result<Claimed> {
        let id = claim.operation_id;
        let body = |call: Arc<Call>| async move { commands::recover::run(&call, &claim).await };
        self.call_in(partition, "recover", id, body).await
    }

    /// Takes the named sessions, one partition after the other.
    async fn recover_only(&self, ids: Vec<SessionId>, claim: &Claim) -> Result<Claimed> {
        let (mut all, mut failures, mut is_answered) = (Claimed::default(), Failures::default(), false);
        for partition in self.partitions().all() {
            let here: Vec<SessionId> =
                ids.iter().filter(|id| self.partitions().of(id.as_str()) == partition).cloned().collect();
            if here.is_empty() && !(ids.is_empty() && partition == Partition::default()) {
                continue;
            }
            match self.recover_in(partition, claim.clone().only(here)).await {
                Ok(claimed) => {
                    is_answered = true;
                    all.add(claimed);
                }
                // The sessions that were taken before must be returned.
                Err(error @ Error::Ambiguous { .. }) if all.sessions.is_empty() => return Err(error),
                Err(error) => failures.note(NOT_RECOVERED, error),
            }
        }
        all.failed = failures.count;
        let error = failures.worst().filter(|_| !is_answered);
        error.map_or(Ok(all), Err)
    }

    /// A cursor before all sessions of a partition.
    fn beginning_of(&self, partition: Partition) -> Cursor {
        let id = self.partitions().new_id_in(partition, &OperationId::random()).id;
        Cursor { created_at: 0, id, ties: 0 }
    }
}

const NOT_RECOVERED: &str = "a node's sessions were not recovered";

/// The partitions that failed while others go on.
#[derive(Default)]
struct Failures {
    /// How many failed, without those that only say that a lease is held.
    count: u64,
    worst: Option<Error>,
}

impl Failures {
    /// Records a failure and logs it, because perhaps no caller gets it.
    fn note(&mut self, what: &str, error: Error) {
        if !is_leased(&error) {
            tracing::warn!(%error, "{what} in one partition, the others go on");
            self.count += 1;
        }
        // A claimer whose own lease is over everywhere gets that error. Otherwise the other errors matter more.
        let weight = |error: &Error| match error {
            error if is_leased(error) => 2,
            Error::Refused(Refusal::Fenced) => 0,
            _ => 1,
        };
        if self.worst.as_ref().is_none_or(|worst| weight(worst) < weight(&error)) {
            self.worst = Some(error);
        }
    }

    fn any(&self) -> bool {
        self.worst.is_some()
    }

    fn worst(self) -> Option<Error> {
        self.worst
    }
}

fn is_leased(error: &Error) -> bool {
    matches!(error, Error::Refused(Refusal::Leased { .. }))
}
