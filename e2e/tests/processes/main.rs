//! Nodes as bare processes, with real clients, killed, frozen and damaged.
//!
//! One test at a time: each wants the whole machine, and some measure times.

mod behaviour;
mod blackbox;
mod crash;
mod files;
mod first_steps;
mod frozen;
mod ledger;
mod ledger_verified;
mod membership;
mod peers;
mod rollback;
mod space;
mod versions;

use tokio::sync::{Mutex, MutexGuard};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

async fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().await
}
