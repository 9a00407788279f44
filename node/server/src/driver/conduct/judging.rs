//! What this member measures of itself and, as a leader, of the others; every window it becomes a
//! report to the leader, or a batch for the ledger and a verdict for each member.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raftery_behaviour::{
    self as behaviour, Event, Events, Limits, Meter, Observation, Observer, Report, Scoring,
    Verdict, View, Views, Window,
};
use raftery_ledger::LedgerBatch;
use raftery_raft::{
    Heartbeat, Instant, MemberId, MessageBody, PeerMessage, RoleKind, Status, Term, Timers,
};

use crate::meta::Settings;

/// The window of a term in which a leader enters how its predecessor was seen: by then its followers
/// have told it.
const FORMER_IS_JUDGED_IN: Window = Window(3);

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

/// What a follower tells its leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// The term in which it was measured.
    pub term: Term,
    /// What it measured.
    pub report: Report,
    /// How it saw the leader before.
    pub former: Option<View>,
}

/// What a member measures and judges.
#[derive(Debug)]
pub(super) struct Judging {
    me: MemberId,
    limits: Limits,
    meter: Meter,
    views: Views,
    term: Term,
    /// Whom it follows.
    leader: Option<MemberId>,
    /// When the present window began.
    began: Instant,
    leading: Option<Leading>,
    /// The term whose leader asked this member to take over.
    asked_in: Option<Term>,
    /// What peers' starts drew.
    starts: BTreeMap<MemberId, u64>,
}

#[derive(Debug)]
struct Leading {
    observer: Observer,
    /// The window being measured.
    window: Window,
    /// Verdicts that their members haven't been told yet.
    untold: BTreeMap<MemberId, Notice>,
    /// How the leader before was seen, by whom.
    former: BTreeMap<MemberId, View>,
    /// How members are judged, as far as this term's batches said so.
    said: Option<Scoring>,
    has_taken_over: bool,
    /// Who was slow in the last window.
    were_slow: BTreeSet<behaviour::MemberId>,
}

impl Judging {
    /// Judges by the configured timers: they are the longest that anybody waits.
    #[must_use]
    pub(super) fn new(me: MemberId, election_timeout: Duration) -> Self {
        Self {
            me,
            limits: Limits { election_timeout },
            meter: Meter::default(),
            views: Views::default(),
            term: Term(0),
            leader: None,
            began: Instant::default(),
            leading: None,
            asked_in: None,
            starts: BTreeMap::new(),
        }
    }

    /// Role, term or membership changed.
    pub(super) fn status_changed(&mut self, now: Instant, status: &Status) {
        if (self.term, self.leader) != (status.term, status.leader) {
            self.meter.on_leader_changed();
            self.began = now;
        }
        let is_new_term = self.term != status.term;
        (self.term, self.leader) = (status.term, status.leader);
        if status.role != RoleKind::Leader {
            self.leading = None;
            return;
        }
        if self.leading.is_none() || is_new_term {
            let before = self.views.before(status.term.0);
            self.leading = Some(Leading {
                observer: Observer::new(self.limits),
                window: Window(0),
                untold: BTreeMap::new(),
                former: before.map(|view| (self.me, view)).into_iter().collect(),
                said: None,
                were_slow: BTreeSet::new(),
                has_taken_over: self.asked_in == Some(Term(status.term.0 - 1)),
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
        let to = judged(message.to);
        match &message.body {
            MessageBody::Heartbeat(beat) => {
                leading.observer.on_sent(now.0, to, beat.number);
                leading.untold.remove(&message.to)
            }
            MessageBody::Append { entries, .. } => {
                if let Some(last) = entries.last() {
                    leading.observer.on_append(now.0, to, last.id.index.0);
                }
                None
            }
            _ => None,
        }
    }

    /// A message arrived. Gives how long the answer to a heartbeat took.
    pub(super) fn on_receive(&mut self, now: Instant, message: &PeerMessage) -> Option<Duration> {
        let from = judged(message.from);
        if let Some(leading) = &mut self.leading {
            let observer = &mut leading.observer;
            if let MessageBody::Vote { transfer: None, .. } = message.body
                && message.term > self.term
            {
                observer.on_event(from, Event::Campaigned);
            }
            if message.term != self.term {
                return None;
            }
            return match message.body {
                MessageBody::HeartbeatResponse { number, .. } => {
                    observer.on_acknowledged(now.0, from, number)
                }
                MessageBody::AppendAccepted { matched } => {
                    observer.on_append_accepted(now.0, from, matched.0);
                    None
                }
                _ => {
                    observer.on_heard(now.0, from);
                    None
                }
            };
        }
        if message.term < self.term {
            return None;
        }
        match &message.body {
            MessageBody::Heartbeat(Heartbeat {
                interval, commit, ..
            }) => {
                self.meter.on_heartbeat(now.0, *interval);
                self.meter.on_commit(now.0, commit.0);
            }
            MessageBody::Append {
                entries, commit, ..
            } => {
                self.meter.on_commit(now.0, commit.0);
                if let Some(last) = entries.last() {
                    self.meter.on_entries(now.0, last.id.index.0);
                }
            }
            MessageBody::TimeoutNow => self.asked_in = Some(message.term),
            _ => {}
        }
        None
    }

    /// A sync of the own log took so long.
    pub(super) fn on_sync(&mut self, took: Duration) {
        self.meter.on_sync(took);
    }

    /// The disk had lost a part of the log, whose repair began.
    pub(super) fn on_repair(&mut self) {
        self.meter.on_repair();
    }

    /// A peer answered after so long.
    pub(super) fn on_round_trip(&mut self, peer: MemberId, took: Duration) {
        self.meter.on_round_trip(judged(peer), took);
    }

    /// A follower told what it measured.
    pub(super) fn on_told(&mut self, from: MemberId, told: Told) {
        if let Some(leading) = &mut self.leading
            && told.term == self.term
        {
            leading.observer.on_report(judged(from), told.report);
            if let Some(view) = told.former.filter(|view| view.term < self.term.0) {
                leading.former.insert(from, view);
            }
        }
    }

    /// Something befell a peer.
    pub(super) fn on_event(&mut self, peer: MemberId, event: Event) {
        if let Some(leading) = &mut self.leading {
            leading.observer.on_event(judged(peer), event);
        }
    }

    /// A peer's handshake told what its start drew.
    pub(super) fn on_start(&mut self, peer: MemberId, start: u64) {
        let before = self.starts.insert(peer, start);
        if before.is_some_and(|before| before != start) {
            self.on_event(peer, Event::Restarted);
        }
    }

    /// Whether this member leads.
    #[must_use]
    pub(super) fn leads(&self) -> bool {
        self.leading.is_some()
    }

    /// When the window ends; `None` for who neither leads nor follows.
    #[must_use]
    pub(super) fn window_ends(&self, window: Duration) -> Option<Instant> {
        self.leader.map(|_| self.began + window)
    }

    /// Ends a follower's window: what to tell whom. Nothing for a leader.
    pub(super) fn report(
        &mut self,
        now: Instant,
        oldest_write: Duration,
        timers: Timers,
        scoring: &Scoring,
    ) -> Option<(MemberId, Told)> {
        let leader = self.leader.filter(|leader| *leader != self.me)?;
        self.began = now;
        let report = self.finish_window(now, oldest_write, timers);
        let former = self.views.before(self.term.0);
        self.views
            .add(judged(leader), self.term.0, &report, scoring);
        let told = Told {
            term: self.term,
            report,
            former,
        };
        Some((leader, told))
    }

    fn finish_window(&mut self, now: Instant, oldest_write: Duration, timers: Timers) -> Report {
        self.meter.finish_window(
            now.0,
            oldest_write,
            timers.heartbeat_interval,
            timers.election_timeout,
        )
    }

    /// Ends a leader's window and judges it. Call [`Judging::batch_proposed`] once the batch is in
    /// the log: until then the window's number isn't used up, so that windows stay contiguous.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        status: &Status,
        oldest_write: Duration,
        timers: Timers,
        settings: &Settings,
        at_unix_ms: u64,
    ) -> Option<LedgerBatch> {
        let scoring = &settings.scoring;
        let took = now.since(self.began);
        self.began = now;
        let own = self.finish_window(now, oldest_write, timers);
        let leading = self.leading.as_mut()?;
        for (id, progress) in &status.progress {
            let lag = status.last_index.0.saturating_sub(progress.matched.0);
            leading.observer.on_progress(judged(*id), lag);
        }
        let events = Events {
            has_taken_over: std::mem::take(&mut leading.has_taken_over),
            ..Events::default()
        };
        let mut seen = vec![Observation::of_leader(judged(self.me), events, own)];
        seen.extend(leading.observer.finish_window(now.0));
        let mut verdicts = behaviour::judge(&seen, &leading.were_slow, &self.limits, scoring);
        let rules = settings.cluster_version.rules();
        let slow = verdicts.iter().filter(|verdict| verdict.is_slow_by(rules));
        leading.were_slow = slow.map(|verdict| verdict.member).collect();
        if leading.window == FORMER_IS_JUDGED_IN {
            let views: Vec<_> = leading.former.values().copied().collect();
            verdicts.extend(behaviour::judge_former(&views, scoring));
        }
        let intervals = seen.into_iter().map(Observation::for_ledger).collect();
        Some(LedgerBatch {
            rules,
            term: self.term.0,
            window: leading.window,
            at_unix_ms,
            window_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            scoring: (leading.said != Some(*scoring)).then_some(*scoring),
            verdicts,
            intervals,
        })
    }

    /// The batch is in the log: its verdicts go out with the next heartbeats. Gives the verdict on
    /// this member itself.
    pub(super) fn batch_proposed(
        &mut self,
        said: Scoring,
        verdicts: Vec<Verdict>,
    ) -> Option<Notice> {
        let leading = self.leading.as_mut()?;
        leading.said = Some(said);
        let mut notices: BTreeMap<MemberId, Notice> = BTreeMap::new();
        for verdict in verdicts {
            let notice = Notice {
                term: self.term,
                window: leading.window,
                verdict,
            };
            // The gravest is told.
            let member = MemberId(notice.verdict.member.0);
            let told = notices.entry(member).or_insert_with(|| notice.clone());
            if notice.verdict.points < told.verdict.points {
                *told = notice;
            }
        }
        let own = notices.remove(&self.me);
        leading.untold.extend(notices);
        leading.window = leading.window.next();
        own
    }
}

/// A member as judging names it.
pub(super) fn judged(id: MemberId) -> behaviour::MemberId {
    behaviour::MemberId(id.0)
}
