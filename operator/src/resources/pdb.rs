//! PodDisruptionBudget `<name>`: a drain never takes the quorum.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names::{COMPONENT_NODE, metadata, selector_labels};
use crate::api::Desired;

/// The budget. A fixed number of pods, not `maxUnavailable`, which would be counted anew from
/// what is left as members vanish. Of the larger of voters and target, so that it never falls
/// behind while the size changes. Sizes 1 and 2 thus block drains.
pub fn pdb(desired: &Desired, voters: u32) -> PodDisruptionBudget {
    let size = voters.max(desired.replicas);
    let quorum = i32::try_from(size / 2 + 1).unwrap_or(i32::MAX);
    PodDisruptionBudget {
        metadata: metadata(desired, desired.name.clone(), COMPONENT_NODE),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(quorum)),
            selector: Some(LabelSelector {
                match_labels: Some(selector_labels(&desired.name, COMPONENT_NODE)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
