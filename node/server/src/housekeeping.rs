//! What a member sees to by itself, every now and then: that the others know its name and client
//! URLs, and, as leader, that learners which only wait to catch up become voters, and that the
//! cluster goes by the newest version that all support.

use std::sync::Arc;
use std::time::Duration;

use raftery_config::NodeConfig;
use raftery_raft::{ConfChange, MemberId};
use tracing::{debug, info};

use crate::command::Command;
use crate::driver::Input;
use crate::handle;
use crate::node::Running;

/// How often to look.
const PERIOD: Duration = Duration::from_millis(500);

/// Looks until the driver is gone.
pub(crate) async fn run(running: Arc<Running>, config: NodeConfig) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if running.driver.inputs.is_closed() {
            return;
        }
        publish(&running, &config).await;
        promote(&running).await;
        raise_cluster_version(&running);
    }
}

/// The leader raises the cluster version as soon as every member supports more.
fn raise_cluster_version(running: &Running) {
    if !running.is_leader() {
        return;
    }
    let membership = running.driver.status.borrow().membership.clone();
    let supported = running.supported.by_all(running.me.id, &membership);
    if let Some(to) = supported.filter(|to| *to > running.pulse.cluster_version()) {
        // A driver that is gone has told its end already.
        let _ = running.driver.inputs.send(Input::RaiseClusterVersion {
            to,
            expected: membership.index,
        });
    }
}

async fn publish(running: &Running, config: &NodeConfig) {
    let id = running.me.id;
    let differs = {
        let state = running.state.read().expect("no holder of the lock panics");
        let record = state.meta.members.get(&id);
        record
            .is_some_and(|r| r.name != config.name || r.client_urls != config.advertise_client_urls)
    };
    if !differs || running.driver.status.borrow().leader.is_none() {
        return;
    }
    let command = Command::Publish {
        id: id.0,
        name: config.name.clone(),
        client_urls: config.advertise_client_urls.clone(),
    };
    match handle::replicate(running, &command).await {
        Ok(_) => info!(name = config.name, "published name and client URLs"),
        Err(error) => debug!(%error, "publishing name and client URLs must wait"),
    }
}

async fn promote(running: &Running) {
    if !running.is_leader() {
        return;
    }
    for id in waiting(running) {
        match running.change_here(ConfChange::Promote { id }, None).await {
            Ok(_) => info!(member = %id, "promoted: it has caught up"),
            Err(error) => debug!(member = %id, %error, "not promoted yet"),
        }
    }
}

fn waiting(running: &Running) -> Vec<MemberId> {
    let status = running.driver.status.borrow().clone();
    let state = running.state.read().expect("no holder of the lock panics");
    let wants = |id: &MemberId| {
        state
            .meta
            .members
            .get(id)
            .is_some_and(|r| r.promote_when_ready)
    };
    status
        .membership
        .learners
        .into_iter()
        .filter(wants)
        .collect()
}
