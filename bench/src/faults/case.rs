//! The cases: what goes wrong, and what is measured then.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use raftery_rig::proxy::{Link, Shape};
use raftery_rig::slowfs::Fault;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;

/// What is ten times a link between two processes of one machine, each way.
const SLOW_LINK: Duration = Duration::from_millis(1);
/// A sync is made slower by at least so much.
const SLOW_SYNC_MIN: Duration = Duration::from_millis(5);

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// The leader gets SIGKILL
    LeaderKilled,
    /// The leader gets SIGSTOP: its connections stay open and nothing answers
    LeaderFrozen,
    /// Nothing comes from or to the leader
    LeaderCutOff,
    /// Nobody hears the leader, which hears all
    LeaderUnheard,
    /// The leader hears nobody, but all hear it
    LeaderDeaf,
    /// The leader and a follower have no link; both have one with the third member
    Bridge,
    /// All links take 20 to 200 ms, now more, now less
    Jitter,
    /// 5 % of the bytes on all links are lost and arrive 200 ms later, and all behind them
    Loss,
    /// A sync of the leader's disk takes 50 ms more
    #[value(name = "leader-sync-50")]
    #[serde(rename = "leader-sync-50")]
    LeaderSync50,
    /// A sync of the leader's disk takes 200 ms more
    #[value(name = "leader-sync-200")]
    #[serde(rename = "leader-sync-200")]
    LeaderSync200,
    /// A sync of the leader's disk takes 1000 ms more
    #[value(name = "leader-sync-1000")]
    #[serde(rename = "leader-sync-1000")]
    LeaderSync1000,
    /// The leader's disk answers nothing; its process lives
    LeaderDiskFrozen,
    /// Syncs of the leader's disk fail
    LeaderSyncFails,
    /// Disk and links of a follower are ten times slower
    FollowerSlow,
    /// A sync of every disk takes 50 ms more
    DisksSlow,
}

/// What a case is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aim {
    /// How soon puts are acknowledged again.
    Progress,
    /// What remains of the rate.
    Rate,
    /// That nothing happens for minutes.
    Calm,
}

impl Case {
    /// As a heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::LeaderKilled => "Leader killed",
            Self::LeaderFrozen => "Leader frozen",
            Self::LeaderCutOff => "Leader cut off",
            Self::LeaderUnheard => "Nobody hears the leader",
            Self::LeaderDeaf => "The leader hears nobody",
            Self::Bridge => "One member sees both, the others don't see each other",
            Self::Jitter => "20–200 ms jitter on all links",
            Self::Loss => "5 % of bytes stalled on all links",
            Self::LeaderSync50 => "Leader's sync +50 ms",
            Self::LeaderSync200 => "Leader's sync +200 ms",
            Self::LeaderSync1000 => "Leader's sync +1000 ms",
            Self::LeaderDiskFrozen => "Leader's disk frozen, its process alive",
            Self::LeaderSyncFails => "Leader's syncs fail",
            Self::FollowerSlow => "A follower ten times slower",
            Self::DisksSlow => "Every disk slow",
        }
    }

    /// What is done, in a sentence or two.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::LeaderKilled => "The leader gets SIGKILL, and is started again 5 s later.",
            Self::LeaderFrozen => {
                "The leader gets SIGSTOP: its connections stay open and nothing answers. SIGCONT \
                 comes 5 s later."
            }
            Self::LeaderCutOff => {
                "All bytes between the leader and the others are held in both directions, and \
                 nobody is told, as by a network that loses all packets. Clients still reach it."
            }
            Self::LeaderUnheard => {
                "All bytes from the leader to the others are held; those to it pass."
            }
            Self::LeaderDeaf => "All bytes from the others to the leader are held; its own pass.",
            Self::Bridge => {
                "All bytes between the leader and one follower are held; the third member has a \
                 link with both."
            }
            Self::Jitter => {
                "Every link delays by 20 to 200 ms, drawn evenly and anew every 100 ms for each \
                 of its directions; nothing overtakes."
            }
            Self::Loss => {
                "Of all that members write to each other, every twentieth piece, by chance, arrives \
                 200 ms later (the least that Linux waits before it sends anew), and all behind it \
                 on its connection."
            }
            Self::LeaderSync50 | Self::LeaderSync200 | Self::LeaderSync1000 => {
                "Every fsync and fdatasync in the leader's data directory takes so much longer."
            }
            Self::LeaderDiskFrozen => {
                "Nothing in the leader's data directory is answered any more, neither reads nor \
                 writes nor syncs."
            }
            Self::LeaderSyncFails => {
                "Every fsync and fdatasync in the leader's data directory fails with EIO. After 5 s \
                 the disk is well again, and a member that ended is started."
            }
            Self::FollowerSlow => {
                "Every sync of one follower takes ten times as long as this machine's (at least 5 ms \
                 more), and its links 1 ms more each way, about ten times a round trip here."
            }
            Self::DisksSlow => "Every fsync and fdatasync of every member takes 50 ms longer.",
        }
    }

    /// What it is about.
    #[must_use]
    pub fn aim(self) -> Aim {
        match self {
            Self::LeaderKilled
            | Self::LeaderFrozen
            | Self::LeaderCutOff
            | Self::LeaderUnheard
            | Self::LeaderDeaf
            | Self::Bridge
            | Self::LeaderDiskFrozen
            | Self::LeaderSyncFails => Aim::Progress,
            Self::Jitter | Self::Loss => Aim::Calm,
            Self::LeaderSync50
            | Self::LeaderSync200
            | Self::LeaderSync1000
            | Self::FollowerSlow
            | Self::DisksSlow => Aim::Rate,
        }
    }

    /// Name of its picture.
    #[must_use]
    pub fn picture(self) -> String {
        format!("{}.svg", self.name())
    }

    /// As on the command line.
    #[must_use]
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Makes it go wrong. `sync` is how long a sync takes on this machine.
    pub fn inject(self, cluster: &mut Cluster, leader: usize, sync: Duration) -> Result<()> {
        let follower = (leader + 1) % cluster.members().len();
        match self {
            Self::LeaderKilled => cluster.members()[leader].process()?.signal(Signal::KILL),
            Self::LeaderFrozen => cluster.members()[leader].process()?.signal(Signal::STOP),
            Self::LeaderCutOff => {
                cluster.network()?.isolate(leader, Link::Holds);
                Ok(())
            }
            Self::LeaderUnheard => {
                cluster.network()?.set_outbound(leader, Link::Holds);
                Ok(())
            }
            Self::LeaderDeaf => {
                cluster.network()?.set_inbound(leader, Link::Holds);
                Ok(())
            }
            Self::Bridge => {
                let network = cluster.network()?;
                network.set(leader, follower, Link::Holds);
                network.set(follower, leader, Link::Holds);
                Ok(())
            }
            Self::Jitter => {
                cluster.network()?.set_all(Link::Shaped(Shape {
                    delay: Duration::from_millis(20),
                    jitter: Duration::from_millis(180),
                    ..Shape::default()
                }));
                Ok(())
            }
            Self::Loss => {
                cluster.network()?.set_all(Link::Shaped(Shape {
                    stalled_permille: 50,
                    ..Shape::default()
                }));
                Ok(())
            }
            Self::LeaderSync50 => slow_syncs(cluster, leader, Duration::from_millis(50)),
            Self::LeaderSync200 => slow_syncs(cluster, leader, Duration::from_millis(200)),
            Self::LeaderSync1000 => slow_syncs(cluster, leader, Duration::from_millis(1000)),
            Self::LeaderDiskFrozen => cluster.members()[leader].disk()?.inject(Fault::Frozen),
            Self::LeaderSyncFails => cluster.members()[leader]
                .disk()?
                .inject(Fault::FailingSyncs),
            Self::FollowerSlow => {
                let network = cluster.network()?;
                network.isolate(follower, Link::delayed(SLOW_LINK));
                slow_syncs(cluster, follower, (sync * 9).max(SLOW_SYNC_MIN))
            }
            Self::DisksSlow => (0..cluster.members().len())
                .try_for_each(|member| slow_syncs(cluster, member, Duration::from_millis(50))),
        }
    }

    /// Makes everything well again. A member that ended is started.
    pub fn heal(self, cluster: &mut Cluster) -> Result<()> {
        cluster.network()?.heal();
        for member in cluster.members() {
            member.disk()?.heal()?;
            let process = member.process()?;
            process.signal(Signal::CONT)?;
            if process.exit_status()?.is_some() {
                member.start()?;
            }
        }
        Ok(())
    }
}

fn slow_syncs(cluster: &mut Cluster, member: usize, delay: Duration) -> Result<()> {
    let disk = cluster.members()[member].disk()?;
    disk.inject(Fault::SlowSyncs(delay))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_a_title_and_an_explanation() {
        for case in Case::value_variants() {
            assert!(!case.name().is_empty());
            assert!(!case.title().is_empty() && !case.explanation().is_empty());
        }
        assert_eq!(Case::LeaderSync1000.name(), "leader-sync-1000");
    }
}
