//! The value: its state, its inputs, its outputs. What each role does stands in the submodules.

mod conf_change;
mod election;
mod follower;
mod guard;
mod invariants;
mod leader;
mod persist;
mod picture;
mod reads;
mod replication;
mod snapshot;
mod standing;
mod step;
mod transfer;
mod trust;

use std::collections::BTreeMap;
use std::time::Duration;

use raftery_defects::{Defect, is_on};

use crate::log::Log;
use crate::promise::Promises;
use crate::role::{Follower, Role};
use crate::{
    HardState, Instant, LogId, LogIndex, MemberId, Membership, MessageBody, Payload, PeerMessage,
    PersistSeq, ProposeError, RaftConfig, ReadGrant, ReadId, Ready, Recovered, Rollback, Term,
    Timers,
};
use persist::Persistence;
use picture::StatusKey;
use snapshot::Installing;
use trust::Distrust;

/// One member's Raft.
///
/// Every input carries `now`; an earlier `now` than the latest is taken for the latest. An input
/// that gives an `Err` leaves the value unchanged. Elections and the leader's check of its
/// quorum wait for [`Raft::tick`], so a process that slept calls it first; promises and the lease
/// are compared with every `now`. Hence `now` is sampled after the input was taken from its queue:
/// a `now` from before a sleep would show a lease that is over.
///
/// Invariants, besides those of the parts:
/// - terms never fall; `vote` is fixed within a term
/// - the last entry's term is at most `term`
/// - a leader and a candidate voted for themselves
/// - `membership` is that of the committed entries
/// - who installs a snapshot follows, and the snapshot is ahead of what is committed here
/// - only a leader has snapshots to send
/// - a member whose log or vote the disk has lost neither campaigns nor leads
/// - nobody campaigns who has promised not to, unless its leader asked for it
#[derive(Debug)]
pub struct Raft {
    config: RaftConfig,
    rng: fastrand::Rng,
    now: Instant,
    term: Term,
    vote: Option<MemberId>,
    /// Granted, and not answered before it is durable.
    owed_vote: Option<MemberId>,
    log: Log,
    membership: Membership,
    role: Role,
    timers: Timers,
    timer: ElectionTimer,
    /// By how much the last leader wishes this member to campaign later.
    delay: Duration,
    distrust: Distrust,
    promises: Promises,
    /// A snapshot that the state machine is about to take.
    install: Option<Installing>,
    /// The last entry that the disk lost, until the log reaches it again.
    repair_until: Option<LogId>,
    /// Why this member must not vote.
    rolled_back: Option<Rollback>,
    /// Members that are to be sent a snapshot.
    snapshots: Vec<MemberId>,
    persistence: Persistence,
    outbox: Outbox,
    /// The last name on the wire of a read that a leader was asked about. A random beginning
    /// tells the lives of the process apart: a late answer to an earlier life names an index
    /// that is too low by now.
    wire_read: ReadId,
    /// Reads to be served.
    reads: Vec<ReadGrant>,
    /// The last status handed out.
    shown: Option<StatusKey>,
}

impl Raft {
    /// Starts from what was found on disk, as a follower. The first [`Ready`] carries the status.
    ///
    /// # Panics
    /// When `recovered` isn't a log behind its base with its hard state: that is a bug of the
    /// recovery.
    #[must_use]
    pub fn new(now: Instant, config: RaftConfig, recovered: Recovered) -> Self {
        let Recovered {
            hard_state,
            base,
            entries,
            applied,
            mut membership,
            repair_until,
        } = recovered;
        let log = Log::new(base, entries, hard_state.commit.max(applied), applied);
        let repair_until = repair_until.filter(|until| log.last_id() < *until);
        let mut persistence = Persistence::default();
        let HardState {
            mut term, mut vote, ..
        } = hard_state;
        if term < base.term {
            // The state machine was durable before the log's batch that began the term. No vote
            // and no answer in it has left.
            (term, vote) = (base.term, None);
            persistence.term_or_vote_changed();
        }
        assert!(
            log.last_id().term <= term,
            "recovered term is older than the log"
        );
        assert!(
            membership.index <= applied,
            "recovered membership is ahead of the state machine"
        );
        for entry in log.range(applied, log.commit()) {
            if let Payload::ConfChange(change) = &entry.payload {
                membership.activate(entry.id.index, change);
            }
        }
        let mut rng = fastrand::Rng::with_seed(config.seed ^ config.id.0.rotate_left(32));
        let timers = Timers {
            heartbeat_interval: config.heartbeat_interval,
            election_timeout: config.election_timeout,
        };
        let mut timer = ElectionTimer::new(now, &mut rng);
        // What the disk lost may have added a voter that was promised something.
        let is_alone = membership.all_voters().eq([config.id]) && repair_until.is_none();
        let promises = if is_alone || is_on(Defect::NoWaitAfterStart) {
            // Nobody else could lead, and nobody else's lease could rest on a promise of this
            // member: before such a lease held, it had the other voter's configuration on disk.
            timer.is_due |= is_alone;
            Promises::new(now, Duration::ZERO)
        } else {
            // The timer runs from the end of the wait, less the least timeout: those who started
            // together don't all campaign when the wait ends.
            timer.since = now + config.promise_max.saturating_sub(config.election_timeout);
            Promises::new(now, config.promise_max)
        };
        let wire_read = ReadId(u64::from(rng.u32(..)) << 32);
        Self {
            outbox: Outbox {
                from: config.id,
                messages: Vec::new(),
            },
            rng,
            now,
            term,
            vote,
            owed_vote: None,
            log,
            membership,
            role: Role::Follower(Follower::default()),
            timers,
            timer,
            delay: Duration::ZERO,
            distrust: Distrust::default(),
            install: None,
            repair_until,
            rolled_back: None,
            snapshots: Vec::new(),
            promises,
            persistence,
            wire_read,
            reads: Vec::new(),
            shown: None,
            config,
        }
    }

    /// Time passed: elections, heartbeats, the leader's check of its quorum, transfers given up.
    /// Call it at [`Raft::next_deadline`] or every half heartbeat interval.
    pub fn tick(&mut self, now: Instant) {
        self.advance(now);
        match &self.role {
            Role::Leader(_) => self.tick_leader(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => self.tick_election(),
        }
    }

    /// When [`Raft::tick`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        match &self.role {
            Role::Leader(leader) => leader.transfer.as_ref().map_or(leader.heartbeat_due, |t| {
                t.deadline.min(leader.heartbeat_due)
            }),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => self.election_due(),
        }
    }

    /// Appends to the log; the leader does. The entry is committed when a [`Ready`] hands out an
    /// entry with the returned `LogId`, and lost when one hands out another term at its index.
    ///
    /// # Errors
    /// Not the leader, handing over, too much uncommitted; for a change of membership also what
    /// [`Raft::propose_conf_change`] says.
    pub fn propose(&mut self, now: Instant, payload: Payload) -> Result<LogId, ProposeError> {
        match payload {
            Payload::ConfChange(change) => self.propose_conf_change(now, change, None),
            Payload::Blank | Payload::Data(_) => self.propose_data(now, payload),
        }
    }

    /// Everything up to `seq` is durable.
    ///
    /// # Panics
    /// When no batch `seq` was handed out.
    pub fn on_persisted(&mut self, now: Instant, seq: PersistSeq) {
        self.advance(now);
        self.persistence.on_persisted(seq);
        let before = self.log.durable();
        self.log.on_persisted(seq);
        self.look_at_repair();
        self.settle(self.log.durable() > before);
    }

    /// The state machine has applied up to `index`.
    ///
    /// # Panics
    /// When the entry at `index` was not handed out.
    pub fn on_applied(&mut self, now: Instant, index: LogIndex) {
        self.advance(now);
        self.log.on_applied(index);
        self.moves();
    }

    /// Other timers, from now on: what runs goes by them at once. A promise that was given for
    /// longer still binds.
    pub fn set_timers(&mut self, now: Instant, timers: Timers) {
        self.advance(now);
        self.timers = timers;
        if let Role::Leader(leader) = &mut self.role {
            let due = self.now + timers.heartbeat_interval;
            leader.heartbeat_due = leader.heartbeat_due.min(due);
        }
    }

    /// The timers as they are.
    #[must_use]
    pub fn timers(&self) -> Timers {
        self.timers
    }

    /// How much later than by chance alone each member had better campaign if this leader is gone:
    /// told with the heartbeats, and obeyed up to an election timeout. It only puts off; nobody
    /// ever refuses a vote for it (NuRaft #30 is what comes of that). For the present leadership;
    /// nothing for who doesn't lead.
    pub fn set_delays(&mut self, delays: BTreeMap<MemberId, Duration>) {
        if let Role::Leader(leader) = &mut self.role {
            leader.delays = delays;
        }
    }

    /// Highest committed index.
    #[must_use]
    pub fn commit(&self) -> LogIndex {
        self.log.commit()
    }

    /// Where the log ends.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        self.log.last_index()
    }

    /// Effects to carry out; `None` when there are none. Past the limits of what may be in flight
    /// it withholds batches and committed entries, so that carrying them out never blocks.
    pub fn take_ready(&mut self) -> Option<Ready> {
        // Here and not with each input, so that a burst of proposals makes one append and a
        // burst of reads one round.
        self.start_read_round();
        self.replicate();
        let ready = Ready {
            messages: std::mem::take(&mut self.outbox.messages),
            persist: self.next_batch(),
            committed: self.next_to_apply(),
            install: self.next_to_install(),
            snapshots: std::mem::take(&mut self.snapshots),
            reads: std::mem::take(&mut self.reads),
            status: self.changed_status(),
        };
        let is_empty = ready.messages.is_empty()
            && ready.persist.is_none()
            && ready.committed.is_empty()
            && ready.install.is_none()
            && ready.snapshots.is_empty()
            && ready.reads.is_empty()
            && ready.status.is_none();
        (!is_empty).then_some(ready)
    }

    fn me(&self) -> MemberId {
        self.config.id
    }

    fn is_voter(&self) -> bool {
        self.membership.is_voter(self.config.id)
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Follows `leader`, if known, in `term`.
    fn become_follower(&mut self, term: Term, leader: Option<MemberId>) {
        if term > self.term {
            self.enter_term(term, None);
        }
        self.snapshots.clear();
        self.role = Role::Follower(Follower {
            leader,
            ..Follower::default()
        });
        self.reset_timer();
    }

    /// Appends an entry of this leader's.
    fn append_own(&mut self, payload: Payload) -> LogId {
        if self.log.applied() == self.log.last_index() {
            self.moves();
        }
        self.log.append(self.term, payload)
    }

    fn enter_term(&mut self, term: Term, vote: Option<MemberId>) {
        self.term = term;
        self.vote = vote;
        self.owed_vote = None;
        self.persistence.term_or_vote_changed();
    }

    fn reset_timer(&mut self) {
        self.timer = ElectionTimer::new(self.now, &mut self.rng);
    }

    /// Moves the commit index and activates what became committed. The caller looks whether the
    /// leader still belongs to the cluster.
    fn commit_to(&mut self, commit: LogIndex) {
        if commit <= self.log.commit() {
            return;
        }
        let mut bytes = 0;
        let mut changes = Vec::new();
        for entry in self.log.commit_to(commit) {
            bytes += entry.payload.len();
            if let Payload::ConfChange(change) = &entry.payload {
                changes.push((entry.id.index, change.clone()));
            }
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.uncommitted_bytes -= bytes;
        }
        if !changes.is_empty() {
            self.persistence.membership_committed();
        }
        for (index, change) in &changes {
            self.activate(*index, change);
        }
    }
}

/// Randomized each time (§3.4). What chance adds is kept as a share of the timeout, which may change
/// meanwhile.
///
/// It adds up to half a timeout at first: where an election takes a small part of one, two members
/// seldom stand at the same time, and what is waited for nothing is time without a leader. Whoever
/// stood and didn't win waits by up to a whole one, so that they don't meet again.
#[derive(Debug)]
struct ElectionTimer {
    since: Instant,
    /// In 1/2^32 of what chance may add.
    share: u32,
    /// It was set because this member campaigned.
    has_campaigned: bool,
    /// It doesn't wait at all.
    is_due: bool,
}

impl ElectionTimer {
    fn new(since: Instant, rng: &mut fastrand::Rng) -> Self {
        Self {
            since,
            share: rng.u32(..),
            has_campaigned: false,
            is_due: false,
        }
    }

    fn deadline(&self, election_timeout: Duration) -> Instant {
        if self.is_due {
            return self.since;
        }
        let most = if self.has_campaigned {
            election_timeout
        } else {
            election_timeout / 2
        };
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        let by_chance = (u128::from(nanos) * u128::from(self.share)) >> 32;
        let by_chance = u64::try_from(by_chance).expect("less than the most");
        self.since + election_timeout + Duration::from_nanos(by_chance)
    }
}

/// Messages to be sent.
#[derive(Debug)]
struct Outbox {
    from: MemberId,
    messages: Vec<PeerMessage>,
}

impl Outbox {
    fn send(&mut self, to: MemberId, term: Term, body: MessageBody) {
        self.messages.push(PeerMessage {
            from: self.from,
            to,
            term,
            body,
        });
    }
}
