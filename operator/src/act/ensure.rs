//! What is made once and then left alone: Secrets and the claim of a managed MongoDB. And what
//! follows from `storage.whenDeleted`.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret, Service};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{ActError, Actor, FIELD_MANAGER, gone_is_fine, with_uid};
use crate::api::{Desired, Mongodb, WhenDeleted};
use crate::observe::{Members, Observed};
use crate::resources::{
    COMPONENT_MONGODB, admin_secret, admin_secret_name, managed_mongodb_name, mongodb_claim,
    mongodb_secret, owner_reference, selector_labels,
};

/// Bytes of a token or password.
const SECRET_LEN: usize = 32;
/// Key of the admin token in its Secret.
const TOKEN_KEY: &str = "token";

impl Actor {
    /// A client of the cluster's nodes, with the token in the admin Secret; `None` if there is
    /// no Secret yet. With `create` it is made then.
    pub async fn members(
        &self,
        desired: &Desired,
        create: bool,
    ) -> Result<Option<Members>, ActError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &desired.namespace);
        let name = admin_secret_name(&desired.name);
        let read = api
            .get_opt(&name)
            .await
            .map_err(|source| reading(&name, source))?;
        let secret = match read {
            Some(secret) if is_left_over(&secret, &desired.uid) => return Ok(None),
            Some(secret) => {
                if create && secret.owner_references().is_empty() {
                    self.own::<Secret>(desired, &name).await?;
                }
                secret
            }
            None if create => {
                let secret = admin_secret(desired, &random_hex()?);
                match api.create(&PostParams::default(), &secret).await {
                    Ok(created) => created,
                    // Somebody was faster; the next observation sees whom.
                    Err(kube::Error::Api(status)) if status.code == 409 => return Ok(None),
                    Err(source) => return Err(creating(&name, source)),
                }
            }
            None => return Ok(None),
        };
        let token = secret
            .data
            .as_ref()
            .and_then(|data| data.get(TOKEN_KEY))
            .and_then(|token| std::str::from_utf8(&token.0).ok())
            .ok_or(ActError::Secret {
                name,
                key: TOKEN_KEY,
            })?;
        Ok(Some(Members::new(token.trim())?))
    }

    /// Makes the claim, then the Secret of a managed MongoDB, each if it is missing; ends a
    /// MongoDB that isn't managed any more, but for its data.
    pub async fn ensure_mongodb(&self, desired: &Desired) -> Result<(), ActError> {
        let Some(claim) = mongodb_claim(desired) else {
            return self.end_mongodb(desired).await;
        };
        let name = managed_mongodb_name(&desired.name);
        let claims: Api<PersistentVolumeClaim> =
            Api::namespaced(self.client.clone(), &desired.namespace);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &desired.namespace);
        let live = match claims
            .get_opt(&name)
            .await
            .map_err(|source| reading(&name, source))?
        {
            Some(live) => live,
            None => claims
                .create(&PostParams::default(), &claim)
                .await
                .map_err(|source| creating(&name, source))?,
        };
        let secret = secrets
            .get_opt(&name)
            .await
            .map_err(|source| reading(&name, source))?;
        if secret.is_none() {
            let uid = live.uid().unwrap_or_default();
            let secret = mongodb_secret(desired, &uid, &random_hex()?);
            secrets
                .create(&PostParams::default(), &secret)
                .await
                .map_err(|source| creating(&name, source))?;
        }
        Ok(())
    }

    /// With `whenDeleted: Delete`, makes the RaftCluster an owner of every claim that it isn't
    /// an owner of yet.
    pub async fn own_claims(&self, desired: &Desired, observed: &Observed) -> Result<(), ActError> {
        match desired.storage.when_deleted {
            WhenDeleted::Retain => return Ok(()),
            WhenDeleted::Delete => {}
        }
        for (ordinal, seen) in &observed.ordinals {
            if seen
                .claim
                .as_ref()
                .is_some_and(|claim| !claim.owned && !claim.terminating)
            {
                let name = format!("data-{}", desired.pod_name(*ordinal));
                self.own::<PersistentVolumeClaim>(desired, &name).await?;
            }
        }
        let mongodb = &observed.mongodb;
        if mongodb.claim_uid.is_some() && !mongodb.claim_owned {
            let name = managed_mongodb_name(&desired.name);
            self.own::<PersistentVolumeClaim>(desired, &name).await?;
        }
        Ok(())
    }

    async fn own<K>(&self, desired: &Desired, name: &str) -> Result<(), ActError>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &desired.namespace);
        // Not the controller of it: a claim may have another owner.
        let mut owner = owner_reference(desired);
        owner.controller = None;
        owner.block_owner_deletion = None;
        let patch = json!({"metadata": {"ownerReferences": [owner]}});
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..Default::default()
        };
        let patched = api.patch(name, &params, &Patch::Merge(&patch)).await;
        gone_is_fine(patched.map(|_| ()), || {
            format!("becoming an owner of {name}")
        })
    }

    async fn end_mongodb(&self, desired: &Desired) -> Result<(), ActError> {
        match desired.mongodb {
            Some(Mongodb::Managed { .. }) => return Ok(()),
            Some(Mongodb::External { .. }) | None => {}
        }
        let name = managed_mongodb_name(&desired.name);
        let sets: Api<StatefulSet> = Api::namespaced(self.client.clone(), &desired.namespace);
        let Some(set) = sets
            .get_opt(&name)
            .await
            .map_err(|source| reading(&name, source))?
        else {
            return Ok(());
        };
        let ours = selector_labels(&desired.name, COMPONENT_MONGODB);
        if !ours
            .iter()
            .all(|(key, value)| set.labels().get(key) == Some(value))
        {
            return Ok(());
        }
        // The service first: the StatefulSet tells that there is something left to end.
        let services: Api<Service> = Api::namespaced(self.client.clone(), &desired.namespace);
        let deleted = services.delete(&name, &DeleteParams::default()).await;
        gone_is_fine(deleted.map(|_| ()), || format!("deleting Service {name}"))?;
        let params = DeleteParams {
            propagation_policy: Some(kube::api::PropagationPolicy::Background),
            ..with_uid(&set.uid().unwrap_or_default())
        };
        let deleted = sets.delete(&name, &params).await;
        gone_is_fine(deleted.map(|_| ()), || {
            format!("deleting StatefulSet {name}")
        })
    }
}

/// Whether a Secret belongs to a deleted RaftCluster of the same name and is about to go.
fn is_left_over(secret: &Secret, cluster_uid: &str) -> bool {
    let owners = secret.owner_references();
    !owners.is_empty() && owners.iter().all(|owner| owner.uid != cluster_uid)
}

fn random_hex() -> Result<String, ActError> {
    let mut bytes = [0; SECRET_LEN];
    getrandom::fill(&mut bytes).map_err(ActError::Random)?;
    Ok(hex::encode(bytes))
}

fn reading(name: &str, source: kube::Error) -> ActError {
    ActError::Kube {
        what: format!("reading {name}"),
        source,
    }
}

fn creating(name: &str, source: kube::Error) -> ActError {
    ActError::Kube {
        what: format!("creating {name}"),
        source,
    }
}
