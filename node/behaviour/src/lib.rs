//! Judging members: what was measured, what it is worth, and what it means.
//!
//! **Owns** the measuring of followers ([`Observer`]) and of oneself ([`Meter`]), the rules that turn
//! measurements into points ([`judge`]) and points into scores ([`Score`]), what scores mean for
//! leadership ([`HandOver`], [`delays`]), and timers that follow what was measured
//! ([`AdaptiveTimers`]). **Never** reads a clock or talks to anyone: `now` comes with every input, as
//! time since boot, and the same inputs give the same outputs.
//!
//! ```text
//! followers: Meter ── Report ──┐
//! leader: on_sent, … ──> Observer ── Observation ── judge ── Verdict ──> (log) ──> Score
//! followers: Views ── View ── judge_former ─────────────────────┘                   └─> HandOver
//! ```
//!
//! The unit of judging is the window (1 s). Scores never decide who may vote or lead: they delay a
//! campaign by small steps, choose whom a slow leader hands over to, and inform the operator.

mod average;
mod judge;
mod leadership;
mod meter;
mod observation;
mod observer;
mod samples;
mod score;
mod scoring;
mod timers;
mod verdict;
mod views;

pub use judge::{Limits, judge};
pub use leadership::{HandOver, delays, ranked};
pub use meter::Meter;
pub use observation::{Events, Link, MemberId, Observation, Report, Times, Window};
pub use observer::{Event, Observer};
pub use score::{FAST_FIT, FAST_MAX, FAST_MIN, FAST_SLOW, SLOW_MAX, SLOW_MIN, Score, share_kept};
pub use scoring::{Points, Rules, Scoring, ScoringError};
pub use timers::{AdaptiveTimers, Ceiling, ELECTION_TIMEOUT_MIN, HEARTBEAT_INTERVAL_MIN};
pub use verdict::{Kind, Reason, Verdict};
pub use views::{View, Views, judge_former};
