//! etcd's own client program and the Rust client.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{Client, ConnectOptions, GetOptions};
use tokio::process::Command;

use crate::{environment, process};

/// Keys in one answer, well under the client's limit on a message.
const PAGE: i64 = 1000;

/// A client of the given members. It connects when first used.
pub async fn client<E: AsRef<str>>(endpoints: &[E]) -> Result<Client> {
    let options = ConnectOptions::new()
        .with_connect_timeout(Duration::from_secs(1))
        .with_timeout(Duration::from_secs(10));
    Ok(Client::connect(endpoints, Some(options)).await?)
}

/// Everything under a prefix as one member has it, without asking the others.
pub async fn read_locally(endpoint: &str, prefix: &str) -> Result<BTreeMap<String, String>> {
    let mut client = client(&[endpoint]).await?;
    let mut found = BTreeMap::new();
    let mut from = prefix.as_bytes().to_vec();
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().context("an empty prefix")? += 1;
    loop {
        let options = GetOptions::new()
            .with_range(end.clone())
            .with_limit(PAGE)
            .with_serializable();
        let answer = client.get(from.clone(), Some(options)).await?;
        for pair in answer.kvs() {
            found.insert(pair.key_str()?.to_owned(), pair.value_str()?.to_owned());
        }
        match answer.kvs().last() {
            Some(last) if answer.more() => {
                from = last.key().to_vec();
                from.push(0);
            }
            _ => return Ok(found),
        }
    }
}

/// The real etcdctl.
#[derive(Clone)]
pub struct Etcdctl {
    endpoints: String,
}

impl Etcdctl {
    /// For these endpoints.
    pub fn new<E: AsRef<str>>(endpoints: &[E]) -> Self {
        let endpoints: Vec<&str> = endpoints.iter().map(AsRef::as_ref).collect();
        Self {
            endpoints: endpoints.join(","),
        }
    }

    /// Its standard output; fails with its standard error if it does.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        process::run(self.command()?.args(arguments)).await
    }

    /// The same with something on its standard input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut file = tempfile::tempfile()?;
        std::io::Write::write_all(&mut file, input.as_bytes())?;
        std::io::Seek::rewind(&mut file)?;
        process::run(self.command()?.args(arguments).stdin(file)).await
    }

    /// Its answer as JSON.
    pub async fn json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let mut all = arguments.to_vec();
        all.push("--write-out=json");
        Ok(serde_json::from_str(&self.run(&all).await?)?)
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(environment::tool("etcdctl")?);
        // what someone's shell says about another cluster is of no interest
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCDCTL_") {
                command.env_remove(name);
            }
        }
        command.arg("--endpoints").arg(&self.endpoints);
        Ok(command)
    }
}
