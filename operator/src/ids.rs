//! Identifiers, each its own type. They print as hexadecimal without leading zeros, as etcdctl
//! prints them; Kubernetes sees them as such strings, because 64 bits don't fit its integers.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A text that isn't an identifier.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{text:?} is not a non-zero hexadecimal number of 64 bits")]
pub struct ParseIdError {
    text: String,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// `None` for 0, which the protocols use for "none".
            pub fn from_wire(value: u64) -> Option<Self> {
                (value != 0).then_some(Self(value))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                u64::from_str_radix(text, 16)
                    .ok()
                    .and_then(Self::from_wire)
                    .ok_or_else(|| ParseIdError { text: text.to_owned() })
            }
        }
    };
}

hex_id! {
    /// An entry in the Raft configuration. Never used twice, not even for the same ordinal.
    MemberId
}
hex_id! {
    /// A cluster, from its founding on.
    ClusterId
}
hex_id! {
    /// One unbroken history of a cluster.
    Lineage
}
hex_id! {
    /// One life of a node's disk.
    Incarnation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_as_it_parses() {
        let id: MemberId = "8e9e05c52164694d".parse().expect("valid");
        assert_eq!(id.to_string(), "8e9e05c52164694d");
        assert_eq!(MemberId(10).to_string(), "a");
        assert!("0".parse::<MemberId>().is_err());
        assert!("xyz".parse::<MemberId>().is_err());
    }
}
