//! Secret `<name>-admin`: the token that the admin service wants. Made once, never overwritten.

use k8s_openapi::api::core::v1::Secret;

use super::names::{COMPONENT_NODE, admin_secret_name, metadata};
use super::pod::ADMIN_TOKEN_KEY;
use crate::api::Desired;

/// The Secret, with a token that the caller drew.
pub fn admin_secret(desired: &Desired, token: &str) -> Secret {
    Secret {
        metadata: metadata(desired, admin_secret_name(&desired.name), COMPONENT_NODE),
        string_data: Some([(ADMIN_TOKEN_KEY.to_owned(), token.to_owned())].into()),
        ..Secret::default()
    }
}
