//! What can happen to a pod of the development cluster: its nodes are namespaces of this
//! machine, so their processes can be signalled and their volumes are directories.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use rustix::process::{Pid, Signal, kill_process};

use crate::kube::{Kube, OPERATOR_NAMESPACE, RaftCluster};
use crate::{environment, wait};

/// The kernel cuts names of processes here.
const NODE: &str = "raftery-node";
const OPERATOR: &str = "raftery-operato";

/// Stops a member's process: its connections stay open and nothing answers.
pub async fn freeze(cluster: &RaftCluster, ordinal: u32) -> Result<()> {
    signal(&cluster.pod(ordinal).await?, NODE, Signal::STOP)
}

/// A member that is slow and lives: its process stands still four fifths of the time, half a
/// second after half a second, until this is dropped.
pub struct Hobbled {
    processes: Arc<Mutex<Vec<Pid>>>,
}

const STANDS: Duration = Duration::from_millis(400);
const WALKS: Duration = Duration::from_millis(100);

/// Makes a member slow.
pub async fn hobble(cluster: &RaftCluster, ordinal: u32) -> Result<Hobbled> {
    let pod = cluster.pod(ordinal).await?;
    let processes = processes(&pod.uid().context("a pod has a UID")?, NODE)?;
    ensure!(
        !processes.is_empty(),
        "no {NODE} runs in pod {}",
        pod.name_any()
    );
    let processes = Arc::new(Mutex::new(processes));
    let hobbled = Arc::clone(&processes);
    tokio::spawn(async move {
        for (signal, lasts) in [(Signal::STOP, STANDS), (Signal::CONT, WALKS)]
            .into_iter()
            .cycle()
        {
            if !signal_nodes(&mut hobbled.lock().expect("no holder panics"), signal) {
                return;
            }
            tokio::time::sleep(lasts).await;
        }
    });
    Ok(Hobbled { processes })
}

/// Signals those that are nodes still; gives whether there are any. They may end at any time.
fn signal_nodes(processes: &mut Vec<Pid>, signal: Signal) -> bool {
    processes.retain(|process| is_node(*process) && kill_process(*process, signal).is_ok());
    !processes.is_empty()
}

impl Drop for Hobbled {
    fn drop(&mut self) {
        let mut processes = self.processes.lock().expect("no holder panics");
        signal_nodes(&mut processes, Signal::CONT);
        // Then there is nothing left to do for the task.
        processes.clear();
    }
}

/// Whether a process that was a node's still is: IDs of processes are given out again.
fn is_node(process: Pid) -> bool {
    let name = format!("/proc/{}/comm", process.as_raw_nonzero());
    fs::read_to_string(name).is_ok_and(|name| name.trim_end() == NODE)
}

/// Empties a member's volume and has its container started anew, as if the disk was lost.
pub async fn empty_volume(cluster: &RaftCluster, ordinal: u32) -> Result<()> {
    let directory = volume(cluster, ordinal).await?;
    let pod = cluster.pod(ordinal).await?;
    // stopped first: it must not write into what is being emptied
    signal(&pod, NODE, Signal::STOP)?;
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
    }
    signal(&pod, NODE, Signal::KILL)
}

/// Kills the operator's process, then its pod without any grace.
pub async fn kill_operator() -> Result<()> {
    let kube = Kube::at(OPERATOR_NAMESPACE).await?;
    let selector = ListParams::default().labels("app.kubernetes.io/component=operator");
    let pods = kube.objects::<Pod>().list(&selector).await?;
    ensure!(!pods.items.is_empty(), "no operator runs");
    for pod in pods {
        signal(&pod, OPERATOR, Signal::KILL)?;
        let name = pod.name_any();
        kube.kubectl(&[
            "delete",
            "pod",
            &name,
            "--grace-period=0",
            "--force",
            "--wait=false",
        ])
        .await?;
    }
    Ok(())
}

/// Waits until the operator runs again.
pub async fn operator_runs(limit: Duration) -> Result<()> {
    let kube = Kube::at(OPERATOR_NAMESPACE).await?;
    wait::until("the operator runs", limit, async || {
        kube.kubectl(&["rollout", "status", "deployment", "--watch=false"])
            .await
    })
    .await?;
    Ok(())
}

/// The directory that holds a member's volume.
async fn volume(cluster: &RaftCluster, ordinal: u32) -> Result<PathBuf> {
    let claim = format!("data-{}-{ordinal}", cluster.name);
    let claims = cluster.kube.objects::<PersistentVolumeClaim>();
    let volume = claims
        .get(&claim)
        .await?
        .spec
        .and_then(|spec| spec.volume_name);
    let volume = volume.with_context(|| format!("{claim} isn't bound"))?;
    let volumes: Api<PersistentVolume> = Api::all(cluster.kube.client.clone());
    let spec = volumes
        .get(&volume)
        .await?
        .spec
        .context("a volume has a spec")?;
    let path = spec
        .host_path
        .context("not a volume of the development cluster")?
        .path;
    let name = PathBuf::from(path);
    let name = name.file_name().context("a volume's path has a name")?;
    // On the nodes it is elsewhere: every machine of the development cluster mounts this.
    let state = environment::kubeconfig()?;
    let directory = state
        .parent()
        .context("a file lies in a directory")?
        .join("pv")
        .join(name);
    ensure!(
        directory.is_dir(),
        "{} is no directory",
        directory.display()
    );
    Ok(directory)
}

/// Signals the processes of this name in a pod.
fn signal(pod: &Pod, name: &str, signal: Signal) -> Result<()> {
    let uid = pod.uid().context("a pod has a UID")?;
    let processes = processes(&uid, name)?;
    ensure!(
        !processes.is_empty(),
        "no {name} runs in pod {}",
        pod.name_any()
    );
    for process in processes {
        kill_process(process, signal).with_context(|| format!("signalling {name}"))?;
    }
    Ok(())
}

/// Processes of a pod are known by their control group, which is named after the pod's UID.
fn processes(uid: &str, name: &str) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(id) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        // Processes end while we look at them.
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let in_pod = read("cgroup")
            .replace('_', "-")
            .contains(&format!("pod{uid}"));
        if in_pod && read("comm").trim_end() == name {
            found.extend(Pid::from_raw(id));
        }
    }
    Ok(found)
}
