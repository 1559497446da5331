//! show: shows one session, or what became of it.

use cloakroom::migration::{Fate, MigrationStore as _};
use cloakroom::{Error, RedisStore, Refusal, SessionStore as _};
use serde_json::{Value, json};

use crate::arguments::{ShowArguments, selector};
use crate::commands::find;
use crate::failure::Failure;
use crate::output::{Output, shown};

pub(crate) async fn run(
    store: &RedisStore,
    arguments: &ShowArguments,
    output: &Output,
) -> Result<(), Failure> {
    let output = &output.of(store.rules());
    let ShowArguments { session, user, node } = arguments;
    let id = find::session(store, session, selector(user.as_ref(), node.as_ref())).await?;
    let found = match store.get_fresh(&id).await {
        // It has departed to another store, or a login gave it another id.
        Err(Error::Refused(Refusal::Departed { .. } | Refusal::Rotated { .. })) => None,
        found => found?,
    };
    if let Some(session) = found {
        let told = output.session(&session);
        return output.tell(&told, &lines(&told));
    }
    let (fate, text) = match store.fate(&id).await? {
        Fate::Deleted { to: None } => ("deleted", "it was deleted a moment ago"),
        Fate::Deleted { to: Some(_) } | Fate::Rotated { .. } => ("rotated", "it has a new id"),
        Fate::Departed { .. } => ("departed", "it has departed to another store"),
        _ => ("unknown", "nothing is known of it: it expired, was ended, or never existed"),
    };
    output.tell(&json!({"fate": fate}), text)?;
    Err(Failure::Nothing(find::NO_SESSION))
}

/// One field per line.
fn lines(told: &Value) -> String {
    let fields = told.as_object().into_iter().flatten();
    let line = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::Null => "-".to_owned(),
            value => value.as_str().map_or_else(|| value.to_string(), shown),
        };
        format!("{:<13} {value}", name.replace('_', " "))
    };
    fields.map(line).collect::<Vec<_>>().join("\n")
}
