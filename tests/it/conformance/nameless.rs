//! Keys with empty names: a client sends none, and a script neither reads nor writes one.

use futures::StreamExt as _;

use super::bundle::Bundle;
use super::{exported, run_all};
use crate::support::Context;

/// How the keys of an empty user, connection and node end.
const ENDINGS: [&str; 5] =
    [":user::sessions\"", ":connection::session\"", ":node::sessions\"", ":node::lease\"", ":node::events\""];

const END: &str = "every case was run";

#[tokio::test]
async fn no_script_reads_or_writes_the_key_of_an_empty_name() {
    let context = Context::own(&[]).await;
    let monitor = redis::Client::open(context.server().url()).unwrap().get_async_monitor().await.unwrap();
    let mut lines = monitor.into_on_message::<String>();
    let watch = async {
        let (mut scripts, mut touches) = (0, Vec::new());
        while let Some(line) = lines.next().await.filter(|line| !line.contains(END)) {
            scripts += u32::from(line.contains(" lua] "));
            // EXISTS only counts it, among the others.
            let touches_it = line.contains(" lua] ") && !line.contains(" lua] \"EXISTS\" ");
            if touches_it && ENDINGS.iter().any(|ending| line.contains(ending)) {
                touches.push(line);
            }
        }
        (scripts, touches)
    };
    let run = async {
        let context = run_all(context, Bundle { unnamed: None, ..exported() }).await;
        context.command::<String>(&["ECHO", END]).await;
        context
    };
    let ((scripts, touches), _) = tokio::join!(watch, run);
    assert!(scripts > 0);
    assert!(touches.is_empty(), "{} commands touch such a key\n{}", touches.len(), touches.join("\n"));
}
