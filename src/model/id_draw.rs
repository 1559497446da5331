//! Session ids drawn until one suits.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use zeroize::Zeroizing;

use crate::model::operation_id::OperationId;
use crate::model::session_id::SessionId;
use crate::model::token::{Token, hash_of, text_of};

/// How many hex digits at the end differ from draw to draw.
const TAIL: usize = 12;

/// The ids that a call may make, one after the other: the same when the call is repeated. They have their beginning in
/// common and differ at the end, so that a draw costs little, and each is as random as one that is drawn once.
///
/// The randomness of all draws comes out of the seed of the call: no draw is a system call.
pub(crate) struct IdDraw {
    text: Vec<u8>,
    random: ChaCha12Rng,
}

impl IdDraw {
    pub(crate) fn new(operation: &OperationId) -> Self {
        let mut random = ChaCha12Rng::from_seed(*operation.seed());
        let mut seed = [0; 32];
        random.fill_bytes(&mut seed);
        Self { text: SessionId::uuid_of(&seed).as_str().into(), random }
    }

    /// What all of them begin with.
    pub(crate) fn head(&self) -> &[u8] {
        self.text.split_at(self.text.len() - TAIL).0
    }

    /// How the next one ends.
    pub(crate) fn next_tail(&mut self) -> &[u8] {
        let mut digits = self.random.next_u64();
        let at = self.text.len() - TAIL;
        let tail = &mut self.text[at..];
        for digit in tail.iter_mut() {
            *digit = b"0123456789abcdef"[(digits & 15) as usize];
            digits >>= 4;
        }
        tail
    }

    /// The one that was drawn last.
    pub(crate) fn into_id(self) -> SessionId {
        let text = String::from_utf8(self.text).ok().and_then(|text| SessionId::new(text).ok());
        text.expect("hex digits in the place of hex digits make an id of the same length")
    }
}

/// The first token of those that a call may make whose id suits: the same when the call is repeated.
pub(crate) fn token(operation: &OperationId, suits: impl Fn(&[u8]) -> bool) -> Token {
    let mut random = ChaCha12Rng::from_seed(*operation.seed());
    let mut seed = Zeroizing::new([0; 32]);
    loop {
        random.fill_bytes(&mut *seed);
        if suits(&hash_of(&*text_of(&seed))) {
            return Token::of_seed(&seed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_uuids_and_the_same_again_for_the_same_call() {
        let operation = OperationId::random();
        let drawn = |count: usize| {
            let mut draw = IdDraw::new(&operation);
            let head = draw.head().to_owned();
            (0..count).for_each(|_| drop(draw.next_tail().to_owned()));
            (head, draw.into_id())
        };
        let (head, id) = drawn(3);
        assert_eq!(drawn(3), (head.clone(), id.clone()));
        assert_ne!(drawn(4).1, id);
        assert!(id.as_str().as_bytes().starts_with(&head));
        let uuid = uuid::Uuid::parse_str(id.as_str()).unwrap();
        assert_eq!(uuid.get_version_num(), 4);
    }
}
