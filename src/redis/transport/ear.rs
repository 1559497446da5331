//! Who waits for changes of keys that were read on a connection. The server tells of them on it (RESP3, client tracking), so
//! nothing is asked while nothing happens.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::Notify;

use crate::redis::transport::dialer::Dialer;
use crate::redis::transport::tracking::{is_in_order, speaks_no_resp3};

/// Who waits for changes of which keys.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    waiting: Mutex<HashMap<Vec<u8>, Weak<Notify>>>,
    /// Whether the server of the last connection tells of changes.
    is_told: AtomicBool,
}

impl Ear {
    /// What is notified when a key has changed since it was read last, or nobody would tell.
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

    /// Whether the server tells of changes, so that nobody has to ask again and again.
    pub(crate) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Acquire)
    }

    fn heard(&self, told: &[Value]) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Value::Array(keys)) = told.first() else {
            // All of them: the database was flushed.
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

    /// Makes a connection on which the server tells, if it can. `None`: it speaks no RESP3, and another is to be made.
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
                // Whatever happened meanwhile is read on the next.
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
            tracing::debug!("the server does not tell of new events: it is asked again and again");
        }
        self.is_told.store(is_told, Ordering::Release);
        Ok(Some(link))
    }
}
