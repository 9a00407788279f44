//! Ports for servers.

/// Below the range from which the kernel takes ports for outgoing connections: a server that is
/// restarted must find its ports free.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A port of the loopback address on which nobody listens now.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(PORTS);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
