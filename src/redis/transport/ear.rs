//! The readers that wait for changes of keys. The server reports changes on the connection (RESP3, client tracking), so
//! nobody polls while nothing happens.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::Notify;

use crate::redis::transport::dialer::Dialer;
use crate::redis::transport::tracking::{is_in_order, speaks_no_resp3};

/// The readers that wait for changes, by key.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    waiting: Mutex<HashMap<Vec<u8>, Weak<Notify>>>,
    /// Whether the server of the last connection reports changes.
    is_told: AtomicBool,
}

impl Ear {
    /// A handle that is notified when a key has changed since the last read, or when reports have stopped.
    pub(crate) fn of(&self, key: &[u8]) -> Arc<Notify> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = waiting.get(key).and_then(Weak::upgrade) {
            return known;
        }
        waiting.retain(|_, changed| changed.strong_count() > 0);
        let changed = Arc::<Notify>::default();
        waiting.insert(key.to_vec(), Arc::downgrade(&changed));
        changed
    }

    /// Whether the server reports changes, so that readers need not poll.
    pub(crate) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Acquire)
    }

    fn heard(&self, told: &[Value]) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Value::Array(keys)) = told.first() else {
            // All keys: the database was flushed.
            waiting.values().filter_map(Weak::upgrade).for_each(|changed| changed.notify_waiters());
            return;
        };
        for key in keys {
            if let Value::BulkString(key) = key
                && let Some(changed) = waiting.get(key).and_then(Weak::upgrade)
            {
                changed.notify_waiters();
            }
        }
    }

    /// Makes a connection on which the server reports changes, if it can. `None`: it does not speak RESP3, so another
    /// connection is needed.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        dialer: &Dialer,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<Option<MultiplexedConnection>> {
        self.is_told.store(false, Ordering::Release);
        let ear = self.clone();
        let heed = move |told: PushInfo| -> Result<(), redis::aio::SendError> {
            match told.kind {
                PushKind::Invalidate => ear.heard(&told.data),
                // The next connection reads whatever happened meanwhile.
                PushKind::Disconnection => ear.heard(&[]),
                _ => {}
            }
            Ok(())
        };
        let config = config.clone().set_push_sender(heed);
        let mut link = match dialer.with_resp3().connect(&config).await {
            Ok(link) => link,
            Err(error) if speaks_no_resp3(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut begin = Pipeline::with_capacity(2);
        begin.cmd("HELLO").cmd("CLIENT").arg("TRACKING").arg("ON");
        let answers = link.send_packed_commands(&begin, 0, 2).await?;
        let is_told = matches!(answers.as_slice(), [Value::Map(hello), Value::Okay] if is_in_order(hello));
        if !is_told {
            tracing::debug!("the server does not report new events; the store polls it");
        }
        self.is_told.store(is_told, Ordering::Release);
        Ok(Some(link))
    }
}
