//! What follows directly from an observation, for all parts of a plan.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Leadership, Notes, SwapNote};
use crate::api::{Desired, MemberPhase};
use crate::ids::{ClusterId, MemberId};
use crate::observe::{
    Host, Identity, Member, NodeReport, Now, Observed, OrdinalSeen, PodSeen, Role,
};

/// How long a leader must have led, as the operator saw it, before its word makes a member slow.
const LEADER_SETTLED: Duration = Duration::from_secs(120);
/// So many windows after the last one that was judged, scores are old.
const JUDGED_WINDOWS: u32 = 10;

/// An observation, and the truth it contains: the leader's word.
pub(crate) struct View<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) template_hash: &'a str,
    pub(crate) observed: &'a Observed,
    pub(crate) now: Now,
    /// The leader that answers and hears a quorum.
    pub(crate) leader: Option<Leader<'a>>,
}

/// A leader that answers.
#[derive(Clone, Copy)]
pub(crate) struct Leader<'a> {
    pub(crate) ordinal: u32,
    pub(crate) identity: &'a Identity,
}

/// A member of the configuration, and where it lives.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub(crate) ordinal: u32,
    pub(crate) member: &'a Member,
}

/// What answers where a member should be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Presence<'a> {
    /// The member.
    Here(&'a Identity),
    /// The disk that the ID is for, without identity: a learner's that wasn't assigned yet, or a
    /// node that hasn't read its disk yet.
    Unassigned,
    /// Another disk.
    OtherDisk,
    /// Nothing.
    Silent,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        desired: &'a Desired,
        template_hash: &'a str,
        observed: &'a Observed,
        now: Now,
    ) -> Self {
        let mut view = Self {
            desired,
            template_hash,
            observed,
            now,
            leader: None,
        };
        view.leader = view.find_leader();
        view
    }

    /// The newest leader, if it hears a quorum: a deposed one may not know yet.
    fn find_leader(&self) -> Option<Leader<'a>> {
        let (ordinal, identity) = self
            .identities()
            .filter(|(_, identity)| identity.role == Role::Leader)
            .max_by_key(|(_, identity)| identity.term)?;
        let newest_term = self.identities().map(|(_, identity)| identity.term).max()?;
        let voters = identity.members.iter().filter(|member| !member.is_learner);
        let heard = voters
            .clone()
            .filter(|member| member.active || member.id == identity.member_id)
            .count();
        let is_current = identity.term == newest_term || heard > voters.clone().count() / 2;
        let has_quorum = heard > voters.count() / 2;
        (is_current && has_quorum).then_some(Leader { ordinal, identity })
    }

    /// Nodes that have an identity, by ordinal.
    pub(crate) fn identities(&self) -> impl Iterator<Item = (u32, &'a Identity)> + use<'a> {
        self.observed.ordinals.iter().filter_map(|(ordinal, seen)| {
            let identity = seen.node.as_ref()?.identity.as_ref()?;
            Some((*ordinal, identity))
        })
    }

    /// Why nothing may be touched, if the nodes don't belong to one cluster of ours.
    pub(crate) fn conflict(&self) -> Option<String> {
        let mut clusters: Vec<(ClusterId, Vec<String>)> = Vec::new();
        let mut add = |id: ClusterId, who: String| match clusters
            .iter_mut()
            .find(|(known, _)| *known == id)
        {
            Some((_, members)) => members.push(who),
            None => clusters.push((id, vec![who])),
        };
        if let Some(id) = self.observed.notes.cluster_id
            && !self.noted_founding_came_to_nothing()
        {
            add(id, "the status".to_owned());
        }
        for (ordinal, identity) in self.identities() {
            add(identity.cluster_id, self.desired.pod_name(ordinal));
        }
        if clusters.len() > 1 {
            let parts: Vec<String> = clusters
                .iter()
                .map(|(id, who)| format!("{id} ({})", who.join(", ")))
                .collect();
            return Some(format!(
                "more than one cluster ID: {}; nothing is touched",
                parts.join(", ")
            ));
        }
        let mut lineages = self.identities().map(|(_, identity)| identity.lineage);
        if let Some(first) = lineages.next()
            && lineages.any(|lineage| lineage != first)
        {
            return Some(
                "nodes of one cluster ID have different histories; nothing is touched".to_owned(),
            );
        }
        let leader = self.leader?;
        let foreign = leader
            .identity
            .members
            .iter()
            .find(|member| self.desired.ordinal_of(&member.name).is_none())?;
        Some(format!(
            "member {} is named {:?}, which is no pod of this cluster; nothing is touched",
            foreign.id, foreign.name
        ))
    }

    /// Whether the noted cluster was never founded: all nodes answer, and none has heard of it. A
    /// founding may be noted while nodes that have data are still reading it.
    pub(crate) fn noted_founding_came_to_nothing(&self) -> bool {
        let notes = &self.observed.notes;
        let everyone_answers = self
            .observed
            .ordinals
            .values()
            .all(|seen| seen.node.is_some());
        let mut others = self.identities().peekable();
        !notes.founded
            && everyone_answers
            && others.peek().is_some()
            && others.all(|(_, identity)| Some(identity.cluster_id) != notes.cluster_id)
    }

    /// Members as the leader has them, by ordinal; none without a leader.
    pub(crate) fn members(&self) -> Vec<Placed<'a>> {
        let Some(leader) = self.leader else {
            return Vec::new();
        };
        let mut placed: Vec<Placed<'a>> = leader
            .identity
            .members
            .iter()
            .filter_map(|member| {
                let ordinal = self.desired.ordinal_of(&member.name)?;
                Some(Placed { ordinal, member })
            })
            .collect();
        placed.sort_by_key(|placed| (placed.ordinal, placed.member.id));
        placed
    }

    pub(crate) fn voters(&self) -> Vec<Placed<'a>> {
        let mut voters = self.members();
        voters.retain(|placed| !placed.member.is_learner);
        voters
    }

    pub(crate) fn learners(&self) -> Vec<Placed<'a>> {
        let mut learners = self.members();
        learners.retain(|placed| placed.member.is_learner);
        learners
    }

    pub(crate) fn is_member(&self, id: MemberId) -> bool {
        self.leader
            .is_some_and(|l| l.identity.members.iter().any(|member| member.id == id))
    }

    /// The swap that is under way, as long as the leader calls the slow member a voter.
    pub(crate) fn swap(&self) -> Option<&'a SwapNote> {
        let swap = self.observed.notes.swap.as_ref()?;
        let voters = self.voters();
        voters
            .iter()
            .any(|placed| placed.member.id == swap.id)
            .then_some(swap)
    }

    /// Whether a swap took a member out of the configuration.
    pub(crate) fn is_swapped_out(&self, id: MemberId) -> bool {
        let swap = self.observed.notes.swap.as_ref();
        swap.is_some_and(|swap| swap.id == id) && self.leader.is_some() && !self.is_member(id)
    }

    /// Ordinals below this one have a place: as many as the spec asks for, and one more during a
    /// swap.
    pub(crate) fn places(&self) -> u32 {
        let wanted = self.desired.replicas;
        let extra = self.swap().filter(|swap| swap.extra == wanted);
        extra.map_or(wanted, |swap| swap.extra + 1)
    }

    pub(crate) fn is_leader(&self, id: MemberId) -> bool {
        self.leader
            .is_some_and(|leader| leader.identity.member_id == id)
    }

    pub(crate) fn seen(&self, ordinal: u32) -> Option<&'a OrdinalSeen> {
        self.observed.ordinals.get(&ordinal)
    }

    pub(crate) fn pod(&self, ordinal: u32) -> Option<&'a PodSeen> {
        self.seen(ordinal)?.pod.as_ref()
    }

    pub(crate) fn node(&self, ordinal: u32) -> Option<&'a NodeReport> {
        self.seen(ordinal)?.node.as_ref()
    }

    /// UID of the claim at an ordinal; empty if none was seen.
    pub(crate) fn claim_uid(&self, ordinal: u32) -> String {
        self.seen(ordinal)
            .and_then(|seen| seen.claim.as_ref())
            .map(|claim| claim.uid.clone())
            .unwrap_or_default()
    }

    /// What answers where a member should be.
    pub(crate) fn presence(&self, placed: &Placed<'_>) -> Presence<'a> {
        let Some(node) = self.node(placed.ordinal) else {
            return Presence::Silent;
        };
        match &node.identity {
            Some(identity) if identity.member_id == placed.member.id => Presence::Here(identity),
            Some(_) => Presence::OtherDisk,
            None if placed.member.incarnation == Some(node.incarnation) => Presence::Unassigned,
            None => Presence::OtherDisk,
        }
    }

    /// Whether somebody deleted the claim of a member: it stays as long as the pod does.
    pub(crate) fn is_doomed(&self, placed: &Placed<'_>) -> bool {
        let claim = self
            .seen(placed.ordinal)
            .and_then(|seen| seen.claim.as_ref());
        claim.is_some_and(|claim| claim.terminating)
    }

    /// Whether a silent member counts as unresponsive: the operator can't reach it, the leader
    /// has heard nothing for long enough, and its pod could run where it is.
    pub(crate) fn is_unresponsive(&self, placed: &Placed<'_>) -> bool {
        let Some(seen) = self.seen(placed.ordinal) else {
            return false;
        };
        let Some(pod) = &seen.pod else { return false };
        let could_run = match pod.host {
            Host::Ready | Host::Deleted | Host::OutOfService => pod.image_present,
            Host::None | Host::NotReady => false,
        };
        let is_silent = match self.presence(placed) {
            Presence::Silent | Presence::Unassigned => true,
            Presence::Here(_) | Presence::OtherDisk => false,
        };
        is_silent && could_run && self.silence(placed) >= self.desired.unresponsive_after
    }

    /// How long the leader has heard nothing of a member. A leader that never heard it can't
    /// tell; then it is the time that both the member's silence towards the operator and this
    /// leadership have lasted.
    fn silence(&self, placed: &Placed<'_>) -> Duration {
        if let Some(ms) = placed.member.last_heard_ms {
            return Duration::from_millis(ms);
        }
        let notes = &self.observed.notes;
        let silent_since = notes
            .member(placed.member.id)
            .filter(|note| note.phase == MemberPhase::Unreachable)
            .map(|note| note.since);
        match (silent_since, &notes.leadership) {
            (Some(silent), Some(leadership)) => {
                let from = silent.max(leadership.since);
                Duration::try_from(self.now.duration_since(from)).unwrap_or_default()
            }
            (None, _) | (_, None) => Duration::ZERO,
        }
    }

    /// A pod that can't end because its machine is lost.
    pub(crate) fn lost_pod(&self) -> Option<String> {
        let lost = |pod: &PodSeen| pod.terminating && pod.host == Host::NotReady;
        self.observed
            .ordinals
            .iter()
            .find(|(_, seen)| seen.pod.as_ref().is_some_and(lost))
            .map(|(ordinal, _)| self.desired.pod_name(*ordinal))
    }

    /// Whether the leader that answers is to be believed when it calls a member slow: it has led for
    /// long enough, because what it saw first may have been the end of what cost the last one its
    /// place, and it has judged of late. One without room for entries doesn't, and its scores are old.
    pub(crate) fn leader_is_settled(&self) -> bool {
        let (Some(leader), Some(noted)) = (self.leader, &self.observed.notes.leadership) else {
            return false;
        };
        let pod = self.desired.pod_name(leader.ordinal);
        let is_same = noted.pod == pod && noted.term == leader.identity.term;
        let lasts = Duration::try_from(self.now.duration_since(noted.since)).unwrap_or_default();
        let window = Duration::from_millis(leader.identity.scoring.window_ms);
        let judged_ago = leader.identity.ledger.judged_ago;
        let judges = judged_ago.is_some_and(|ago| ago < window * JUDGED_WINDOWS);
        is_same && lasts >= LEADER_SETTLED && judges
    }

    /// Voters that answer and that the leader hears: slow they may be, silent they aren't.
    pub(crate) fn living_voters(&self) -> Vec<Placed<'a>> {
        let mut voters = self.voters();
        voters.retain(|placed| {
            placed.member.active && matches!(self.presence(placed), Presence::Here(_))
        });
        voters
    }

    /// Each voter's place in the order in which they had better lead, from 1.
    pub(crate) fn ranks(&self) -> BTreeMap<MemberId, u32> {
        let standings = self.voters().into_iter().map(|placed| {
            let id = raftery_behaviour::MemberId(placed.member.id.0);
            (id, placed.member.standing())
        });
        let ranked = raftery_behaviour::ranked(&standings.collect());
        ranked
            .into_iter()
            .map(|id| MemberId(id.0))
            .zip(1..)
            .collect()
    }

    /// Whether the StatefulSet would make a deleted pod anew from the wanted template.
    pub(crate) fn template_is_settled(&self) -> bool {
        self.observed
            .statefulset
            .as_ref()
            .is_some_and(|set| set.settled_hash.as_deref() == Some(self.template_hash))
    }

    pub(crate) fn is_outdated(&self, pod: &PodSeen) -> bool {
        pod.template_hash.as_deref() != Some(self.template_hash)
    }

    /// See [`super::refresh`].
    pub(crate) fn refreshed_notes(&self) -> Notes {
        let mut notes = self.observed.notes.clone();
        if let Some(swap) = notes.swap.take_if(|swap| self.is_swapped_out(swap.id)) {
            notes.set_phase(swap.id, MemberPhase::Removing, self.now);
        }
        for placed in self.members() {
            let id = placed.member.id;
            match notes.member(id).map(|note| note.phase) {
                None | Some(MemberPhase::Removing | MemberPhase::Abandoned) => continue,
                Some(MemberPhase::Joining | MemberPhase::Active | MemberPhase::Unreachable) => {}
            }
            let phase = match self.presence(&placed) {
                Presence::Unassigned if placed.member.is_learner => MemberPhase::Joining,
                Presence::Silent | Presence::Unassigned | Presence::OtherDisk => {
                    MemberPhase::Unreachable
                }
                Presence::Here(_) if placed.member.is_learner => MemberPhase::Joining,
                Presence::Here(_) => MemberPhase::Active,
            };
            notes.set_phase(id, phase, self.now);
        }
        if self.leader_is_settled() {
            for placed in self.living_voters() {
                let noted = notes.members.iter_mut();
                for note in noted.filter(|note| note.id == placed.member.id) {
                    note.slowness = note.slowness.seen(placed.member.standing(), self.now);
                }
            }
        }
        notes.leadership = self.leader.map(|leader| {
            let pod = self.desired.pod_name(leader.ordinal);
            let term = leader.identity.term;
            match &self.observed.notes.leadership {
                Some(known) if known.pod == pod && known.term == term => known.clone(),
                Some(_) | None => Leadership {
                    pod,
                    term,
                    since: self.now,
                },
            }
        });
        notes
    }
}
