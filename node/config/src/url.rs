//! URLs to listen on and to tell others. Only `http` so far: TLS comes with the security work.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::error::ValueError;
use crate::values::serde_as_text;

/// Checks a URL that others are told, `http://host:port`, and gives it back without white
/// space around it. The host may be a name.
pub fn parse_url(text: &str) -> Result<String, ValueError> {
    let (host, port) = host_and_port(text.trim()).map_err(|why| ValueError::Url {
        url: text.to_owned(),
        why,
    })?;
    Ok(format!("http://{host}:{port}"))
}

/// The common part: scheme, a host (in brackets if IPv6), a port, nothing behind it.
fn host_and_port(url: &str) -> Result<(&str, u16), &'static str> {
    if url.starts_with("https://") {
        return Err("TLS is not supported yet");
    }
    let rest = url
        .strip_prefix("http://")
        .ok_or("it doesn't start with http://")?;
    if rest.contains(['/', '?', '#', '@']) {
        return Err("something besides host and port");
    }
    let (host, port) = rest.rsplit_once(':').ok_or("no port")?;
    let port = port
        .parse()
        .map_err(|_| "the port is not a number up to 65535")?;
    let is_ipv6 = host.starts_with('[') && host.ends_with(']');
    match host {
        "" => Err("no host"),
        host if is_ipv6 => match host[1..host.len() - 1].parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok((host, port)),
            Err(_) => Err("not an IPv6 address between the brackets"),
        },
        host if host.contains(|c: char| !(c.is_ascii_alphanumeric() || ".-_".contains(c))) => {
            Err("not a host name or address")
        }
        host => Ok((host, port)),
    }
}

/// Where to listen: `http://address:port`, the address an IP or `localhost`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenUrl {
    host: ListenHost,
    port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum ListenHost {
    Localhost,
    Ip(IpAddr),
}

impl ListenUrl {
    /// `http://localhost:<port>`.
    #[must_use]
    pub const fn localhost(port: u16) -> Self {
        Self {
            host: ListenHost::Localhost,
            port,
        }
    }

    /// `http://0.0.0.0:<port>`: all IPv4 addresses of this machine.
    #[must_use]
    pub const fn any(port: u16) -> Self {
        Self {
            host: ListenHost::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            port,
        }
    }

    /// What to bind. `localhost` is 127.0.0.1, as with etcd. Port 0: the system chooses.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        match self.host {
            ListenHost::Localhost => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port),
            ListenHost::Ip(ip) => SocketAddr::new(ip, self.port),
        }
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            ListenHost::Localhost => write!(f, "http://localhost:{}", self.port),
            ListenHost::Ip(ip) => write!(f, "http://{}", SocketAddr::new(ip, self.port)),
        }
    }
}

impl FromStr for ListenUrl {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let text = text.trim();
        let refused = |why| ValueError::ListenUrl {
            url: text.to_owned(),
            why,
        };
        let (host, port) = host_and_port(text).map_err(refused)?;
        let host =
            match host.trim_start_matches('[').trim_end_matches(']') {
                "localhost" => ListenHost::Localhost,
                ip => ListenHost::Ip(ip.parse().map_err(|_| {
                    refused("listening takes an IP address or localhost, not a name")
                })?),
            };
        Ok(Self { host, port })
    }
}

serde_as_text!(ListenUrl);

/// Items between commas, white space around them dropped.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn comma_separated(f: &mut fmt::Formatter<'_>, all: &[impl fmt::Display]) -> fmt::Result {
    for (n, one) in all.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        write!(f, "{comma}{one}")?;
    }
    Ok(())
}

/// URLs to listen on, separated by commas.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListenUrls(pub Vec<ListenUrl>);

impl FromStr for ListenUrls {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let urls = items(text).map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() {
            Err(ValueError::NoUrl)
        } else {
            Ok(Self(urls))
        }
    }
}

impl fmt::Display for ListenUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        comma_separated(f, &self.0)
    }
}

serde_as_text!(ListenUrls);

/// URLs that others are told, separated by commas; each checked by [`parse_url`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Urls(pub Vec<String>);

impl FromStr for Urls {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let urls = items(text).map(parse_url).collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() {
            Err(ValueError::NoUrl)
        } else {
            Ok(Self(urls))
        }
    }
}

impl fmt::Display for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        comma_separated(f, &self.0)
    }
}

serde_as_text!(Urls);

/// `name=url,name=url`: peer URLs by member name; a name that comes twice has two URLs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InitialCluster(pub BTreeMap<String, Vec<String>>);

impl FromStr for InitialCluster {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for item in items(text) {
            let (name, url) = item
                .split_once('=')
                .filter(|(name, _)| !name.trim().is_empty())
                .ok_or_else(|| ValueError::InitialMember(item.to_owned()))?;
            members
                .entry(name.trim().to_owned())
                .or_default()
                .push(parse_url(url)?);
        }
        if members.is_empty() {
            Err(ValueError::NoUrl)
        } else {
            Ok(Self(members))
        }
    }
}

impl fmt::Display for InitialCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self
            .0
            .iter()
            .flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")))
            .collect();
        comma_separated(f, &pairs)
    }
}

serde_as_text!(InitialCluster);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_urls_are_addresses_or_localhost() {
        let urls: ListenUrls = "http://localhost:2379, http://0.0.0.0:1,http://[::]:2"
            .parse()
            .expect("valid");
        let addresses: Vec<String> = urls.0.iter().map(|u| u.address().to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1:2379", "0.0.0.0:1", "[::]:2"]);
        assert_eq!(
            urls.to_string(),
            "http://localhost:2379,http://0.0.0.0:1,http://[::]:2"
        );
    }

    #[test]
    fn bad_urls_are_refused_with_the_reason() {
        for (url, why) in [
            ("localhost:2379", "it doesn't start with http://"),
            ("https://localhost:2379", "TLS is not supported yet"),
            ("http://localhost", "no port"),
            ("http://:1", "no host"),
            ("http://a:70000", "the port is not a number up to 65535"),
            ("http://a:1/path", "something besides host and port"),
            ("http://[::g]:1", "not an IPv6 address between the brackets"),
            ("http://::1:1", "not a host name or address"),
        ] {
            assert_eq!(
                parse_url(url),
                Err(ValueError::Url {
                    url: url.to_owned(),
                    why
                })
            );
        }
        let error = "http://node-0:2379"
            .parse::<ListenUrl>()
            .expect_err("a name");
        assert_eq!(
            error.to_string(),
            "\"http://node-0:2379\" can't be listened on: \
             listening takes an IP address or localhost, not a name"
        );
    }

    #[test]
    fn initial_cluster_collects_the_urls_of_a_name() {
        let text = "a=http://a:1,b=http://b:1,a=http://a2:1";
        let cluster: InitialCluster = text.parse().expect("valid");
        assert_eq!(cluster.0["a"], ["http://a:1", "http://a2:1"]);
        assert_eq!(cluster.0["b"], ["http://b:1"]);
        assert_eq!(
            cluster.to_string(),
            "a=http://a:1,a=http://a2:1,b=http://b:1"
        );
        assert_eq!(cluster.to_string().parse(), Ok(cluster));
    }

    #[test]
    fn initial_cluster_wants_names() {
        for part in ["http://a:1", "=http://a:1", "a"] {
            let error = part.parse::<InitialCluster>().expect_err("no name");
            assert_eq!(error, ValueError::InitialMember(part.to_owned()));
        }
        assert_eq!("".parse::<InitialCluster>(), Err(ValueError::NoUrl));
    }
}
