//! TLS with an authority of one's own, and a certificate for the client.

use std::path::Path;

use mongodb::Client;
use mongodb::bson::doc;
use raftery_ledger::{ExportError, Exporter};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{LINEAGE, MongoServer, rows};

/// Writes `ca.pem`, `server.pem` with `server.key`, and `client.pem` and `stranger.pem` with both, as
/// drivers want it.
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
    for name in ["client", "stranger"] {
        let (certificate, key) = signed(name);
        write(&format!("{name}.pem"), certificate + &key);
    }
}

/// Starts it again with TLS by these certificates; it wants the client's.
fn restart(server: &mut MongoServer, certificates: &Path, flags: &[&str]) {
    let file = |name: &str| certificates.join(name).display().to_string();
    let (certificate, key, ca) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let tls = [
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-file",
        &ca,
        "--tls-require-client-cert",
    ];
    server.restart_with(&[&tls, flags].concat());
}

#[tokio::test]
async fn a_user_may_be_known_by_its_certificate_alone() {
    let files = tempfile::tempdir().unwrap();
    write_certificates(files.path());
    let file = |name: &str| files.path().join(name).display().to_string();
    let mut server = MongoServer::start();
    let client = Client::with_uri_str(server.uri()).await.unwrap();
    let role = doc! { "role": "readWriteAnyDatabase", "db": "admin" };
    let user = doc! { "createUser": "CN=client", "roles": [role] };
    let external = client.database("$external");
    external.run_command(user).await.unwrap();
    restart(&mut server, files.path(), &["--auth"]);
    let uri = |certificate: &str| {
        format!(
            "mongodb://127.0.0.1:{}/?directConnection=true&tls=true&tlsCAFile={}\
             &tlsCertificateKeyFile={}&authMechanism=MONGODB-X509&authSource=%24external",
            server.port(),
            file("ca.pem"),
            file(certificate)
        )
    };
    let told = Exporter::connect(&uri("stranger.pem"), LINEAGE, None)
        .await
        .unwrap_err();
    assert!(matches!(told, ExportError::Auth { .. }), "{told:?}");
    let exporter = Exporter::connect(&uri("client.pem"), LINEAGE, None)
        .await
        .unwrap();
    exporter.export(&rows(0, 2)).await.unwrap();
    let windows = super::stored_windows_at(&uri("client.pem"), "rewards").await;
    assert_eq!(windows, [0, 0, 1, 1]);
}

#[tokio::test]
async fn a_server_with_its_own_authority_is_exported_to_and_wants_the_clients_certificate() {
    let files = tempfile::tempdir().unwrap();
    write_certificates(files.path());
    let file = |name: &str| files.path().join(name).display().to_string();
    let mut server = MongoServer::start();
    restart(&mut server, files.path(), &[]);
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
