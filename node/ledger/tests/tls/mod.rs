//! TLS with an authority of one's own, and a certificate for the client.

use std::path::Path;

use raftery_ledger::Exporter;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{LINEAGE, MongoServer, rows};

/// Writes `ca.pem`, `server.pem` with `server.key`, and `client.pem` with both, as drivers want it.
fn write_certificates(directory: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "authority");
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text).unwrap();
    write("ca.pem", ca.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(ca, key);
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        (certificate, key.serialize_pem())
    };
    let (certificate, key) = signed("server");
    write("server.pem", certificate);
    write("server.key", key);
    let (certificate, key) = signed("client");
    write("client.pem", certificate + &key);
}

#[tokio::test]
async fn a_server_with_its_own_authority_is_exported_to_and_wants_the_clients_certificate() {
    let files = tempfile::tempdir().unwrap();
    write_certificates(files.path());
    let file = |name: &str| files.path().join(name).display().to_string();
    let mut server = MongoServer::start();
    server.restart_with(&[
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-ca-file",
        &file("ca.pem"),
        "--tls-require-client-cert",
    ]);
    let base = format!(
        "mongodb://127.0.0.1:{}/?directConnection=true",
        server.port()
    );
    let ca = file("ca.pem");
    let client = file("client.pem");
    let told = Exporter::connect(&format!("{base}&tls=true"), LINEAGE, None)
        .await
        .unwrap_err();
    assert!(
        told.to_string().contains("TLS certificate isn't trusted"),
        "{told}"
    );
    let without = format!("{base}&tls=true&tlsCAFile={ca}");
    Exporter::connect(&without, LINEAGE, None)
        .await
        .unwrap_err();
    let missing = format!("{base}&tls=true&tlsCAFile=/nonexistent/ca.pem");
    let told = Exporter::connect(&missing, LINEAGE, None)
        .await
        .unwrap_err();
    assert!(told.to_string().contains("/nonexistent/ca.pem"), "{told}");
    let uri = format!("{base}&tls=true&tlsCAFile={ca}&tlsCertificateKeyFile={client}");
    let exporter = Exporter::connect(&uri, LINEAGE, None).await.unwrap();
    exporter.export(&rows(0, 3)).await.unwrap();
    let windows = super::stored_windows_at(&uri, "rewards").await;
    assert_eq!(windows, [0, 0, 1, 1, 2, 2]);
}
