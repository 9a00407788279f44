//! Talking to nodes: who each of them is, and changes to the membership.

use std::time::Duration;

use raftery_proto::admin::{self, admin_client::AdminClient};
use thiserror::Error;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use super::NodeReport;

/// The port of the admin service.
pub const ADMIN_PORT: u16 = 2382;

/// How long a node may take to accept a connection. Pods are close; a frozen one never does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a node may take to say who it is: it answers from memory.
const STATUS_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long a change may take: it is answered once committed, a transfer once the other leads.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one cluster's nodes.
#[derive(Clone)]
pub struct Members {
    bearer: MetadataValue<Ascii>,
}

/// A node that couldn't be asked, or refused.
#[derive(Debug, Error)]
pub enum MemberError {
    /// The pod has no address, or nothing listens there.
    #[error("{pod}: can't connect to the admin service")]
    Connect {
        /// The pod.
        pod: String,
        /// What happened; `None` if the pod has no address.
        #[source]
        source: Option<tonic::transport::Error>,
    },
    /// The node answered with an error.
    #[error("{pod}: {call} was answered with {code:?}: {message}")]
    Refused {
        /// The pod.
        pod: String,
        /// What was asked.
        call: &'static str,
        /// gRPC's code.
        code: Code,
        /// The node's words.
        message: String,
    },
    /// The cluster's admin token can't be sent.
    #[error("the admin token isn't plain ASCII")]
    Token,
}

/// A node that can be called.
pub struct Node<'a> {
    /// Its pod's name, for messages.
    pub pod: &'a str,
    /// Its pod's address.
    pub ip: &'a str,
}

impl Members {
    /// A client that shows `token`.
    pub fn new(token: &str) -> Result<Self, MemberError> {
        let bearer = format!("Bearer {token}")
            .parse()
            .map_err(|_| MemberError::Token)?;
        Ok(Self { bearer })
    }

    /// Who a node is; `None` if it doesn't say so in time.
    pub async fn status(&self, node: &Node<'_>) -> Option<NodeReport> {
        let asked = async {
            let mut client = self.connect(node).await.ok()?;
            let request = self.request(admin::StatusRequest {}, STATUS_TIMEOUT);
            Some(client.status(request).await.ok()?.into_inner())
        };
        let answer = tokio::time::timeout(STATUS_TIMEOUT, asked).await.ok()??;
        // Addresses are used again: what answers must be the node of this pod.
        (answer.name == node.pod)
            .then(|| NodeReport::from_wire(answer))
            .flatten()
    }

    /// Gives a blank node its identity.
    pub async fn assign(
        &self,
        node: &Node<'_>,
        request: admin::AssignRequest,
    ) -> Result<(), MemberError> {
        let mut client = self.connect(node).await?;
        let answer = client.assign(self.request(request, CHANGE_TIMEOUT)).await;
        answer
            .map(|_| ())
            .map_err(|status| refused(node, "Assign", &status))
    }

    /// Adds a learner; asked of the leader.
    pub async fn add_learner(
        &self,
        leader: &Node<'_>,
        request: admin::AddLearnerRequest,
    ) -> Result<(), MemberError> {
        let mut client = self.connect(leader).await?;
        let answer = client
            .add_learner(self.request(request, CHANGE_TIMEOUT))
            .await;
        answer
            .map(|_| ())
            .map_err(|status| refused(leader, "AddLearner", &status))
    }

    /// Lets a learner vote; asked of the leader.
    pub async fn promote(
        &self,
        leader: &Node<'_>,
        request: admin::PromoteRequest,
    ) -> Result<(), MemberError> {
        let mut client = self.connect(leader).await?;
        let answer = client.promote(self.request(request, CHANGE_TIMEOUT)).await;
        answer
            .map(|_| ())
            .map_err(|status| refused(leader, "Promote", &status))
    }

    /// Removes a member; asked of the leader.
    pub async fn remove(
        &self,
        leader: &Node<'_>,
        request: admin::RemoveRequest,
    ) -> Result<(), MemberError> {
        let mut client = self.connect(leader).await?;
        let answer = client.remove(self.request(request, CHANGE_TIMEOUT)).await;
        answer
            .map(|_| ())
            .map_err(|status| refused(leader, "Remove", &status))
    }

    /// Lets a learner vote and removes a voter, in one step; asked of the leader.
    pub async fn swap(
        &self,
        leader: &Node<'_>,
        request: admin::SwapRequest,
    ) -> Result<(), MemberError> {
        let mut client = self.connect(leader).await?;
        let answer = client.swap(self.request(request, CHANGE_TIMEOUT)).await;
        answer
            .map(|_| ())
            .map_err(|status| refused(leader, "Swap", &status))
    }

    /// Hands leadership over; asked of the leader.
    pub async fn transfer(
        &self,
        leader: &Node<'_>,
        request: admin::TransferRequest,
    ) -> Result<(), MemberError> {
        let mut client = self.connect(leader).await?;
        let answer = client.transfer(self.request(request, CHANGE_TIMEOUT)).await;
        answer
            .map(|_| ())
            .map_err(|status| refused(leader, "Transfer", &status))
    }

    /// Opens the cluster to clients; asked of the leader.
    pub async fn open(&self, leader: &Node<'_>) -> Result<(), MemberError> {
        let mut client = self.connect(leader).await?;
        let answer = client
            .open(self.request(admin::OpenRequest {}, CHANGE_TIMEOUT))
            .await;
        answer
            .map(|_| ())
            .map_err(|status| refused(leader, "Open", &status))
    }

    /// Changes what members share; asked of the leader.
    pub async fn configure(
        &self,
        leader: &Node<'_>,
        request: admin::ConfigureRequest,
    ) -> Result<(), MemberError> {
        let mut client = self.connect(leader).await?;
        let answer = client
            .configure(self.request(request, CHANGE_TIMEOUT))
            .await;
        answer
            .map(|_| ())
            .map_err(|status| refused(leader, "Configure", &status))
    }

    async fn connect(&self, node: &Node<'_>) -> Result<AdminClient<Channel>, MemberError> {
        let failed = |source| MemberError::Connect {
            pod: node.pod.to_owned(),
            source,
        };
        let channel = Endpoint::from_shared(admin_url(node.ip))
            .map_err(|source| failed(Some(source)))?
            .connect_timeout(CONNECT_TIMEOUT)
            .connect()
            .await
            .map_err(|source| failed(Some(source)))?;
        Ok(AdminClient::new(channel))
    }

    fn request<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", self.bearer.clone());
        request.set_timeout(timeout);
        request
    }
}

/// By the pod's address, not its name: DNS lags behind pods by up to half a minute.
fn admin_url(ip: &str) -> String {
    if ip.contains(':') {
        format!("http://[{ip}]:{ADMIN_PORT}")
    } else {
        format!("http://{ip}:{ADMIN_PORT}")
    }
}

fn refused(node: &Node<'_>, call: &'static str, status: &tonic::Status) -> MemberError {
    MemberError::Refused {
        pod: node.pod.to_owned(),
        call,
        code: status.code(),
        message: status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_make_urls() {
        assert_eq!(admin_url("10.0.0.1"), "http://10.0.0.1:2382");
        assert_eq!(admin_url("fd00::1"), "http://[fd00::1]:2382");
    }
}
