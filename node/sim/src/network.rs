//! The network: what becomes of a message.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use raftery_raft::{Instant, MemberId, PeerMessage};

use crate::Faults;
use crate::faults::{Weather, happens, micros};

/// Links and what is cut.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// Sender and receiver, one way.
    cut: BTreeSet<(MemberId, MemberId)>,
    /// When the latest message on a link arrives.
    latest: BTreeMap<(MemberId, MemberId), Instant>,
}

impl Network {
    /// When a message arrives: never, once or twice.
    pub(crate) fn route(
        &mut self,
        rng: &mut Rng,
        weather: &Weather,
        faults: &mut Faults,
        now: Instant,
        message: &PeerMessage,
    ) -> [Option<Instant>; 2] {
        let link = (message.from, message.to);
        if self.cut.contains(&link) {
            faults.partitioned += 1;
            return [None, None];
        }
        if happens(rng, weather.dropped) {
            faults.dropped += 1;
            return [None, None];
        }
        let first = self.arrival(rng, weather, faults, now, link);
        let second = happens(rng, weather.duplicated).then(|| {
            faults.duplicated += 1;
            self.arrival(rng, weather, faults, now, link)
        });
        [Some(first), second]
    }

    fn arrival(
        &mut self,
        rng: &mut Rng,
        weather: &Weather,
        faults: &mut Faults,
        now: Instant,
        link: (MemberId, MemberId),
    ) -> Instant {
        let delay = if happens(rng, weather.delayed) {
            faults.delayed += 1;
            micros(rng, 5_000, 400_000)
        } else {
            micros(rng, 300, 1_000)
        };
        let latest = self.latest.entry(link).or_default();
        let mut at = now + delay;
        if at < *latest {
            // A stream keeps its order, mostly.
            if happens(rng, weather.delayed * 4) {
                faults.reordered += 1;
            } else {
                at = *latest;
            }
        }
        *latest = at.max(*latest);
        at
    }

    /// Splits the members in two, both ways or, now and then, one way only.
    pub(crate) fn split(&mut self, rng: &mut Rng, members: &[MemberId]) {
        let is_one_way = rng.u8(0..4) == 0;
        let side: BTreeSet<_> = if rng.bool() {
            rng.choice(members).copied().into_iter().collect()
        } else {
            members.iter().copied().filter(|_| rng.bool()).collect()
        };
        for a in members.iter().filter(|id| side.contains(id)) {
            for b in members.iter().filter(|id| !side.contains(id)) {
                self.cut.insert((*a, *b));
                if !is_one_way {
                    self.cut.insert((*b, *a));
                }
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }
}
