//! The partitions of a namespace: where a session lives, and their tags.
//!
//! A session lives in the partition of its id, and the id of a session with a user is in the partition of that user. So
//! the id alone finds the session, and all sessions of a user are in one partition.

use std::fmt;

use crate::model::id_draw::{self, IdDraw};
use crate::model::{Error, IdScheme, NewId, NodeIdentity, OperationId, Result, Selector, SessionId};
use crate::stored::keys::Keys;
use crate::stored::slot::{CRC, SLOTS, Slot};

/// The most partitions of a namespace.
pub(crate) const MOST: u16 = 1024;

/// One of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Partition(u16);

/// All of them, with their keys, and how ids are made that fit.
pub(crate) struct Partitions {
    all: Box<[Keys]>,
    id_scheme: IdScheme,
    /// How many events each stream keeps; 0: none.
    events: u32,
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("Partitions");
        told.field("count", &self.count()).field("first", self.keys(self.first())).finish_non_exhaustive()
    }
}

impl Partitions {
    /// The partitions of a namespace with this many.
    ///
    /// The slots of a cluster are cut into as many slices. The tag of a partition is the first number whose slot lies
    /// in its slice. So if servers own ranges of slots, all have about the same number of partitions.
    pub(crate) fn new(namespace: &str, count: u16) -> Result<Self> {
        if !(1..=MOST).contains(&count) {
            return Err(Error::invalid("partitions", format!("is {count}, must be 1 to {MOST}")));
        }
        let slices = usize::from(count);
        let (mut found, mut left) = (vec![None; slices], slices);
        let mut tag = 0;
        while left > 0 {
            let keys = Keys::tagged(namespace, tag)?;
            let place = &mut found[slot_of(&keys) * slices / usize::from(SLOTS)];
            if place.is_none() {
                *place = Some(keys);
                left -= 1;
            }
            tag += 1;
        }
        let all = found.into_iter().flatten().collect();
        Ok(Self { all, id_scheme: IdScheme::default(), events: 0 })
    }

    /// The same, with ids of a scheme.
    pub(crate) fn with_ids(self, id_scheme: IdScheme) -> Self {
        Self { id_scheme, ..self }
    }

    pub(crate) fn id_scheme(&self) -> IdScheme {
        self.id_scheme
    }

    /// The same, with this many events per stream; 0: none.
    #[cfg(feature = "redis")]
    pub(crate) fn keeping(self, events: u32) -> Self {
        Self { events, ..self }
    }

    /// How many events each keeps.
    #[cfg(feature = "redis")]
    pub(crate) fn events(&self) -> u32 {
        self.events
    }

    pub(crate) fn count(&self) -> u16 {
        u16::try_from(self.all.len()).unwrap_or(MOST)
    }

    /// Whether there is only one.
    pub(crate) fn is_one(&self) -> bool {
        self.all.len() == 1
    }

    /// The partition with the tag 0, which exists for every number of partitions.
    pub(crate) fn first(&self) -> Partition {
        self.all().find(|partition| self.keys(*partition).hashed().ends_with(":0")).unwrap_or_default()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.count()).map(Partition)
    }

    pub(crate) fn keys(&self, partition: Partition) -> &Keys {
        &self.all[usize::from(partition.0)]
    }

    /// The tag of a partition: it differs from all others, also of other namespaces.
    pub(crate) fn tag(&self, partition: Partition) -> &str {
        self.keys(partition).hashed()
    }

    /// The lease of a node in a partition.
    pub(crate) fn lease_of(&self, identity: &NodeIdentity, partition: Partition) -> [u8; 8] {
        if self.is_one() { *identity.lease() } else { identity.lease_in(self.tag(partition)) }
    }

    /// The partition of a session's id, or of a user.
    pub(crate) fn of(&self, text: impl AsRef<[u8]>) -> Partition {
        if self.is_one() {
            return Partition::default();
        }
        Partition(partition_of(text, self.count()))
    }

    fn of_crc(&self, crc: u16) -> Partition {
        Partition(crc % self.count())
    }

    /// Where sessions of an owner may be: a user's in one, a node's in all.
    pub(crate) fn of_owner(&self, owner: &Selector) -> Vec<Partition> {
        match owner.words() {
            ("user", user) => vec![self.of(user)],
            _ => self.all().collect(),
        }
    }

    /// The partition that a key is in.
    pub(crate) fn of_key(&self, key: &[u8]) -> Option<Partition> {
        self.all().find(|partition| self.keys(*partition).has(key))
    }

    /// Whether a key has a tag of this namespace, whether or not it is a partition's.
    pub(crate) fn has_tag(&self, key: &[u8]) -> bool {
        let name = self.all[0].hashed();
        let (name, _) = name.rsplit_once(':').unwrap_or((name, ""));
        let number = || {
            let behind = key.strip_prefix(b"{")?.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
            let end = behind.windows(2).position(|two| two == b"}:")?;
            std::str::from_utf8(&behind[..end]).ok()?.parse::<u32>().ok().map(|number| (number, end))
        };
        number().is_some_and(|(number, digits)| number.to_string().len() == digits)
    }

    /// The pattern of all keys with a tag of this namespace, for SCAN. It may match foreign keys.
    pub(crate) fn pattern(&self) -> Vec<u8> {
        let pattern = self.all[0].indexes_pattern();
        // A namespace has no brace, so the first one that closes ends the tag, whose number comes before.
        let end = pattern.iter().position(|byte| *byte == b'}').unwrap_or_default();
        let number = pattern[..end].iter().rposition(|byte| *byte == b':').map_or(0, |colon| colon + 1);
        [&pattern[..number], b"*}:*"].concat()
    }

    /// The pattern of all indexes of users and nodes, for SCAN. It may match foreign keys.
    pub(crate) fn indexes_pattern(&self) -> Vec<u8> {
        let pattern = self.all[0].indexes_pattern();
        if self.is_one() {
            return pattern;
        }
        // A namespace has no brace, so the first one that closes ends the tag, whose number comes before.
        let end = pattern.iter().position(|byte| *byte == b'}').unwrap_or_default();
        let (tag, rest) = pattern.split_at(end);
        let number = tag.iter().rposition(|byte| *byte == b':').map_or(0, |colon| colon + 1);
        [&tag[..number], b"*", rest].concat()
    }

    /// An id for a new session of a user, or of no user. A repeated call makes the same id.
    pub(crate) fn new_id(&self, operation: &OperationId, user: &str) -> NewId {
        if user.is_empty() {
            return self.id_scheme.generate(operation);
        }
        self.new_id_in(self.of(user), operation)
    }

    /// An id in a partition.
    pub(crate) fn new_id_in(&self, partition: Partition, operation: &OperationId) -> NewId {
        if self.is_one() {
            return self.id_scheme.generate(operation);
        }
        match self.id_scheme {
            IdScheme::Uuid => self.draw_id(partition, operation).into(),
            IdScheme::Token => {
                let fits = |id: &[u8]| self.of(id) == partition;
                id_draw::token(operation, fits).into()
            }
        }
    }

    fn draw_id(&self, partition: Partition, operation: &OperationId) -> SessionId {
        let mut draw = IdDraw::new(operation);
        let mut head = CRC.digest();
        head.update(draw.head());
        loop {
            let mut whole = head.clone();
            whole.update(draw.next_tail());
            if self.of_crc(whole.finalize()) == partition {
                return draw.into_id();
            }
        }
    }

    /// Refuses an id for a session of a user who is in another partition.
    pub(crate) fn check(&self, id: &SessionId, user: &str) -> Result<()> {
        if user.is_empty() || self.of(user) == self.of(id.as_str()) {
            return Ok(());
        }
        Err(self.misfit(id, format!("its user {user:?} is in partition {}", self.of(user).0)))
    }

    /// The same for the new id of a session that stays in its partition.
    pub(crate) fn check_in(&self, partition: Partition, id: &SessionId) -> Result<()> {
        if self.of(id.as_str()) == partition {
            return Ok(());
        }
        Err(self.misfit(id, format!("the session is in partition {}", partition.0)))
    }

    fn misfit(&self, id: &SessionId, other: String) -> Error {
        let own = self.of(id.as_str()).0;
        let count = self.count();
        Error::invalid("session id", format!("{id} is in partition {own} of {count}, and {other}"))
    }

    /// The session id in a key, if it is the key of a record.
    pub(crate) fn id_of_session<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        if self.is_one() {
            return self.all[0].id_of_session(key);
        }
        // A namespace has no brace, so the first one that closes ends the tag.
        let end = key.iter().position(|byte| *byte == b'}')?;
        let id = key.get(end + 1..)?.strip_prefix(b":session:")?;
        self.keys(self.of(id)).id_of_session(key)
    }
}

impl Partition {
    pub(crate) fn number(self) -> u16 {
        self.0
    }
}

/// The number of a text's partition, given how many there are.
pub(crate) fn partition_of(text: impl AsRef<[u8]>, count: u16) -> u16 {
    CRC.checksum(text.as_ref()) % count
}

/// The cluster's slot of all keys of a partition.
fn slot_of(keys: &Keys) -> usize {
    usize::from(Slot::of_key(&keys.expiry()).0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::Token;

    /// By another implementation of CRC-16/XMODEM, as are the tags below.
    const KNOWN: [(&str, u16); 5] = [
        ("ann", 2326),
        ("bob", 41723),
        ("user-7", 36920),
        ("ünï", 58593),
        ("550e8400-e29b-41d4-a716-446655440000", 41478),
    ];
    const SHOP_16: [u16; 16] = [13, 22, 1, 40, 12, 23, 0, 41, 11, 20, 3, 42, 10, 21, 2, 43];
    const SHOP_1024: [u16; 8] = [167, 196, 526, 1327, 213, 914, 652, 1053];

    fn shop(count: u16) -> Partitions {
        Partitions::new("shop", count).unwrap()
    }

    fn tags(count: u16) -> Vec<String> {
        shop(count).all.iter().map(|keys| keys.hashed().to_owned()).collect()
    }

    #[test]
    fn the_partition_of_a_text_is_its_crc_as_a_cluster_has_it() {
        // The check value of CRC-16/XMODEM.
        assert_eq!(shop(1024).of("123456789"), Partition(0x31c3 % 1024));
        for (text, crc) in KNOWN {
            for count in [1, 16, 100, 1024] {
                assert_eq!(shop(count).of(text), Partition(crc % count), "{text} of {count}");
            }
        }
    }

    #[test]
    fn the_tags_of_a_namespace_are_known() {
        assert_eq!(tags(1), ["shop:0"]);
        assert_eq!(tags(16), SHOP_16.map(|tag| format!("shop:{tag}")));
        assert_eq!(tags(1024)[..8], SHOP_1024.map(|tag| format!("shop:{tag}")));
    }

    #[test]
    fn each_tag_is_the_first_in_its_slice_of_the_slots() {
        for count in [1, 2, 3, 16, 100, 256, 1000, 1024] {
            let partitions = shop(count);
            for (at, keys) in partitions.all.iter().enumerate() {
                assert_eq!(slot_of(keys) * usize::from(count) / usize::from(SLOTS), at);
            }
            // The tag 0 is in one of them, whatever their number.
            assert!(tags(count).contains(&"shop:0".to_owned()));
        }
    }

    #[test]
    fn partitions_are_spread_evenly_over_masters_that_have_ranges_of_slots() {
        let busiest = |count: u16, masters: usize| {
            let mut held: BTreeMap<usize, usize> = BTreeMap::new();
            for keys in &shop(count).all {
                // As redis-cli deals the slots.
                let master = (0..masters).find(|master| {
                    slot_of(keys) < (f64::from(SLOTS) / masters as f64 * (master + 1) as f64).round() as usize
                });
                *held.entry(master.unwrap()).or_default() += 1;
            }
            held.into_values().max().unwrap()
        };
        for count in [16, 64, 256] {
            for masters in [3, 6, 12] {
                let most = usize::from(count).div_ceil(masters) + 1;
                assert!(busiest(count, masters) <= most, "{count} on {masters}: {}", busiest(count, masters));
            }
        }
        let over_the_mean = |count: u16| (busiest(count, 3) * 300).div_ceil(count.into());
        assert_eq!([16, 64, 256].map(over_the_mean), [113, 104, 101]);
    }

    #[test]
    fn an_id_that_is_made_fits_its_user_and_is_the_same_again() {
        for count in [1, 2, 16, 256, 1000] {
            for scheme in [IdScheme::Uuid, IdScheme::Token] {
                let partitions = shop(count).with_ids(scheme);
                for user in ["", "ann", "ünï", "{x}:y"] {
                    let operation = OperationId::random();
                    let new = partitions.new_id(&operation, user);
                    partitions.check(&new.id, user).unwrap();
                    assert_eq!(
                        new.token.as_ref().map(Token::id),
                        (scheme == IdScheme::Token).then_some(&new.id)
                    );
                    assert_eq!(partitions.new_id(&operation, user), new);
                }
            }
        }
    }

    #[test]
    fn an_id_that_does_not_fit_its_user_is_refused_and_both_are_named() {
        let partitions = shop(16);
        let fits = |id: &SessionId| partitions.of(id.as_str()) == partitions.of("ann");
        let mut ids = (0..).map(|number| SessionId::new(format!("device-{number}")).unwrap());
        let id = ids.find(|id| !fits(id)).unwrap();
        let error = partitions.check(&id, "ann").unwrap_err().to_string();
        assert!(error.contains("\"ann\"") && error.contains(&id.to_string()), "{error}");
        partitions.check(&id, "").unwrap();
        shop(1).check(&id, "ann").unwrap();
    }

    #[test]
    fn the_key_of_a_record_leads_to_its_id_in_its_own_partition_alone() {
        let partitions = shop(16);
        let home = partitions.of("a:b}");
        for partition in partitions.all() {
            let key = partitions.keys(partition).session("a:b}");
            let expected = (partition == home).then_some(&b"a:b}"[..]);
            assert_eq!(partitions.id_of_session(&key), expected);
        }
        for other in ["{shop:0}:expiry", "{other:0}:session:a", "session:a", ""] {
            assert_eq!(partitions.id_of_session(other.as_bytes()), None);
        }
    }

    #[test]
    fn a_tag_of_the_namespace_is_known_whether_a_partition_has_it_or_not() {
        for count in [1, 16] {
            let partitions = shop(count);
            for own in ["{shop:0}:x", "{shop:7}:", "{shop:4294967295}:session:a"] {
                assert!(partitions.has_tag(own.as_bytes()), "{own}");
            }
            for other in [
                "{shop:eu:0}:x",
                "{shop:}:x",
                "{shop:07}:x",
                "{shop:-1}:x",
                "{shop:0}",
                "shop:0:x",
                "{sho:0}:x",
            ] {
                assert!(!partitions.has_tag(other.as_bytes()), "{other}");
            }
            assert_eq!(partitions.pattern(), b"{shop:*}:*");
        }
    }

    #[test]
    fn there_are_1_to_1024() {
        for count in [0, 1025] {
            assert!(Partitions::new("shop", count).is_err());
        }
    }
}
