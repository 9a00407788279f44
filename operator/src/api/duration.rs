//! Durations as people write them: `100ms`, `1m30s`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A duration as text: numbers with the units `ms`, `s`, `m`, `h`, added up.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationText(pub String);

/// A text that isn't a duration.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{text:?} is not a duration such as 100ms, 10s or 1m30s")]
pub struct ParseDurationError {
    text: String,
}

impl DurationText {
    /// The duration that the text stands for.
    pub fn parse(&self) -> Result<Duration, ParseDurationError> {
        parse(&self.0).ok_or_else(|| ParseDurationError {
            text: self.0.clone(),
        })
    }
}

impl From<&str> for DurationText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_len = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = match &rest[..unit_len] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            _ => return None,
        };
        total = total.checked_add(unit)?;
        rest = &rest[unit_len..];
    }
    (!text.is_empty()).then_some(total)
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Not `format: duration`: the API server accepts nonsense under that name.
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]+(ms|s|m|h))+$",
            "maxLength": 32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up_their_parts() {
        for (text, millis) in [
            ("100ms", 100),
            ("1s", 1000),
            ("1m30s", 90_000),
            ("2h1ms", 7_200_001),
        ] {
            let parsed = DurationText::from(text).parse().expect("valid");
            assert_eq!(parsed, Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn what_the_pattern_refuses_is_refused_here_too() {
        for text in [
            "",
            "1",
            "s",
            "1d",
            "1.5s",
            "-1s",
            "1 s",
            "99999999999999999999h",
        ] {
            assert!(DurationText::from(text).parse().is_err(), "{text:?}");
        }
    }
}
