//! Why a member is held to be slow, in words.

use std::fmt;

use crate::api::MemberStatus;
use crate::plan::{Placed, View};

/// What speaks against a member, or for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    fast: Option<i64>,
    slow: Option<i64>,
    minutes: u32,
    verdict: String,
}

impl Evidence {
    /// As the leader tells now.
    pub(super) fn of(view: &View<'_>, placed: &Placed<'_>) -> Self {
        let note = view.observed.notes.member(placed.member.id);
        Self {
            fast: placed.member.fast_score,
            slow: Some(placed.member.score),
            minutes: note.map_or(0, |note| note.slowness.minutes.count()),
            verdict: placed.member.last_verdict.clone(),
        }
    }

    /// As it was reported.
    pub(crate) fn reported(member: &MemberStatus) -> Self {
        let minutes = member
            .slow
            .as_ref()
            .map_or("", |slow| slow.minutes.as_str());
        Self {
            fast: member.fast_score,
            slow: member.score,
            minutes: u32::try_from(minutes.matches('#').count()).unwrap_or(u32::MAX),
            verdict: member.last_verdict.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |score: Option<i64>| score.map_or("unknown".to_owned(), |n| n.to_string());
        let (fast, slow) = (number(self.fast), number(self.slow));
        write!(f, "fast score {fast}, slow score {slow}")?;
        if self.minutes > 0 {
            write!(f, ", slow in {} of the last 30 minutes", self.minutes)?;
        }
        if !self.verdict.is_empty() {
            write!(f, ", last verdict {:?}", self.verdict)?;
        }
        Ok(())
    }
}
