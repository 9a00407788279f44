//! What conditions have in common.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::observe::Now;

/// Longest message of a condition, by Kubernetes' rules.
const MESSAGE_LEN_MAX: usize = 32_768;

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `None`: unknown.
    pub is_true: Option<bool>,
    /// One word in CamelCase.
    pub reason: &'static str,
    /// For people; without numbers that change all the time.
    pub message: String,
}

impl Verdict {
    pub(super) fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            is_true: Some(true),
            reason,
            message: message.into(),
        }
    }

    pub(super) fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            is_true: Some(false),
            reason,
            message: message.into(),
        }
    }

    pub(super) fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            is_true: None,
            reason,
            message: message.into(),
        }
    }
}

/// Conditions of these verdicts; the time of transition is kept where the status is the same.
pub(super) fn merge(
    previous: &[Condition],
    verdicts: impl IntoIterator<Item = (&'static str, Verdict)>,
    generation: i64,
    now: Now,
) -> Vec<Condition> {
    verdicts
        .into_iter()
        .map(|(type_, verdict)| {
            let status = match verdict.is_true {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let known = previous.iter().find(|known| known.type_ == type_);
            let since = known
                .filter(|known| known.status == status)
                .map_or(Time(now), |known| known.last_transition_time.clone());
            Condition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: verdict.reason.to_owned(),
                message: verdict.message.chars().take(MESSAGE_LEN_MAX).collect(),
                last_transition_time: since,
                observed_generation: Some(generation),
            }
        })
        .collect()
}

/// Whether a condition is true.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions
        .iter()
        .any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Whether a condition got this status by the latest change.
pub fn has_become(previous: &[Condition], next: &[Condition], type_: &str, status: &str) -> bool {
    let has = |conditions: &[Condition]| {
        conditions
            .iter()
            .any(|condition| condition.type_ == type_ && condition.status == status)
    };
    has(next) && !has(previous)
}
