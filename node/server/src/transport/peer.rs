//! The task that keeps one stream to one peer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use raftery_proto::peer::{self as proto, peer_notice};
use raftery_raft::{Instant, LogIndex, MemberId, Rollback, Term};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::{debug, info};

use super::{Me, Outgoing, PROTOCOL, Refusal, client, codec};
use crate::clock;
use crate::cluster_version::{ClusterVersion, Supported};
use crate::command;
use crate::driver::{Input, Notice};
use crate::pulse::Pulse;

/// How long connecting may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A silent connection is asked for a sign of life this often.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// And closed when none comes.
pub(super) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a node that goes down tries to send what is queued.
pub(super) const FLUSH_TIME: Duration = Duration::from_millis(200);
/// Pause after a failed connection. Short, since a restarted peer is wanted back at once.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Messages put into one frame.
const FRAME_MESSAGES_MAX: usize = 256;
/// Bytes of entries after which a frame is sent.
const FRAME_BYTES_SOFT: usize = 1 << 20;
/// How often the way to a peer and back is measured.
const SIGN_EVERY: Duration = Duration::from_millis(250);
/// Frames between this task and the connection. Few: what is queued here can't be dropped.
const FRAMES_IN_FLIGHT: usize = 4;

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) me: Arc<Me>,
    pub(super) id: MemberId,
    pub(super) urls: Vec<String>,
    pub(super) inputs: mpsc::UnboundedSender<Input>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) supported: Arc<Supported>,
}

/// The last sign of life that was sent, which the peer gives back.
#[derive(Default)]
struct Sign {
    number: u64,
    sent: Option<Instant>,
}

impl Sign {
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.sent = Some(clock::now());
        self.number
    }

    /// How long the last one took, if this is its answer.
    fn answered(&mut self, number: u64) -> Option<Duration> {
        let sent = self.sent.filter(|_| number == self.number)?;
        self.sent = None;
        Some(clock::now().since(sent))
    }
}

/// How a stream ended.
enum StreamEnd {
    /// Nobody sends any more.
    QueueClosed,
    /// Connect again.
    Broken(String),
}

impl Peer {
    /// Keeps a stream until the queue is closed.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<Outgoing>) {
        let mut was_connected = true;
        // Each reason is told once: why a peer refuses mustn't be lost behind its having been down.
        let mut told = BTreeMap::new();
        for url in self.urls.iter().cycle() {
            match self.stream(url, &mut queue, &mut was_connected).await {
                // The peer left, or another task has its new address, and asks there.
                StreamEnd::QueueClosed => return,
                StreamEnd::Broken(reason) => {
                    self.supported.gone(self.id);
                    let is_news = told.get(url) != Some(&reason);
                    if std::mem::take(&mut was_connected) {
                        info!(peer = %self.id, url, reason, "connection to peer lost");
                    } else if is_news {
                        info!(peer = %self.id, url, reason, "peer not reached");
                    } else {
                        debug!(peer = %self.id, url, reason, "peer not reached");
                    }
                    told.insert(url, reason);
                }
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
            // What waited is old news by now; Raft sends what still matters again. Commands were
            // sent nowhere: their clients' turn to try again.
            loop {
                match queue.try_recv() {
                    Ok(Outgoing::Command(command)) => self.give_back(&command),
                    Ok(Outgoing::Raft(..) | Outgoing::Told(_) | Outgoing::Refusal(..)) => {}
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return,
                }
            }
        }
    }

    async fn stream(
        &self,
        url: &str,
        queue: &mut mpsc::Receiver<Outgoing>,
        was_connected: &mut bool,
    ) -> StreamEnd {
        let mut client = match client(url) {
            Ok(client) => client,
            Err(error) => return StreamEnd::Broken(error.to_string()),
        };
        let (frames, stream) = mpsc::channel(FRAMES_IN_FLIGHT);
        let hello = proto::PeerFrame {
            handshake: Some(self.handshake()),
            ..Default::default()
        };
        if frames.send(hello).await.is_err() {
            return StreamEnd::Broken("stream closed".to_owned());
        }
        let connect = async {
            let opened = client.deliver(ReceiverStream::new(stream)).await?;
            let mut notices = opened.into_inner();
            Ok::<_, Status>((notices.message().await?, notices))
        };
        let (answer, mut notices) = match tokio::time::timeout(CONNECT_TIMEOUT * 2, connect).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(status)) => return StreamEnd::Broken(status.message().to_owned()),
            Err(_) => return StreamEnd::Broken("no answer".to_owned()),
        };
        let Some(answer) = answer else {
            return StreamEnd::Broken("closed by the peer".to_owned());
        };
        if let Err(reason) = self.check_version(&answer) {
            return StreamEnd::Broken(reason);
        }
        self.on_notice(&answer);
        if !*was_connected {
            info!(peer = %self.id, url, "connected to peer");
            *was_connected = true;
        }
        self.pump(queue, frames, &mut notices).await
    }

    async fn pump(
        &self,
        queue: &mut mpsc::Receiver<Outgoing>,
        frames: mpsc::Sender<proto::PeerFrame>,
        notices: &mut Streaming<proto::PeerNotice>,
    ) -> StreamEnd {
        let mut waiting = Vec::with_capacity(FRAME_MESSAGES_MAX);
        let mut signs = tokio::time::interval(SIGN_EVERY);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sign = Sign::default();
        loop {
            tokio::select! {
                _ = signs.tick() => {
                    let frame = proto::PeerFrame {
                        sign_of_life: sign.next(),
                        is_full: self.pulse.is_full(),
                        ..Default::default()
                    };
                    // What queues is no measure of the way: without room it waits for the next time.
                    let _ = frames.try_send(frame);
                }
                notice = notices.message() => match notice {
                    Ok(Some(notice)) => {
                        if let Some(took) = sign.answered(notice.sign_of_life) {
                            let id = self.id;
                            let _ = self.inputs.send(Input::PeerAnswered { id, took });
                        }
                        self.on_notice(&notice);
                    }
                    Ok(None) => return StreamEnd::Broken("closed by the peer".to_owned()),
                    Err(status) => return StreamEnd::Broken(status.message().to_owned()),
                },
                received = queue.recv_many(&mut waiting, FRAME_MESSAGES_MAX) => {
                    if received == 0 {
                        // Closing our side lets the last frames out before the stream ends.
                        drop(frames);
                        let _ = tokio::time::timeout(FLUSH_TIME, notices.message()).await;
                        return StreamEnd::QueueClosed;
                    }
                    for mut frame in into_frames(waiting.drain(..)) {
                        frame.is_full = self.pulse.is_full();
                        if frames.send(frame).await.is_err() {
                            return StreamEnd::Broken("stream closed".to_owned());
                        }
                    }
                }
            }
        }
    }

    /// A peer that doesn't know what the cluster goes by gets nothing: an entry would end it.
    fn check_version(&self, answer: &proto::PeerNotice) -> Result<(), String> {
        if answer.kind() == peer_notice::Kind::Removed {
            return Ok(());
        }
        let highest = ClusterVersion::from_wire(answer.cluster_version_max);
        let applied = self.pulse.cluster_version();
        if highest < applied {
            return Err(format!(
                "the cluster goes by cluster version {applied}; the peer supports only up to \
                 {highest}"
            ));
        }
        self.supported.told(self.id, highest);
        Ok(())
    }

    fn on_notice(&self, notice: &proto::PeerNotice) {
        let input = match notice.kind() {
            peer_notice::Kind::Removed => Input::ToldRemoved,
            peer_notice::Kind::RolledBack if notice.acknowledged == 0 => {
                Input::RolledBack(Rollback::BootCounterWentBack)
            }
            peer_notice::Kind::RolledBack => Input::RolledBack(Rollback::LogEndsEarly {
                term: Term(notice.term),
                acknowledged: LogIndex(notice.acknowledged),
            }),
            peer_notice::Kind::Accepted | peer_notice::Kind::Unspecified => return,
        };
        // A driver that is gone needs to know no more.
        let _ = self.inputs.send(input);
    }

    fn give_back(&self, command: &[u8]) {
        if let Ok(waiter) = command::waiter(command) {
            let refusal = Refusal::NotLeader;
            let _ = self.inputs.send(Input::Refused {
                request: waiter.request,
                refusal,
            });
        }
    }

    fn handshake(&self) -> proto::Handshake {
        proto::Handshake {
            cluster_id: self.me.cluster_id,
            lineage: self.me.lineage,
            from: self.me.id.0,
            to: self.id.0,
            protocol_min: *PROTOCOL.start(),
            protocol_max: *PROTOCOL.end(),
            peer_urls: self.me.peer_urls.clone(),
            boot: self.me.boot,
            last_index: self.pulse.last_index().0,
            cluster_version_max: ClusterVersion::HIGHEST.0,
            start: self.me.start,
        }
    }
}

/// Packs messages into frames that stay far below the largest that a peer takes.
fn into_frames(messages: impl Iterator<Item = Outgoing>) -> Vec<proto::PeerFrame> {
    let mut frames = vec![proto::PeerFrame::default()];
    let mut bytes = 0;
    for outgoing in messages {
        if bytes > FRAME_BYTES_SOFT {
            frames.push(proto::PeerFrame::default());
            bytes = 0;
        }
        bytes += size(&outgoing);
        let frame = frames.last_mut().expect("there is always one frame");
        match outgoing {
            Outgoing::Raft(message, notice) => {
                frame.messages.push(codec::encode(message));
                if let Some(notice) = notice {
                    frame.verdict = Some(verdict(&notice));
                }
            }
            Outgoing::Told(told) => frame.report = Some(codec::encode_told(*told)),
            Outgoing::Command(command) => frame.commands.push(command),
            Outgoing::Refusal(request, reason) => frame.refusals.push(proto::Refusal {
                request,
                reason: codec::encode_refusal(reason).into(),
            }),
        }
    }
    frames
}

/// Bytes, roughly.
fn size(outgoing: &Outgoing) -> usize {
    const OVERHEAD_BYTES: usize = 32;
    let payload = match outgoing {
        Outgoing::Raft(message, _) => match &message.body {
            raftery_raft::MessageBody::Append { entries, .. } => entries
                .iter()
                .map(|entry| OVERHEAD_BYTES + entry.payload.len())
                .sum(),
            _ => 0,
        },
        Outgoing::Command(command) => command.len(),
        Outgoing::Told(_) | Outgoing::Refusal(..) => 0,
    };
    OVERHEAD_BYTES + payload
}

fn verdict(notice: &Notice) -> proto::Verdict {
    proto::Verdict {
        term: notice.term.0,
        window: notice.window.0,
        points: notice.verdict.points,
        reason: notice.verdict.reason.name().to_owned(),
    }
}
