//! The admin service as a client sees it.

use std::time::Duration;

use anyhow::{Context, Result};
use raftery_proto::admin::admin_client::AdminClient;
use raftery_proto::admin::{
    ClusterConfig, ConfigureRequest, LedgerRequest, LedgerRow, StatusRequest, StatusResponse,
    TransferRequest,
};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

/// A blank or quorumless node answers status too; only a hung one doesn't.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows in one answer.
const LEDGER_PAGE: u32 = 1000;

/// One node's admin service.
#[derive(Clone)]
pub struct Admin {
    client: AdminClient<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
}

impl Admin {
    /// Connects when first used.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self> {
        let channel = Endpoint::new(url.to_owned())?
            .connect_timeout(STATUS_TIMEOUT)
            .connect_lazy();
        let authorization = token
            .map(|token| format!("Bearer {token}").parse())
            .transpose()
            .context("the token can't be sent")?;
        Ok(Self {
            client: AdminClient::new(channel),
            authorization,
        })
    }

    /// What the node is and sees.
    pub async fn status(&self) -> Result<StatusResponse> {
        let request = self.request(StatusRequest {}, STATUS_TIMEOUT);
        Ok(self.client.clone().status(request).await?.into_inner())
    }

    /// Hands leadership to a member; only the leader does that.
    pub async fn transfer(&self, to: u64) -> Result<()> {
        let request = self.request(TransferRequest { to }, CHANGE_TIMEOUT);
        self.client.clone().transfer(request).await?;
        Ok(())
    }

    /// Changes how members are judged; only the leader does that.
    pub async fn configure(&self, config: ClusterConfig) -> Result<()> {
        let cluster_config = Some(config);
        let request = self.request(ConfigureRequest { cluster_config }, CHANGE_TIMEOUT);
        self.client.clone().configure(request).await?;
        Ok(())
    }

    /// Every row of the ledger that this node has, oldest first.
    pub async fn ledger(&self) -> Result<Vec<LedgerRow>> {
        let mut rows: Vec<LedgerRow> = Vec::new();
        loop {
            let from_index = rows.last().map_or(0, |row| row.index + 1);
            let page = LedgerRequest {
                from_index,
                limit: LEDGER_PAGE,
            };
            let request = self.request(page, CHANGE_TIMEOUT);
            let page = self.client.clone().ledger(request).await?.into_inner().rows;
            if page.is_empty() {
                return Ok(rows);
            }
            rows.extend(page);
        }
    }

    fn request<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        if let Some(value) = &self.authorization {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        request
    }
}
