//! A key that the index and its list of changes share.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use triomphe::ThinArc;

/// A shared key. One word wide: its length is with its bytes. There is one of these for almost every
/// write that is kept.
#[derive(Clone)]
pub(crate) struct Key(ThinArc<(), u8>);

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(ThinArc::from_header_and_slice((), bytes))
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.slice
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_key_is_one_word_and_found_by_its_bytes() {
        assert_eq!(size_of::<Key>(), 8);
        let keys = [&b"b"[..], b"", b"a\0", b"a"];
        let map: BTreeMap<Key, usize> = keys.iter().map(|key| Key::from(*key)).zip(0..).collect();
        let in_order: Vec<_> = map.keys().map(|key| key.to_vec()).collect();
        assert_eq!(in_order, [&b""[..], b"a", b"a\0", b"b"]);
        assert_eq!(map.get(&b"a\0"[..]), Some(&2));
        assert_eq!(map.get(&b"c"[..]), None);
    }
}
