//! From the admin protocol's answer to what plans are made from.

use std::time::Duration;

use raftery_behaviour::Scoring;
use raftery_proto::admin;

use super::{Identity, Ledger, Member, NodeReport, Role};
use crate::ids::{ClusterId, Incarnation, Lineage, MemberId};

impl NodeReport {
    /// Checks an answer once. `None`: it makes no sense, and counts as none.
    pub(crate) fn from_wire(answer: admin::StatusResponse) -> Option<Self> {
        let incarnation = Incarnation::from_wire(answer.incarnation)?;
        if answer.blank {
            return Some(Self {
                incarnation,
                identity: None,
            });
        }
        let role = match answer.role() {
            admin::Role::Leader => Role::Leader,
            admin::Role::Candidate => Role::Candidate,
            admin::Role::Learner => Role::Learner,
            admin::Role::Follower | admin::Role::Unspecified => Role::Follower,
        };
        let ledger = answer.ledger.unwrap_or_default();
        let identity = Identity {
            cluster_id: ClusterId::from_wire(answer.cluster_id)?,
            lineage: Lineage::from_wire(answer.lineage)?,
            member_id: MemberId::from_wire(answer.member_id)?,
            open: answer.open,
            role,
            leader: MemberId::from_wire(answer.leader_id),
            term: answer.term,
            config_index: answer.config_index,
            last_index: answer.last_index,
            members: answer
                .members
                .into_iter()
                .map(Member::from_wire)
                .collect::<Option<_>>()?,
            removed: answer.removed_ids.into_iter().map(MemberId).collect(),
            rolled_back: !answer.rolled_back.is_empty(),
            cluster_version: answer.cluster_version,
            scoring: answer
                .cluster_config
                .unwrap_or_default()
                .scoring(Scoring::default()),
            ledger: Ledger {
                mongodb: ledger.mongodb,
                error: ledger.error,
                lost: ledger.lost,
                judged_ago: ledger.judged_ago_ms.map(Duration::from_millis),
            },
        };
        Some(Self {
            incarnation,
            identity: Some(identity),
        })
    }
}

impl Member {
    fn from_wire(member: admin::Member) -> Option<Self> {
        Some(Self {
            id: MemberId::from_wire(member.id)?,
            name: member.name,
            peer_urls: member.peer_urls,
            client_urls: member.client_urls,
            incarnation: Incarnation::from_wire(member.incarnation),
            is_learner: member.is_learner,
            match_index: member.match_index.unwrap_or(0),
            last_heard_ms: member.last_heard_ms,
            active: member.active,
            caught_up: member.caught_up,
            score: member.score,
            fast_score: Some(member.fast_score).filter(|score| *score != 0),
            last_verdict: member.last_verdict,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_node_is_its_incarnation_only() {
        let answer = admin::StatusResponse {
            incarnation: 7,
            blank: true,
            ..Default::default()
        };
        let report = NodeReport::from_wire(answer).expect("makes sense");
        assert_eq!(
            report,
            NodeReport {
                incarnation: Incarnation(7),
                identity: None
            }
        );
    }

    #[test]
    fn an_answer_without_identity_that_isnt_blank_counts_as_none() {
        let answer = admin::StatusResponse {
            incarnation: 7,
            ..Default::default()
        };
        assert_eq!(NodeReport::from_wire(answer), None);
        assert_eq!(
            NodeReport::from_wire(admin::StatusResponse::default()),
            None
        );
    }
}
