//! A checked spec.

use std::ops::RangeInclusive;
use std::time::Duration;

use raftery_behaviour::{Scoring, ScoringError};
use thiserror::Error;

use super::{
    BehaviourSpec, DurationText, FailSlow, ParseDurationError, PodSpec, RaftCluster, StorageSpec,
    VETO_FAIL_SLOW, Veto,
};

/// How long verdicts may stay in MongoDB: an hour to ten years.
const RETENTION: RangeInclusive<Duration> =
    Duration::from_secs(3600)..=Duration::from_secs(87_600 * 3600);

/// What a RaftCluster asks for, checked, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Name of the RaftCluster.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID, which its children name as owner.
    pub uid: String,
    /// Generation of the spec.
    pub generation: i64,
    /// Voting members wanted.
    pub replicas: u32,
    /// Image of the node.
    pub image: String,
    /// Touch nothing.
    pub paused: bool,
    /// Where members keep their data.
    pub storage: StorageSpec,
    /// Raft's heartbeat interval.
    pub heartbeat_interval: Duration,
    /// Raft's election timeout.
    pub election_timeout: Duration,
    /// Whether members shorten both by what they measure.
    pub adaptive_timers: bool,
    /// How members are judged.
    pub scoring: Scoring,
    /// Silence after which a member is replaced.
    pub unresponsive_after: Duration,
    /// Most replacements begun within an hour.
    pub replacements_per_hour_max: usize,
    /// What is done about slow members.
    pub fail_slow: FailSlow,
    /// Slow members that nothing is done about.
    pub fail_slow_veto: Veto,
    /// Where the ledger is exported to.
    pub mongodb: Option<Mongodb>,
    /// Verdicts and intervals leave MongoDB after so long; `None`: never.
    pub ledger_retention: Option<Duration>,
    /// What to set on the pods.
    pub pod: PodSpec,
}

/// Where the ledger is exported to.
#[derive(Clone, Debug, PartialEq)]
pub enum Mongodb {
    /// The operator runs it.
    Managed {
        /// Size of its volume.
        size: String,
        /// Storage class of its volume.
        storage_class_name: Option<String>,
    },
    /// The user runs it.
    External {
        /// Secret that holds the connection string.
        secret: String,
        /// Key within the Secret.
        key: String,
    },
}

/// A spec that the schema should have refused, or an object without identity.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidSpec {
    /// An object that didn't come from an API server.
    #[error("metadata.{field} is missing")]
    Metadata {
        /// Name of the field.
        field: &'static str,
    },
    /// A number out of range.
    #[error("{field} is {value}, and must be between {min} and {max}")]
    Range {
        /// Path of the field.
        field: &'static str,
        /// What it is.
        value: i32,
        /// Least allowed.
        min: i32,
        /// Most allowed.
        max: i32,
    },
    /// An unparsable duration.
    #[error("{field}: {source}")]
    Duration {
        /// Path of the field.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: ParseDurationError,
    },
    /// Timers with which no leader would last.
    #[error(
        "spec.raft.electionTimeout ({election:?}) must be at least 5 times spec.raft.heartbeatInterval ({heartbeat:?})"
    )]
    Timers {
        /// The heartbeat interval.
        heartbeat: Duration,
        /// The election timeout.
        election: Duration,
    },
    /// Documents that would go as soon as they come, or later than nodes can reckon.
    #[error("spec.ledger.mongodb.retention ({retention:?}) must be between 1h and 87600h")]
    Retention {
        /// The retention.
        retention: Duration,
    },
    /// A way of judging that makes no sense.
    #[error("spec.behaviour: {0}")]
    Scoring(#[from] ScoringError),
    /// Neither or both kinds of MongoDB.
    #[error("spec.ledger.mongodb must have exactly one of managed and uriSecretRef")]
    Mongodb,
}

impl Desired {
    /// Checks a RaftCluster. `default_image` is used when neither spec nor status name one.
    pub fn from_cluster(cluster: &RaftCluster, default_image: &str) -> Result<Self, InvalidSpec> {
        let metadata = &cluster.metadata;
        let missing = |field| InvalidSpec::Metadata { field };
        let spec = &cluster.spec;
        let latched = cluster
            .status
            .as_ref()
            .and_then(|status| status.image.clone());
        let heartbeat_interval =
            duration("spec.raft.heartbeatInterval", &spec.raft.heartbeat_interval)?;
        let election_timeout = duration("spec.raft.electionTimeout", &spec.raft.election_timeout)?;
        if election_timeout < heartbeat_interval * 5 || heartbeat_interval.is_zero() {
            return Err(InvalidSpec::Timers {
                heartbeat: heartbeat_interval,
                election: election_timeout,
            });
        }
        Ok(Self {
            name: metadata.name.clone().ok_or(missing("name"))?,
            namespace: metadata.namespace.clone().ok_or(missing("namespace"))?,
            uid: metadata.uid.clone().ok_or(missing("uid"))?,
            generation: metadata.generation.unwrap_or_default(),
            replicas: in_range("spec.replicas", spec.replicas, 1, 9)?,
            image: spec
                .image
                .clone()
                .or(latched)
                .unwrap_or_else(|| default_image.to_owned()),
            paused: spec.paused,
            storage: spec.storage.clone(),
            heartbeat_interval,
            election_timeout,
            adaptive_timers: spec.raft.adaptive,
            scoring: scoring(&spec.behaviour)?,
            unresponsive_after: duration(
                "spec.healing.unresponsiveAfter",
                &spec.healing.unresponsive_after,
            )?,
            replacements_per_hour_max: in_range(
                "spec.healing.maxReplacementsPerHour",
                spec.healing.max_replacements_per_hour,
                0,
                1000,
            )? as usize,
            fail_slow: spec.healing.fail_slow,
            fail_slow_veto: metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(VETO_FAIL_SLOW))
                .map_or(Veto::None, |text| Veto::parse(text)),
            mongodb: mongodb(spec)?,
            ledger_retention: retention(spec)?,
            pod: spec.pod.clone(),
        })
    }

    /// Name of the pod, and of the member, at an ordinal.
    pub fn pod_name(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.name)
    }

    /// The ordinal in a pod's name; `None` if it isn't a pod of this cluster.
    pub fn ordinal_of(&self, pod_name: &str) -> Option<u32> {
        let digits = pod_name.strip_prefix(&self.name)?.strip_prefix('-')?;
        let ordinal: u32 = digits.parse().ok()?;
        (ordinal.to_string() == digits).then_some(ordinal)
    }
}

fn mongodb(spec: &super::RaftClusterSpec) -> Result<Option<Mongodb>, InvalidSpec> {
    let Some(mongodb) = &spec.ledger.mongodb else {
        return Ok(None);
    };
    match (&mongodb.managed, &mongodb.uri_secret_ref) {
        (Some(managed), None) => Ok(Some(Mongodb::Managed {
            size: managed.storage.size.clone(),
            storage_class_name: managed.storage.storage_class_name.clone(),
        })),
        (None, Some(secret)) => Ok(Some(Mongodb::External {
            secret: secret.name.clone(),
            key: secret.key.clone(),
        })),
        (None, None) | (Some(_), Some(_)) => Err(InvalidSpec::Mongodb),
    }
}

fn retention(spec: &super::RaftClusterSpec) -> Result<Option<Duration>, InvalidSpec> {
    let mongodb = spec.ledger.mongodb.as_ref();
    let Some(text) = mongodb.and_then(|mongodb| mongodb.retention.as_ref()) else {
        return Ok(None);
    };
    let retention = duration("spec.ledger.mongodb.retention", text)?;
    match RETENTION.contains(&retention) {
        true => Ok(Some(retention)),
        false => Err(InvalidSpec::Retention { retention }),
    }
}

fn scoring(spec: &BehaviourSpec) -> Result<Scoring, InvalidSpec> {
    let millis = |field, text| -> Result<u64, InvalidSpec> {
        let duration = duration(field, text)?;
        Ok(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    };
    let scoring = Scoring {
        window_ms: millis("spec.behaviour.window", &spec.window)?,
        slow_ratio: in_range("spec.behaviour.slowRatio", spec.slow_ratio, 2, 100)?,
        floor_micros: millis("spec.behaviour.floor", &spec.floor)?.saturating_mul(1_000),
        half_life_ms: millis("spec.behaviour.halfLife", &spec.half_life)?,
        recovery_ms: millis("spec.behaviour.recovery", &spec.recovery)?,
        points: spec.points.points(),
    };
    scoring.validate()?;
    Ok(scoring)
}

fn duration(field: &'static str, text: &DurationText) -> Result<Duration, InvalidSpec> {
    text.parse()
        .map_err(|source| InvalidSpec::Duration { field, source })
}

fn in_range(field: &'static str, value: i32, min: i32, max: i32) -> Result<u32, InvalidSpec> {
    u32::try_from(value)
        .ok()
        .filter(|_| (min..=max).contains(&value))
        .ok_or(InvalidSpec::Range {
            field,
            value,
            min,
            max,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ManagedMongodb, MongodbSpec, RaftClusterSpec, SecretKeyRef};

    fn cluster(spec: RaftClusterSpec) -> RaftCluster {
        let mut cluster = RaftCluster::new("demo", spec);
        cluster.metadata.namespace = Some("default".into());
        cluster.metadata.uid = Some("u".into());
        cluster
    }

    fn spec() -> RaftClusterSpec {
        serde_json::from_value(serde_json::json!({})).expect("everything has a default")
    }

    #[test]
    fn a_spec_that_says_nothing_of_judging_means_the_nodes_own_defaults() {
        let desired = Desired::from_cluster(&cluster(spec()), "i").unwrap();
        assert_eq!(desired.scoring, Scoring::default());
        let mut spec = spec();
        spec.behaviour.points.full = 1_001;
        let refused = Desired::from_cluster(&cluster(spec), "i").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "spec.behaviour: points.full is 1001; it must be between 0 and 1000"
        );
    }

    #[test]
    fn an_empty_spec_is_a_cluster_of_three() {
        let desired = Desired::from_cluster(&cluster(spec()), "node:1").expect("valid");
        assert_eq!(desired.replicas, 3);
        assert_eq!(desired.image, "node:1");
        assert_eq!(desired.mongodb, None);
    }

    #[test]
    fn the_latched_image_outlives_a_new_default() {
        let mut cluster = cluster(spec());
        cluster.status = Some(crate::api::RaftClusterStatus {
            image: Some("node:1".into()),
            ..Default::default()
        });
        assert_eq!(
            Desired::from_cluster(&cluster, "node:2")
                .expect("valid")
                .image,
            "node:1"
        );
        cluster.spec.image = Some("node:3".into());
        assert_eq!(
            Desired::from_cluster(&cluster, "node:2")
                .expect("valid")
                .image,
            "node:3"
        );
    }

    #[test]
    fn what_the_schema_refuses_is_refused_here_too() {
        let mut short = spec();
        short.raft.election_timeout = "499ms".into();
        let mut none = spec();
        none.replicas = 0;
        let mut both = spec();
        both.ledger.mongodb = Some(MongodbSpec {
            managed: Some(ManagedMongodb::default()),
            uri_secret_ref: Some(SecretKeyRef {
                name: "s".into(),
                key: "uri".into(),
            }),
            retention: None,
        });
        let mut fleeting = spec();
        fleeting.ledger.mongodb = Some(MongodbSpec {
            managed: Some(ManagedMongodb::default()),
            uri_secret_ref: None,
            retention: Some("59m".into()),
        });
        for (spec, message) in [
            (short, "spec.raft.electionTimeout"),
            (none, "spec.replicas is 0"),
            (both, "exactly one of managed and uriSecretRef"),
            (fleeting, "must be between 1h and 87600h"),
        ] {
            let error = Desired::from_cluster(&cluster(spec), "i").expect_err("invalid");
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn ordinals_are_read_from_pod_names_of_this_cluster_only() {
        let desired = Desired::from_cluster(&cluster(spec()), "i").expect("valid");
        assert_eq!(desired.ordinal_of("demo-12"), Some(12));
        for other in ["demo", "demo-", "demo-01", "demo-x", "demo2-1", "other-1"] {
            assert_eq!(desired.ordinal_of(other), None, "{other}");
        }
    }
}
