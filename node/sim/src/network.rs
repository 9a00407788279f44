//! The network: what becomes of a message.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use raftery_raft::{Instant, MemberId, MessageBody, PeerMessage};

use crate::Faults;
use crate::faults::{Weather, happens, micros};

/// Of a thousand orders to campaign: so rare that they need chances of their own.
const LATE_TIMEOUT_NOW: u32 = 200;

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
        let late = match &message.body {
            MessageBody::TimeoutNow if weather.late > 0 => LATE_TIMEOUT_NOW,
            _ => weather.late,
        };
        if happens(rng, late) {
            faults.late += 1;
            faults.late_timeout_now += u64::from(message.body == MessageBody::TimeoutNow);
            // What comes behind it on the link doesn't wait for it.
            let late = now + micros(rng, 400_000, 5_000_000);
            let prompt = rng.bool().then(|| {
                faults.duplicated += 1;
                self.arrival(rng, weather, faults, now, link)
            });
            return [prompt, Some(late)];
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

    /// Splits the members in two: both ways, one way only, or with one member that both sides
    /// still reach. Now and then `leader` is on its own.
    pub(crate) fn split(
        &mut self,
        rng: &mut Rng,
        faults: &mut Faults,
        members: &[MemberId],
        leader: Option<MemberId>,
    ) -> &'static str {
        let side: BTreeSet<_> = match (rng.u8(0..4), leader) {
            (0, Some(leader)) => [leader].into(),
            (0 | 1, _) => rng.choice(members).copied().into_iter().collect(),
            (_, _) => members.iter().copied().filter(|_| rng.bool()).collect(),
        };
        let kind = rng.u8(0..4);
        let bridge = rng.choice(members).copied().filter(|_| kind == 0);
        let is_one_way = kind == 1;
        for a in members.iter().filter(|id| side.contains(id)) {
            for b in members.iter().filter(|id| !side.contains(id)) {
                if bridge == Some(*a) || bridge == Some(*b) {
                    continue;
                }
                let (from, to) = if rng.bool() && is_one_way {
                    (b, a)
                } else {
                    (a, b)
                };
                self.cut.insert((*from, *to));
                if !is_one_way {
                    self.cut.insert((*to, *from));
                }
            }
        }
        let (count, text) = match kind {
            0 => (&mut faults.bridges, "with a bridge"),
            1 => (&mut faults.one_way, "one way"),
            _ => (&mut faults.two_way, "both ways"),
        };
        *count += u64::from(!self.cut.is_empty());
        text
    }

    pub(crate) fn cuts(&self) -> &BTreeSet<(MemberId, MemberId)> {
        &self.cut
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }
}
