//! A node's ledger over HTTP.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use raftery_ledger::{LedgerPage, LedgerRow, RowPage};
use tokio::net::TcpStream;

/// Batches that are asked for at once: some MB.
const PAGE_BATCHES: usize = 1_000;
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most that one answer may hold.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// The metrics port where the address names none.
const PORT_DEFAULT: u16 = 2381;

/// A node, by the address of its metrics port.
#[derive(Debug)]
pub(crate) struct Node {
    endpoint: String,
}

impl Node {
    pub(crate) fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
        }
    }

    /// The last batches, and how the ledger stands.
    pub(crate) async fn last(&self, batches: usize) -> Result<LedgerPage> {
        self.page(&format!("last={batches}")).await
    }

    /// The first batches from a Raft index on.
    pub(crate) async fn since(&self, index: u64) -> Result<LedgerPage> {
        self.page(&format!("from={index}&limit={PAGE_BATCHES}"))
            .await
    }

    async fn page(&self, query: &str) -> Result<LedgerPage> {
        let url = format!("{}/ledger?{query}", self.endpoint);
        let answer = tokio::time::timeout(TIMEOUT, get(&url));
        let answer = answer
            .await
            .with_context(|| format!("{url}: no answer within {} s", TIMEOUT.as_secs()))?;
        let body = answer.with_context(|| {
            format!("{url} can't be read; --endpoint names a node's metrics address, such as http://127.0.0.1:2381")
        })?;
        serde_json::from_slice(&body)
            .with_context(|| format!("{url}: the answer isn't a page of a ledger: is this a Raftery node of this version?"))
    }
}

/// Walks the retained batches, oldest first, in pages.
pub(crate) struct Walk<'a> {
    node: &'a Node,
    next_index: u64,
    last: Option<LedgerRow>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(node: &'a Node, from: u64) -> Self {
        Self {
            node,
            next_index: from,
            last: None,
        }
    }

    /// The next page and its rows; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<(LedgerPage, Vec<LedgerRow>)>> {
        let page = self.node.since(self.next_index).await?;
        let rows = page.rows.iter().map(RowPage::row);
        let rows: Vec<LedgerRow> = rows.collect::<Result<_, _>>()?;
        let Some(newest) = rows.last() else {
            return Ok(None);
        };
        if let Some(last) = &self.last {
            ensure!(
                page.oldest_index <= last.index,
                "the node dropped batches behind index {} while they were read; try again",
                last.index
            );
        }
        ensure!(
            newest.index >= self.next_index,
            "the node answered with batches before the ones that were asked for"
        );
        self.next_index = newest.index + 1;
        self.last = Some(newest.clone());
        Ok(Some((page, rows)))
    }
}

async fn get(url: &str) -> Result<Bytes> {
    let uri: Uri = url.parse().context("not a URL")?;
    if uri.scheme_str() != Some("http") {
        bail!("not an http:// URL");
    }
    let host = uri.host().context("no host in the URL")?;
    let address = (
        host.trim_matches(['[', ']']),
        uri.port_u16().unwrap_or(PORT_DEFAULT),
    );
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(
            "host",
            uri.authority().map_or(host, |authority| authority.as_str()),
        )
        .body(Empty::<Bytes>::new())?;
    // The sender ends with the exchange, and the connection with the sender.
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        let body = body.await.map_err(|error| anyhow::anyhow!(error))?;
        anyhow::Ok((status, body.to_bytes()))
    };
    let (_, answer) = tokio::join!(connection, exchange);
    let (status, body) = answer?;
    ensure!(
        status == StatusCode::OK,
        "{status}: {}",
        String::from_utf8_lossy(&body).trim()
    );
    Ok(body)
}
