//! Applying objects server-side, and only when they differ from what is wanted.

use futures::future::try_join_all;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::Value;

use super::{ActError, Actor, FIELD_MANAGER};
use crate::api::Desired;
use crate::observe::Observed;
use crate::resources::{Child, children};

impl Actor {
    /// Brings every object around a cluster to what is wanted. Returns those that were written.
    pub async fn apply(
        &self,
        desired: &Desired,
        observed: &Observed,
        voters: u32,
        replicas: u32,
    ) -> Result<Vec<String>, ActError> {
        let children = children(desired, &self.images, &observed.mongodb, voters, replicas);
        let written = try_join_all(
            children
                .iter()
                .map(|child| self.apply_child(desired, child)),
        );
        Ok(written.await?.into_iter().flatten().collect())
    }

    async fn apply_child(
        &self,
        desired: &Desired,
        child: &Child,
    ) -> Result<Option<String>, ActError> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &desired.namespace, &child.resource);
        let described = format!("{} {}", child.resource.kind, child.name);
        let failed = |what: &str| {
            let what = format!("{what} {described}");
            move |source| ActError::Kube { what, source }
        };
        let live = api.get_opt(&child.name).await.map_err(failed("reading"))?;
        let live = live.and_then(|live| serde_json::to_value(live).ok());
        if live.is_some_and(|live| covers(&live, &child.wanted)) {
            return Ok(None);
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(&child.name, &params, &Patch::Apply(&child.wanted))
            .await
            .map_err(failed("applying"))?;
        Ok(Some(described))
    }
}

/// Whether everything that is wanted is there. What the API server or others added is ignored;
/// a value that the API server writes in another way only costs a needless apply.
fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (_, Value::Null) => true,
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| match live.get(key) {
                Some(live) => covers(live, wanted),
                None => is_empty(wanted),
            })
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(live, wanted)| covers(live, wanted))
        }
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => live == wanted,
    }
}

/// The API server drops what is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_added_is_no_drift() {
        let wanted = json!({"spec": {"replicas": 3, "ports": [{"port": 1}]}});
        let live = json!({"spec": {"replicas": 3, "ports": [{"port": 1, "protocol": "TCP"}], "x": 1},
            "status": {}});
        assert!(covers(&live, &wanted));
    }

    #[test]
    fn what_was_changed_or_taken_is_drift() {
        let wanted = json!({"spec": {"replicas": 3, "ports": [{"port": 1}]}});
        for live in [
            json!({"spec": {"replicas": 2, "ports": [{"port": 1}]}}),
            json!({"spec": {"replicas": 3}}),
            json!({"spec": {"replicas": 3, "ports": [{"port": 1}, {"port": 2}]}}),
        ] {
            assert!(!covers(&live, &wanted), "{live}");
        }
    }

    #[test]
    fn empty_values_may_be_missing() {
        assert!(covers(
            &json!({}),
            &json!({"a": {}, "b": [], "c": {"d": {}}})
        ));
    }
}
