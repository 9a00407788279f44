//! One member whose timers change, whom a leader wishes to wait, or whose leader gets nowhere.

use std::collections::BTreeMap;
use std::time::Duration;

use raftery_raft::{
    DISTRUST_DOUBLINGS_MAX, DISTRUST_FORGOTTEN_AFTER, Heartbeat, Instant, LogIndex, MemberId,
    MessageBody, PROMISE_MAX, Raft, RaftConfig, RoleKind, STALLED_MIN, Timers,
};

use crate::cluster::{A, B, C, ELECTION, HEARTBEAT, config, founded};
use crate::member::{accepted, append, at, data, leader, log_id, member, message};

fn timers(election_timeout: Duration) -> Timers {
    Timers {
        heartbeat_interval: HEARTBEAT,
        election_timeout,
    }
}

/// B, which promises, long after its start.
fn promising() -> Raft {
    let settings = RaftConfig {
        promise_max: PROMISE_MAX,
        ..config(B)
    };
    let mut raft = Raft::new(at(0), settings, founded(&[A, B, C]));
    raft.take_ready().expect("status and founding");
    raft.on_applied(at(0), LogIndex(1));
    raft
}

/// A's heartbeat in term 2, and what B promises.
fn beat(raft: &mut Raft, now: Instant, beat: Heartbeat) -> Duration {
    raft.step(now, message(A, B, 2, MessageBody::Heartbeat(beat)))
        .expect("a good message");
    raft.check_invariants();
    let ready = raft.take_ready().expect("an answer");
    let promise = ready.messages.iter().find_map(|m| match &m.body {
        MessageBody::HeartbeatResponse { number, promise } if *number == beat.number => {
            Some(*promise)
        }
        _ => None,
    });
    promise.expect("every heartbeat is answered")
}

fn stalled(number: u64, stalled: Duration) -> Heartbeat {
    Heartbeat {
        number,
        stalled,
        ..Heartbeat::default()
    }
}

fn delayed(number: u64, delay: Duration) -> Heartbeat {
    Heartbeat {
        number,
        delay,
        ..Heartbeat::default()
    }
}

/// Twice the election timeout of these tests.
const BOUND: Duration = Duration::from_secs(2);

#[test]
fn timers_that_change_move_the_election_at_once() {
    let mut raft = member(B);
    let due = raft.next_deadline();
    assert!((ELECTION..ELECTION * 3 / 2).contains(&due.0));
    raft.set_timers(at(10), timers(ELECTION / 4));
    assert_eq!(raft.timers(), timers(ELECTION / 4));
    let sooner = raft.next_deadline();
    let rounding = Duration::from_nanos(4);
    assert!(due.0 - sooner.0 * 4 < rounding, "{due:?}, {sooner:?}");
    raft.set_timers(at(20), timers(ELECTION));
    assert_eq!(raft.next_deadline(), due);
}

#[test]
fn who_stood_in_vain_waits_by_up_to_a_whole_timeout_and_others_by_half_of_one() {
    let mut longest = [Duration::ZERO; 3];
    for seed in 0..200 {
        let settings = RaftConfig { seed, ..config(B) };
        let mut raft = Raft::new(at(0), settings, founded(&[A, B, C]));
        let mut now = at(0);
        let mut wait = |raft: &Raft, now: Instant, which: usize, less_than: Duration| {
            let due = raft.next_deadline();
            let waits = due.since(now);
            assert!((ELECTION..less_than).contains(&waits), "{which}: {waits:?}");
            longest[which] = longest[which].max(waits);
            due
        };
        now = wait(&raft, now, 0, ELECTION * 3 / 2);
        raft.tick(now);
        assert_eq!(raft.status().role, RoleKind::PreCandidate);
        wait(&raft, now, 1, ELECTION * 2);
        for from in [A, C] {
            let refused = MessageBody::PreVoteResponse { granted: false };
            raft.step(now, message(from, B, 1, refused))
                .expect("a good message");
        }
        assert_eq!(raft.status().role, RoleKind::Follower);
        wait(&raft, now, 2, ELECTION * 2);
    }
    let [before, unanswered, refused] = longest;
    assert!(before > ELECTION * 7 / 5, "{before:?}");
    assert!(unanswered > ELECTION * 9 / 5, "{unanswered:?}");
    assert!(refused > ELECTION * 9 / 5, "{refused:?}");
}

#[test]
fn a_promise_that_was_given_outlives_a_shorter_timeout() {
    let mut raft = promising();
    let now = at(5_000);
    assert_eq!(beat(&mut raft, now, Heartbeat::default()), ELECTION);
    raft.set_timers(now, timers(ELECTION / 10));
    assert_eq!(raft.next_deadline(), now + ELECTION);
    let later = now + ELECTION / 2;
    assert_eq!(beat(&mut raft, later, Heartbeat::default()), ELECTION / 10);
    assert_eq!(raft.next_deadline(), now + ELECTION);
    assert!(STALLED_MIN <= ELECTION);
}

#[test]
fn a_leader_beats_by_a_shorter_interval_at_once() {
    let mut raft = leader();
    raft.take_ready();
    let now = at(0);
    let due = raft.next_deadline();
    let heartbeat_interval = HEARTBEAT / 10;
    let shorter = Timers {
        heartbeat_interval,
        election_timeout: ELECTION,
    };
    raft.set_timers(now, shorter);
    let sooner = raft.next_deadline();
    assert!(sooner < due);
    raft.tick(sooner);
    assert_eq!(raft.next_deadline(), sooner + heartbeat_interval);
}

#[test]
fn a_wish_puts_an_election_off_by_an_election_timeout_at_most() {
    let mut raft = promising();
    let now = at(5_000);
    beat(&mut raft, now, Heartbeat::default());
    let undelayed = raft.next_deadline();
    for (wished, obeyed) in [
        (Duration::from_millis(30), Duration::from_millis(30)),
        (Duration::from_secs(3600), ELECTION),
        (Duration::ZERO, Duration::ZERO),
    ] {
        beat(&mut raft, now, delayed(1, wished));
        assert_eq!(raft.next_deadline(), undelayed + obeyed);
    }
}

#[test]
fn a_leader_tells_its_wishes_and_for_how_long_it_got_nowhere() {
    let mut raft = leader();
    raft.take_ready();
    raft.set_delays(BTreeMap::from([(C, Duration::from_millis(7))]));
    let due = raft.next_deadline();
    raft.tick(due);
    let told = |raft: &mut Raft| -> BTreeMap<MemberId, (Duration, Duration)> {
        let messages = raft.take_ready().expect("heartbeats").messages;
        let heartbeats = messages.iter().filter_map(|m| match &m.body {
            MessageBody::Heartbeat(beat) => Some((m.to, (beat.stalled, beat.delay))),
            _ => None,
        });
        heartbeats.collect()
    };
    let delay = Duration::from_millis(7);
    let expected = [(B, (HEARTBEAT, Duration::ZERO)), (C, (HEARTBEAT, delay))];
    assert_eq!(told(&mut raft), BTreeMap::from(expected));
    // Its entry is committed by B and C, and applied: nothing waits.
    for from in [B, C] {
        raft.step(due, message(from, A, 2, accepted(2)))
            .expect("a good message");
    }
    raft.take_ready();
    raft.on_applied(due, LogIndex(2));
    raft.tick(raft.next_deadline());
    assert_eq!(told(&mut raft)[&B].0, Duration::ZERO);
    // What waits now counts from now on.
    let proposed = raft.next_deadline();
    raft.propose(proposed, data(0, 0).payload)
        .expect("it leads");
    raft.take_ready();
    let due = proposed + HEARTBEAT;
    raft.tick(due);
    assert_eq!(told(&mut raft)[&B].0, HEARTBEAT);
}

#[test]
fn a_leader_that_gets_nowhere_is_followed_but_not_counted_on() {
    let mut raft = promising();
    let now = at(5_000);
    assert_eq!(beat(&mut raft, now, stalled(1, BOUND)), ELECTION);
    let due = raft.next_deadline();
    for number in 2..30 {
        let now = now + HEARTBEAT * (number - 1);
        if now >= due {
            break;
        }
        let beats = stalled(u64::from(number), BOUND + HEARTBEAT);
        assert_eq!(beat(&mut raft, now, beats), Duration::ZERO);
        assert_eq!(raft.next_deadline(), due, "nothing puts the election off");
        assert_eq!(raft.status().leader, Some(A));
        raft.step(now, message(A, B, 2, append(log_id(1, 1), vec![], 1)))
            .expect("a good message");
        assert_eq!(raft.next_deadline(), due, "appends neither");
        raft.take_ready();
    }
    let ask = MessageBody::PreVote { last: log_id(1, 1) };
    let last_counted = now + ELECTION;
    raft.step(last_counted, message(C, B, 3, ask))
        .expect("a good message");
    let answers = raft.take_ready().expect("an answer").messages;
    let granted = MessageBody::PreVoteResponse { granted: true };
    assert_eq!(answers, [message(B, C, 3, granted)]);
    raft.tick(due);
    assert_eq!(raft.status().role, RoleKind::PreCandidate);
    let again = stalled(40, BOUND * 3);
    assert_eq!(beat(&mut raft, due, again), Duration::ZERO);
    assert_eq!(
        raft.status().role,
        RoleKind::PreCandidate,
        "it goes on asking"
    );
    // The leader gets on again.
    assert_eq!(beat(&mut raft, due, stalled(41, HEARTBEAT)), ELECTION);
    assert_eq!(raft.status().role, RoleKind::Follower);
}

#[test]
fn who_campaigns_out_of_distrust_takes_appends_again_after_half_an_election_timeout() {
    let mut raft = promising();
    let now = at(5_000);
    assert_eq!(beat(&mut raft, now, stalled(1, BOUND * 2)), Duration::ZERO);
    let due = raft.next_deadline();
    raft.tick(due);
    assert_eq!(raft.status().role, RoleKind::PreCandidate);
    raft.take_ready();
    let mut offer = |now: Instant| {
        let new = message(A, B, 2, append(log_id(1, 1), vec![data(2, 2)], 1));
        raft.step(now, new).expect("a good message");
        (
            raft.status().role,
            raft.take_ready().and_then(|ready| ready.persist),
        )
    };
    let early = offer(due + (ELECTION / 2 - Duration::from_millis(1)));
    assert_eq!(early, (RoleKind::PreCandidate, None));
    let (role, batch) = offer(due + ELECTION / 2);
    let batch = batch.expect("the entry is taken");
    assert_eq!(
        (role, batch.entries),
        (RoleKind::Follower, vec![data(2, 2)])
    );
    // The leader, which has been waiting for that, gets the answer, and campaigns go on without it.
    raft.on_persisted(due + ELECTION, batch.seq);
    let answers = raft.take_ready().expect("an answer").messages;
    assert_eq!(answers, [message(B, A, 2, accepted(2))]);
    raft.tick(raft.next_deadline());
    assert_eq!(raft.status().role, RoleKind::PreCandidate);
}

#[test]
fn whose_own_disk_or_state_machine_hangs_puts_up_with_a_leader_that_gets_nowhere() {
    let mut raft = promising();
    let now = at(5_000);
    let entries = vec![data(2, 2)];
    raft.step(now, message(A, B, 2, append(log_id(1, 1), entries, 1)))
        .expect("a good message");
    let batch = raft.take_ready().and_then(|ready| ready.persist);
    // Only just: a busy disk always owes something.
    assert_eq!(beat(&mut raft, now, stalled(1, BOUND * 2)), Duration::ZERO);
    let later = now + STALLED_MIN / 2;
    assert_eq!(beat(&mut raft, later, stalled(2, BOUND * 2)), ELECTION);
    raft.on_persisted(later, batch.expect("an entry").seq);
    raft.take_ready();
    assert_eq!(
        beat(&mut raft, later, stalled(3, BOUND * 2)),
        Duration::ZERO
    );
    // It knows what is committed and doesn't apply it.
    raft.step(later, message(A, B, 2, append(log_id(2, 2), vec![], 2)))
        .expect("a good message");
    raft.take_ready();
    assert_eq!(
        beat(&mut raft, later, stalled(4, BOUND * 2)),
        Duration::ZERO
    );
    let later = later + STALLED_MIN / 2;
    assert_eq!(beat(&mut raft, later, stalled(5, BOUND * 2)), ELECTION);
    raft.on_applied(later, LogIndex(2));
    assert_eq!(
        beat(&mut raft, later, stalled(6, BOUND * 2)),
        Duration::ZERO
    );
}

#[test]
fn each_stall_that_led_to_a_campaign_doubles_the_bound_until_a_minute_of_calm() {
    let mut raft = promising();
    let mut now = at(5_000);
    let mut number = 0;
    for doublings in 0..DISTRUST_DOUBLINGS_MAX + 2 {
        let bound = BOUND * (1 << doublings.min(DISTRUST_DOUBLINGS_MAX));
        number += 2;
        let moved = stalled(number, Duration::ZERO);
        assert_eq!(beat(&mut raft, now, moved), ELECTION);
        assert_eq!(beat(&mut raft, now, stalled(number, bound)), ELECTION);
        let beyond = stalled(number + 1, bound + HEARTBEAT);
        assert_eq!(beat(&mut raft, now, beyond), Duration::ZERO);
        now = raft.next_deadline();
        raft.tick(now);
        raft.check_invariants();
        assert_eq!(raft.status().role, RoleKind::PreCandidate);
        raft.take_ready();
        // While it goes on, the bound stays.
        assert_eq!(beat(&mut raft, now, beyond), Duration::ZERO);
    }
    assert_eq!(beat(&mut raft, now, Heartbeat::default()), ELECTION);
    now = now + DISTRUST_FORGOTTEN_AFTER;
    assert_eq!(beat(&mut raft, now, Heartbeat::default()), ELECTION);
    let beyond = stalled(1, BOUND + HEARTBEAT);
    assert_eq!(beat(&mut raft, now, beyond), Duration::ZERO);
}

#[test]
fn who_resigns_asks_the_best_to_campaign_and_stands_back() {
    let mut raft = leader();
    raft.take_ready();
    let now = at(3_000);
    raft.step(now, message(C, A, 2, accepted(2)))
        .expect("a good message");
    raft.take_ready();
    assert_eq!(raft.resign(now), Some(C));
    raft.check_invariants();
    let ready = raft.take_ready().expect("an order to campaign");
    assert_eq!(ready.messages, [message(A, C, 2, MessageBody::TimeoutNow)]);
    let status = raft.status();
    assert_eq!((status.role, status.leader), (RoleKind::Follower, None));
    assert!(raft.next_deadline() >= now + 2 * ELECTION);
    assert_eq!(raft.lease_until(), None);
    assert_eq!(raft.resign(now), None, "it leads no more");
}
