//! Ports for servers that start in a moment.

use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Below the range from which the system itself takes ports for connections: a process that is
/// restarted must find its ports free.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Programs that run at the same time begin at different places.
static NEXT: LazyLock<AtomicUsize> =
    LazyLock::new(|| AtomicUsize::new(fastrand::usize(..PORTS.len())));

/// A port of the loopback address on which nobody listens now, and that this process wasn't given
/// before, unless it was given all others: whom it was given to may be down for a moment.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS.len();
        if let Some(port) = PORTS.clone().nth(nth)
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            return port;
        }
    }
}
