//! Draws session ids until one suits.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use zeroize::Zeroizing;

use crate::model::operation_id::OperationId;
use crate::model::session_id::SessionId;
use crate::model::token::{Token, hash_of, text_of};

/// How many hex digits at the end differ from draw to draw.
const TAIL: usize = 12;

/// The ids that a call may make, one after the other. A repeated call draws the same ids. All begin alike and differ
/// at the end, so a draw costs little. Each is as random as an id that is drawn once.
///
/// The seed of the call provides the randomness of all draws: no draw makes a system call.
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

    /// The beginning of all ids.
    pub(crate) fn head(&self) -> &[u8] {
        self.text.split_at(self.text.len() - TAIL).0
    }

    /// Draws the end of the next id.
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

    /// The id that was drawn last.
    pub(crate) fn into_id(self) -> SessionId {
        let text = String::from_utf8(self.text).ok().and_then(|text| SessionId::new(text).ok());
        text.expect("hex digits in the place of hex digits make an id of the same length")
    }
}

/// The first token that a call may make whose id suits. A repeated call finds the same token.
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
