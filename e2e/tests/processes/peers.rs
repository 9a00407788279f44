//! What a member refuses of its peers, and goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::GetOptions;
use raftery_e2e::bare::{Cluster, Node};
use raftery_e2e::outcome::Outcome;
use raftery_e2e::peer_proxy::{PeerProxies, SnapshotFault};
use raftery_e2e::wait;
use raftery_proto::admin::StatusResponse;
use raftery_proto::peer::peer_client::PeerClient;
use raftery_proto::peer::{
    Append, Entry, Handshake, LogId, Membership, Message, PeerFrame, SnapshotChunk, SnapshotFrame,
    SnapshotHello, entry, message,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::alone;

const LIMIT: Duration = Duration::from_secs(30);
const PEERS_REFUSED: &str = "raftery_peers_refused_total";
const SNAPSHOTS_REFUSED: &str = "raftery_snapshots_refused_total";

#[tokio::test(flavor = "multi_thread")]
async fn a_spoiled_or_broken_snapshot_is_refused_and_counted_and_a_whole_one_is_taken() -> Outcome {
    /// More than the log keeps for members that lag.
    const VALUES: usize = 40;
    const TOOK_OVER: &str = "took over the leader's snapshot";
    let _alone = alone().await;
    let mut cluster = Cluster::new(3)?;
    let proxies = PeerProxies::in_front_of(&mut cluster).await?;
    cluster.start().await?;
    cluster.all_caught_up(LIMIT).await?;
    let (leader, _) = cluster.leader(LIMIT).await?;
    let lagging = (leader + 1) % 3;
    cluster.nodes[lagging].kill()?;
    // It has no more than that: what is appended of itself, a ledger batch say, never waits.
    let had = cluster.nodes[leader].admin()?.status().await?.last_index;

    let mut client = cluster.nodes[leader].client().await?;
    for number in 0..VALUES {
        client
            .put(format!("big-{number}"), vec![b'x'; 1 << 20], None)
            .await?;
    }
    wait::until("the leader's log is cut", LIMIT, async || {
        let base = cluster.nodes[leader].admin()?.status().await?.base_index;
        ensure!(base > had, "it begins behind {base}");
        Ok(())
    })
    .await?;
    use SnapshotFault::{CutShort, Held, WrongByte};
    proxies.spoil_snapshots(lagging, &[WrongByte, CutShort, Held]);
    let node = &mut cluster.nodes[lagging];
    node.start()?;
    wait::until("two snapshots are refused", LIMIT, async || {
        let refused = node.metric(SNAPSHOTS_REFUSED).await?;
        ensure!(refused == 2, "{refused} are");
        Ok(())
    })
    .await?;
    let log = node.log();
    for reason in ["the checksum doesn't hold", "truncated: "] {
        assert!(log.contains(reason), "no {reason:?} in its log");
    }
    assert!(!log.contains(TOOK_OVER));
    assert!(node.admin()?.status().await?.applied_index <= had);

    proxies.let_snapshots_pass(lagging);
    cluster.all_caught_up(LIMIT).await?;
    let node = &mut cluster.nodes[lagging];
    node.serves(LIMIT).await?;
    assert!(node.log().contains(TOOK_OVER));
    assert_eq!(node.metric(SNAPSHOTS_REFUSED).await?, 2);
    let counted = GetOptions::new()
        .with_prefix()
        .with_count_only()
        .with_serializable();
    let mut client = node.client().await?;
    let found = client.get("big-", Some(counted)).await?;
    assert_eq!(usize::try_from(found.count())?, VALUES);
    let first = GetOptions::new().with_serializable();
    let first = client.get("big-0", Some(first)).await?;
    assert_eq!(first.kvs()[0].value(), vec![b'x'; 1 << 20]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_member_of_the_cluster_would_say_is_refused_and_counted_and_changes_nothing()
-> Outcome {
    let _alone = alone().await;
    let mut cluster = Cluster::started(3).await?;
    cluster.all_caught_up(LIMIT).await?;
    let (leader, status) = cluster.leader(LIMIT).await?;
    let place = (leader + 1) % 3;
    let me = cluster.nodes[place].admin()?.status().await?;
    let impostor = Impostor::of(&cluster.nodes[place], &me, status.member_id).await?;
    let client = &mut cluster.nodes[place].client().await?;
    client.put("kept", "x", None).await?;
    let revision = revision(client).await?;
    let node = &cluster.nodes[place];

    let hello = &impostor.hello;
    wait::until("the cluster version is raised", LIMIT, async || {
        let version = node.admin()?.status().await?.cluster_version;
        ensure!(version > 1, "{version}");
        Ok(())
    })
    .await?;
    let strangers = [
        (
            Handshake {
                cluster_id: hello.cluster_id ^ 1,
                ..hello.clone()
            },
            "cluster ID mismatch",
        ),
        (
            Handshake {
                lineage: hello.lineage ^ 1,
                ..hello.clone()
            },
            "cluster ID mismatch",
        ),
        (
            Handshake {
                to: hello.to ^ 1,
                ..hello.clone()
            },
            "an old address?",
        ),
        (
            Handshake {
                protocol_min: 99,
                protocol_max: 99,
                ..hello.clone()
            },
            "peer protocol 99 to 99",
        ),
        (
            Handshake {
                cluster_version_max: 1,
                ..hello.clone()
            },
            "it needs a newer version",
        ),
    ];
    let before = node.metric(PEERS_REFUSED).await?;
    for (hello, reason) in &strangers {
        let refused = impostor.say(vec![shake(hello)]).await;
        told(&refused, Code::FailedPrecondition, reason)?;
    }
    let frames = [
        (nonsense(), "a peer message lacks its body"),
        (from_another(hello), "on the stream of"),
        (entry(hello, 9 << 20), "an entry of 9437184 bytes"),
        (command(2 << 20), "command"),
    ];
    let refused_frames = frames.len();
    for (frame, reason) in frames {
        let refused = impostor.say(vec![shake(hello), frame]).await;
        told(&refused, Code::InvalidArgument, reason)?;
    }
    let refused = impostor
        .say(vec![shake(hello), entry(hello, 65 << 20)])
        .await;
    told(&refused, Code::OutOfRange, "message length")?;
    let counted = node.metric(PEERS_REFUSED).await? - before;
    assert_eq!(counted as usize, strangers.len() + refused_frames + 1);

    let before = node.metric(SNAPSHOTS_REFUSED).await?;
    let chunk = SnapshotChunk {
        offset: 0,
        data: vec![7; 100].into(),
        crc: 0,
    };
    let spoiled = impostor.send_snapshot(1000, vec![chunk]).await;
    told(&spoiled, Code::DataLoss, "the checksum doesn't hold")?;
    let broken = impostor.send_snapshot(1000, vec![]).await;
    told(&broken, Code::DataLoss, "truncated: 0 of 1000 bytes")?;
    assert_eq!(node.metric(SNAPSHOTS_REFUSED).await? - before, 2);

    // Nothing of all that has left a trace.
    assert_eq!(self::revision(client).await?, revision);
    assert!(!node.log().contains("took over"));
    cluster.all_serve(LIMIT).await?;
    cluster.all_caught_up(LIMIT).await?;
    let now = cluster.nodes[place].admin()?.status().await?;
    assert_eq!(now.members.len(), 3);
    Ok(())
}

async fn revision(client: &mut etcd_client::Client) -> Result<i64> {
    let read = client.get("kept", None).await?;
    Ok(read.header().context("no header")?.revision())
}

/// Speaks to a node as if it were one of its peers.
struct Impostor {
    client: PeerClient<Channel>,
    hello: Handshake,
}

impl Impostor {
    async fn of(node: &Node, status: &StatusResponse, from: u64) -> Result<Self> {
        let url = format!("http://127.0.0.1:{}", node.whereabouts().peer_port());
        let hello = Handshake {
            cluster_id: status.cluster_id,
            lineage: status.lineage,
            from,
            to: status.member_id,
            protocol_min: 1,
            protocol_max: 1,
            cluster_version_max: status.cluster_version_max,
            ..Handshake::default()
        };
        Ok(Self {
            client: PeerClient::connect(url).await?,
            hello,
        })
    }

    /// How the stream ends on which these frames are sent.
    async fn say(&self, frames: Vec<PeerFrame>) -> Status {
        use futures::StreamExt;
        // The stream stays open: who has nothing against it doesn't answer.
        let frames = futures::stream::iter(frames).chain(futures::stream::pending());
        let ended = async {
            let mut notices = self.client.clone().deliver(frames).await?.into_inner();
            while notices.message().await?.is_some() {}
            Err::<(), _>(Status::ok("it was taken"))
        };
        outcome(ended).await
    }

    /// How the stream of this snapshot ends.
    async fn send_snapshot(&self, bytes: u64, chunks: Vec<SnapshotChunk>) -> Status {
        let Handshake {
            cluster_id,
            lineage,
            from,
            to,
            ..
        } = self.hello;
        let hello = SnapshotHello {
            cluster_id,
            lineage,
            from,
            to,
            term: 1 << 40,
            last: Some(LogId {
                term: 1 << 40,
                index: 1 << 40,
            }),
            membership: Some(Membership::default()),
            snapshot: fastrand::u64(..),
            bytes,
        };
        let hello = SnapshotFrame {
            hello: Some(hello),
            chunk: None,
        };
        let chunks = chunks.into_iter().map(|chunk| SnapshotFrame {
            hello: None,
            chunk: Some(chunk),
        });
        let frames: Vec<_> = std::iter::once(hello).chain(chunks).collect();
        let ended = async {
            let frames = futures::stream::iter(frames);
            let answers = self.client.clone().install_snapshot(frames).await?;
            let mut answers = answers.into_inner();
            while answers.message().await?.is_some() {}
            Err::<(), _>(Status::ok("it was taken"))
        };
        outcome(ended).await
    }
}

async fn outcome(ended: impl Future<Output = Result<(), Status>>) -> Status {
    let ended = tokio::time::timeout(LIMIT, ended).await;
    match ended {
        Ok(Ok(())) => Status::ok("it was taken"),
        Ok(Err(status)) => status,
        Err(_) => Status::ok("no answer"),
    }
}

fn told(status: &Status, code: Code, reason: &str) -> Result<()> {
    let fits = status.code() == code && status.message().contains(reason);
    ensure!(fits, "not {code:?} with {reason:?}: {status:?}");
    Ok(())
}

fn shake(hello: &Handshake) -> PeerFrame {
    PeerFrame {
        handshake: Some(hello.clone()),
        ..PeerFrame::default()
    }
}

/// As a member of another version would send what this one doesn't know.
fn nonsense() -> PeerFrame {
    PeerFrame {
        messages: vec![Message::default()],
        ..PeerFrame::default()
    }
}

fn from_another(hello: &Handshake) -> PeerFrame {
    let body = message::Body::TimeoutNow(raftery_proto::peer::TimeoutNow {});
    PeerFrame {
        messages: vec![Message {
            from: hello.from ^ 1,
            to: hello.to,
            term: 1 << 40,
            body: Some(body),
        }],
        ..PeerFrame::default()
    }
}

fn entry(hello: &Handshake, bytes: usize) -> PeerFrame {
    let at = |index| {
        Some(LogId {
            term: 1 << 40,
            index,
        })
    };
    let append = Append {
        prev: at(1),
        entries: vec![Entry {
            id: at(2),
            payload: Some(entry::Payload::Data(vec![0; bytes].into())),
        }],
        commit: 0,
    };
    PeerFrame {
        messages: vec![Message {
            from: hello.from,
            to: hello.to,
            term: 1 << 40,
            body: Some(message::Body::Append(append)),
        }],
        ..PeerFrame::default()
    }
}

fn command(bytes: usize) -> PeerFrame {
    PeerFrame {
        commands: vec![vec![1; bytes].into()],
        ..PeerFrame::default()
    }
}
