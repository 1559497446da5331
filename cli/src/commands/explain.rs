//! explain: says what became of an id.

use cloakroom::{Explanation, RedisStore, SessionStore as _};
use serde_json::json;

use crate::arguments::ExplainArguments;
use crate::ask;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) async fn run(
    store: &RedisStore,
    arguments: &ExplainArguments,
    output: &Output,
) -> Result<(), Failure> {
    let explanation = store.explain(&ask::session_id(&arguments.id)?).await?;
    let mut told = json!({"fate": explanation.code()});
    let text = match &explanation {
        Explanation::Live => "it is live".to_owned(),
        Explanation::Expired { at_ms } => {
            told["expired_at_ms"] = (*at_ms).into();
            format!("it expired at {at_ms}, in milliseconds since the epoch")
        }
        Explanation::Deleted => "it was deleted a moment ago".to_owned(),
        Explanation::Rotated { by_login } => {
            told["by_login"] = (*by_login).into();
            let how = if *by_login { "by a login or a logout" } else { "by a rotation" };
            format!("it has a newer id, {how} a moment ago")
        }
        Explanation::Departed { place } => {
            told["place"] = place.as_str().into();
            format!("it has departed to {place:?}")
        }
        _ => "nothing is known of it: it ended too long ago, or never existed".to_owned(),
    };
    output.tell(&told, &text)?;
    match explanation {
        Explanation::Unknown => Err(Failure::Nothing("nothing is known of this id")),
        _ => Ok(()),
    }
}
