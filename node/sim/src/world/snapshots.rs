//! Snapshots: how they are sent in chunks that get lost, corrupted and doubled, received and
//! installed; and the housekeeping that cuts logs, so that somebody needs one.

use std::time::Duration;

use raftery_defects::{Defect, is_on};
use raftery_raft::{LogId, LogIndex, MemberId, MessageBody, PeerMessage, SnapshotMeta};
use raftery_store::SnapshotError;

use super::{Broken, World};
use crate::disk::DiskError;
use crate::faults::{happens, micros};
use crate::invariants::Observation;
use crate::keeper::Kept;
use crate::machine::log_id;
use crate::queue::Event;
use crate::streams::{Received, Receiving, Sending};

/// Small, so that streams are long and often interrupted.
const CHUNK_BYTES: usize = 6 << 10;
/// Chunks that may come to nothing before the sender gives up.
const FAILURES_MAX: u32 = 12;

/// For so long one stream keeps another from beginning.
const PATIENCE: Duration = Duration::from_millis(200);

/// What became of a chunk.
enum Chunk {
    Taken,
    /// The receiver has all of it, verified and durable.
    Last,
    Failed,
    /// The receiver's disk refused something.
    Died(DiskError),
}

impl World<'_> {
    /// The next step of what makes durable what is applied, and cuts the log behind that.
    pub(super) fn keep(&mut self, id: MemberId) -> Result<(), Broken> {
        let now = self.local(id);
        let member = self.members.get_mut(&id).expect("it lives");
        let life = member.life;
        let running = member.running.as_mut().expect("it lives");
        if self.scene.slow_store == Some(id) && running.keeper.is_syncing() {
            self.after(Duration::from_millis(5), Event::Keep { member: id, life });
            return Ok(());
        }
        let kept = match running.keeper.step(&mut running.machine) {
            Ok(kept) => kept,
            Err(error) => return self.disk_failed(id, error),
        };
        match kept {
            Kept::Nothing | Kept::Begun => {}
            Kept::Checkpointed => self.report.checkpoints += 1,
            Kept::Rewritten => self.report.rewrites += 1,
            Kept::Synced => {
                let durable = running.machine.durable();
                member.disk.shadow.applied = durable;
                let durable = if is_on(Defect::CutBeyondDurable) {
                    running.raft.status().applied
                } else {
                    durable.index
                };
                let up_to = durable.0.saturating_sub(self.weather.catch_up);
                let before = running.raft.status().base;
                let base = running.raft.compact(now, LogIndex(up_to));
                if base != before {
                    self.report.cuts += 1;
                    if let Err(error) = member.disk.cut(base.index) {
                        return self.disk_failed(id, error);
                    }
                }
            }
        }
        let pause = match kept {
            Kept::Nothing | Kept::Rewritten => micros(&mut self.rng, 20_000, 250_000),
            Kept::Begun | Kept::Synced | Kept::Checkpointed => micros(&mut self.rng, 500, 20_000),
        };
        self.after(pause, Event::Keep { member: id, life });
        self.settle(id)
    }

    /// Begins to send a snapshot.
    pub(super) fn send_snapshot(&mut self, id: MemberId, to: MemberId) -> Result<(), Broken> {
        let member = self.members.get_mut(&id).expect("it acts");
        let life = member.life;
        let running = member.running.as_mut().expect("it acts");
        if running.sending.contains_key(&to) {
            return Ok(());
        }
        let meta = running.machine.meta();
        let snapshot = match running.machine.store.snapshot(meta) {
            Ok(snapshot) => snapshot,
            Err(error) => return self.disk_failed(id, error),
        };
        let meta = SnapshotMeta {
            last: log_id(snapshot.at()),
            membership: running.machine.membership.clone(),
        };
        let (last, size) = (meta.last, snapshot.size());
        let term = running.shown.as_ref().expect("the first effect").term;
        let sending = Sending {
            snapshot,
            meta,
            term,
            failures: 0,
        };
        running.sending.insert(to, sending);
        self.say(format_args!(
            "{id} sends {to} a snapshot at {last}, {size} bytes"
        ));
        let takes = micros(&mut self.rng, 300, 5_000);
        self.after(
            takes,
            Event::Stream {
                member: id,
                life,
                to,
            },
        );
        Ok(())
    }

    /// A piece of a snapshot goes over the network.
    pub(super) fn stream(&mut self, id: MemberId, to: MemberId) -> Result<(), Broken> {
        let life = self.members[&id].life;
        let Some(sending) = self.sending(id, to) else {
            return Ok(());
        };
        let (failures, last) = (sending.failures, sending.meta.last);
        match self.chunk(id, to)? {
            Chunk::Taken => {
                let takes = micros(&mut self.rng, 300, 3_000);
                self.after(
                    takes,
                    Event::Stream {
                        member: id,
                        life,
                        to,
                    },
                );
                Ok(())
            }
            Chunk::Last => {
                self.report.snapshots += 1;
                self.say(format_args!("{to} has the snapshot of {id} at {last}"));
                // The end of the stream may get lost, too.
                let told = (self.rng.u8(0..8) > 0).then_some(last);
                let takes = micros(&mut self.rng, 300, 50_000);
                let event = Event::Streamed {
                    member: id,
                    life,
                    to,
                    last: told,
                };
                self.after(takes, event);
                self.offer(id, to)
            }
            Chunk::Died(error) => {
                let pause = micros(&mut self.rng, 5_000, 50_000);
                self.after(
                    pause,
                    Event::Stream {
                        member: id,
                        life,
                        to,
                    },
                );
                self.disk_failed(to, error)
            }
            Chunk::Failed if failures < FAILURES_MAX => {
                let sending = self.sending(id, to).expect("it was there");
                sending.failures += 1;
                let pause = micros(&mut self.rng, 5_000, 60_000);
                self.after(
                    pause,
                    Event::Stream {
                        member: id,
                        life,
                        to,
                    },
                );
                Ok(())
            }
            Chunk::Failed => {
                self.faults().given_up += 1;
                self.streamed(id, to, None)
            }
        }
    }

    fn sending(&mut self, id: MemberId, to: MemberId) -> Option<&mut Sending> {
        let running = self.members.get_mut(&id)?.running.as_mut()?;
        running.sending.get_mut(&to)
    }

    fn chunk(&mut self, id: MemberId, to: MemberId) -> Result<Chunk, Broken> {
        if self.network.is_cut(id, to) || self.network.is_cut(to, id) {
            return Ok(Chunk::Failed);
        }
        let is_lost = happens(&mut self.rng, self.weather.bad_chunks);
        let is_bad = happens(&mut self.rng, self.weather.bad_chunks);
        let is_doubled = happens(&mut self.rng, self.weather.bad_chunks);
        // Taken out, since two members are at it.
        let Some(mut receiver) = self.members.remove(&to) else {
            return Ok(Chunk::Failed);
        };
        let result = self.chunk_to(id, &mut receiver, is_lost, is_bad, is_doubled);
        self.members.insert(to, receiver);
        result
    }

    fn chunk_to(
        &mut self,
        id: MemberId,
        receiver: &mut crate::member::Member,
        is_lost: bool,
        is_bad: bool,
        is_doubled: bool,
    ) -> Result<Chunk, Broken> {
        let Some(running) = receiver.running.as_mut().filter(|r| !r.is_suspended()) else {
            return Ok(Chunk::Failed);
        };
        if running.received.is_some() {
            // One is being installed: to begin another would remove its files.
            return Ok(Chunk::Failed);
        }
        let sender = self.members.get_mut(&id).and_then(|m| m.running.as_mut());
        let sender = sender.expect("it lives");
        let sending = sender
            .sending
            .get_mut(&receiver.disk.id)
            .expect("it was there");
        let snapshot = &sending.snapshot;
        let of_this = |receiving: &Receiving| receiving.id == snapshot.id();
        let is_other =
            |other: &Receiving| other.id != snapshot.id() && self.now.since(other.heard) < PATIENCE;
        if running.receiving.as_ref().is_some_and(is_other) {
            return Ok(Chunk::Failed);
        }
        if !running.receiving.as_ref().is_some_and(of_this) {
            running.receiving = None;
            match running.machine.store.receive_snapshot() {
                Ok(receiver) => {
                    let id = snapshot.id();
                    running.receiving = Some(Receiving {
                        id,
                        heard: self.now,
                        receiver,
                    });
                }
                Err(error) => return Ok(Chunk::Died(error.into())),
            }
        }
        let receiving = running.receiving.as_mut().expect("it was begun");
        receiving.heard = self.now;
        let at = receiving.receiver.received();
        let chunk = snapshot.read_chunk(at, CHUNK_BYTES);
        let chunk = chunk.map_err(|error| ("snapshots can be read", error.to_string()))?;
        let faults = &mut self.report.faults;
        if is_lost {
            faults.lost_chunks += 1;
            return Ok(Chunk::Failed);
        }
        faults.resumed += u64::from(sending.failures > 0 && at > 0);
        let unexpected = |error: SnapshotError| ("honest chunks are taken", error.to_string());
        if is_bad && !chunk.bytes.is_empty() {
            faults.bad_chunks += 1;
            let mut bad = chunk.clone();
            let mut bytes = bad.bytes.to_vec();
            let place = self.rng.usize(0..bytes.len());
            bytes[place] ^= 1 << self.rng.u8(0..8);
            bad.bytes = bytes.into();
            return match receiving.receiver.write(&bad) {
                Err(SnapshotError::Checksum { .. }) => Ok(Chunk::Failed),
                Err(error) => Err(unexpected(error)),
                Ok(()) => Err(("bad chunks are refused", format!("{id}: at {at}"))),
            };
        }
        match receiving.receiver.write(&chunk) {
            Ok(()) => {}
            Err(SnapshotError::Io(error)) => return Ok(Chunk::Died(error.into())),
            Err(error) => return Err(unexpected(error)),
        }
        if is_doubled && !chunk.bytes.is_empty() {
            faults.doubled_chunks += 1;
            match receiving.receiver.write(&chunk) {
                Err(SnapshotError::Offset { .. }) => {}
                again => return Err(("doubled chunks are refused", format!("{id}: {again:?}"))),
            }
        }
        if receiving.receiver.received() < snapshot.size() {
            return Ok(Chunk::Taken);
        }
        let whole = running.receiving.take().expect("it was begun");
        match whole.receiver.finish() {
            Ok(snapshot) => {
                let last = sending.meta.last;
                running.received = Some(Received { last, snapshot });
                Ok(Chunk::Last)
            }
            Err(SnapshotError::Io(error)) => Ok(Chunk::Died(error.into())),
            Err(error) => Err(unexpected(error)),
        }
    }

    /// Raft looks at a snapshot that is whole, in the name of its sender.
    fn offer(&mut self, id: MemberId, to: MemberId) -> Result<(), Broken> {
        let sending = self.sending(id, to).expect("it was there");
        let message = PeerMessage {
            from: id,
            to,
            term: sending.term,
            body: MessageBody::InstallSnapshot {
                meta: sending.meta.clone(),
            },
        };
        let life = self.members[&to].life;
        self.deliver(to, life, message)?;
        // Raft has taken it, or has no use for it.
        let member = self.members.get_mut(&to).expect("installed");
        if let Some(running) = &mut member.running
            && !running.installs
        {
            running.received = None;
        }
        Ok(())
    }

    /// The stream has ended, as far as its sender knows.
    pub(super) fn streamed(
        &mut self,
        id: MemberId,
        to: MemberId,
        last: Option<LogId>,
    ) -> Result<(), Broken> {
        let member = self.members.get_mut(&id).expect("it lives");
        let running = member.running.as_mut().expect("it lives");
        running.sending.remove(&to);
        self.input(id, |raft, now| raft.on_snapshot_sent(now, to, last))
            .map(drop)
    }

    /// Raft wants the snapshot that it was offered. The state machine may be busy.
    pub(super) fn install_snapshot(
        &mut self,
        id: MemberId,
        meta: &SnapshotMeta,
    ) -> Result<(), Broken> {
        let member = self.members.get_mut(&id).expect("it acts");
        let life = member.life;
        let running = member.running.as_mut().expect("it acts");
        let received = running.received.as_ref().map(|received| received.last);
        if received != Some(meta.last) {
            let what = format!("{id} is to install {}, offered was {received:?}", meta.last);
            return Err(("only what is offered is installed", what));
        }
        running.installs = true;
        let slowly = self.rng.bool();
        self.faults().slow_installs += u64::from(slowly);
        let takes = micros(&mut self.rng, 1, if slowly { 200_000 } else { 100 });
        self.after(takes, Event::Install { member: id, life });
        Ok(())
    }

    /// The state machine's turn.
    pub(super) fn install_received(&mut self, id: MemberId) -> Result<(), Broken> {
        let member = self.members.get_mut(&id).expect("it lives");
        let running = member.running.as_mut().expect("it lives");
        // What was handed out before is older.
        running.to_apply.clear();
        running.installs = false;
        let Received { last, snapshot } = running.received.take().expect("it was offered");
        let retired = match running.machine.install(snapshot) {
            Ok(retired) => retired,
            Err(error) => return self.disk_failed(id, error),
        };
        member.disk.shadow.applied = last;
        running.waiters = running.waiters.split_off(&last.index.next());
        if let Err(error) = retired.remove() {
            return self.disk_failed(id, error);
        }
        self.report.installed += 1;
        self.say(format_args!("{id} installs the snapshot at {last}"));
        self.invariants
            .observe(&Observation::Installed { member: id, last })?;
        self.look_at_state(id)?;
        self.input(id, |raft, now| raft.on_installed(now, last))?;
        if self.members[&id].running.is_some() {
            self.serve_reads(id)?;
            self.settle(id)?;
        }
        Ok(())
    }
}
