//! Of three voters, one is cut off from the leader, so that the other alone vouches for the last
//! entries that are acknowledged. Then the leader crashes, and so does that one, whose log rots: it
//! comes back without those entries, and the one that never had them asks for its vote.

use std::time::Duration;

use raftery_raft::{Instant, MemberId};

use super::{Clients, Next, Plot};
use crate::faults::micros;
use crate::world::World;
use crate::world::crash::Crash;

#[derive(Debug)]
pub(super) struct RottenWitness {
    leader: MemberId,
    witness: MemberId,
    away: MemberId,
    /// Clients write until then.
    writes_until: Instant,
}

impl RottenWitness {
    pub(super) fn lay(world: &mut World<'_>) -> Option<(Plot, Duration)> {
        let (leader, witness, away) = world.calm_three()?;
        if !world.may_lose_one() {
            return None;
        }
        world.network.part(leader, away);
        world.scene.clients = Clients::Busy;
        world.scene.is_still = true;
        // What the state machine holds durably isn't lost with the log.
        world.scene.slow_machine = Some(witness);
        let writes = micros(&mut world.rng, 10_000, 30_000);
        world.look_again_in(writes);
        let plot = Plot::RottenWitness(Self {
            leader,
            witness,
            away,
            writes_until: world.now + writes,
        });
        Some((plot, Duration::from_millis(100)))
    }

    pub(super) fn look(self, world: &mut World<'_>) -> Next {
        if world.now >= self.writes_until {
            world.scene.clients = Clients::Quiet;
        }
        match self.is_ripe(world) {
            None => Next::Over,
            Some(true) if world.scene.clients == Clients::Quiet => self.spring(world),
            Some(_) => Next::Wait(Plot::RottenWitness(self)),
        }
    }

    /// Whether the witness alone vouches, and its log rests.
    fn is_ripe(&self, world: &World<'_>) -> Option<bool> {
        let running = |id: MemberId| world.members[&id].running.as_ref();
        let (leader, witness) = (running(self.leader)?, running(self.witness)?);
        let (commit, lacks) = (leader.raft.commit(), running(self.away)?.raft.last_index());
        let disk = &world.members[&self.witness].disk;
        let vouches = commit > lacks && disk.shadow.last() >= commit;
        let rests = disk.is_sealed();
        Some(vouches && rests && witness.machine.durable().index <= lacks)
    }

    fn spring(&self, world: &mut World<'_>) -> Next {
        if !world.may_lose_one() {
            return Next::Over;
        }
        let before = world.report.faults.rotten;
        let rotten = Crash {
            loses_all: world.rng.bool(),
            rots: true,
            away: 2_000..10_000,
        };
        world.crash_so(self.witness, rotten);
        let down = Crash {
            loses_all: world.rng.bool(),
            rots: false,
            away: 1_000_000..1_600_000,
        };
        world.crash_so(self.leader, down);
        world.scene.clients = Clients::Usual;
        world.scene.slow_machine = None;
        world.report.faults.rotten_witnesses += world.report.faults.rotten - before;
        Next::Sprung(Duration::from_millis(1200))
    }
}
