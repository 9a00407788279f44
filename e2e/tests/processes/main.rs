//! Nodes as bare processes, with real clients, killed, frozen and damaged.
//!
//! Tests that measure times, or say who leads or that nobody was penalised, want the whole machine.
//! Others, whose clusters spend most of their time waiting, go beside one another.

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

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::const_new(());

/// Nobody else at work.
async fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().await
}

/// Others at work that don't mind, either.
async fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().await
}
