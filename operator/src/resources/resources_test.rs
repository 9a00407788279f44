//! What the objects promise to the rest of the house.

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Images, admin_secret, children, client_service, config_map, mongodb_claim, mongodb_secret, pdb,
    peers_service, statefulset, template_hash,
};
use crate::api::{Desired, RaftCluster};
use crate::observe::MongodbSeen;

fn desired(spec: Value) -> Desired {
    let mut cluster = RaftCluster::new("demo", serde_json::from_value(spec).unwrap());
    cluster.metadata.namespace = Some("shop".to_owned());
    cluster.metadata.uid = Some("u1".to_owned());
    Desired::from_cluster(&cluster, "node:1").unwrap()
}

fn value<T: Serialize>(object: &T) -> Value {
    serde_json::to_value(object).unwrap()
}

#[test]
fn the_statefulset_leaves_pods_and_data_to_the_operator() {
    let set = value(&statefulset(&desired(json!({})), 3));
    let spec = &set["spec"];
    assert_eq!(spec["podManagementPolicy"], "Parallel");
    assert_eq!(spec["updateStrategy"]["type"], "OnDelete");
    assert_eq!(
        spec["persistentVolumeClaimRetentionPolicy"],
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
    );
    assert_eq!(spec["volumeClaimTemplates"][0]["metadata"]["name"], "data");
    assert_eq!(set["metadata"]["ownerReferences"][0]["uid"], "u1");
}

#[test]
fn pods_meet_the_restricted_standard() {
    let set = value(&statefulset(&desired(json!({})), 3));
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    assert_eq!(pod["automountServiceAccountToken"], false);
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
}

#[test]
fn the_configuration_is_what_a_node_parses() {
    let map = value(&config_map(&desired(json!({
        "raft": {"heartbeatInterval": "50ms", "electionTimeout": "500ms", "adaptive": false},
        "ledger": {"mongodb": {"managed": {}, "retention": "720h"}},
    }))));
    let yaml = map["data"]["node.yaml"].as_str().unwrap();
    let options = raftery_config::Options::from_yaml(yaml).unwrap();
    assert_eq!(options.managed, Some(true));
    assert_eq!(
        options.heartbeat_interval.unwrap().0,
        std::time::Duration::from_millis(50)
    );
    assert_eq!(options.adaptive_timers, Some(false));
    assert_eq!(
        options.data_dir.unwrap().to_str(),
        Some("/var/lib/raftery/data")
    );
    assert_eq!(
        options.ledger_mongodb_uri_file.unwrap().to_str(),
        Some("/etc/raftery/mongodb/uri")
    );
    assert_eq!(
        options.ledger_retention.unwrap().0,
        std::time::Duration::from_secs(720 * 3600)
    );
}

#[test]
fn the_arguments_with_a_pods_name_are_what_a_node_parses() {
    let desired = desired(json!({}));
    let set = value(&statefulset(&desired, 3));
    let args: Vec<String> =
        serde_json::from_value(set["spec"]["template"]["spec"]["containers"][0]["args"].clone())
            .unwrap();
    assert_eq!(
        args,
        [
            "--config-file=/etc/raftery/node.yaml",
            "--name=$(POD_NAME)",
            "--advertise-client-urls=http://$(POD_NAME).demo-peers.shop.svc:2379",
            "--initial-advertise-peer-urls=http://$(POD_NAME).demo-peers.shop.svc:2380",
        ]
    );
    assert_eq!(
        super::peer_url(&desired, 1),
        "http://demo-1.demo-peers.shop.svc:2380"
    );
}

#[test]
fn the_hash_covers_what_rolls_pods_and_nothing_else() {
    let base = template_hash(&desired(json!({})));
    for rolls in [
        json!({"image": "node:2"}),
        json!({"raft": {"heartbeatInterval": "50ms"}}),
        json!({"raft": {"adaptive": false}}),
        json!({"ledger": {"mongodb": {"uriSecretRef": {"name": "s"}}}}),
        json!({"ledger": {"mongodb": {"managed": {}, "retention": "720h"}}}),
        json!({"pod": {"resources": {"limits": {"memory": "1Gi"}}}}),
        json!({"pod": {"annotations": {"a": "b"}}}),
    ] {
        assert_ne!(template_hash(&desired(rolls.clone())), base, "{rolls}");
    }
    for stays in [
        json!({"replicas": 5}),
        json!({"paused": true}),
        json!({"behaviour": {"window": "2s"}}),
        json!({"healing": {"unresponsiveAfter": "10s"}}),
    ] {
        assert_eq!(template_hash(&desired(stays.clone())), base, "{stays}");
    }
}

#[test]
fn peers_are_found_before_they_are_ready_and_clients_find_ready_ones() {
    let desired = desired(json!({}));
    let peers = value(&peers_service(&desired));
    assert_eq!(peers["metadata"]["name"], "demo-peers");
    assert_eq!(peers["spec"]["clusterIP"], "None");
    assert_eq!(peers["spec"]["publishNotReadyAddresses"], true);
    let client = value(&client_service(&desired));
    assert_eq!(client["metadata"]["name"], "demo-client");
    assert_eq!(client["spec"].get("publishNotReadyAddresses"), None);
}

#[test]
fn a_drain_leaves_the_quorum_of_the_larger_of_voters_and_target() {
    for (replicas, voters, least) in [(1, 1, 1), (2, 2, 2), (3, 3, 2), (3, 5, 3), (5, 3, 3)] {
        let budget = value(&pdb(&desired(json!({"replicas": replicas})), voters));
        assert_eq!(
            budget["spec"]["minAvailable"], least,
            "{replicas} wanted, {voters} voting"
        );
    }
}

#[test]
fn labels_of_the_operator_cant_be_overridden() {
    let mut desired = desired(json!({"pod": {"labels": {"team": "blue"}}}));
    desired
        .pod
        .labels
        .as_mut()
        .unwrap()
        .insert("app.kubernetes.io/instance".to_owned(), "other".to_owned());
    let set = value(&statefulset(&desired, 3));
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/instance"], "demo");
    assert_eq!(labels["team"], "blue");
}

#[test]
fn a_managed_mongodb_is_reached_by_the_uri_in_its_secret() {
    let desired = desired(json!({"ledger": {"mongodb": {"managed": {}}}}));
    let secret = value(&mongodb_secret(&desired, "claim-1", "c0ffee"));
    assert_eq!(
        secret["stringData"]["uri"],
        "mongodb://raftery:c0ffee@demo-mongodb.shop.svc:27017/raftery?authSource=admin&directConnection=true"
    );
    // It goes when its claim goes, not when the RaftCluster does.
    let owners = secret["metadata"]["ownerReferences"].as_array().unwrap();
    assert_eq!(owners.len(), 1);
    assert_eq!(
        (&owners[0]["kind"], &owners[0]["uid"]),
        (&json!("PersistentVolumeClaim"), &json!("claim-1"))
    );
    let claim = value(&mongodb_claim(&desired).unwrap());
    assert_eq!(claim["metadata"].get("ownerReferences"), None);
}

#[test]
fn a_missing_connection_string_keeps_no_pod_from_starting() {
    let desired = desired(json!({"ledger": {"mongodb": {"uriSecretRef": {"name": "mine"}}}}));
    let set = value(&statefulset(&desired, 3));
    let sources = &set["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"];
    assert_eq!(sources[2]["secret"]["name"], "mine");
    assert_eq!(sources[2]["secret"]["optional"], true);
    assert_eq!(sources[1]["secret"]["optional"], false);
}

#[test]
fn a_managed_mongodb_has_a_pod_once_its_secret_is_there() {
    let desired = desired(json!({"ledger": {"mongodb": {"managed": {}}}}));
    let images = Images {
        mongodb: "mongo:8".to_owned(),
    };
    let names = |seen: &MongodbSeen| -> Vec<String> {
        children(&desired, &images, seen, 0, 3)
            .into_iter()
            .map(|child| format!("{}/{}", child.resource.kind, child.name))
            .collect()
    };
    let pod = "StatefulSet/demo-mongodb".to_owned();
    assert!(!names(&MongodbSeen::default()).contains(&pod));
    assert!(
        names(&MongodbSeen {
            has_uri: true,
            ..Default::default()
        })
        .contains(&pod)
    );
}

#[test]
fn the_admin_token_is_a_secret_of_the_cluster() {
    let secret = value(&admin_secret(&desired(json!({})), "t0ken"));
    assert_eq!(secret["metadata"]["name"], "demo-admin");
    assert_eq!(secret["stringData"]["token"], "t0ken");
}
