//! How the store makes ids.

use crate::model::id_draw;
use crate::model::new_id::NewId;
use crate::model::operation_id::OperationId;
use crate::model::random::random;
use crate::model::session_id::SessionId;
use crate::model::token::Token;

/// How the store makes ids for sessions that are created without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdScheme {
    /// A random UUID (version 4): 122 random bits in 36 characters.
    #[default]
    Uuid,
    /// The hash of a [`Token`], 43 characters. The client holds the token; nobody can log in with what the server
    /// stores.
    Token,
}

impl IdScheme {
    /// The id that a call makes. A repeated call makes the same id; otherwise its retry would make another
    /// session.
    pub(crate) fn generate(self, operation: &OperationId) -> NewId {
        match self {
            Self::Uuid => SessionId::uuid_of(operation.seed()).into(),
            // The token does not contain the seed itself. Otherwise a client could compute, from its token and the
            // stored operation id, the tokens of all sessions that the call made.
            Self::Token => id_draw::token(operation, |_| true).into(),
        }
    }

    /// The id for a call that nobody repeats.
    pub(crate) fn random(self) -> NewId {
        match self {
            Self::Uuid => SessionId::uuid_of(&random()).into(),
            Self::Token => Token::random().into(),
        }
    }

    pub(crate) fn of_word(word: &str) -> Option<Self> {
        [Self::Uuid, Self::Token].into_iter().find(|scheme| scheme.word() == word)
    }

    /// The word that a namespace records for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Token => "token",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::hex;

    #[test]
    fn generated_ids_have_the_length_of_their_scheme_and_differ() {
        let (one, two) = (OperationId::random(), OperationId::random());
        for (scheme, length) in [(IdScheme::Uuid, 36), (IdScheme::Token, 43)] {
            assert_eq!(scheme.generate(&one).id.as_str().len(), length);
            assert_ne!(scheme.generate(&one), scheme.generate(&two));
        }
    }

    #[test]
    fn each_session_of_a_call_has_an_operation_id_of_its_own_and_the_same_again() {
        let operation = OperationId::random();
        assert_eq!(operation.nth(0), operation);
        let all: std::collections::HashSet<_> = (0..100).map(|place| operation.nth(place)).collect();
        assert_eq!(all.len(), 100);
        assert_eq!(operation.nth(7), operation.nth(7));
        assert_ne!(operation.nth(7), OperationId::random().nth(7));
        let seeds: std::collections::HashSet<_> = all.iter().map(|id| *id.seed()).collect();
        assert_eq!(seeds.len(), 100);
    }

    #[test]
    fn a_token_tells_nothing_of_the_seed_of_its_call() {
        let operation = OperationId::random();
        let made = IdScheme::Token.generate(&operation).token.unwrap();
        assert_ne!(made, Token::of_seed(operation.seed()));
    }

    #[test]
    fn a_call_that_is_repeated_makes_the_same_id_and_shows_it_nowhere() {
        let operation = OperationId::random();
        for scheme in [IdScheme::Uuid, IdScheme::Token] {
            let id = scheme.generate(&operation);
            assert_eq!(scheme.generate(&operation), id);
            assert!(!format!("{operation:?}").contains(&id.id.as_str()[..8]));
        }
        assert_eq!(format!("{operation:?}"), format!("OperationId({})", hex(operation.as_bytes())));
    }
}
