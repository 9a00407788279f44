//! A network between nodes that can be cut, held and slowed, between any two of them and in one
//! direction alone.
//!
//! There is one proxy for each receiver, in front of its peer port; that is the address the
//! others are told. Who connects is found out from the kernel: `/proc/net/tcp` names the socket
//! at the other end of a connection, `/proc/PID/fd` the process that holds it. So each pair is
//! known, though all see the same addresses. (Sources that the kernel can tell apart would take
//! network namespaces; and delays in those would take netem, which not every kernel has.)
//!
//! What goes from one node to another travels on connections that either of them opened: as a
//! request on one, as an answer on the other. A direction's state holds for both, so what is
//! held in one direction lets answers in the other pass, as a network does that loses packets
//! one way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bare::{Cluster, Whereabouts};

/// Read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks under way in one direction of a connection; then its sender must wait.
const CHUNKS_MAX: usize = 64;

/// What happens to bytes in one direction between two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// They pass.
    Passes,
    /// They pass, so much later.
    Delays(Duration),
    /// They are held, and nobody is told; when the link passes again they arrive.
    Holds,
    /// Connections that the sender opened to the receiver are reset, and new ones too.
    Cut,
}

/// The network of a cluster's nodes; a link that wasn't set passes.
pub struct Network {
    /// By sender, then receiver.
    links: Vec<Vec<watch::Sender<Link>>>,
    _proxies: JoinSet<()>,
}

impl Network {
    /// Puts itself between the nodes of a cluster that wasn't started yet.
    pub async fn between(cluster: &mut Cluster) -> Result<Self> {
        let size = cluster.nodes.len();
        let link = |_| watch::Sender::new(Link::Passes);
        let links: Vec<Vec<_>> = (0..size).map(|_| (0..size).map(link).collect()).collect();
        let nodes: Vec<_> = cluster
            .nodes
            .iter()
            .map(|node| node.whereabouts())
            .collect();
        let mut proxies = JoinSet::new();
        let mut doors = Vec::new();
        for to in 0..size {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            doors.push(listener.local_addr()?.port());
            let proxy = Proxy {
                to,
                nodes: nodes.clone(),
                forth: links.iter().map(|from| from[to].subscribe()).collect(),
                back: links[to].iter().map(watch::Sender::subscribe).collect(),
            };
            proxies.spawn(proxy.accept(listener));
        }
        cluster.advertise(&doors);
        Ok(Self {
            links,
            _proxies: proxies,
        })
    }

    /// Sets one direction between two nodes, by their places in the cluster.
    pub fn set(&self, from: usize, to: usize, link: Link) {
        self.links[from][to].send_replace(link);
    }

    /// Sets all that goes to and from a node.
    pub fn isolate(&self, node: usize, link: Link) {
        self.set_inbound(node, link);
        self.set_outbound(node, link);
    }

    /// Sets all that goes to a node.
    pub fn set_inbound(&self, node: usize, link: Link) {
        for from in (0..self.links.len()).filter(|from| *from != node) {
            self.set(from, node, link);
        }
    }

    /// Sets all that comes from a node.
    pub fn set_outbound(&self, node: usize, link: Link) {
        for to in (0..self.links.len()).filter(|to| *to != node) {
            self.set(node, to, link);
        }
    }

    /// Lets everything pass.
    pub fn heal(&self) {
        for link in self.links.iter().flatten() {
            link.send_replace(Link::Passes);
        }
    }
}

/// What stands in front of one node.
struct Proxy {
    to: usize,
    nodes: Vec<Arc<Whereabouts>>,
    /// From each other node to this one.
    forth: Vec<watch::Receiver<Link>>,
    /// From this node to each other one.
    back: Vec<watch::Receiver<Link>>,
}

impl Proxy {
    async fn accept(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            // Only out of descriptors, or a connection that was gone before it was taken.
            let Ok((stream, source)) = listener.accept().await else {
                continue;
            };
            // Whoever opened it may be gone already; then so is the connection.
            let Ok(from) = self.sender(&stream, source) else {
                continue;
            };
            let (forth, back) = (self.forth[from].clone(), self.back[from].clone());
            let receiver = Arc::clone(&self.nodes[self.to]);
            connections.spawn(async move {
                // Ended, reset or cut: both sides see their connection end.
                let _ = carry(stream, &receiver, forth, back).await;
            });
        }
    }

    fn sender(&self, stream: &TcpStream, source: SocketAddr) -> Result<usize> {
        let socket = socket(source, stream.local_addr()?)?;
        let holds = |node: &Arc<Whereabouts>| holds(node.process_id(), &socket);
        let sender = self.nodes.iter().position(holds);
        sender.context("the connection of nobody known")
    }
}

/// The link name of the socket that is bound to the first address and connected to the second.
fn socket(own: SocketAddr, other: SocketAddr) -> Result<String> {
    let (own, other) = (hexadecimal(own)?, hexadecimal(other)?);
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if let [_, local, remote, _, _, _, _, _, _, inode, ..] = columns[..]
            && (local, remote) == (own.as_str(), other.as_str())
        {
            return Ok(format!("socket:[{inode}]"));
        }
    }
    bail!("no such socket")
}

/// As in `/proc/net/tcp`: the address as the machine holds it, in hexadecimal.
fn hexadecimal(address: SocketAddr) -> Result<String> {
    let SocketAddr::V4(address) = address else {
        bail!("not an address of IP version 4")
    };
    let ip = u32::from_ne_bytes(address.ip().octets());
    Ok(format!("{ip:08X}:{:04X}", address.port()))
}

fn holds(process: u32, socket: &str) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{process}/fd")) else {
        return false;
    };
    let mut targets = descriptors
        .filter_map(Result::ok)
        .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
    targets.any(|target| target.as_os_str() == socket)
}

async fn carry(
    opener: TcpStream,
    receiver: &Whereabouts,
    mut forth: watch::Receiver<Link>,
    back: watch::Receiver<Link>,
) -> Result<()> {
    // What is cut short is reset, not ended in good order.
    opener.set_zero_linger()?;
    if *forth.borrow_and_update() == Link::Cut {
        bail!("cut");
    }
    let acceptor = TcpStream::connect(("127.0.0.1", receiver.peer_port())).await?;
    acceptor.set_zero_linger()?;
    for stream in [&opener, &acceptor] {
        stream.set_nodelay(true)?;
    }
    let (from_opener, to_opener) = opener.into_split();
    let (from_acceptor, to_acceptor) = acceptor.into_split();
    let mut is_cut = forth.clone();
    tokio::select! {
        ended = pump(from_opener, to_acceptor, forth) => ended,
        ended = pump(from_acceptor, to_opener, back) => ended,
        _ = is_cut.wait_for(|link| *link == Link::Cut) => bail!("cut"),
    }
}

/// Carries bytes in one direction, as its link allows.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut link: watch::Receiver<Link>,
) -> Result<()> {
    let (taken, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let take = async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let read = from.read_buf(&mut chunk).await?;
            if read == 0 || taken.send((Instant::now(), chunk)).await.is_err() {
                return Ok::<(), anyhow::Error>(());
            }
        }
    };
    let give = async move {
        while let Some((since, chunk)) = waiting.recv().await {
            allowed(since, &mut link).await?;
            to.write_all(&chunk).await?;
        }
        Ok(())
    };
    tokio::try_join!(take, give)?;
    Ok(())
}

/// Waits until what arrived at that time may go on.
async fn allowed(since: Instant, link: &mut watch::Receiver<Link>) -> Result<()> {
    loop {
        let now = *link.borrow_and_update();
        let changed = link.changed();
        match now {
            // The one who opened the connection may cut it; that isn't this link's business.
            Link::Passes | Link::Cut => return Ok(()),
            Link::Holds => changed.await?,
            Link::Delays(delay) => tokio::select! {
                () = tokio::time::sleep_until(since + delay) => return Ok(()),
                changed = changed => changed?,
            },
        }
    }
}
