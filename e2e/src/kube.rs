//! A Kubernetes cluster with our operator in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Resource};
use serde::Deserialize;

use crate::admin::Admin;
use crate::{environment, process, wait};

/// Where the operator runs.
pub const OPERATOR_NAMESPACE: &str = "raftery-system";
/// The Helm release.
pub const RELEASE: &str = "raftery";

const ADMIN_PORT: u16 = 2382;
const CLIENT_PORT: u16 = 2379;

/// What the chart is given here: the images of this build, as `hack/image.sh` names them.
const IMAGES: [&str; 3] = [
    "image=localhost/raftery-operator:dev",
    "nodeImage=localhost/raftery-node:dev",
    "mongodb.image=localhost/raftery-mongodb-standin:dev",
];

/// Installs the chart with the images of this build, or upgrades what is there to it.
pub async fn install_chart() -> Result<()> {
    environment::kubeconfig()?;
    let mut kubectl = tokio::process::Command::new(environment::tool("kubectl")?);
    // Helm installs CRDs and never upgrades them.
    kubectl
        .args(["apply", "--server-side", "--force-conflicts", "--filename"])
        .arg(environment::checkout("crds"));
    process::run(&mut kubectl).await?;
    let mut helm = tokio::process::Command::new(environment::tool("helm")?);
    helm.args(["upgrade", "--install", RELEASE])
        .arg(environment::checkout("charts/raftery"))
        .args([
            "--namespace",
            OPERATOR_NAMESPACE,
            "--create-namespace",
            "--skip-crds",
        ])
        .args(["--wait", "--timeout", "2m"]);
    for image in IMAGES {
        helm.args(["--set", image]);
    }
    // The tags stay the same from build to build, so something else has to change for the
    // operator of this build to be started.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    helm.args([
        "--set-string",
        &format!("podAnnotations.installed-at={}", now.as_secs()),
    ]);
    process::run(&mut helm).await?;
    Ok(())
}

/// A namespace of the cluster.
#[derive(Clone)]
pub struct Kube {
    /// For typed reads.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

impl Kube {
    /// A namespace that is there already.
    pub async fn at(namespace: &str) -> Result<Self> {
        environment::kubeconfig()?;
        Ok(Self {
            client: Client::try_default().await?,
            namespace: namespace.to_owned(),
        })
    }

    /// The real kubectl, in this namespace; gives its standard output.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(environment::tool("kubectl")?);
        command
            .args(["--namespace", &self.namespace])
            .args(arguments);
        process::run(&mut command).await
    }

    /// `kubectl apply` of a manifest.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), manifest)?;
        let path = file.path().display().to_string();
        self.kubectl(&["apply", "--filename", &path]).await
    }

    /// Objects of a kind.
    pub fn objects<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A RaftCluster of this namespace.
    #[must_use]
    pub fn cluster(&self, name: &str) -> RaftCluster {
        RaftCluster {
            kube: self.clone(),
            name: name.to_owned(),
        }
    }
}

/// A namespace of a test: made anew, and gone with it.
pub struct Sandbox {
    /// The namespace.
    pub kube: Kube,
}

impl Sandbox {
    /// A new namespace. One that an earlier run left is removed first.
    pub async fn new(name: &str) -> Result<Self> {
        let kube = Kube::at(name).await?;
        kube.kubectl(&["delete", "namespace", name, "--ignore-not-found"])
            .await?;
        kube.kubectl(&["create", "namespace", name]).await?;
        wait::until(
            "its service account is there",
            Duration::from_secs(30),
            async || kube.kubectl(&["get", "serviceaccount", "default"]).await,
        )
        .await?;
        Ok(Self { kube })
    }

    /// What a person would look at first.
    fn show(&self) {
        let Ok(kubectl) = environment::tool("kubectl") else {
            return;
        };
        let namespace = self.kube.namespace.as_str();
        for (scope, arguments) in [
            (namespace, "get raftclusters --output yaml"),
            (
                namespace,
                "get statefulsets,pods,persistentvolumeclaims --output wide",
            ),
            (namespace, "get events --sort-by .lastTimestamp"),
            (
                namespace,
                "logs --prefix --tail 15 --selector app.kubernetes.io/component=node",
            ),
            (
                OPERATOR_NAMESPACE,
                "logs --prefix --tail 60 --selector app.kubernetes.io/component=operator",
            ),
        ] {
            let shown = Command::new(&kubectl)
                .args(["--namespace", scope])
                .args(arguments.split(' '))
                .output();
            if let Ok(shown) = shown {
                eprintln!("--- kubectl --namespace {scope} {arguments}");
                eprintln!("{}", String::from_utf8_lossy(&shown.stdout));
                eprintln!("{}", String::from_utf8_lossy(&shown.stderr));
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        // Waits, so that the next test has the machine for itself.
        if let Ok(kubectl) = environment::tool("kubectl") {
            let _ = Command::new(kubectl)
                .args(["delete", "namespace", &self.kube.namespace, "--timeout=60s"])
                .output();
        }
    }
}

/// A RaftCluster, as its users and the operator see it.
#[derive(Clone)]
pub struct RaftCluster {
    /// Where it is.
    pub kube: Kube,
    /// Its name.
    pub name: String,
}

/// What its status says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Generation of the spec that the status answers to.
    pub observed_generation: i64,
    /// Whether it may never be founded again.
    pub founded: bool,
    /// Cluster ID.
    #[serde(rename = "clusterID")]
    pub cluster_id: String,
    /// Pod of the leader.
    pub leader: Option<String>,
    /// Voters.
    pub replicas: i32,
    /// Ready voters.
    pub ready_replicas: i32,
    /// Members by ordinal.
    pub members: Vec<Member>,
    /// What the operator does or waits for.
    pub plan: Option<String>,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// A member in a status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Member {
    /// Member ID, hexadecimal.
    pub id: String,
    /// Place in the StatefulSet.
    pub ordinal: u32,
    /// Where the operator stands with it.
    pub phase: String,
}

/// A condition of a status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Name of the condition.
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False or Unknown.
    pub status: String,
    /// One word.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Status {
    /// The condition of this name.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.kind == kind)
    }

    /// The ID of the member of this ordinal that isn't on its way out.
    #[must_use]
    pub fn member(&self, ordinal: u32) -> Option<&str> {
        let mut members = self.members.iter();
        members
            .find(|member| member.ordinal == ordinal && member.phase != "Removing")
            .map(|member| member.id.as_str())
    }
}

impl RaftCluster {
    /// The object.
    pub async fn object(&self) -> Result<DynamicObject> {
        let kind = GroupVersionKind::gvk("raftery.dev", "v1alpha1", "RaftCluster");
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.kube.client.clone(), &self.kube.namespace, &resource);
        Ok(api.get(&self.name).await?)
    }

    /// Its status.
    pub async fn status(&self) -> Result<Status> {
        let mut object = self.object().await?;
        match object.data.get_mut("status") {
            Some(status) => Ok(serde_json::from_value(status.take())?),
            None => Ok(Status::default()),
        }
    }

    /// Waits until its status says that everything is as the spec wants it.
    pub async fn settled(&self, limit: Duration) -> Result<Duration> {
        let what = format!("{} is ready", self.name);
        let ((), took) = wait::until(&what, limit, async || {
            let object = self.object().await?;
            let status: Status = match object.data.get("status") {
                Some(status) => serde_json::from_value(status.clone())?,
                None => bail!("no status"),
            };
            let wanted = object.data["spec"]["replicas"].as_i64().unwrap_or_default();
            let ready = status
                .condition("Ready")
                .is_some_and(|ready| ready.status == "True");
            let seen = Some(status.observed_generation) == object.metadata.generation;
            let whole = i64::from(status.ready_replicas) == wanted
                && status.members.len() as i64 == wanted
                && status.members.iter().all(|member| member.phase == "Active");
            let conditions: Vec<_> = status
                .conditions
                .iter()
                .map(|condition| {
                    format!(
                        "{}={} {}",
                        condition.kind, condition.status, condition.message
                    )
                })
                .collect();
            ensure!(
                ready && seen && whole,
                "{} of {wanted} are ready, plan {:?}, {conditions:?}",
                status.ready_replicas,
                status.plan,
            );
            Ok(())
        })
        .await?;
        Ok(took)
    }

    /// Its pod of this ordinal.
    pub async fn pod(&self, ordinal: u32) -> Result<Pod> {
        let name = format!("{}-{ordinal}", self.name);
        Ok(self.kube.objects::<Pod>().get(&name).await?)
    }

    /// All its node pods.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let selector = format!(
            "app.kubernetes.io/instance={},app.kubernetes.io/component=node",
            self.name
        );
        let list = ListParams::default().labels(&selector);
        Ok(self.kube.objects::<Pod>().list(&list).await?.items)
    }

    /// Where its clients go, as one address.
    pub async fn client_url(&self) -> Result<String> {
        let service = self
            .kube
            .objects::<Service>()
            .get(&format!("{}-client", self.name))
            .await?;
        let ip = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .context("no ClusterIP")?;
        Ok(format!("http://{ip}:{CLIENT_PORT}"))
    }

    /// Where clients reach the member in this pod.
    pub async fn pod_client_url(&self, ordinal: u32) -> Result<String> {
        Ok(format!(
            "http://{}:{CLIENT_PORT}",
            ip(&self.pod(ordinal).await?)?
        ))
    }

    /// The token of its admin services.
    pub async fn admin_token(&self) -> Result<String> {
        self.secret(&format!("{}-admin", self.name), "token").await
    }

    /// A value of a Secret beside it.
    pub async fn secret(&self, name: &str, key: &str) -> Result<String> {
        let secret = self.kube.objects::<Secret>().get(name).await?;
        let value = secret.data.unwrap_or_default().remove(key);
        let value = value.with_context(|| format!("secret {name} has no key {key}"))?;
        Ok(String::from_utf8(value.0)?)
    }

    /// The admin service of the node in this pod.
    pub async fn admin(&self, ordinal: u32) -> Result<Admin> {
        let pod = self.pod(ordinal).await?;
        admin_of(&pod, &self.admin_token().await?)
    }

    /// The ordinal of the pod that leads, as the operator sees it.
    pub async fn leader(&self, limit: Duration) -> Result<u32> {
        let (ordinal, _) = wait::until("a leader is known", limit, async || {
            let leader = self
                .status()
                .await?
                .leader
                .context("no leader in the status")?;
            let ordinal = leader.rsplit('-').next().unwrap_or_default();
            ordinal
                .parse()
                .with_context(|| format!("leader {leader:?} is no pod's name"))
        })
        .await?;
        Ok(ordinal)
    }

    /// Moves leadership to the member of this ordinal, and waits until the operator sees it.
    pub async fn lead(&self, ordinal: u32) -> Result<()> {
        let limit = Duration::from_secs(30);
        wait::until("leadership moves", limit, async || {
            let leader = self.leader(limit).await?;
            if leader != ordinal {
                let target = self.admin(ordinal).await?.status().await?.member_id;
                self.admin(leader).await?.transfer(target).await?;
                bail!("asked for it just now");
            }
            Ok(())
        })
        .await?;
        Ok(())
    }
}

/// The admin service of the node in a pod.
pub fn admin_of(pod: &Pod, token: &str) -> Result<Admin> {
    Admin::new(&format!("http://{}:{ADMIN_PORT}", ip(pod)?), Some(token))
}

/// A pod's address.
pub fn ip(pod: &Pod) -> Result<String> {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    ip.with_context(|| format!("pod {:?} has no address", pod.metadata.name))
}

/// A manifest of the checkout.
pub fn example(name: &str) -> Result<(PathBuf, String)> {
    let path = environment::checkout("examples").join(name);
    let text = read(&path)?;
    Ok((path, text))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
