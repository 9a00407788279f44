use super::*;

const H: Duration = Duration::from_millis(30);
const CEILING: Ceiling = Ceiling {
    heartbeat_interval: Duration::from_millis(100),
    election_timeout: Duration::from_secs(1),
};
const A: u64 = 1;
const B: u64 = 2;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Heartbeats of `leader` for `lasts`, each late by what `late` says, which draws by chance.
fn hear(
    timers: &mut AdaptiveTimers,
    from: Duration,
    lasts: Duration,
    leader: u64,
    mut late: impl FnMut(&mut fastrand::Rng) -> Duration,
) -> Duration {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut sent = from;
    let mut arrived = from;
    while sent < from + lasts {
        sent += H;
        arrived = arrived.max(sent + late(&mut rng));
        timers.on_heartbeat(arrived, leader, H);
    }
    arrived
}

#[test]
fn a_quiet_network_brings_the_timeout_down_slowly_and_to_the_floor() {
    let mut timers = AdaptiveTimers::new(CEILING);
    assert_eq!(timers.election_timeout(), ms(1000));
    let now = hear(&mut timers, ms(0), ms(500), A, |_| Duration::ZERO);
    assert_eq!(timers.election_timeout(), ms(1000), "too little is known");
    let now = hear(&mut timers, now, ms(2000), A, |_| Duration::ZERO);
    let later = timers.election_timeout();
    assert!(later > ms(500) && later < ms(750), "{later:?}");
    hear(&mut timers, now, ms(10_000), A, |_| Duration::ZERO);
    assert_eq!(timers.election_timeout(), ELECTION_TIMEOUT_MIN);
}

#[test]
fn one_late_heartbeat_raises_the_timeout_at_once() {
    let mut timers = AdaptiveTimers::new(CEILING);
    let now = hear(&mut timers, ms(0), ms(20_000), A, |_| Duration::ZERO);
    timers.on_heartbeat(now + H + ms(140), A, H);
    let raised = timers.election_timeout();
    assert!(raised >= 3 * H + ms(210), "{raised:?}");
    timers.on_heartbeat(now + 2 * H + ms(140), A, H);
    assert!(timers.election_timeout() >= raised.mul_f64(0.98));
}

#[test]
fn under_jitter_the_timeout_stays_above_every_gap_between_heartbeats() {
    for seed in 0..20 {
        let mut timers = AdaptiveTimers::new(CEILING);
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut sent, mut arrived) = (ms(0), ms(0));
        for round in 0..20_000 {
            sent += H;
            // In order, as a stream delivers.
            let next = arrived.max(sent + ms(rng.u64(20..200)));
            let gap = next - arrived;
            assert!(
                round < 2 || gap < timers.election_timeout(),
                "seed {seed}, {round}: {gap:?} against {timers:?}"
            );
            arrived = next;
            timers.on_heartbeat(arrived, A, H);
        }
    }
}

#[test]
fn stalls_of_a_twentieth_of_the_heartbeats_cost_no_election_once_they_were_seen() {
    for seed in 0..20 {
        let mut timers = AdaptiveTimers::new(CEILING);
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut sent, mut arrived, mut needless) = (ms(0), ms(0), 0);
        for _ in 0..20_000 {
            sent += H;
            // A lost segment is sent again after 200 ms, and holds up what follows.
            let late = if rng.u8(0..20) == 0 { ms(200) } else { ms(1) };
            let next = arrived.max(sent + late);
            needless += u32::from(next - arrived >= timers.election_timeout());
            arrived = next;
            timers.on_heartbeat(arrived, A, H);
        }
        assert_eq!(needless, 0, "seed {seed}");
    }
}

#[test]
fn the_timeout_never_leaves_its_bounds() {
    let mut timers = AdaptiveTimers::new(CEILING);
    let now = hear(&mut timers, ms(0), ms(60_000), A, |rng| {
        ms(rng.u64(0..9_000))
    });
    assert_eq!(timers.election_timeout(), CEILING.election_timeout);
    timers.on_sync(Duration::from_secs(3600));
    timers.on_heartbeat(now + H, A, H);
    assert_eq!(timers.election_timeout(), CEILING.election_timeout);
    let short = Ceiling {
        heartbeat_interval: ms(10),
        election_timeout: ms(100),
    };
    let mut timers = AdaptiveTimers::new(short);
    hear(&mut timers, ms(0), ms(60_000), A, |_| Duration::ZERO);
    assert_eq!(timers.election_timeout(), ms(100));
    assert_eq!(timers.heartbeat_interval(), ms(10));
}

#[test]
fn a_new_leader_is_given_more_time_and_the_pause_before_it_isnt_lateness() {
    let mut timers = AdaptiveTimers::new(CEILING);
    let now = hear(&mut timers, ms(0), ms(20_000), A, |_| Duration::ZERO);
    timers.on_heartbeat(now + ms(5_000), B, H);
    assert_eq!(timers.election_timeout(), ELECTION_TIMEOUT_MIN.mul_f64(1.5));
    timers.on_heartbeat(now + ms(5_030), B, H);
    assert!(timers.election_timeout() <= ELECTION_TIMEOUT_MIN.mul_f64(1.5));
    // The same one, after an election that it won.
    timers.on_no_leader();
    timers.on_heartbeat(now + ms(5_800), B, H);
    timers.on_heartbeat(now + ms(5_830), B, H);
    assert!(timers.election_timeout() < ms(500), "{timers:?}");
}

#[test]
fn a_slow_disk_lengthens_the_timeout_because_votes_are_synced() {
    let mut timers = AdaptiveTimers::new(CEILING);
    for _ in 0..100 {
        timers.on_sync(ms(300));
    }
    hear(&mut timers, ms(0), ms(20_000), A, |_| Duration::ZERO);
    let timeout = timers.election_timeout();
    assert!(timeout >= ms(390) && timeout < ms(450), "{timeout:?}");
}

#[test]
fn a_leader_beats_twice_in_a_round_trip_at_most_and_never_slower_than_configured() {
    for (round_trip, interval) in [(1, 30), (20, 40), (45, 90), (300, 100)] {
        let mut timers = AdaptiveTimers::new(CEILING);
        assert_eq!(timers.heartbeat_interval(), ms(100));
        for _ in 0..100 {
            timers.on_round_trip(ms(round_trip));
        }
        let found = timers.heartbeat_interval();
        assert!(found.abs_diff(ms(interval)) < ms(1), "{found:?}");
    }
}
