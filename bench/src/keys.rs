//! The keys and values of a run.

use bytes::Bytes;
use fastrand::Rng;

/// What all keys begin with.
pub const PREFIX: &[u8] = b"bench/";
/// The first key behind all of them.
pub const BEHIND: &[u8] = b"bench0";
/// `bench/` and eight digits.
const KEY_BYTES: usize = 14;
/// Values are slices of so many random bytes (and their own length), at random places.
const POOL_BYTES: usize = 64 * 1024;

/// `count` keys, made once; a key and a value cost no allocation.
///
/// Invariants:
/// - `names` holds `count` keys of `KEY_BYTES`
/// - `pool` is longer than `value_bytes`
pub struct Keys {
    names: Bytes,
    pool: Bytes,
    count: usize,
    value_bytes: usize,
}

impl Keys {
    /// Keys 0 to `count` (at most 100 million), with values of `value_bytes`.
    #[must_use]
    pub fn new(count: usize, value_bytes: usize) -> Self {
        let mut names = Vec::with_capacity(count * KEY_BYTES);
        for number in 0..count {
            names.extend_from_slice(PREFIX);
            names.extend_from_slice(format!("{number:08}").as_bytes());
        }
        // The same bytes in every run.
        let mut pool = vec![0; POOL_BYTES + value_bytes];
        Rng::with_seed(1).fill(&mut pool);
        Self {
            names: names.into(),
            pool: pool.into(),
            count,
            value_bytes,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// A key by its number.
    #[must_use]
    pub fn key(&self, number: usize) -> Bytes {
        self.names
            .slice(number * KEY_BYTES..(number + 1) * KEY_BYTES)
    }

    /// The number of a key.
    #[must_use]
    pub fn number(&self, key: &[u8]) -> Option<usize> {
        let digits = std::str::from_utf8(key.strip_prefix(PREFIX)?).ok()?;
        let number = digits.parse().ok()?;
        (number < self.count).then_some(number)
    }

    /// Some value.
    pub fn value(&self, random: &mut Rng) -> Bytes {
        let start = random.usize(0..POOL_BYTES);
        self.pool.slice(start..start + self.value_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_know_their_numbers() {
        let keys = Keys::new(1000, 16);
        assert_eq!(&keys.key(42)[..], b"bench/00000042");
        assert_eq!(keys.number(&keys.key(999)), Some(999));
        assert_eq!(keys.number(b"bench/00001000"), None);
        assert_eq!(keys.number(b"other/00000001"), None);
    }

    #[test]
    fn values_have_the_length_asked_for() {
        let keys = Keys::new(1, 256);
        let mut random = Rng::with_seed(7);
        for _ in 0..1000 {
            assert_eq!(keys.value(&mut random).len(), 256);
        }
    }

    #[test]
    fn every_key_lies_before_the_end_of_the_range() {
        let keys = Keys::new(100, 1);
        assert!((0..100).all(|number| &keys.key(number)[..] < BEHIND));
    }
}
