//! Those who are compared. Each does the same to the same sessions, in its own way.

mod actix_session;
mod axum_session;
mod bare_script;
mod cloakroom;
mod connect_redis;
mod hash;
mod old_scripts;
mod plain;
mod recording;
mod several_commands;
mod tower_sessions;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::operation::Operation;
use crate::payload::Payload;
use crate::subject::Subject;

pub(crate) use bare_script::BareScript;
pub(crate) use cloakroom::{Cloakroom, NAMESPACE};
pub(crate) use connect_redis::ConnectRedis;
pub(crate) use old_scripts::OldScripts;
pub(crate) use plain::Plain;
pub(crate) use recording::{Recording, is_read};
pub(crate) use several_commands::SeveralCommands;

/// How long a session lives unused.
pub(crate) const TTL: Duration = Duration::from_secs(1800);

/// A way to keep sessions in Redis.
#[async_trait]
pub(crate) trait Contender: Send + Sync {
    fn name(&self) -> &'static str;

    /// Whose stored sessions it works on: what one of the same crowd stores, the others find.
    fn crowd(&self) -> &'static str {
        self.name()
    }

    fn has(&self, operation: Operation) -> bool;

    /// Where it runs, if not here.
    fn process(&self) -> Option<&ConnectRedis> {
        None
    }

    /// Does an operation once, and makes sure that it was done.
    async fn run(&self, operation: Operation, subject: Subject);
}

/// What takes part in the comparison, in the order of the tables.
pub(crate) async fn all(url: &str, payload: Payload) -> Vec<Arc<dyn Contender>> {
    let cloakroom = Cloakroom::connect(url, payload).await;
    let sample = cloakroom.sample_record(url).await;
    let recording = Recording::of(url, &cloakroom).await;
    let bare = BareScript::connect(url, &recording).await;
    let mut all: Vec<Arc<dyn Contender>> = vec![Arc::new(cloakroom)];
    all.extend(others(url, payload).await);
    all.push(Arc::new(transaction::Transaction::connect(url, recording).await));
    all.push(Arc::new(bare));
    all.push(Arc::new(Plain::connect(url, "floor", sample).await));
    all
}

/// What somebody would use instead.
async fn others(url: &str, payload: Payload) -> Vec<Arc<dyn Contender>> {
    let mut others: Vec<Arc<dyn Contender>> = vec![
        Arc::new(SeveralCommands::connect(url, payload).await),
        Arc::new(tower_sessions::TowerSessions::connect(url, payload).await),
        Arc::new(axum_session::AxumSession::connect(url, payload)),
        Arc::new(actix_session::ActixSession::connect(url, payload).await),
    ];
    if let Some(process) = ConnectRedis::start(url, payload) {
        others.push(Arc::new(process));
    }
    others
}

/// What is weighed in memory. MULTI/EXEC and the bare script store what cloakroom stores.
pub(crate) async fn weighed(url: &str) -> Vec<Arc<dyn Contender>> {
    let payload = Payload::WEIGHED;
    let mut weighed: Vec<Arc<dyn Contender>> = vec![
        Arc::new(Cloakroom::connect(url, payload).await),
        Arc::new(hash::Hash::connect(url, payload).await),
    ];
    weighed.extend(others(url, payload).await);
    weighed
}
