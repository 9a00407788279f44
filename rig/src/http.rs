//! Enough of HTTP to read one answer.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Status and body of `GET url`, where `url` is `http://host:port/path`.
pub async fn get(url: &str) -> Result<(u16, String)> {
    let rest = url.strip_prefix("http://").context("not an http:// URL")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // 1.0: the answer comes in one piece and ends with the connection
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    let answer = tokio::time::timeout(TIMEOUT, async {
        let mut stream = TcpStream::connect(authority).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    })
    .await
    .with_context(|| format!("GET {url}: no answer in {TIMEOUT:?}"))?
    .with_context(|| format!("GET {url}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of headers")?;
    let status = head
        .split_whitespace()
        .nth(1)
        .context("no status line")?
        .parse()
        .context("status isn't a number")?;
    Ok((status, body.to_owned()))
}
