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
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Read at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces under way in one direction of a connection; then its sender must wait.
const PIECES_MAX: usize = 512;
/// How long a piece is stalled: what Linux waits at least before it sends anew what nobody
/// acknowledged.
pub const STALL: Duration = Duration::from_millis(200);
/// A jittering delay stays the same for so long, on all connections of a link. Were it drawn for each
/// piece, then, since none overtakes another, a busy link would just be as slow as the slowest of
/// its pieces.
pub const JITTER_SLOT: Duration = Duration::from_millis(100);

/// What happens to bytes in one direction between two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// They pass.
    Passes,
    /// They pass, as a bad line lets them.
    Shaped(Shape),
    /// They are held, and nobody is told; when the link passes again they arrive.
    Holds,
    /// Connections that the sender opened to the receiver are reset, and new ones too.
    Cut,
}

impl Link {
    /// Everything arrives so much later.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self::Shaped(Shape {
            delay,
            ..Shape::default()
        })
    }
}

/// A bad line. What it carries arrives in order, as on all connections.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Shape {
    /// Everything arrives so much later.
    pub delay: Duration,
    /// And up to so much later still, another part of it in each [`JITTER_SLOT`].
    pub jitter: Duration,
    /// Of a thousand pieces (what was written at once, up to 64 KiB) so many are lost on their way,
    /// and come [`STALL`] later, with all that is behind them.
    pub stalled_permille: u16,
    /// Bytes that fit through in a second, if there is a limit.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// Where a node is at the moment: known to a proxy in front of it, too.
#[derive(Default, Debug)]
pub struct Whereabouts {
    process_id: AtomicU32,
    peer_port: AtomicU16,
}

impl Whereabouts {
    /// Its process, running or not; 0 before it was started.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process_id.load(Ordering::Relaxed)
    }

    /// It was started as this process.
    pub fn set_process_id(&self, id: u32) {
        self.process_id.store(id, Ordering::Relaxed);
    }

    /// Where it listens for its peers.
    #[must_use]
    pub fn peer_port(&self) -> u16 {
        self.peer_port.load(Ordering::Relaxed)
    }

    /// It listens for its peers there.
    pub fn set_peer_port(&self, port: u16) {
        self.peer_port.store(port, Ordering::Relaxed);
    }
}

/// The network of a cluster's nodes; a link that wasn't set passes.
pub struct Network {
    /// By sender, then receiver.
    links: Vec<Vec<watch::Sender<Link>>>,
    _proxies: JoinSet<()>,
}

impl Network {
    /// Puts itself between nodes that weren't started yet. Also gives the ports, in the nodes'
    /// order, that the nodes must tell each other instead of their own.
    pub async fn between(nodes: Vec<Arc<Whereabouts>>) -> Result<(Self, Vec<u16>)> {
        let size = nodes.len();
        let link = |_| watch::Sender::new(Link::Passes);
        let links: Vec<Vec<_>> = (0..size).map(|_| (0..size).map(link).collect()).collect();
        let weather: Vec<Vec<_>> = (0..size)
            .map(|_| (0..size).map(|_| Weather::new()).collect())
            .collect();
        let direction = |from: usize, to: usize| Direction {
            link: links[from][to].subscribe(),
            weather: weather[from][to],
        };
        let mut proxies = JoinSet::new();
        let mut doors = Vec::new();
        for to in 0..size {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            doors.push(listener.local_addr()?.port());
            let proxy = Proxy {
                to,
                nodes: nodes.clone(),
                forth: (0..size).map(|from| direction(from, to)).collect(),
                back: (0..size).map(|from| direction(to, from)).collect(),
            };
            proxies.spawn(proxy.accept(listener));
        }
        let network = Self {
            links,
            _proxies: proxies,
        };
        Ok((network, doors))
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

    /// Sets all links.
    pub fn set_all(&self, link: Link) {
        for node in 0..self.links.len() {
            self.set_inbound(node, link);
        }
    }

    /// Lets everything pass.
    pub fn heal(&self) {
        for link in self.links.iter().flatten() {
            link.send_replace(Link::Passes);
        }
    }
}

/// One direction between two nodes.
#[derive(Clone)]
struct Direction {
    link: watch::Receiver<Link>,
    weather: Weather,
}

/// What jitters, the same for all connections in one direction.
#[derive(Clone, Copy)]
struct Weather {
    seed: u64,
    since: Instant,
}

impl Weather {
    fn new() -> Self {
        Self {
            seed: fastrand::u64(..),
            since: Instant::now(),
        }
    }

    /// The part of the jitter that delays at that time, 0 to 1.
    fn at(self, time: Instant) -> f64 {
        let age = time.saturating_duration_since(self.since);
        let slot = (age.as_millis() / JITTER_SLOT.as_millis()) as u64;
        Rng::with_seed(self.seed.wrapping_add(slot)).f64()
    }
}

/// What stands in front of one node.
struct Proxy {
    to: usize,
    nodes: Vec<Arc<Whereabouts>>,
    /// From each other node to this one.
    forth: Vec<Direction>,
    /// From this node to each other one.
    back: Vec<Direction>,
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
    mut forth: Direction,
    back: Direction,
) -> Result<()> {
    // What is cut short is reset, not ended in good order.
    opener.set_zero_linger()?;
    if *forth.link.borrow_and_update() == Link::Cut {
        bail!("cut");
    }
    let acceptor = TcpStream::connect(("127.0.0.1", receiver.peer_port())).await?;
    acceptor.set_zero_linger()?;
    for stream in [&opener, &acceptor] {
        stream.set_nodelay(true)?;
    }
    let (from_opener, to_opener) = opener.into_split();
    let (from_acceptor, to_acceptor) = acceptor.into_split();
    let mut is_cut = forth.link.clone();
    tokio::select! {
        ended = pump(from_opener, to_acceptor, forth) => ended,
        ended = pump(from_acceptor, to_opener, back) => ended,
        _ = is_cut.wait_for(|link| *link == Link::Cut) => bail!("cut"),
    }
}

/// Carries bytes in one direction, as its link allows.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, direction: Direction) -> Result<()> {
    let (taken, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let take = async move {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let read = from.read(&mut buffer).await?;
            let piece = (Instant::now(), buffer[..read].to_vec());
            if read == 0 || taken.send(piece).await.is_err() {
                return Ok::<(), anyhow::Error>(());
            }
        }
    };
    let give = async move {
        let Direction { mut link, weather } = direction;
        let mut line = Line::new(weather);
        while let Some((since, piece)) = waiting.recv().await {
            line.allows(since, piece.len(), &mut link).await?;
            to.write_all(&piece).await?;
        }
        Ok(())
    };
    tokio::try_join!(take, give)?;
    Ok(())
}

/// One direction of a connection.
struct Line {
    random: Rng,
    weather: Weather,
    /// When the last piece was through.
    free_at: Instant,
}

impl Line {
    fn new(weather: Weather) -> Self {
        Self {
            random: Rng::new(),
            weather,
            free_at: Instant::now(),
        }
    }

    /// Waits until a piece that arrived at that time may go on.
    async fn allows(
        &mut self,
        since: Instant,
        bytes: usize,
        link: &mut watch::Receiver<Link>,
    ) -> Result<()> {
        // Once for each piece, however often the link changes while it waits.
        let lot = self.random.u16(..1000);
        loop {
            let now = *link.borrow_and_update();
            let changed = link.changed();
            match now {
                // The one who opened the connection may cut it; that isn't this link's business.
                Link::Passes | Link::Cut => return Ok(()),
                Link::Holds => changed.await?,
                Link::Shaped(shape) => {
                    let through = self.through(&shape, since, bytes, lot);
                    tokio::select! {
                        () = tokio::time::sleep_until(through) => {
                            self.free_at = through;
                            return Ok(());
                        }
                        changed = changed => changed?,
                    }
                }
            }
        }
    }

    /// When a piece is through that arrived at that time and drew that lot of a thousand.
    fn through(&self, shape: &Shape, since: Instant, bytes: usize, lot: u16) -> Instant {
        let jitter = shape.jitter.mul_f64(self.weather.at(since));
        let mut arrives = since + shape.delay + jitter;
        if lot < shape.stalled_permille {
            arrives += STALL;
        }
        let Some(rate) = shape.bytes_per_second else {
            return arrives;
        };
        let takes = Duration::from_secs_f64(bytes as f64 / rate.get() as f64);
        arrives.max(self.free_at.max(since) + takes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A line that was free when its time began.
    fn line() -> Line {
        let mut line = Line::new(Weather::new());
        line.free_at = line.weather.since;
        line
    }

    fn through(line: &mut Line, shape: Shape, at_ms: u32, bytes: usize, lot: u16) -> Duration {
        let since = line.weather.since + MS * at_ms;
        let through = line.through(&shape, since, bytes, lot);
        line.free_at = through;
        through - line.weather.since
    }

    #[test]
    fn a_delay_is_added_to_the_time_of_arrival() {
        let shape = Shape {
            delay: MS * 20,
            ..Shape::default()
        };
        let line = &mut line();
        assert_eq!(through(line, shape, 7, 1, 0), MS * 27);
    }

    #[test]
    fn jitter_is_the_same_on_all_connections_of_a_link() {
        let shape = Shape {
            jitter: MS * 180,
            ..Shape::default()
        };
        let weather = Weather::new();
        let (one, other) = (&mut Line::new(weather), &mut Line::new(weather));
        for at in (0..10_000).step_by(70) {
            let took = through(one, shape, at, 1, 999);
            assert_eq!(took, through(other, shape, at, 1, 999));
        }
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_changes_from_slot_to_slot() {
        let shape = Shape {
            delay: MS * 20,
            jitter: MS * 180,
            ..Shape::default()
        };
        let line = &mut line();
        let mut seen = Vec::new();
        for at in (0..100_000).step_by(100) {
            let took = through(line, shape, at, 1, 999) - MS * at;
            assert!((MS * 20..=MS * 200).contains(&took), "{took:?}");
            assert_eq!(through(line, shape, at, 1, 999), took + MS * at);
            seen.push(took);
        }
        let mean = seen.iter().sum::<Duration>() / 1000;
        assert!((MS * 90..MS * 130).contains(&mean), "{mean:?}");
        assert!(seen.iter().any(|took| *took < MS * 40));
        assert!(seen.iter().any(|took| *took > MS * 180));
    }

    #[test]
    fn a_piece_whose_lot_is_below_the_share_is_stalled() {
        let shape = Shape {
            stalled_permille: 50,
            ..Shape::default()
        };
        let line = &mut line();
        assert_eq!(through(line, shape, 0, 1, 50), Duration::ZERO);
        assert_eq!(through(line, shape, 0, 1, 49), STALL);
    }

    #[test]
    fn bytes_beyond_the_bandwidth_queue_up() {
        let shape = Shape {
            delay: MS,
            bytes_per_second: NonZeroU64::new(1_000_000),
            ..Shape::default()
        };
        let line = &mut line();
        assert_eq!(through(line, shape, 0, 10_000, 0), MS * 10);
        assert_eq!(through(line, shape, 0, 10_000, 0), MS * 20);
        assert_eq!(through(line, shape, 100, 100, 0), MS * 101, "the delay");
    }

    /// This process connects with itself, so it is node 0 that opens connections to node 0.
    async fn connected() -> Result<(Network, TcpStream, TcpStream)> {
        let behind = TcpListener::bind("127.0.0.1:0").await?;
        let node = Whereabouts::default();
        node.set_process_id(std::process::id());
        node.set_peer_port(behind.local_addr()?.port());
        let (network, doors) = Network::between(vec![Arc::new(node)]).await?;
        let opener = TcpStream::connect(("127.0.0.1", doors[0])).await?;
        let (acceptor, _) = behind.accept().await?;
        Ok((network, opener, acceptor))
    }

    async fn carried(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) -> Result<Duration> {
        let began = Instant::now();
        let sent = vec![7; bytes];
        let mut received = vec![0; bytes];
        tokio::try_join!(from.write_all(&sent), to.read_exact(&mut received))?;
        assert_eq!(sent, received);
        Ok(began.elapsed())
    }

    #[tokio::test]
    async fn a_slow_line_carries_everything_late_in_both_directions() -> Result<()> {
        let (network, mut opener, mut acceptor) = connected().await?;
        assert!(carried(&mut opener, &mut acceptor, 1000).await? < MS * 500);
        network.set(0, 0, Link::delayed(MS * 100));
        assert!(carried(&mut opener, &mut acceptor, 1000).await? >= MS * 100);
        assert!(carried(&mut acceptor, &mut opener, 1000).await? >= MS * 100);
        network.set(
            0,
            0,
            Link::Shaped(Shape {
                bytes_per_second: NonZeroU64::new(1_000_000),
                ..Shape::default()
            }),
        );
        let took = carried(&mut opener, &mut acceptor, 300_000).await?;
        assert!((MS * 290..MS * 1500).contains(&took), "{took:?}");
        network.set(
            0,
            0,
            Link::Shaped(Shape {
                stalled_permille: 1000,
                ..Shape::default()
            }),
        );
        assert!(carried(&mut opener, &mut acceptor, 1).await? >= STALL);
        Ok(())
    }

    #[tokio::test]
    async fn what_is_held_arrives_when_the_link_passes_again_and_what_is_cut_doesnt() -> Result<()>
    {
        let (network, mut opener, mut acceptor) = connected().await?;
        network.set(0, 0, Link::Holds);
        let mut one = [0; 1];
        opener.write_all(b"x").await?;
        let early = tokio::time::timeout(MS * 100, acceptor.read_exact(&mut one)).await;
        assert!(early.is_err(), "it was held");
        network.heal();
        acceptor.read_exact(&mut one).await?;
        assert_eq!(&one, b"x");
        network.set(0, 0, Link::Cut);
        assert!(matches!(acceptor.read(&mut one).await, Ok(0) | Err(_)));
        Ok(())
    }
}
