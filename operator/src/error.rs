//! What can go wrong in a reconciliation, and what helps.

use std::time::Duration;

use thiserror::Error;

use crate::act::ActError;
use crate::api::InvalidSpec;
use crate::observe::ObserveError;

/// A reconciliation that didn't end well.
#[derive(Debug, Error)]
pub enum Error {
    /// The RaftCluster couldn't be read.
    #[error("reading the RaftCluster")]
    Read(#[source] kube::Error),
    /// The world couldn't be read.
    #[error("observing")]
    Observe(#[from] ObserveError),
    /// Something couldn't be done.
    #[error("acting")]
    Act(#[from] ActError),
    /// The status couldn't be written; nothing that it would note has happened.
    #[error("writing the status")]
    Status(#[source] kube::Error),
    /// The spec makes no sense.
    #[error("the spec is invalid")]
    Spec(#[from] InvalidSpec),
}

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Trying again.
    RetrySoon,
    /// An edit by a person, of the spec or of something it refers to.
    WaitForEdit,
    /// A corrected operator.
    Bug,
}

impl ErrorClass {
    /// A word for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::RetrySoon => "retry_soon",
            Self::WaitForEdit => "wait_for_edit",
            Self::Bug => "bug",
        }
    }

    /// How long to wait after so many failures in a row.
    pub fn delay(self, failures: u32) -> Duration {
        let (first, most) = match self {
            Self::RetrySoon => (Duration::from_millis(250), Duration::from_secs(5)),
            Self::WaitForEdit => (Duration::from_secs(5), Duration::from_secs(300)),
            Self::Bug => (Duration::from_secs(60), Duration::from_secs(600)),
        };
        first
            .saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)))
            .min(most)
    }
}

impl Error {
    /// What helps.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Spec(_) => ErrorClass::WaitForEdit,
            Self::Read(source) | Self::Status(source) => of_kube(source),
            Self::Observe(error) => of_kube(&error.source),
            Self::Act(error) => error.class(),
        }
    }
}

impl ActError {
    /// What helps.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Kube { source, .. } => of_kube(source),
            Self::Member(_) | Self::Gone { .. } | Self::Random(_) => ErrorClass::RetrySoon,
            Self::Secret { .. } => ErrorClass::WaitForEdit,
        }
    }
}

fn of_kube(error: &kube::Error) -> ErrorClass {
    match error {
        // Invalid, or not allowed: by rights, quota or policy.
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => {
            ErrorClass::WaitForEdit
        }
        kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) => ErrorClass::Bug,
        _ => ErrorClass::RetrySoon,
    }
}

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors repeat their cause in their own words.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api_error(code: u16) -> Error {
        let status = kube::core::Status::failure("no", "Because").with_code(code);
        Error::Read(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn refusals_wait_for_an_edit_and_conflicts_dont() {
        for (code, class) in [
            (409, ErrorClass::RetrySoon),
            (500, ErrorClass::RetrySoon),
            (403, ErrorClass::WaitForEdit),
            (422, ErrorClass::WaitForEdit),
        ] {
            assert_eq!(api_error(code).class(), class, "{code}");
        }
    }

    #[test]
    fn delays_grow_up_to_a_limit() {
        let soon = ErrorClass::RetrySoon;
        assert_eq!(soon.delay(1), Duration::from_millis(250));
        assert_eq!(soon.delay(3), Duration::from_secs(1));
        assert_eq!(soon.delay(1000), Duration::from_secs(5));
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        assert_eq!(
            chain(&api_error(409))
                .matches("reading the RaftCluster")
                .count(),
            1
        );
    }
}
