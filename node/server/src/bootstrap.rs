//! How a blank node comes to its identity (design §5): never by making one up alone.
//!
//! - Managed: it waits until the operator assigns one.
//! - `--initial-cluster-state=new`: it waits until every peer of `--initial-cluster` has told
//!   its incarnation; all then derive the same cluster from the same set, and found it.
//! - `--initial-cluster-state=existing`: it asks the members for the ID that was added for its
//!   URLs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use raftery_config::{ClusterStart, ClusterState, NodeConfig};
use raftery_fs::RealFs;
use raftery_proto::peer as proto;
use raftery_raft::{ConfChange, Entry, HardState, LogId, LogIndex, MemberId, Payload, Term};
use raftery_wal::{Wal, WalIdentity, WalOptions};
use sha2::{Digest, Sha256};
use tracing::{debug, info};

use crate::RunError;
use crate::command::{self, Command, Waiter};
use crate::incarnation::mark_used;
use crate::members::MemberRecord;
use crate::node::wal_dir;
use crate::transport;

/// Pause between two rounds of asking peers.
const ASK_PAUSE: Duration = Duration::from_millis(200);
/// How long one peer may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Tell again what is being waited for after so many rounds.
const ROUNDS_PER_REPORT: u64 = 25;

/// An identity as the operator gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// The blank disk it is for.
    pub incarnation: u64,
    /// The cluster.
    pub cluster_id: u64,
    /// Its unbroken history.
    pub lineage: u64,
    /// The member's ID.
    pub member_id: MemberId,
    /// Found a one-voter cluster; otherwise wait for a leader.
    pub found: bool,
}

/// Why an assignment was refused.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// It is for another disk.
    #[error("this disk has incarnation {actual:x}, not {expected:x}")]
    IncarnationMismatch {
        /// Whom it was for.
        expected: u64,
        /// What this disk has.
        actual: u64,
    },
    /// The node has another identity already.
    #[error("this node is member {member:x} of cluster {cluster:x} already")]
    NotBlank {
        /// Its ID.
        member: u64,
        /// Its cluster.
        cluster: u64,
    },
    /// Identifiers are never 0.
    #[error("cluster ID, lineage and member ID must not be 0")]
    Zero,
    /// An operator doesn't manage this node.
    #[error("this node was not started with --managed: it takes no assignment")]
    NotManaged,
    /// The identity couldn't be made durable.
    #[error("the identity could not be written: {0}")]
    Write(String),
    /// The node is going down.
    #[error("server stopped")]
    Stopped,
}

/// What this node tells peers that found a cluster with it.
#[derive(Debug)]
pub struct Introductions {
    token: String,
    incarnation: u64,
}

impl Introductions {
    /// Introduces this disk.
    #[must_use]
    pub fn new(config: &NodeConfig, incarnation: u64) -> Self {
        let token = match &config.start {
            ClusterStart::Static { token, .. } => token.clone(),
            ClusterStart::Managed => String::new(),
        };
        Self { token, incarnation }
    }

    /// The answer to whoever asks.
    #[must_use]
    pub fn answer(&self) -> proto::IntroduceResponse {
        proto::IntroduceResponse {
            token: self.token.clone(),
            incarnation: self.incarnation,
            cluster_id: 0,
            caller_incarnation: 0,
        }
    }
}

/// Whether an assignment is for this blank disk.
///
/// # Errors
/// When it is for another one, or this node takes none.
pub fn check_assigned(
    config: &NodeConfig,
    incarnation: u64,
    assignment: &Assignment,
) -> Result<(), AssignError> {
    if config.start != ClusterStart::Managed {
        return Err(AssignError::NotManaged);
    }
    if assignment.incarnation != incarnation {
        let expected = assignment.incarnation;
        return Err(AssignError::IncarnationMismatch {
            expected,
            actual: incarnation,
        });
    }
    let Assignment {
        cluster_id,
        lineage,
        member_id,
        ..
    } = *assignment;
    if cluster_id == 0 || lineage == 0 || member_id.0 == 0 {
        return Err(AssignError::Zero);
    }
    Ok(())
}

/// Writes an assigned identity, which passed [`check_assigned`]; the node may start from it
/// afterwards.
///
/// # Errors
/// When it can't be written. The process must end then: what is on the disk is uncertain, and
/// only a new start finds out.
pub fn write_assigned(
    config: &NodeConfig,
    incarnation: u64,
    assignment: Assignment,
) -> Result<(), RunError> {
    let Assignment {
        cluster_id,
        lineage,
        member_id,
        found,
        ..
    } = assignment;
    let identity = WalIdentity {
        cluster_id,
        lineage,
        member_id,
    };
    let founders = if found {
        let record = MemberRecord {
            name: config.name.clone(),
            peer_urls: config.initial_advertise_peer_urls.clone(),
            client_urls: config.advertise_client_urls.clone(),
            incarnation: Some(incarnation),
            promote_when_ready: false,
        };
        vec![(member_id, record)]
    } else {
        Vec::new()
    };
    // An assigned cluster is opened by the operator, once all members vote.
    mark_used(&RealFs, &config.data_dir, incarnation)?;
    write_wal(&config.data_dir, identity, &founders, false).map_err(RunError::Wal)
}

/// Founds a cluster with the peers of `--initial-cluster`, or joins the one that they have.
/// Waits as long as it takes.
///
/// # Errors
/// When a peer's cluster knows another disk under this node's URLs, or the identity can't be
/// written.
pub async fn find_identity(config: &NodeConfig, incarnation: u64) -> Result<(), RunError> {
    let ClusterStart::Static {
        state,
        token,
        initial_cluster,
    } = &config.start
    else {
        // Managed nodes are told; see `write_assigned`.
        return std::future::pending().await;
    };
    match state {
        ClusterState::New => found(config, incarnation, token, initial_cluster).await,
        ClusterState::Existing => join(config, incarnation, initial_cluster).await,
    }
}

async fn found(
    config: &NodeConfig,
    incarnation: u64,
    token: &str,
    initial_cluster: &BTreeMap<String, Vec<String>>,
) -> Result<(), RunError> {
    let mut incarnations = BTreeMap::new();
    let mut founded = BTreeMap::new();
    for round in 0_u64.. {
        // Anew in each round: a peer's disk may have been replaced while others were waited for.
        incarnations = BTreeMap::from([(config.name.clone(), incarnation)]);
        founded.clear();
        for (name, urls) in initial_cluster
            .iter()
            .filter(|(name, _)| **name != config.name)
        {
            if let Some(answer) = introduce(config, incarnation, token, urls).await? {
                incarnations.insert(name.clone(), answer.incarnation);
                founded.insert(name.clone(), answer.cluster_id);
            }
        }
        if incarnations.len() == initial_cluster.len() {
            break;
        }
        if round % ROUNDS_PER_REPORT == 0 {
            let missing: Vec<_> = initial_cluster
                .keys()
                .filter(|name| !incarnations.contains_key(*name))
                .collect();
            info!(?missing, "waiting for the peers of --initial-cluster");
        }
        tokio::time::sleep(ASK_PAUSE).await;
    }
    let (cluster_id, lineage) = derive_cluster(token, initial_cluster, &incarnations);
    if let Some((name, other)) = founded
        .iter()
        .find(|(_, id)| **id != 0 && **id != cluster_id)
    {
        let url = initial_cluster[name].join(",");
        return Err(RunError::FoundedWithoutUs {
            url,
            cluster_id: *other,
        });
    }
    let mut founders = Vec::new();
    for (name, urls) in initial_cluster {
        let incarnation = incarnations[name];
        let record = MemberRecord {
            name: name.clone(),
            peer_urls: urls.clone(),
            incarnation: Some(incarnation),
            ..MemberRecord::default()
        };
        founders.push((derive_member(cluster_id, incarnation), record));
    }
    info!(
        cluster = format!("{cluster_id:x}"),
        members = founders.len(),
        "founding the cluster"
    );
    let identity = WalIdentity {
        cluster_id,
        lineage,
        member_id: derive_member(cluster_id, incarnation),
    };
    mark_used(&RealFs, &config.data_dir, incarnation)?;
    write_wal(&config.data_dir, identity, &founders, true).map_err(RunError::Wal)
}

/// Asks one peer who it is; `None` when it doesn't answer yet.
async fn introduce(
    config: &NodeConfig,
    incarnation: u64,
    token: &str,
    urls: &[String],
) -> Result<Option<proto::IntroduceResponse>, RunError> {
    for url in urls {
        let request = proto::IntroduceRequest {
            token: token.to_owned(),
            incarnation,
            peer_urls: config.initial_advertise_peer_urls.clone(),
        };
        let Ok(mut client) = transport::client(url) else {
            continue;
        };
        let answer = match tokio::time::timeout(ASK_TIMEOUT, client.introduce(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => {
                debug!(url, reason = status.message(), "peer doesn't answer yet");
                continue;
            }
            Err(_) => continue,
        };
        if answer.cluster_id != 0 && answer.caller_incarnation != incarnation {
            return Err(RunError::FoundedWithoutUs {
                url: url.clone(),
                cluster_id: answer.cluster_id,
            });
        }
        if answer.token != token {
            return Err(RunError::TokenMismatch { url: url.clone() });
        }
        return Ok(Some(answer));
    }
    Ok(None)
}

async fn join(
    config: &NodeConfig,
    incarnation: u64,
    initial_cluster: &BTreeMap<String, Vec<String>>,
) -> Result<(), RunError> {
    let others: Vec<&String> = initial_cluster
        .iter()
        .filter(|(name, _)| **name != config.name)
        .flat_map(|(_, urls)| urls)
        .collect();
    for round in 0_u64.. {
        for url in &others {
            let Ok(mut client) = transport::client(url) else {
                continue;
            };
            let request = proto::JoinRequest {
                incarnation,
                name: config.name.clone(),
                peer_urls: config.initial_advertise_peer_urls.clone(),
                client_urls: config.advertise_client_urls.clone(),
            };
            // Binding goes through the log, so it may take as long as a client's write.
            let patience = ASK_TIMEOUT + config.election_timeout * 2;
            match tokio::time::timeout(patience, client.join(request)).await {
                Ok(Ok(answer)) => {
                    let answer = answer.into_inner();
                    let identity = WalIdentity {
                        cluster_id: answer.cluster_id,
                        lineage: answer.lineage,
                        member_id: MemberId(answer.member_id),
                    };
                    mark_used(&RealFs, &config.data_dir, incarnation)?;
                    return write_wal(&config.data_dir, identity, &[], false)
                        .map_err(RunError::Wal);
                }
                Ok(Err(status)) if status.code() == tonic::Code::FailedPrecondition => {
                    let reason = status.message().to_owned();
                    return Err(RunError::JoinRefused {
                        url: (*url).clone(),
                        reason,
                    });
                }
                Ok(Err(status)) => debug!(url, reason = status.message(), "not joined yet"),
                Err(_) => debug!(url, "no answer"),
            }
        }
        if round % ROUNDS_PER_REPORT == 0 {
            info!(peers = ?others, "waiting for a member that lets this node join");
        }
        tokio::time::sleep(ASK_PAUSE).await;
    }
    unreachable!("the loop above has no end")
}

/// The cluster and lineage that every founder derives from the same set.
fn derive_cluster(
    token: &str,
    initial_cluster: &BTreeMap<String, Vec<String>>,
    incarnations: &BTreeMap<String, u64>,
) -> (u64, u64) {
    let mut pairs: Vec<(String, u64)> = initial_cluster
        .iter()
        .map(|(name, urls)| (urls.join(","), incarnations[name]))
        .collect();
    pairs.sort();
    let derive = |purpose: &str| {
        let mut hash = Sha256::new();
        for part in [purpose, token] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        for (urls, incarnation) in &pairs {
            hash.update((urls.len() as u64).to_le_bytes());
            hash.update(urls);
            hash.update(incarnation.to_le_bytes());
        }
        first_u64(&hash.finalize())
    };
    (derive("cluster"), derive("lineage"))
}

fn derive_member(cluster_id: u64, incarnation: u64) -> MemberId {
    let mut hash = Sha256::new();
    hash.update("member");
    hash.update(cluster_id.to_le_bytes());
    hash.update(incarnation.to_le_bytes());
    MemberId(first_u64(&hash.finalize()))
}

/// The first eight bytes as a number that isn't 0.
fn first_u64(hash: &[u8]) -> u64 {
    let bytes = hash.iter().take(8);
    bytes
        .fold(0_u64, |n, byte| n << 8 | u64::from(*byte))
        .max(1)
}

/// Writes the identity: the WAL with its first entries, all or nothing. Without founders the
/// log is empty, and the leader sends it.
fn write_wal(
    data_dir: &Path,
    identity: WalIdentity,
    founders: &[(MemberId, MemberRecord)],
    is_open: bool,
) -> Result<(), raftery_wal::WalError> {
    let first = first_entries(founders, is_open);
    // Every founder writes the same entries in the same term, so they count as committed.
    let hard_state = match first.last() {
        Some(last) => HardState {
            term: last.id.term,
            vote: None,
            commit: last.id.index,
        },
        None => HardState::default(),
    };
    let options = WalOptions::default();
    Wal::create(
        RealFs,
        &wal_dir(data_dir),
        identity,
        options,
        LogId::default(),
        &first,
        hard_state,
    )
    .map(drop)
}

fn first_entries(founders: &[(MemberId, MemberRecord)], is_open: bool) -> Vec<Entry> {
    let mut payloads = Vec::new();
    if !founders.is_empty() {
        let encode = |record: &MemberRecord| -> Bytes {
            record
                .encode()
                .expect("a record holds nothing that can't be encoded")
        };
        let members = founders
            .iter()
            .map(|(id, record)| (*id, encode(record)))
            .collect();
        payloads.push(Payload::ConfChange(ConfChange::Found { members }));
    }
    if is_open {
        let nobody = Waiter {
            origin: MemberId(0),
            request: 0,
        };
        let open = command::encode(nobody, &Command::Open)
            .expect("the command holds nothing that can't be encoded");
        payloads.push(Payload::Data(open));
    }
    (1..)
        .zip(payloads)
        .map(|(index, payload)| Entry {
            id: LogId {
                term: Term(1),
                index: LogIndex(index),
            },
            payload,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(names: &[&str]) -> BTreeMap<String, Vec<String>> {
        names
            .iter()
            .map(|n| ((*n).to_owned(), vec![format!("http://{n}:2380")]))
            .collect()
    }

    fn disks(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(n, i)| ((*n).to_owned(), *i)).collect()
    }

    #[test]
    fn founders_derive_the_same_cluster_from_the_same_set() {
        let peers = cluster(&["a", "b"]);
        let one = derive_cluster("t", &peers, &disks(&[("a", 1), ("b", 2)]));
        let two = derive_cluster("t", &peers, &disks(&[("b", 2), ("a", 1)]));
        assert_eq!(one, two);
        assert_ne!(one.0, one.1);
    }

    #[test]
    fn another_disk_or_token_makes_another_cluster() {
        let peers = cluster(&["a", "b"]);
        let first = derive_cluster("t", &peers, &disks(&[("a", 1), ("b", 2)]));
        assert_ne!(
            first,
            derive_cluster("t", &peers, &disks(&[("a", 1), ("b", 3)]))
        );
        assert_ne!(
            first,
            derive_cluster("u", &peers, &disks(&[("a", 1), ("b", 2)]))
        );
    }

    #[test]
    fn a_static_cluster_is_founded_open_and_an_assigned_one_is_not() {
        let founders = [(MemberId(1), MemberRecord::default())];
        assert_eq!(first_entries(&founders, true).len(), 2);
        assert_eq!(first_entries(&founders, false).len(), 1);
        assert!(first_entries(&[], false).is_empty());
    }
}
