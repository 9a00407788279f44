//! What the API server refuses, and what it says.

use raftery_e2e::environment;
use raftery_e2e::outcome::Outcome;

use crate::alone;

/// A spec's part that is wrong, and words of the message: the field and the rule.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "replicas: 0",
        &["spec.replicas", "greater than or equal to 1"],
    ),
    (
        "replicas: 10",
        &["spec.replicas", "less than or equal to 9"],
    ),
    (
        "raft: { heartbeatInterval: 300ms, electionTimeout: 1s }",
        &[
            "spec.raft",
            "electionTimeout must be at least 5 times",
            "heartbeatInterval",
        ],
    ),
    (
        "raft: { electionTimeout: soon }",
        &["spec.raft.electionTimeout", "should match"],
    ),
    (
        "raft: { heartbeatInterval: 1d }",
        &["spec.raft.heartbeatInterval", "should match"],
    ),
    (
        "healing: { unresponsiveAfter: -5s }",
        &["spec.healing.unresponsiveAfter", "should match"],
    ),
    (
        "storage: { size: big }",
        &["spec.storage.size", "should match"],
    ),
    (
        "ledger: { mongodb: { managed: { storage: { size: 8Gigs } } } }",
        &["spec.ledger.mongodb.managed.storage.size", "should match"],
    ),
    (
        "pod: { resources: { limits: { memory: much } } }",
        &["spec.pod.resources.limits.memory", "should match"],
    ),
    (
        "ledger: { mongodb: { managed: {}, uriSecretRef: { name: x, key: uri } } }",
        &[
            "spec.ledger.mongodb",
            "exactly one of managed and uriSecretRef",
        ],
    ),
    (
        "ledger: { mongodb: { managed: {}, retention: 59m } }",
        &[
            "spec.ledger.mongodb",
            "retention must be between 1h and 87600h",
        ],
    ),
    (
        "ledger: { mongodb: {} }",
        &[
            "spec.ledger.mongodb",
            "exactly one of managed and uriSecretRef",
        ],
    ),
    ("replicsa: 3", &["spec.replicsa", "unknown field"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_with_a_message_that_names_field_and_rule() -> Outcome {
    let (_alone, sandbox) = alone("e2e-input").await?;
    let refused = async |name: &str, spec: &str, words: &[&str]| {
        let manifest = format!(
            "apiVersion: raftery.dev/v1alpha1\nkind: RaftCluster\n\
             metadata: {{ name: {name} }}\nspec: {{ {spec} }}\n"
        );
        match sandbox.kube.apply(&manifest).await {
            Ok(_) => panic!("accepted: {name}: {spec}"),
            Err(message) => {
                let message = format!("{message:#}");
                for word in words {
                    assert!(message.contains(word), "{spec}: no {word:?} in: {message}");
                }
            }
        }
    };
    for (spec, words) in REFUSED {
        refused("demo", spec, words).await;
    }
    let long = "a".repeat(41);
    refused(
        &long,
        "replicas: 3",
        &["metadata.name", "at most 40 characters"],
    )
    .await;
    refused("1st", "replicas: 3", &["metadata.name", "DNS-1035"]).await;

    // What can't be changed later.
    sandbox.kube.apply(&crate::manifest("demo", 1)).await?;
    refused(
        "demo",
        "storage: { size: 2Gi }",
        &["spec.storage", "immutable"],
    )
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_accepted() -> Outcome {
    let (_alone, sandbox) = alone("e2e-examples").await?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(environment::checkout("examples"))? {
        let path = entry?.path().display().to_string();
        let apply = ["apply", "--dry-run=server", "--filename", &path];
        names.push(sandbox.kube.kubectl(&apply).await?);
    }
    assert!(names.len() >= 3, "{names:?}");
    Ok(())
}
