//! A network on which no connection lasts.

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// Stands in front of a server and cuts each connection once the client sent so many bytes; gives
/// how to connect.
pub(super) async fn in_front_of(port: u16, bytes: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("mongodb://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, port, bytes));
        }
    });
    uri
}

async fn pass(mut client: TcpStream, port: u16, bytes: u64) -> std::io::Result<u64> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let mut asked = from_client.take(bytes);
    tokio::select! {
        passed = tokio::io::copy(&mut asked, &mut to_server) => passed,
        passed = tokio::io::copy(&mut from_server, &mut to_client) => passed,
    }
}
