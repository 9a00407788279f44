//! The protocols a node speaks, generated from `proto/*.proto` at build time.
//!
//! - [`etcdserverpb`] and [`mvccpb`]: the part of etcd's v3 API that is served (port 2379).
//! - [`peer`]: between members (port 2380).
//! - [`admin`]: for the operator (port 2382).
//!
//! These types stop at the gateways (`server::grpc`, `server::transport`, the operator's
//! `observe` and `act`): inside, everyone uses the domain's own types.
#![allow(missing_docs, clippy::all, unreachable_pub)] // generated code below

pub mod codec;
mod config;

/// etcd's v3 API.
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// etcd's key-value pair.
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// The peer protocol.
pub mod peer {
    tonic::include_proto!("raftery.peer.v1");
}

/// The admin protocol.
pub mod admin {
    tonic::include_proto!("raftery.admin.v1");
}
