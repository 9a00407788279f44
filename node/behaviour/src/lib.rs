//! Judging members: what was measured, what it is worth, and why.
//!
//! **Owns** the measuring of followers ([`Observer`]) and the rules that turn a measurement into
//! points ([`judge`]). **Never** reads a clock or talks to anyone: `now` comes with every input,
//! as time since boot, and the same inputs give the same verdicts.
//!
//! ```text
//! on_sent, on_acknowledged, … ──> Observer ── finish_window ──> Observation ── judge ──> Verdict
//!                                                                    └──> Interval
//! ```
//!
//! The unit of judging is the window (1 s). Verdicts never decide who may vote or lead.

mod judge;
mod observation;
mod observer;
mod verdict;

pub use judge::{Limits, judge};
pub use observation::{AckTimes, Interval, MemberId, Observation, Window};
pub use observer::Observer;
pub use verdict::{Kind, Reason, SCORE_MAX, SCORE_MIN, Verdict, add_to_score};
