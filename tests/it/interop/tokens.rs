//! A token that one language made is accepted by the others.

use cloakroom::{IdScheme, Token};

use super::*;
use crate::support::expect::unless_left;

/// Who makes tokens and takes them.
enum Party<'a> {
    Rust(&'a Store),
    Other { client: &'a Client, url: &'a str, namespace: &'a str },
}

impl Party<'_> {
    /// The token of a new session of ann.
    async fn make(&self) -> String {
        match self {
            Self::Rust(store) => {
                let created = store.create(NewSession::new().user("ann")).await.unwrap();
                created.token.unwrap().expose().to_owned()
            }
            Self::Other { client, url, namespace } => {
                let lines = client.run(["token", url, namespace], String::new()).await;
                lines[0]["token"].as_str().unwrap().to_owned()
            }
        }
    }

    /// The session of a token, and the token after a login of bob.
    async fn log_in(&self, token: &str) -> (Value, String) {
        match self {
            Self::Rust(store) => {
                let token = Token::parse(token).unwrap();
                let session = shown(store.refresh_and_get(&token).await.unwrap());
                let login = store.rotate(&token, Rotation::new().user("bob")).await.unwrap();
                (session, login.token.unwrap().expose().to_owned())
            }
            Self::Other { client, url, namespace } => {
                let mut lines = client.run(["login", url, namespace], format!("{token}\n")).await;
                let next = lines.pop().unwrap()["token"].as_str().unwrap().to_owned();
                (lines.pop().unwrap(), next)
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients in other languages: clients/interop runs it"]
async fn a_token_of_each_language_is_taken_by_the_others() {
    let clients = Client::all();
    for context in [Context::own(&[]).await, Context::own(&[]).await.spread()] {
        let (url, namespace) = (context.server().url(), &*context.namespace);
        let store = context.store(Rules::new().id_scheme(IdScheme::Token)).await;
        let others = clients.iter().map(|client| Party::Other { client, url, namespace });
        let parties: Vec<Party> = std::iter::once(Party::Rust(&store)).chain(others).collect();
        for first in 0..parties.len() {
            let mut token = parties[first].make().await;
            let mut user = "ann";
            for place in 1..=parties.len() {
                let (session, next) = parties[(first + place) % parties.len()].log_in(&token).await;
                let old = Token::parse(&token).unwrap();
                assert_eq!(session["id"].as_str(), Some(old.id().as_str()));
                assert_eq!(session["user"].as_str(), Some(user));
                if user == "ann" {
                    // An old id leads nowhere once the user is another.
                    assert!(unless_left(store.get(&old).await).is_none());
                }
                (token, user) = (next, "bob");
            }
            let session = store.get(&Token::parse(&token).unwrap()).await.unwrap().unwrap();
            assert_eq!(session.user(), Some("bob"));
        }
        context.check().await;
    }
}
