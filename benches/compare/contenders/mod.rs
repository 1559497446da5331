//! Those who are compared. Each does the same to the same sessions, in its own way.

mod axum_session;
mod bare_script;
mod cloakroom;
mod floor;
mod hash;
mod plain;
mod several_commands;
mod tower_sessions;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::operation::Operation;
use crate::payload::Payload;
use crate::subject::Subject;

pub(crate) use cloakroom::Cloakroom;
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

    /// Does an operation once, and makes sure that it was done.
    async fn run(&self, operation: Operation, subject: Subject);
}

/// What takes part in the comparison, in the order of the tables.
pub(crate) async fn all(url: &str, payload: Payload) -> Vec<Arc<dyn Contender>> {
    let cloakroom = Cloakroom::connect(url, payload).await;
    let record = cloakroom.sample_record(url).await;
    vec![
        Arc::new(cloakroom),
        Arc::new(SeveralCommands::connect(url, payload).await),
        Arc::new(tower_sessions::TowerSessions::connect(url, payload).await),
        Arc::new(axum_session::AxumSession::connect(url, payload)),
        Arc::new(transaction::Transaction::connect(url, record.clone()).await),
        Arc::new(bare_script::BareScript::connect(url, record.clone()).await),
        Arc::new(plain::Plain::connect(url, record).await),
    ]
}

/// What is weighed in memory. MULTI/EXEC and the bare script store what cloakroom stores.
pub(crate) async fn weighed(url: &str) -> Vec<Arc<dyn Contender>> {
    let payload = Payload::WEIGHED;
    vec![
        Arc::new(Cloakroom::connect(url, payload).await),
        Arc::new(hash::Hash::connect(url, payload).await),
        Arc::new(SeveralCommands::connect(url, payload).await),
        Arc::new(tower_sessions::TowerSessions::connect(url, payload).await),
        Arc::new(axum_session::AxumSession::connect(url, payload)),
    ]
}
