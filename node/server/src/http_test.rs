use super::*;

async fn text(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("in memory");
    (status, String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

#[tokio::test]
async fn probe_that_holds_says_ok() {
    let checks = [("a", Ok(()))];
    assert_eq!(
        text(probe("livez", &checks, false)).await,
        (StatusCode::OK, "ok\n".into())
    );
    let verbose = text(probe("livez", &checks, true)).await;
    assert_eq!(verbose, (StatusCode::OK, "[+]a ok\nok\n".into()));
}

#[tokio::test]
async fn probe_that_fails_says_why() {
    let checks = [("a", Ok(())), ("b", Err("no leader".to_owned()))];
    let (status, body) = text(probe("readyz", &checks, false)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        body,
        "[+]a ok\n[-]b failed: no leader\nreadyz check failed\n"
    );
}

#[tokio::test]
async fn version_reads_like_etcds() {
    let (_, body) = text(version().await).await;
    let expected = format!(
        r#"{{"etcdserver":"{ETCD_API_VERSION}","etcdcluster":"{ETCD_CLUSTER_VERSION}","storage":"{ETCD_CLUSTER_VERSION}"}}"#
    );
    assert_eq!(body, expected);
}
