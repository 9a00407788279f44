//! The CRD as it is written to `crds/`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::RaftCluster;

/// What Kubernetes accepts as quantity.
const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// The CRD. The derived one, except that
/// - quantities get a pattern: the type alone would accept any text and fail later, at the
///   StatefulSet
/// - nothing may be null: an optional field is there or it isn't, and rules that ask whether it
///   is there need look no further
pub fn crd() -> CustomResourceDefinition {
    let mut crd = RaftCluster::crd();
    for version in &mut crd.spec.versions {
        let schema = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut());
        if let Some(schema) = schema {
            constrain_quantities(schema);
            forbid_null(schema);
        }
    }
    crd
}

/// The CRD as YAML, under a line that says where it comes from.
pub fn crd_yaml() -> Result<String, serde_yaml::Error> {
    let yaml = serde_yaml::to_string(&crd())?;
    Ok(format!(
        "# Printed from the Rust types by `make crds`; edits are overwritten.\n{yaml}"
    ))
}

fn constrain_quantities(schema: &mut JSONSchemaProps) {
    for (name, property) in schema.properties.iter_mut().flatten() {
        if name == "requests" || name == "limits" {
            property.max_properties = Some(32);
            if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut property.additional_properties
            {
                value.pattern = Some(QUANTITY_PATTERN.to_owned());
                value.description = Some("A quantity such as 500m, 2 or 1Gi.".to_owned());
            }
        }
        constrain_quantities(property);
    }
}

fn forbid_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema
        .properties
        .iter_mut()
        .flatten()
        .for_each(|(_, property)| forbid_null(property));
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        forbid_null(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        forbid_null(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec_schema() -> JSONSchemaProps {
        let crd = crd();
        let schema = crd.spec.versions[0].schema.clone().expect("has a schema");
        let root = schema.open_api_v3_schema.expect("has a schema");
        root.properties.expect("has properties")["spec"].clone()
    }

    fn missing_descriptions(path: &str, schema: &JSONSchemaProps, missing: &mut Vec<String>) {
        for (name, property) in schema.properties.iter().flatten() {
            let path = format!("{path}.{name}");
            if property.description.is_none() {
                missing.push(path.clone());
            }
            missing_descriptions(&path, property, missing);
        }
    }

    #[test]
    fn every_field_has_a_description() {
        let mut missing = Vec::new();
        missing_descriptions("spec", &spec_schema(), &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn defaults_are_in_the_schema() {
        let spec = spec_schema().properties.expect("has properties");
        assert_eq!(spec["replicas"].default.as_ref().expect("default").0, 3);
        let raft = spec["raft"].properties.as_ref().expect("properties");
        assert_eq!(
            raft["electionTimeout"].default.as_ref().expect("default").0,
            "1s"
        );
        assert!(
            spec["raft"].default.is_some(),
            "without it the inner defaults don't apply"
        );
    }

    #[test]
    fn quantities_have_a_pattern() {
        let yaml = crd_yaml().expect("prints");
        assert_eq!(
            yaml.matches("[numkMGTPE]").count(),
            2,
            "requests and limits"
        );
    }

    #[test]
    fn nothing_may_be_null() {
        assert!(!crd_yaml().expect("prints").contains("nullable"));
    }

    #[test]
    fn integers_have_formats_that_kubernetes_knows() {
        let yaml = crd_yaml().expect("prints");
        assert!(
            !yaml.contains("format: uint"),
            "Kubernetes warns of unknown formats"
        );
    }
}
