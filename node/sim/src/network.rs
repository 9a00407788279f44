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
    /// As `cut`, by an ambush: it ends with that.
    ambushed: BTreeSet<(MemberId, MemberId)>,
    /// Links that hold back what is sent on them.
    holding: BTreeSet<(MemberId, MemberId)>,
    held: Vec<PeerMessage>,
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
        if self.is_cut(message.from, message.to) {
            faults.partitioned += 1;
            return [None, None];
        }
        if self.holding.contains(&link) {
            self.held.push(message.clone());
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

    pub(crate) fn is_cut(&self, from: MemberId, to: MemberId) -> bool {
        self.cut.contains(&(from, to)) || self.ambushed.contains(&(from, to))
    }

    /// The ordinary splits end.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// An ambush cuts a link, one way.
    pub(crate) fn cut_one_way(&mut self, from: MemberId, to: MemberId) {
        self.ambushed.insert((from, to));
    }

    /// An ambush cuts two members off from each other.
    pub(crate) fn part(&mut self, one: MemberId, other: MemberId) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Two members reach each other again.
    pub(crate) fn join(&mut self, one: MemberId, other: MemberId) {
        self.ambushed.remove(&(one, other));
        self.ambushed.remove(&(other, one));
    }

    /// What is sent on a link from now on comes late.
    pub(crate) fn hold(&mut self, from: MemberId, to: MemberId) {
        self.holding.insert((from, to));
    }

    /// A link doesn't hold back any more: gives what it did, to be delivered in any order.
    pub(crate) fn release(&mut self, from: MemberId, to: MemberId) -> Vec<PeerMessage> {
        self.holding.remove(&(from, to));
        let is_of_link = |message: &mut PeerMessage| (message.from, message.to) == (from, to);
        self.held.extract_if(.., is_of_link).collect()
    }

    /// What a link holds back.
    pub(crate) fn held_back(
        &self,
        from: MemberId,
        to: MemberId,
    ) -> impl Iterator<Item = &PeerMessage> {
        let is_of_link = move |message: &&PeerMessage| (message.from, message.to) == (from, to);
        self.held.iter().filter(is_of_link)
    }

    /// An ambush is over. Gives what is still held back.
    pub(crate) fn end_ambush(&mut self) -> Vec<PeerMessage> {
        self.ambushed.clear();
        self.holding.clear();
        std::mem::take(&mut self.held)
    }
}
