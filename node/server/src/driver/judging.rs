//! The leader's judging: measures its followers, and every window turns what it measured into a
//! batch for the ledger and a verdict for each follower.

use std::collections::BTreeMap;
use std::time::Duration;

use raftery_behaviour::{self as behaviour, Limits, Observer, Verdict, Window};
use raftery_ledger::LedgerBatch;
use raftery_raft::{Instant, MemberId, MessageBody, PeerMessage, RoleKind, Status, Term};

/// A verdict as its member is told it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Term of the leader that judged.
    pub term: Term,
    /// Which window of that term.
    pub window: Window,
    /// The verdict.
    pub verdict: Verdict,
}

/// What a leader measures and judges in one term; nothing elsewhere.
#[derive(Debug)]
pub(super) struct Judging {
    limits: Limits,
    leading: Option<Leading>,
}

#[derive(Debug)]
struct Leading {
    term: Term,
    observer: Observer,
    /// The window being measured.
    window: Window,
    began: Instant,
    /// Verdicts that their members haven't been told yet.
    untold: BTreeMap<MemberId, Notice>,
}

impl Judging {
    /// Judges by the node's timers.
    #[must_use]
    pub(super) fn new(heartbeat_interval: Duration, election_timeout: Duration) -> Self {
        let limits = Limits::new(heartbeat_interval, election_timeout);
        Self {
            limits,
            leading: None,
        }
    }

    /// Role, term or membership changed.
    pub(super) fn status_changed(&mut self, now: Instant, status: &Status) {
        if status.role != RoleKind::Leader {
            self.leading = None;
            return;
        }
        if self
            .leading
            .as_ref()
            .is_none_or(|leading| leading.term != status.term)
        {
            self.leading = Some(Leading {
                term: status.term,
                observer: Observer::new(self.limits),
                window: Window(0),
                began: now,
                untold: BTreeMap::new(),
            });
        }
        if let Some(leading) = &mut self.leading {
            let others = status.membership.members();
            let followers = others.filter(|id| *id != status.id).map(judged);
            leading.observer.set_followers(followers);
        }
    }

    /// A message leaves; a heartbeat takes the receiver's verdict along.
    pub(super) fn on_send(&mut self, now: Instant, message: &PeerMessage) -> Option<Notice> {
        let leading = self.leading.as_mut()?;
        let MessageBody::Heartbeat { number, .. } = message.body else {
            return None;
        };
        leading.observer.on_sent(now.0, judged(message.to), number);
        leading.untold.remove(&message.to)
    }

    /// A message arrived.
    pub(super) fn on_receive(&mut self, now: Instant, message: &PeerMessage) {
        let Some(leading) = &mut self.leading else {
            return;
        };
        if message.term != leading.term {
            return;
        }
        let from = judged(message.from);
        if let MessageBody::HeartbeatResponse { number, .. } = message.body {
            leading.observer.on_acknowledged(now.0, from, number);
        } else {
            leading.observer.on_heard(now.0, from);
        }
    }

    /// When the window ends; `None` when not leading.
    #[must_use]
    pub(super) fn window_ends(&self, window: Duration) -> Option<Instant> {
        self.leading.as_ref().map(|leading| leading.began + window)
    }

    /// Ends the window and judges it. Call [`Judging::batch_proposed`] once the batch is in the
    /// log: until then the window's number isn't used up, so that windows stay contiguous.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        status: &Status,
        at_unix_ms: u64,
    ) -> Option<LedgerBatch> {
        let leading = self.leading.as_mut()?;
        for (id, progress) in &status.progress {
            let lag = status.last_index.0.saturating_sub(progress.matched.0);
            leading.observer.on_progress(judged(*id), lag);
        }
        let took = now.since(leading.began);
        leading.began = now;
        let observations = leading.observer.finish_window(now.0);
        let verdicts = observations
            .iter()
            .map(|o| behaviour::judge(o, &self.limits))
            .collect();
        let intervals = observations
            .into_iter()
            .map(|o| leading.observer.interval(o))
            .collect();
        Some(LedgerBatch {
            term: leading.term.0,
            window: leading.window,
            at_unix_ms,
            window_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            verdicts,
            intervals,
        })
    }

    /// The batch is in the log: its verdicts go out with the next heartbeats.
    pub(super) fn batch_proposed(&mut self, verdicts: Vec<Verdict>) {
        let Some(leading) = &mut self.leading else {
            return;
        };
        for verdict in verdicts {
            let member = MemberId(verdict.member.0);
            let notice = Notice {
                term: leading.term,
                window: leading.window,
                verdict,
            };
            leading.untold.insert(member, notice);
        }
        leading.window = leading.window.next();
    }
}

fn judged(id: MemberId) -> behaviour::MemberId {
    behaviour::MemberId(id.0)
}
