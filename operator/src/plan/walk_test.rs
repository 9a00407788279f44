//! A random walk: faults, edits and an operator that dies at every step, on a cluster in memory.
//!
//! Whatever happens, what must never happen doesn't; and when the world leaves the cluster
//! alone, it becomes what the spec says.

use std::collections::BTreeSet;

use super::model_test::{Model, desired};
use super::{Plan, State, Step};
use crate::api::{Desired, FailSlow, MemberPhase, Veto};
use crate::ids::MemberId;

const WALKS: u64 = 1000;
const STEPS: usize = 300;
const CALM_TURNS: usize = 400;

struct Walk {
    seed: u64,
    rng: fastrand::Rng,
    model: Model,
    desired: Desired,
    removed: BTreeSet<MemberId>,
    opened: bool,
    swaps: u32,
    /// What an operator that lost its lease still has in mind.
    stale: Option<Plan>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let size = rng.i32(1..=5);
        Self {
            seed,
            rng,
            model: Model::empty(),
            desired: Desired {
                fail_slow: FailSlow::Replace,
                ..desired(size)
            },
            removed: BTreeSet::new(),
            opened: false,
            swaps: 0,
            stale: None,
        }
    }

    /// A turn of the operator, which may die before or after it acted.
    fn turn(&mut self) {
        let plan = self.model.plan(&self.desired);
        match self.rng.u8(0..10) {
            0 => {}
            1 => self.act(&plan, false),
            _ => self.act(&plan, true),
        }
        if self.rng.u8(0..4) != 0 {
            self.model.settle();
        }
        match self.rng.u8(0..40) {
            0 => self.stale = Some(plan),
            1 => self.act_stale(),
            _ => {}
        }
        self.model
            .pass(std::time::Duration::from_secs(self.rng.u64(0..3)));
        self.check();
    }

    fn act(&mut self, plan: &Plan, noted: bool) {
        let before = self.model.clone();
        self.model.act(&self.desired, plan, noted);
        let disturbs = matches!(
            plan.step,
            Some(
                Step::Remove { .. }
                    | Step::DeletePod { .. }
                    | Step::Transfer { .. }
                    | Step::Swap { .. }
            )
        );
        // Before it is open, a founding that failed is wiped, whole.
        if disturbs && before.quorum_alive() && before.notes.founded {
            let mut after = self.model.clone();
            after.settle_without_recreation();
            // With one or two voters there is no way to restart one that keeps the quorum.
            if before.voters() > 2 {
                assert!(
                    after.quorum_alive(),
                    "seed {}: {plan} took the quorum of\n{before:#?}",
                    self.seed
                );
            }
        }
        if matches!(plan.step, Some(Step::NoteSwap { .. })) {
            let removing = before.notes.members.iter();
            let in_flight = removing
                .filter(|n| n.phase == MemberPhase::Removing)
                .count();
            let is_quiet = before.learners() == 0
                && before.notes.swap.is_none()
                && before
                    .raft
                    .as_ref()
                    .is_some_and(|raft| raft.joint.is_none())
                && in_flight == 0;
            assert!(is_quiet, "seed {}: {plan} amid\n{before:#?}", self.seed);
        }
        let swaps = |model: &Model| model.raft.as_ref().map_or(0, |raft| raft.swaps);
        if swaps(&self.model) > swaps(&before) {
            self.swaps += 1;
            // Nobody but the slow one goes, and all who are left live.
            let mut after = self.model.clone();
            after.settle();
            assert!(
                after.live_voters().len() >= before.voters(),
                "seed {}: {plan} cost redundancy of\n{before:#?}",
                self.seed
            );
        }
        if !before.quorum_alive() && before.notes.founded {
            let touches = matches!(
                plan.step,
                Some(Step::DeletePod { .. } | Step::DeleteClaim { .. } | Step::Remove { .. })
            );
            assert!(!touches, "seed {}: {plan} without a quorum", self.seed);
        }
    }

    /// A change of membership or a deletion that was planned long ago: UIDs and configuration
    /// indexes keep it from doing harm. Its status write is refused.
    fn act_stale(&mut self) {
        let Some(Plan {
            step: Some(step), ..
        }) = self.stale.take()
        else {
            return;
        };
        match step {
            Step::AddLearner { .. }
            | Step::Promote { .. }
            | Step::Remove { .. }
            | Step::Swap { .. } => {
                self.model.perform(&step);
            }
            // The only member's disk has nobody to take its place.
            Step::DeleteClaim { .. } if self.model.voters() > 1 => self.model.perform(&step),
            _ => {}
        }
    }

    /// A fault, an edit, or nothing.
    fn disturb(&mut self) {
        let ordinal = self.rng.u32(0..5);
        let can_lose_one = self.model.voters() > 2
            && self.model.live_voters().len() == self.model.voters()
            && self.model.learners() == 0;
        // Every other walk is quieter: what takes many steps must come about too.
        let rarity = if self.seed.is_multiple_of(2) { 60 } else { 200 };
        match self.rng.u8(0..rarity) {
            0 if can_lose_one => self.model.freeze(ordinal),
            1 if can_lose_one => self.model.empty_disk(ordinal),
            2..8 => self.model.thaw(ordinal),
            14 if can_lose_one => self.model.lose_machine(ordinal),
            15..20 => self.model.recover_machine(ordinal),
            8 => {
                self.desired = Desired {
                    replicas: self.rng.u32(1..=5),
                    ..self.desired.clone()
                };
            }
            9 => self.model.template = format!("t{}", self.rng.u8(..)),
            10 => self.model.notes.members.clear(),
            11 => self.model.replicas = None,
            12 => self.desired.paused = !self.desired.paused,
            // Before it is open a founding may lose a disk; it is begun anew.
            20..23 => {
                self.model.slow_down(ordinal, true);
                // Long enough for a leader to be believed.
                self.model.pass(std::time::Duration::from_secs(120));
            }
            23 => self.model.slow_down(ordinal, false),
            24 => {
                self.desired.fail_slow = match self.rng.u8(0..6) {
                    0 => FailSlow::Observe,
                    1 => FailSlow::Transfer,
                    _ => FailSlow::Replace,
                }
            }
            25 => {
                self.desired.fail_slow_veto = match self.rng.u8(0..4) {
                    0 => Veto::All,
                    _ => Veto::None,
                }
            }
            26 => self.model.notes.swap = None,
            13 if !self.model.notes.founded => self.model.empty_disk(ordinal),
            _ => {}
        }
    }

    fn check(&mut self) {
        let seed = self.seed;
        assert!(self.model.learners() <= 1, "seed {seed}: two learners");
        let Some(raft) = &self.model.raft else { return };
        if self.opened {
            assert!(self.model.notes.founded, "seed {seed}: the latch went back");
        } else if raft.open {
            self.opened = true;
            self.model.foundings = 0;
        }
        assert!(
            !self.opened || self.model.foundings == 0,
            "seed {seed}: a second cluster"
        );
        for id in raft.members.keys() {
            assert!(
                !self.removed.contains(id),
                "seed {seed}: removed {id} came back"
            );
        }
        self.removed.extend(&raft.removed);
    }

    fn is_slow(&self, ordinal: u32) -> bool {
        self.model
            .claims
            .get(&ordinal)
            .is_some_and(|claim| claim.slow)
    }

    /// The world leaves the cluster alone: it must become what the spec says.
    fn calm(&mut self) {
        self.desired.paused = false;
        self.desired.fail_slow_veto = Veto::None;
        self.desired.fail_slow = FailSlow::Replace;
        let slow: Vec<u32> = (0..9).filter(|ordinal| self.is_slow(*ordinal)).collect();
        slow.iter()
            .skip(1)
            .for_each(|o| self.model.slow_down(*o, false));
        for ordinal in 0..9 {
            self.model.thaw(ordinal);
            self.model.recover_machine(ordinal);
        }
        let mut last = String::new();
        for _ in 0..CALM_TURNS {
            let plan = self.model.turn(&self.desired);
            self.check();
            last = plan.to_string();
            // Two can't tell which of them is slow.
            let is_replaceable = self.desired.replicas > 2;
            if plan.state == State::Steady {
                if !is_replaceable || (0..9).all(|ordinal| !self.is_slow(ordinal)) {
                    break;
                }
                self.model.pass(std::time::Duration::from_secs(30));
            }
        }
        let seed = self.seed;
        let wanted = self.desired.replicas;
        let model = &self.model;
        assert_eq!(
            model.voters(),
            wanted as usize,
            "seed {seed}: {last}\n{model:#?}"
        );
        assert!(model.quorum_alive(), "seed {seed}: {last}");
        assert_eq!(model.pods.len(), wanted as usize, "seed {seed}: {last}");
        for (ordinal, pod) in &model.pods {
            assert_eq!(
                pod.template, model.template,
                "seed {seed}: ordinal {ordinal}: {last}"
            );
        }
        assert!(last.starts_with("Steady"), "seed {seed}: {last}");
    }
}

#[test]
fn whatever_happens_the_cluster_stays_one_and_becomes_what_is_wanted() {
    let mut founded = 0;
    let mut replaced = 0;
    let mut swapped = 0;
    for seed in 0..WALKS {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            walk.disturb();
            walk.turn();
        }
        walk.calm();
        founded += usize::from(walk.opened);
        replaced += walk.removed.len();
        swapped += walk.swaps;
    }
    assert_eq!(
        founded, WALKS as usize,
        "a walk that founds nothing shows nothing"
    );
    assert!(
        replaced > WALKS as usize,
        "only {replaced} members were ever removed"
    );
    assert!(swapped > 200, "only {swapped} members were ever swapped");
}
