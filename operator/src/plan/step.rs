//! The single steps that a plan can take.

use std::fmt;

use raftery_behaviour::Scoring;

use super::MemberNote;
use crate::ids::{ClusterId, Incarnation, Lineage, MemberId};

/// A blank disk at an ordinal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Where.
    pub ordinal: u32,
    /// Its life.
    pub incarnation: Incarnation,
    /// The claim that holds it; empty if unknown.
    pub claim_uid: String,
}

/// Why a member is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Nobody hears of it.
    Unresponsive,
    /// Its disk is blank, or another one than its ID was for.
    LostDisk,
    /// Somebody deleted its volume claim: its disk goes with its pod.
    DoomedDisk,
    /// Its disk went back to an earlier state: it may have forgotten what it promised, and votes no
    /// more.
    RolledBack,
    /// Fewer members are wanted.
    Shrink,
}

impl Removal {
    /// Whether another member shall take its place, which counts against the budget.
    pub fn is_replacement(self) -> bool {
        match self {
            Self::Unresponsive | Self::LostDisk | Self::DoomedDisk | Self::RolledBack => true,
            Self::Shrink => false,
        }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unresponsive => "it is unresponsive",
            Self::LostDisk => "it lost its disk",
            Self::DoomedDisk => "its volume claim is being deleted",
            Self::RolledBack => "its disk went back to an earlier state",
            Self::Shrink => "fewer members are wanted",
        })
    }
}

/// One step. Each is one write to one place, so an operator may die between any two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Note which disks shall found a cluster, under newly drawn IDs.
    NoteFounding {
        /// One for each ordinal.
        disks: Vec<Disk>,
    },
    /// Note a cluster that is there, as its leader describes it.
    Adopt {
        /// Its ID.
        cluster_id: ClusterId,
        /// Members that weren't noted, or were noted otherwise.
        members: Vec<MemberNote>,
        /// It is open to clients.
        founded: bool,
    },
    /// Note that a founding failed and that its disks are to be wiped.
    AbandonFounding {
        /// The cluster that was being founded.
        cluster_id: ClusterId,
        /// Its disks.
        members: Vec<MemberNote>,
    },
    /// Note that a blank disk shall become a member, under a newly drawn ID.
    NoteJoin {
        /// The disk.
        disk: Disk,
    },
    /// Note that a member shall be removed.
    NoteRemoval {
        /// Its ID.
        id: MemberId,
        /// Its ordinal.
        ordinal: u32,
        /// Why.
        reason: Removal,
    },
    /// Note that a member shall stay after all.
    CancelRemoval {
        /// Its ID.
        id: MemberId,
        /// Its ordinal.
        ordinal: u32,
    },
    /// Note that a slow member shall be replaced by one that is made beside it first.
    NoteSwap {
        /// Its ID.
        id: MemberId,
        /// Its ordinal.
        ordinal: u32,
        /// Where the other one is made.
        extra: u32,
        /// What speaks against it.
        because: String,
    },
    /// Note that a slow member shall stay after all.
    CancelSwap {
        /// Its ID.
        id: MemberId,
        /// Its ordinal.
        ordinal: u32,
        /// The disk that was made for the other one, if it holds no member yet.
        extra: Option<Disk>,
        /// Why.
        because: String,
    },
    /// Drop the note of a member that is gone, or never came.
    Forget {
        /// Its ID.
        id: MemberId,
        /// Its ordinal.
        ordinal: u32,
    },
    /// Note that the cluster is complete.
    LatchFounded,
    /// Give a blank node its identity.
    Assign {
        /// The node.
        ordinal: u32,
        /// The disk it must still have.
        incarnation: Incarnation,
        /// The cluster.
        cluster_id: ClusterId,
        /// Its history; `None` when this founds it.
        lineage: Option<Lineage>,
        /// The ID.
        id: MemberId,
    },
    /// Add a member that doesn't vote.
    AddLearner {
        /// Its ID.
        id: MemberId,
        /// Its ordinal.
        ordinal: u32,
        /// Its disk.
        incarnation: Incarnation,
        /// Configuration that this was planned against.
        config_index: u64,
    },
    /// Let a learner vote.
    Promote {
        /// Its ID.
        id: MemberId,
        /// Its ordinal.
        ordinal: u32,
        /// Configuration that this was planned against.
        config_index: u64,
    },
    /// Remove a member, for ever.
    Remove {
        /// Its ID.
        id: MemberId,
        /// Its ordinal.
        ordinal: u32,
        /// Configuration that this was planned against.
        config_index: u64,
    },
    /// Let a learner vote and remove a slow voter, for ever, in one step.
    Swap {
        /// The slow voter.
        id: MemberId,
        /// Its ordinal.
        ordinal: u32,
        /// The learner.
        promote: MemberId,
        /// Configuration that this was planned against.
        config_index: u64,
        /// What speaks against the slow one.
        because: String,
    },
    /// Move leadership.
    Transfer {
        /// Ordinal of the leader.
        from: u32,
        /// Ordinal of the next.
        to: u32,
        /// Member ID of the next.
        id: MemberId,
        /// What speaks against the one that leads, if anything does.
        because: Option<String>,
    },
    /// Open the cluster to clients.
    Open,
    /// Change how members are judged.
    Configure {
        /// From now on.
        scoring: Scoring,
    },
    /// Delete a volume claim.
    DeleteClaim {
        /// Its ordinal.
        ordinal: u32,
        /// Its UID, as precondition.
        uid: String,
    },
    /// Delete a pod, for the StatefulSet to make another.
    DeletePod {
        /// Its ordinal.
        ordinal: u32,
        /// Its UID, as precondition.
        uid: String,
        /// Seconds it gets to end by itself; `None`: as its template says.
        grace_seconds: Option<u32>,
    },
}

impl Step {
    /// A word for events and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoteFounding { .. } => "NoteFounding",
            Self::Adopt { .. } => "Adopt",
            Self::AbandonFounding { .. } => "AbandonFounding",
            Self::NoteJoin { .. } => "NoteJoin",
            Self::NoteRemoval { .. } => "NoteRemoval",
            Self::CancelRemoval { .. } => "CancelRemoval",
            Self::NoteSwap { .. } => "NoteSwap",
            Self::CancelSwap { .. } => "CancelSwap",
            Self::Forget { .. } => "Forget",
            Self::LatchFounded => "LatchFounded",
            Self::Assign { .. } => "Assign",
            Self::AddLearner { .. } => "AddLearner",
            Self::Promote { .. } => "Promote",
            Self::Remove { .. } => "Remove",
            Self::Swap { .. } => "Swap",
            Self::Transfer { .. } => "Transfer",
            Self::Open => "Open",
            Self::Configure { .. } => "Configure",
            Self::DeleteClaim { .. } => "DeleteClaim",
            Self::DeletePod { .. } => "DeletePod",
        }
    }

    /// The ordinal it is about, if it is about one.
    pub fn ordinal(&self) -> Option<u32> {
        match self {
            Self::NoteJoin { disk } => Some(disk.ordinal),
            Self::NoteRemoval { ordinal, .. }
            | Self::CancelRemoval { ordinal, .. }
            | Self::NoteSwap { ordinal, .. }
            | Self::CancelSwap { ordinal, .. }
            | Self::Swap { ordinal, .. }
            | Self::Forget { ordinal, .. }
            | Self::Assign { ordinal, .. }
            | Self::AddLearner { ordinal, .. }
            | Self::Promote { ordinal, .. }
            | Self::Remove { ordinal, .. }
            | Self::DeleteClaim { ordinal, .. }
            | Self::DeletePod { ordinal, .. } => Some(*ordinal),
            Self::Transfer { from, .. } => Some(*from),
            Self::NoteFounding { .. }
            | Self::Adopt { .. }
            | Self::AbandonFounding { .. }
            | Self::LatchFounded
            | Self::Open
            | Self::Configure { .. } => None,
        }
    }

    /// Whether a person would want to read of it in the events.
    pub fn is_noteworthy(&self) -> bool {
        !matches!(
            self,
            Self::NoteJoin { .. } | Self::Forget { .. } | Self::Assign { .. }
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoteFounding { disks } => {
                write!(f, "found a cluster of {} blank nodes", disks.len())
            }
            Self::Adopt {
                cluster_id,
                members,
                ..
            } => {
                write!(f, "adopt {} members of cluster {cluster_id}", members.len())
            }
            Self::AbandonFounding { cluster_id, .. } => write!(
                f,
                "give up founding cluster {cluster_id}, which lost a disk before it was open"
            ),
            Self::NoteJoin { disk } => write!(f, "draw an ID for blank ordinal {}", disk.ordinal),
            Self::NoteRemoval {
                id,
                ordinal,
                reason,
            } => {
                write!(
                    f,
                    "begin to remove member {id} of ordinal {ordinal}: {reason}"
                )
            }
            Self::CancelRemoval { id, ordinal } => {
                write!(
                    f,
                    "keep member {id} of ordinal {ordinal} for now: it answers"
                )
            }
            Self::Forget { id, ordinal } => {
                write!(f, "forget member {id} of ordinal {ordinal}, which is gone")
            }
            Self::LatchFounded => f.write_str("note that the cluster is complete"),
            Self::Assign {
                ordinal,
                id,
                lineage: None,
                ..
            } => {
                write!(f, "found the cluster with ordinal {ordinal} as member {id}")
            }
            Self::Assign { ordinal, id, .. } => write!(f, "make ordinal {ordinal} member {id}"),
            Self::AddLearner { id, ordinal, .. } => {
                write!(f, "add member {id} of ordinal {ordinal} as learner")
            }
            Self::Promote { id, ordinal, .. } => {
                write!(f, "let member {id} of ordinal {ordinal} vote")
            }
            Self::Remove { id, ordinal, .. } => {
                write!(f, "remove member {id} of ordinal {ordinal}")
            }
            Self::NoteSwap {
                id,
                ordinal,
                extra,
                because,
            } => write!(
                f,
                "begin to replace member {id} of ordinal {ordinal}, with ordinal {extra} for that \
                 time, because it fails slowly: {because}"
            ),
            Self::CancelSwap {
                id,
                ordinal,
                because,
                ..
            } => write!(
                f,
                "keep slow member {id} of ordinal {ordinal} for now: {because}"
            ),
            Self::Swap {
                id,
                ordinal,
                promote,
                because,
                ..
            } => write!(
                f,
                "let member {promote} vote instead of member {id} of ordinal {ordinal}, which \
                 fails slowly: {because}"
            ),
            Self::Transfer {
                from,
                to,
                id,
                because,
            } => {
                write!(
                    f,
                    "move leadership from ordinal {from} to ordinal {to} (member {id})"
                )?;
                match because {
                    Some(because) => write!(f, ", because it fails slowly: {because}"),
                    None => Ok(()),
                }
            }
            Self::Open => f.write_str("open the cluster to clients"),
            Self::Configure { scoring } => write!(
                f,
                "change how members are judged, in windows of {} ms",
                scoring.window_ms
            ),
            Self::DeleteClaim { ordinal, .. } => {
                write!(f, "delete the volume claim of ordinal {ordinal}")
            }
            Self::DeletePod { ordinal, .. } => write!(f, "delete the pod of ordinal {ordinal}"),
        }
    }
}
