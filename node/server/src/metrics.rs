//! What the node counts. Names are etcd's where etcd counts the same, so that its dashboards
//! and tools work; the others begin with `raftery_`. Labels come from fixed sets only.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use raftery_config::{ETCD_API_VERSION, VERSION};
use raftery_raft::Timers;

/// A length of time.
type Seconds = Gauge<f64, AtomicU64>;

/// Everything that is counted. Tasks count as things happen; what only mirrors the node's
/// state is set by whoever is about to encode it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    leader_changes: Counter,
    wal_sync_seconds: Histogram,
    dropped_messages: Counter,
    malformed_messages: Counter,
    refused_peers: Counter,
    refused_snapshots: Counter,
    resignations: Counter,
    heartbeat_interval: Seconds,
    election_timeout: Seconds,
    verdict_points: Gauge,
    verdicts: Family<KindLabel, Counter>,
    process: Process,
    mirrored: Mirrored,
}

/// What mirrors the node's state; see [`Metrics::mirror`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Picture {
    /// A leader is known.
    pub has_leader: bool,
    /// This member leads.
    pub is_leader: bool,
    /// This member is a learner.
    pub is_learner: bool,
    /// Its term.
    pub term: u64,
    /// Its commit index.
    pub commit_index: u64,
    /// Its applied index.
    pub applied_index: u64,
    /// Bytes of keys and values.
    pub db_bytes: u64,
    /// What the cluster goes by; 0 while blank.
    pub cluster_version: u32,
    /// Its own slow score.
    pub score: i64,
    /// Its own fast score; 0: not judged yet.
    pub fast_score: i64,
    /// Raft index of the newest batch of the ledger.
    pub ledger_last_index: u64,
    /// Raft index of the newest batch known exported.
    pub ledger_exported_index: u64,
    /// Batches that wait for export.
    pub ledger_pending: u64,
    /// Exporting fails.
    pub ledger_is_failing: bool,
    /// Batches that were dropped before they were exported.
    pub ledger_lost: u64,
}

#[derive(Debug, Default)]
struct Mirrored {
    has_leader: Gauge,
    is_leader: Gauge,
    is_learner: Gauge,
    term: Gauge,
    committed: Counter,
    applied: Counter,
    db_bytes: Gauge,
    cluster_version: Gauge,
    score: Gauge,
    fast_score: Gauge,
    ledger_last_index: Gauge,
    ledger_exported_index: Gauge,
    ledger_pending: Gauge,
    ledger_is_failing: Gauge,
    ledger_lost: Gauge,
}

#[derive(Debug, Default)]
struct Process {
    resident_bytes: Gauge,
    open_files: Gauge,
    started: Gauge,
}

#[derive(Clone, PartialEq, Eq, Debug, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: Kind,
}

/// The sign of a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Kind {
    Reward,
    Neutral,
    Penalty,
}

impl EncodeLabelValue for Kind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        let name = match self {
            Self::Reward => "reward",
            Self::Neutral => "neutral",
            Self::Penalty => "penalty",
        };
        EncodeLabelValue::encode(&name, encoder)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            leader_changes: Counter::default(),
            // etcd's buckets: 1 ms to 8 s.
            wal_sync_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            dropped_messages: Counter::default(),
            malformed_messages: Counter::default(),
            refused_peers: Counter::default(),
            refused_snapshots: Counter::default(),
            resignations: Counter::default(),
            heartbeat_interval: Seconds::default(),
            election_timeout: Seconds::default(),
            verdict_points: Gauge::default(),
            verdicts: Family::default(),
            process: Process::default(),
            mirrored: Mirrored::default(),
        };
        for kind in [Kind::Reward, Kind::Neutral, Kind::Penalty] {
            // Made now, so that dashboards see a zero rather than nothing.
            drop(metrics.verdicts.get_or_create(&KindLabel { kind }));
        }
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        metrics.process.started.set(signed(started.as_secs()));
        metrics.register_counted();
        metrics.register_mirrored();
        metrics
    }

    fn register_counted(&mut self) {
        let Self {
            registry, process, ..
        } = self;
        let build = Info::new(vec![("version", VERSION)]);
        registry.register("raftery_build", "This program", build);
        let version = Gauge::<i64>::default();
        version.set(1);
        registry
            .sub_registry_with_label(("server_version".into(), ETCD_API_VERSION.into()))
            .register(
                "etcd_server_version",
                "The level of etcd's API that is served",
                version,
            );
        // The registry adds `_total` to counters' names.
        for (name, help, counter) in [
            (
                "etcd_server_leader_changes_seen",
                "Changes of the leader seen",
                &self.leader_changes,
            ),
            (
                "raftery_peer_messages_dropped",
                "Messages between members dropped because a queue was full",
                &self.dropped_messages,
            ),
            (
                "raftery_peer_messages_malformed",
                "Messages of members refused because they contradict the protocol",
                &self.malformed_messages,
            ),
            (
                "raftery_peers_refused",
                "Connections refused: another cluster's, for another member, or with what makes no sense",
                &self.refused_peers,
            ),
            (
                "raftery_snapshots_refused",
                "Snapshots not taken: broken off, truncated, or with a wrong checksum",
                &self.refused_snapshots,
            ),
            (
                "raftery_resignations",
                "Times that this member stopped leading because its disk hung",
                &self.resignations,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "etcd_disk_wal_fsync_duration_seconds",
            "How long syncs of the write-ahead log took",
            self.wal_sync_seconds.clone(),
        );
        for (name, help, gauge) in [
            (
                "raftery_heartbeat_interval_seconds",
                "How often this member beats when it leads",
                &self.heartbeat_interval,
            ),
            (
                "raftery_election_timeout_seconds",
                "How long this member waits for a leader at least",
                &self.election_timeout,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "raftery_verdicts",
            "Verdicts of leaders on this member by kind",
            self.verdicts.clone(),
        );
        for (name, help, gauge) in [
            (
                "raftery_verdict_points",
                "Points of the last verdict on this member",
                &self.verdict_points,
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory size in bytes",
                &process.resident_bytes,
            ),
            (
                "process_open_fds",
                "Open file descriptors",
                &process.open_files,
            ),
            (
                "process_start_time_seconds",
                "Start time in seconds since 1970",
                &process.started,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
    }

    fn register_mirrored(&mut self) {
        let Self {
            registry, mirrored, ..
        } = self;
        for (name, help, counter) in [
            (
                "etcd_server_proposals_committed",
                "The commit index",
                &mirrored.committed,
            ),
            (
                "etcd_server_proposals_applied",
                "The applied index",
                &mirrored.applied,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in [
            (
                "etcd_server_has_leader",
                "1 if a leader is known",
                &mirrored.has_leader,
            ),
            (
                "etcd_server_is_leader",
                "1 if this member leads",
                &mirrored.is_leader,
            ),
            (
                "etcd_server_is_learner",
                "1 if this member is a learner",
                &mirrored.is_learner,
            ),
            ("raftery_term", "The term", &mirrored.term),
            (
                "etcd_mvcc_db_total_size_in_bytes",
                "Bytes of keys and values with their history",
                &mirrored.db_bytes,
            ),
            (
                "raftery_cluster_version",
                "The kinds of entries that the cluster goes by",
                &mirrored.cluster_version,
            ),
            (
                "raftery_score",
                "This member's own slow score, -1000 to 1000: has it been good?",
                &mirrored.score,
            ),
            (
                "raftery_fast_score",
                "This member's own fast score, 1 to 100: is it slow now?",
                &mirrored.fast_score,
            ),
            (
                "raftery_ledger_last_index",
                "Raft index of the newest batch of the ledger",
                &mirrored.ledger_last_index,
            ),
            (
                "raftery_ledger_exported_index",
                "Raft index of the newest batch known exported",
                &mirrored.ledger_exported_index,
            ),
            (
                "raftery_ledger_pending",
                "Batches of the ledger that wait for export",
                &mirrored.ledger_pending,
            ),
            (
                "raftery_ledger_export_failing",
                "1 while exporting the ledger fails",
                &mirrored.ledger_is_failing,
            ),
            (
                "raftery_ledger_lost",
                "Batches that were dropped before they could be exported",
                &mirrored.ledger_lost,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
    }

    /// A new leader was seen.
    pub fn count_leader_change(&self) {
        self.leader_changes.inc();
    }

    /// A sync of the write-ahead log took so long.
    pub fn observe_wal_sync(&self, took: Duration) {
        self.wal_sync_seconds.observe(took.as_secs_f64());
    }

    /// This member stopped leading because its disk hung.
    pub fn count_resignation(&self) {
        self.resignations.inc();
    }

    /// What this member's timers are.
    pub fn set_timers(&self, timers: Timers) {
        let Timers {
            heartbeat_interval,
            election_timeout,
        } = timers;
        self.heartbeat_interval
            .set(heartbeat_interval.as_secs_f64());
        self.election_timeout.set(election_timeout.as_secs_f64());
    }

    /// A message to or from a member was dropped.
    pub fn count_dropped_message(&self) {
        self.dropped_messages.inc();
    }

    /// A member's message contradicted the protocol.
    pub fn count_malformed_message(&self) {
        self.malformed_messages.inc();
    }

    /// A connection of a peer was refused.
    pub fn count_refused_peer(&self) {
        self.refused_peers.inc();
    }

    /// A peer's snapshot wasn't taken.
    pub fn count_refused_snapshot(&self) {
        self.refused_snapshots.inc();
    }

    /// The leader judged this member.
    pub fn set_verdict(&self, points: i32) {
        self.verdict_points.set(points.into());
        let kind = match points {
            1.. => Kind::Reward,
            0 => Kind::Neutral,
            ..0 => Kind::Penalty,
        };
        self.verdicts.get_or_create(&KindLabel { kind }).inc();
    }

    /// Takes over what mirrors the node's state.
    pub fn mirror(&self, picture: &Picture) {
        let mirrored = &self.mirrored;
        mirrored.has_leader.set(picture.has_leader.into());
        mirrored.is_leader.set(picture.is_leader.into());
        mirrored.is_learner.set(picture.is_learner.into());
        mirrored.term.set(signed(picture.term));
        mirrored
            .committed
            .inner()
            .store(picture.commit_index, Ordering::Relaxed);
        mirrored
            .applied
            .inner()
            .store(picture.applied_index, Ordering::Relaxed);
        mirrored.db_bytes.set(signed(picture.db_bytes));
        mirrored.cluster_version.set(picture.cluster_version.into());
        mirrored.score.set(picture.score);
        mirrored.fast_score.set(picture.fast_score);
        mirrored
            .ledger_last_index
            .set(signed(picture.ledger_last_index));
        mirrored
            .ledger_exported_index
            .set(signed(picture.ledger_exported_index));
        mirrored.ledger_pending.set(signed(picture.ledger_pending));
        mirrored
            .ledger_is_failing
            .set(picture.ledger_is_failing.into());
        mirrored.ledger_lost.set(signed(picture.ledger_lost));
    }

    /// Everything as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        self.process.look();
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string never fails");
        text
    }
}

impl Process {
    /// Asks the kernel. Where `/proc` is missing, the last figures stay.
    fn look(&self) {
        if let Some(bytes) = resident_bytes() {
            self.resident_bytes.set(bytes);
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            self.open_files
                .set(i64::try_from(files.count()).unwrap_or(i64::MAX));
        }
    }
}

fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_line(text: &str, line: &str) -> bool {
        text.lines().any(|l| l == line)
    }

    #[test]
    fn names_are_those_that_etcds_tools_know() {
        let metrics = Metrics::new();
        metrics.count_leader_change();
        metrics.observe_wal_sync(Duration::from_millis(3));
        metrics.mirror(&Picture {
            has_leader: true,
            commit_index: 7,
            ..Picture::default()
        });
        let text = metrics.encode();
        for line in [
            "etcd_server_version{server_version=\"3.6.11\"} 1",
            "etcd_server_leader_changes_seen_total 1",
            "etcd_server_has_leader 1",
            "etcd_server_is_leader 0",
            "etcd_server_proposals_committed_total 7",
            "etcd_disk_wal_fsync_duration_seconds_count 1",
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.004\"} 1",
        ] {
            assert!(has_line(&text, line), "{line} in\n{text}");
        }
        let resident = text
            .lines()
            .find_map(|l| l.strip_prefix("process_resident_memory_bytes "));
        assert!(
            resident
                .and_then(|bytes| bytes.parse::<i64>().ok())
                .is_some_and(|b| b > 0)
        );
    }

    #[test]
    fn verdicts_are_counted_by_their_sign() {
        let metrics = Metrics::new();
        for points in [2, 1, 0, -3] {
            metrics.set_verdict(points);
        }
        let text = metrics.encode();
        for line in [
            "raftery_verdict_points -3",
            "raftery_verdicts_total{kind=\"reward\"} 2",
            "raftery_verdicts_total{kind=\"neutral\"} 1",
            "raftery_verdicts_total{kind=\"penalty\"} 1",
        ] {
            assert!(has_line(&text, line), "{line} in\n{text}");
        }
    }
}
