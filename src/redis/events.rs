//! Reads events from the streams of a namespace: one task per partition, all over one connection per server.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::futures::Notified;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::model::{
    EntryId, Error, EventsFrom, EventsPosition, Refusal, Result, Told, require_name, require_runtime,
};
use crate::redis::event_entry::Entry;
use crate::redis::store::RedisStore;
use crate::redis::transport::connection::Connection;
use crate::redis::transport::delivery::Delivery;
use crate::redis::transport::listener::{Listener, Lookout, ReadOn};
use crate::redis::transport::redirect::Redirect;
use crate::redis::transport::server_error::server_code;
use crate::redis::transport::servers::Servers;
use crate::store::event_store::{EventStore, EventStream, Part};
use crate::store::meter;
use crate::stored::partitions::Partition;
use crate::stored::slot::Slot;

/// How many entries one read takes.
const AT_ONCE: usize = 256;

/// How long a connection may be silent while readers wait on it. Then one reader looks: the connection may be dead, or
/// lead to a server that is no longer the master.
const LOOKED_AFTER: Duration = Duration::from_secs(5);

/// How often a reader records that it waits for its listener.
const NOTED_EVERY: Duration = Duration::from_secs(5);

/// How often a reader looks if the server does not notify it.
const POLLED_EVERY: Duration = Duration::from_millis(25);

/// Between two attempts while the server is away: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

/// How far a reader that missed entries goes back: for this long two masters may both have taken writes and given times
/// to their entries.
const GOES_BACK_MS: u64 = 10_000;

#[async_trait]
impl EventStore for RedisStore {
    async fn events(&self, from: EventsFrom) -> Result<EventStream> {
        self.read_events("", from).await
    }

    async fn events_of_node(&self, node: &str, from: EventsFrom) -> Result<EventStream> {
        require_name("node id", node)?;
        self.read_events(node, from).await
    }
}

impl RedisStore {
    /// Reads the events of a node, or all events.
    async fn read_events(&self, node: &str, from: EventsFrom) -> Result<EventStream> {
        if self.config().rules.events == 0 {
            return Err(Error::invalid("events", "are not turned on by the rules of this store"));
        }
        require_runtime()?;
        let position = self.position(node, from).await.map_err(|error| error.at(&self.config().server))?;
        let (tell, told) = mpsc::channel(AT_ONCE);
        let readers = self.partitions().all().zip(&position).map(|(partition, next)| {
            let reader = Reader {
                store: self.clone(),
                partition,
                key: self.partitions().keys(partition).events_of(node),
                next: next.clone(),
                has_missed: false,
                tell: tell.clone(),
                listener: None,
                lookout: None,
            };
            tokio::spawn(reader.run()).abort_handle()
        });
        let readers = readers.collect();
        let entries = position.iter().map(|next| next.entry()).collect();
        Ok(EventStream::new(told, EventsPosition(entries), readers))
    }

    /// The start in each partition. Finding it proves that the user may read there.
    async fn position(&self, node: &str, from: EventsFrom) -> Result<Vec<Next>> {
        let next = |entry: Option<EntryId>| entry.map_or(Next::Begin, |at| Next::Behind { at, fields: None });
        let count = usize::from(self.partitions().count());
        let newest = self.newest(node).await?;
        match from {
            EventsFrom::Now => Ok(newest.into_iter().map(next).collect()),
            EventsFrom::Beginning => Ok(vec![Next::Begin; count]),
            EventsFrom::Position(EventsPosition(entries)) if entries.len() == count => {
                Ok(entries.into_iter().map(next).collect())
            }
            EventsFrom::Position(_) => {
                Err(Error::invalid("events position", format!("is not of {count} partitions")))
            }
        }
    }

    /// The newest entry of each partition, if there is one.
    async fn newest(&self, node: &str) -> Result<Vec<Option<EntryId>>> {
        self.start().await?;
        let mut pipeline = Pipeline::new();
        let key = |partition| self.partitions().keys(partition).events_of(node);
        for partition in self.partitions().all() {
            pipeline.cmd("XREVRANGE").arg(key(partition)).arg("+").arg("-").arg("COUNT").arg(1);
        }
        pipeline.cmd("XRANGE").arg(key(self.partitions().first())).arg("-").arg("+").arg("COUNT").arg(1);
        let until = Instant::now() + self.config().deadline;
        let mut newest = match self.sender()?.pipeline(&pipeline, until).await {
            Delivery::Refused(error) if server_code(&error).as_deref() == Some("NOPERM") => {
                let lacking = ["+xrange", "+xrevrange"].map(str::to_owned).into();
                return Err(Error::Refused(Refusal::Forbidden { lacking }));
            }
            Delivery::Refused(error) if server_code(&error).as_deref() == Some("WRONGTYPE") => {
                return Err(Error::corrupt("events"));
            }
            newest => newest.or_not_executed()?,
        };
        newest.pop();
        let first = |reply: &Value| {
            let entries = Entry::all(reply).ok_or_else(|| Error::corrupt("events"))?;
            Ok(entries.first().map(|entry| entry.id))
        };
        newest.iter().map(first).collect()
    }
}

/// Where a reader continues.
#[derive(Clone, Debug)]
enum Next {
    /// At the first entry. The entry itself says whether it is the first ever.
    Begin,
    /// Behind this entry, if it is still there; otherwise some were missed. Its fields are known if it was read here:
    /// another master may have given the same id to another entry.
    Behind { at: EntryId, fields: Option<Value> },
    /// At this id, because some entries were missed.
    At(EntryId),
}

impl Next {
    fn entry(&self) -> Option<EntryId> {
        match self {
            Self::Begin => None,
            Self::Behind { at, .. } | Self::At(at) => Some(*at),
        }
    }

    fn start(&self) -> String {
        self.entry().map_or_else(|| "-".to_owned(), |entry| entry.to_string())
    }

    /// The new entries among those read from here on; `None`: some were missed.
    fn news(&self, mut entries: Vec<Entry>) -> Option<Vec<Entry>> {
        match self {
            // The stream was emptied since.
            Self::At(_) if entries.is_empty() => return None,
            Self::At(_) => {}
            Self::Begin if entries.first().is_none_or(Entry::is_the_beginning) => {}
            Self::Behind { at, fields } => {
                let first = entries.first().filter(|first| first.id == *at)?;
                if fields.as_ref().is_some_and(|fields| *fields != first.fields) {
                    return None;
                }
                entries.remove(0);
            }
            Self::Begin => return None,
        }
        Some(entries)
    }

    /// Where to continue after a gap, even if the stream is empty.
    fn after_a_gap(&self, is_empty: bool) -> Self {
        match self.entry() {
            Some(at) if !is_empty => Self::At(EntryId { ms: at.ms.saturating_sub(GOES_BACK_MS), count: 0 }),
            _ if is_empty => Self::Begin,
            _ => Self::At(EntryId { ms: 0, count: 0 }),
        }
    }
}

/// Reads the stream of a partition, until its store is closed.
struct Reader {
    store: RedisStore,
    partition: Partition,
    key: Vec<u8>,
    next: Next,
    /// Whether it missed entries and has not reported that yet.
    has_missed: bool,
    tell: mpsc::Sender<Part>,
    /// The listener of its last look: the connection lives as long as somebody holds it.
    listener: Option<Arc<Listener>>,
    /// Held while it looks on behalf of all readers of its server.
    lookout: Option<Lookout>,
}

/// The result of a look at the stream.
enum Look {
    /// There may be more.
    More,
    /// There is nothing more for now.
    UpToDate,
}

/// Nobody listens any more.
struct Over;

impl Reader {
    async fn run(mut self) {
        let [mut pause, longest] = PAUSES;
        loop {
            let wait = match self.turn().await {
                Ok(true) => {
                    pause = PAUSES[0];
                    continue;
                }
                Ok(false) => {
                    let wait = pause;
                    pause = (pause * 2).min(longest);
                    wait
                }
                Err(Over) => return,
            };
            self.lookout = None;
            tokio::time::sleep(wait).await;
        }
    }

    /// Looks, and waits for a notification if there is nothing more. False: the server is away.
    async fn turn(&mut self) -> Result<bool, Over> {
        let sender = self.store.sender().map_err(|_| Over)?;
        let until = Instant::now() + self.store.config().deadline;
        if self.store.start().await.is_err() {
            return Ok(false);
        }
        let Ok(owner) = sender.servers().owner(|| Slot::of_key(&self.key), until).await else {
            return Ok(false);
        };
        let listener = self.listener.insert(owner.listener()).clone();
        // From before the look on, the server reports changes.
        let changed = listener.ear.of(&self.key);
        let mut changed = pin!(changed.notified());
        changed.as_mut().enable();
        let read_on = listener.read_on();
        let Ok(connection) = listener.pool.connection(until).await else { return Ok(false) };
        let (mut link, cmd) = (connection.link.clone(), self.range());
        let answer = connection.outcome(pin!(cmd.query_async::<Value>(&mut link)), until).await;
        let (answer, is_led_on) = match Redirect::of(&answer) {
            // It follows the slot to its new node, and records that.
            Some(_) => {
                let mut pipeline = Pipeline::with_capacity(1);
                pipeline.add_command(cmd);
                let answer = sender.pipeline(&pipeline, until).await;
                (answer.map(|mut replies| replies.pop().unwrap_or(Value::Nil)), true)
            }
            None => (answer, false),
        };
        let answer = match answer.or_not_executed() {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%error, "events cannot be read just now");
                return Ok(false);
            }
        };
        self.lookout = None;
        let Some(entries) = Entry::all(&answer) else { return Ok(false) };
        match self.take(entries, &connection).await? {
            Look::More => Ok(true),
            Look::UpToDate if is_led_on => Ok(false),
            Look::UpToDate => {
                self.lookout = match sender.servers() {
                    _ if !listener.ear.is_told() => {
                        let _ = tokio::time::timeout(POLLED_EVERY, changed).await;
                        None
                    }
                    Servers::One(_) => word(&listener, read_on, changed).await,
                    // The node that has another partition's slot may not have this one's.
                    Servers::Cluster(_) => word(&listener, None, changed).await,
                };
                Ok(true)
            }
        }
    }

    fn range(&self) -> Cmd {
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(&self.key).arg(self.next.start()).arg("+").arg("COUNT").arg(AT_ONCE + 1);
        cmd
    }

    /// Delivers the entries that were read.
    async fn take(&mut self, entries: Vec<Entry>, read_on: &Connection) -> Result<Look, Over> {
        let (count, is_empty) = (entries.len(), entries.is_empty());
        let Some(news) = self.next.news(entries) else {
            self.next = self.next.after_a_gap(is_empty);
            self.has_missed = true;
            return Ok(Look::More);
        };
        // Reported only after this look has found where to continue. The caller then reads all sessions again, and the
        // next look finds out about entries that are trimmed meanwhile.
        if std::mem::take(&mut self.has_missed) {
            self.tell(Some(Told::Lagged { partition: self.partition.number() }), || {}).await?;
        }
        let oldest = news.first().map(|first| first.id.ms);
        let note_lag =
            |written_ms| meter::behind(written_ms, read_on.clock().no_later_than(std::time::Instant::now()));
        for entry in news {
            let (told, written_ms) = (entry.event().map(Told::Event), entry.id.ms);
            self.next = Next::Behind { at: entry.id, fields: Some(entry.fields) };
            self.tell(told, || note_lag(written_ms)).await?;
        }
        oldest.into_iter().for_each(note_lag);
        Ok(if count > AT_ONCE { Look::More } else { Look::UpToDate })
    }

    /// Delivers an item as soon as its listener has room. While it waits, it records that now and then.
    async fn tell(&self, told: Option<Told>, waits: impl Fn()) -> Result<(), Over> {
        let part = Part { partition: self.partition.number(), at: self.next.entry(), told };
        let mut room = pin!(self.tell.reserve());
        loop {
            match tokio::time::timeout(NOTED_EVERY, room.as_mut()).await {
                Ok(room) => return room.map(|room| room.send(part)).map_err(|_| Over),
                Err(_) => waits(),
            }
        }
    }
}

/// Waits for a notification that the key changed, or until the connection was silent for long. Then this reader
/// looks, and the others see the connection's answer.
async fn word(
    listener: &Listener,
    read_on: Option<ReadOn>,
    mut changed: Pin<&mut Notified<'_>>,
) -> Option<Lookout> {
    let mut most = LOOKED_AFTER;
    loop {
        if tokio::time::timeout(most, changed.as_mut()).await.is_ok() {
            return None;
        }
        let lookout = tokio::select! {
            () = changed.as_mut() => return None,
            lookout = listener.lookout() => lookout,
        };
        let silence = read_on.and_then(|read_on| listener.silence(read_on));
        match silence.and_then(|silence| LOOKED_AFTER.checked_sub(silence)) {
            Some(rest) if !rest.is_zero() => most = rest,
            _ => return Some(lookout),
        }
    }
}
