//! Words and lengths of time, as flags, variables and YAML spell them.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::ValueError;

/// Reads a type by its `FromStr`. Failing inside the visitor makes serde_yaml add the field,
/// line and column to the message.
pub(crate) struct TextVisitor<T>(pub(crate) PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Serialises a type by its `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_str($crate::values::TextVisitor(std::marker::PhantomData))
            }
        }
    };
}
pub(crate) use serde_as_text;

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $known:literal, {
        $($(#[$vdoc:meta])* $variant:ident = $text:literal $(| $alias:literal)*,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)* })
            }
        }

        impl FromStr for $name {
            type Err = ValueError;
            fn from_str(text: &str) -> Result<Self, ValueError> {
                match text {
                    $($text $(| $alias)* => Ok(Self::$variant),)*
                    _ => Err(ValueError::Choice { given: text.to_owned(), known: $known }),
                }
            }
        }

        serde_as_text!($name);
    };
}

choice!(
    /// Whether the cluster of `--initial-cluster` is to be founded or joined.
    ClusterState, "new, existing", {
        /// Nobody has data: all found it together.
        New = "new",
        /// The others run already and have added this node.
        Existing = "existing",
    }
);

choice!(
    /// What is worth a line of the log.
    LogLevel, "debug, info, warn, error", {
        /// Facts of every batch too.
        Debug = "debug",
        /// Rare transitions and worse.
        Info = "info",
        /// What may heal, and worse.
        Warn = "warn",
        /// Lost work or data. etcd's `panic` and `fatal` come to the same.
        Error = "error" | "panic" | "fatal",
    }
);

choice!(
    /// How a line of the log looks.
    LogFormat, "json, console", {
        /// One JSON object a line.
        Json = "json",
        /// For people.
        Console = "console",
    }
);

/// A length of time: a number of milliseconds, as etcd's flags take it, or with units
/// (`100ms`, `1s`). Written with units.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Interval(pub Duration);

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for Interval {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let parsed = match text.parse::<u64>() {
            Ok(millis) => Some(Duration::from_millis(millis)),
            Err(_) => humantime::parse_duration(text).ok(),
        };
        parsed
            .map(Self)
            .ok_or_else(|| ValueError::Interval(text.to_owned()))
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        /// YAML has numbers: etcd's files say `heartbeat-interval: 100`.
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Interval;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of milliseconds (100) or a duration (100ms)")
            }

            fn visit_u64<E: serde::de::Error>(self, millis: u64) -> Result<Interval, E> {
                Ok(Interval(Duration::from_millis(millis)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Interval, E> {
                text.parse().map_err(E::custom)
            }
        }

        d.deserialize_any(Either)
    }
}
