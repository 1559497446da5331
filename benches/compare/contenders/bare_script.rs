//! The commands of cloakroom's scripts, reads included, as scripts that decide nothing: what a script costs at least.

use async_trait::async_trait;

use super::Contender;
use super::recording::{Actor, Piece, Recording, Word};
use crate::connections::Connections;
use crate::operation::Operation;
use crate::subject::Subject;

pub(crate) struct BareScript {
    connections: Connections,
    scripts: Vec<(Operation, Script)>,
}

struct Script {
    /// Its SHA-1.
    name: String,
    keys: Vec<Word>,
    arguments: Vec<Word>,
}

impl BareScript {
    pub(crate) async fn connect(url: &str, recording: &Recording) -> Self {
        let connections = Connections::open(url).await;
        let mut scripts = Vec::new();
        for operation in Operation::SINGLE.into_iter().filter(|operation| recording.has(*operation)) {
            let (mut keys, mut arguments) = (Vec::new(), Vec::new());
            let commands = recording.commands(operation).iter();
            let calls = commands.map(|words| {
                let words: Vec<_> = words.iter().map(|word| told(word, &mut keys, &mut arguments)).collect();
                format!("redis.call({})\n", words.join(", "))
            });
            let source = calls.collect::<String>() + "return 1";
            let mut load = redis::cmd("SCRIPT");
            let name = load.arg("LOAD").arg(source).query_async(&mut connections.get()).await.unwrap();
            scripts.push((operation, Script { name, keys, arguments }));
        }
        Self { connections, scripts }
    }
}

/// A word as the script has it: keys and what is long or differs between sessions come to it, once each.
fn told(word: &Word, keys: &mut Vec<Word>, arguments: &mut Vec<Word>) -> String {
    let text = match word.as_slice() {
        [Piece::Bytes(bytes)] => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    let is_short = |text: &&str| {
        text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if let Some(text) = text.filter(is_short) {
        return format!("'{text}'");
    }
    let is_key = matches!(word.first(), Some(Piece::Bytes(bytes)) if bytes.starts_with(b"{"));
    let (name, all) = if is_key { ("KEYS", keys) } else { ("ARGV", arguments) };
    let at = all.iter().position(|known| known == word).unwrap_or_else(|| {
        all.push(word.clone());
        all.len() - 1
    });
    format!("{name}[{}]", at + 1)
}

#[async_trait]
impl Contender for BareScript {
    fn name(&self) -> &'static str {
        "bare script"
    }

    fn crowd(&self) -> &'static str {
        "floor"
    }

    fn has(&self, operation: Operation) -> bool {
        self.scripts.iter().any(|(of, _)| *of == operation)
    }

    async fn run(&self, operation: Operation, subject: Subject) {
        let (_, script) = self.scripts.iter().find(|(of, _)| *of == operation).expect("it has it");
        let actor = Actor::of(subject);
        let mut call = redis::cmd("EVALSHA");
        call.arg(&script.name).arg(script.keys.len());
        for word in script.keys.iter().chain(&script.arguments) {
            call.arg(actor.word(word));
        }
        assert_eq!(call.query_async::<u8>(&mut self.connections.get()).await.unwrap(), 1);
    }
}
