//! An exported session as a line of a file.

use serde_json::{Map, Value, json};

use crate::model::entries::Entries;
use crate::model::error::{Error, Result};
use crate::model::index_fields::IndexFields;
use crate::model::random::{hex, unhex};
use crate::model::session::{Origin, Session, Status, Times};
use crate::model::session_id::SessionId;
use crate::model::transfer::Export;
use crate::model::version::Version;

/// Times are stored in 48 bits, and versions are counted by a script.
const MOST: u64 = (1 << 48) - 1;

const STATUSES: [Status; 3] = [Status::Active, Status::Suspended, Status::Migrating];

impl Export {
    /// The session as one line of JSON, to keep in a file and import later. It contains the id and all attributes,
    /// so keep it as secret as the session. Values of attributes are the stored JSON texts.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Session { id, status, version, ttl, times, index_fields, .. } = &self.session;
        let entries = |entries: &Entries| -> Map<String, Value> {
            entries.iter().map(|(key, json)| (key.to_owned(), json.into())).collect()
        };
        let changes: Vec<String> = self.changes.iter().map(|change| hex(change)).collect();
        json!({
            "id": id.as_str(),
            "status": status.word(),
            "version": version.get(),
            "ttl_ms": crate::model::ms(*ttl),
            "created_at_ms": times.created_at,
            "last_active_ms": times.last_active,
            "expires_at_ms": times.expires_at,
            "deadline_ms": times.deadline,
            "user": index_fields.user,
            "connection": index_fields.connection,
            "node": index_fields.node,
            "attributes": entries(&self.session.attributes),
            "extensions": entries(&self.session.extensions),
            "changes": changes,
        })
        .to_string()
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field that is missing or wrong.
    pub fn from_json(line: &str) -> Result<Self> {
        let line: Value = serde_json::from_str(line).map_err(|_| Error::invalid("export", "is not JSON"))?;
        let text = |field: &'static str| {
            line[field].as_str().map(str::to_owned).ok_or_else(|| Error::invalid(field, "is not text"))
        };
        let number = |field: &'static str| {
            let number = line[field].as_u64().filter(|number| *number <= MOST);
            number.ok_or_else(|| Error::invalid(field, format!("is not a whole number up to {MOST}")))
        };
        let entries = |field: &'static str| -> Result<Entries> {
            let map = line[field].as_object().ok_or_else(|| Error::invalid(field, "are not an object"))?;
            let mut entries = Entries::default();
            for (key, json) in map {
                let is_json = |json: &&str| serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok();
                let json = json.as_str().filter(is_json);
                let json =
                    json.ok_or_else(|| Error::invalid(field, "have a value that is not a JSON text"))?;
                entries.insert_json(key, json);
            }
            Ok(entries)
        };
        let status = text("status")?;
        let status = STATUSES.into_iter().find(|known| known.word() == status);
        let changes: Option<Vec<[u8; 8]>> = line["changes"]
            .as_array()
            .and_then(|changes| changes.iter().map(|change| unhex(change.as_str()?)).collect());
        let session = Session {
            id: SessionId::new(text("id")?)?,
            status: status.ok_or_else(|| Error::invalid("status", "is not a status of a session"))?,
            version: Version::new(number("version")?),
            ttl: std::time::Duration::from_millis(number("ttl_ms")?),
            times: Times {
                created_at: number("created_at_ms")?,
                last_active: number("last_active_ms")?,
                expires_at: number("expires_at_ms")?,
                deadline: number("deadline_ms")?,
            },
            stored: None,
            index_fields: IndexFields {
                user: text("user")?,
                connection: text("connection")?,
                node: text("node")?,
            },
            attributes: entries("attributes")?.into(),
            extensions: entries("extensions")?.into(),
            origin: Origin::Store,
        };
        let changes = changes.and_then(|changes| changes.try_into().ok());
        let changes = changes.ok_or_else(|| Error::invalid("changes", "are not four operation ids"))?;
        Ok(Self::new(session, changes))
    }
}
