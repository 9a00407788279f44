//! `make demo`: from the Helm chart to a healed cluster, with the real tools.
//!
//! Run by `hack/demo.sh` where the cluster can be reached and with the images loaded. It may
//! run again at any time: every step begins with what is there.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use comfy_table::Table;
use comfy_table::presets::ASCII_FULL_CONDENSED;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use mongodb::bson::{Bson, Document};
use raftery_e2e::etcd::Etcdctl;
use raftery_e2e::kube::{self as cluster, Kube, RaftCluster, Status};
use raftery_e2e::report::Progress;
use raftery_e2e::{mongo, pods, wait};

const STEPS: u32 = 7;
/// Long enough for a slow machine.
const LIMIT: Duration = Duration::from_secs(300);
const NAMESPACE: &str = "default";
const ROWS: i64 = 8;

#[tokio::main]
async fn main() -> Result<()> {
    let mut demo = Demo::new().await?;
    demo.install().await?;
    demo.apply().await?;
    demo.write_and_read().await?;
    demo.lose_a_member().await?;
    demo.scale(5).await?;
    demo.scale(3).await?;
    demo.show_ledger().await?;
    println!();
    demo.progress.say("all steps done");
    Ok(())
}

struct Demo {
    kube: Kube,
    cluster: RaftCluster,
    progress: Progress,
    step: u32,
}

impl Demo {
    async fn new() -> Result<Self> {
        let kube = Kube::at(NAMESPACE).await?;
        Ok(Self {
            cluster: kube.cluster("demo"),
            kube,
            progress: Progress::default(),
            step: 0,
        })
    }

    fn begin(&mut self, what: &str) {
        self.step += 1;
        println!();
        self.progress
            .say(format!("Step {} of {STEPS}: {what}", self.step));
    }

    async fn install(&mut self) -> Result<()> {
        self.begin("helm installs the operator");
        cluster::install_chart().await?;
        self.shell(&["get", "pods", "--namespace", cluster::OPERATOR_NAMESPACE])
            .await
    }

    async fn apply(&mut self) -> Result<()> {
        let (path, _) = cluster::example("demo.yaml")?;
        self.begin(&format!("kubectl apply -f {}", relative(&path)));
        let path = path.display().to_string();
        print!(
            "{}",
            indented(&self.kube.kubectl(&["apply", "--filename", &path]).await?)
        );
        let took = self.settled().await?;
        self.progress
            .say(format!("Ready after {:.1} s", took.as_secs_f64()));
        self.shell(&["get", "raftclusters,pods"]).await
    }

    async fn write_and_read(&mut self) -> Result<()> {
        self.begin("etcdctl writes and reads");
        let url = self.cluster.client_url().await?;
        let etcdctl = Etcdctl::new(&[&url]);
        for arguments in [
            vec!["put", "greeting", "hello from raftery"],
            vec!["get", "greeting"],
            vec!["member", "list", "--write-out=table"],
        ] {
            println!("    $ etcdctl --endpoints {url} {}", arguments.join(" "));
            print!("{}", indented(&etcdctl.run(&arguments).await?));
        }
        Ok(())
    }

    async fn lose_a_member(&mut self) -> Result<()> {
        self.begin("a member hangs, and the operator replaces it");
        if std::env::var_os("RAFTERY_DEVCLUSTER").is_none() {
            self.progress
                .say("left out: only the development cluster's processes can be frozen");
            return Ok(());
        }
        let since = SystemTime::now();
        // the leader: so the others also have to elect another
        let ordinal = self.cluster.leader(LIMIT).await?;
        let old = self
            .cluster
            .status()
            .await?
            .member(ordinal)
            .context("no member")?
            .to_owned();
        pods::freeze(&self.cluster, ordinal).await?;
        self.progress.say(format!(
            "demo-{ordinal}, the leader (member {old}), is frozen (SIGSTOP)"
        ));
        let mut seen = Seen::default();
        let (new, took) = wait::until("the member is replaced", LIMIT, async || {
            let status = self.cluster.status().await?;
            seen.show(&self.progress, &status);
            let new = status.member(ordinal).unwrap_or(&old);
            ensure!(new != old, "{old} is still there");
            Ok(new.to_owned())
        })
        .await?;
        self.settled().await?;
        self.progress.say(format!(
            "demo-{ordinal} is member {new} now; its predecessor was gone after {:.1} s",
            took.as_secs_f64(),
        ));
        let etcdctl = Etcdctl::new(&[self.cluster.client_url().await?]);
        let value = etcdctl
            .run(&["get", "--print-value-only", "greeting"])
            .await?;
        self.progress
            .say(format!("the value is still there: {}", value.trim()));
        self.progress
            .say("what the operator did (Events of the RaftCluster):");
        for event in self.events(since).await? {
            println!("    {event}");
        }
        Ok(())
    }

    async fn scale(&mut self, size: u32) -> Result<()> {
        self.begin(&format!("kubectl scale raftcluster demo --replicas={size}"));
        let replicas = format!("--replicas={size}");
        self.kube
            .kubectl(&["scale", "raftcluster", "demo", &replicas])
            .await?;
        let took = self.settled().await?;
        self.progress.say(format!(
            "{size} voting members after {:.1} s",
            took.as_secs_f64()
        ));
        self.shell(&["get", "raftclusters,pods"]).await
    }

    async fn show_ledger(&mut self) -> Result<()> {
        self.begin("the last rows in MongoDB");
        let uri = self.cluster.secret("demo-mongodb", "uri").await?;
        let status = self.cluster.status().await?;
        for (collection, columns) in [("rewards", REWARDS), ("intervals", INTERVALS)] {
            let (rows, _) = wait::until("rows are there", LIMIT, async || {
                let rows = mongo::newest_rows(&uri, collection, ROWS).await?;
                ensure!(!rows.is_empty(), "{collection} is empty");
                Ok(rows)
            })
            .await?;
            println!("\n    {collection}");
            println!("{}", indented(&table(&rows, columns, &status)?));
        }
        Ok(())
    }

    /// Waits until all is as the spec says, and shows what changes meanwhile.
    async fn settled(&self) -> Result<Duration> {
        let mut seen = Seen::default();
        let ended = self.cluster.settled(LIMIT);
        tokio::pin!(ended);
        loop {
            tokio::select! {
                took = &mut ended => return took,
                () = tokio::time::sleep(Duration::from_millis(300)) => {
                    if let Ok(status) = self.cluster.status().await {
                        seen.show(&self.progress, &status);
                    }
                }
            }
        }
    }

    async fn shell(&self, arguments: &[&str]) -> Result<()> {
        println!("    $ kubectl {}", arguments.join(" "));
        print!("{}", indented(&self.kube.kubectl(arguments).await?));
        Ok(())
    }

    async fn events(&self, since: SystemTime) -> Result<Vec<String>> {
        let of_demo = "involvedObject.kind=RaftCluster,involvedObject.name=demo";
        let list = ListParams::default().fields(of_demo);
        let mut events = Vec::new();
        for event in self.kube.objects::<Event>().list(&list).await? {
            // one that was seen before is counted in its series
            let series = event.series.and_then(|series| series.last_observed_time);
            let at = series.or(event.event_time).map(|time| time.0);
            let at: Option<SystemTime> = at.map(SystemTime::from);
            if let Some(at) = at.filter(|at| *at >= since) {
                let line = format!(
                    "{:8} {:24} {}",
                    event.type_.unwrap_or_default(),
                    event.reason.unwrap_or_default(),
                    event.message.unwrap_or_default(),
                );
                events.push((at, line));
            }
        }
        events.sort();
        Ok(events.into_iter().map(|(_, line)| line).collect())
    }
}

/// What a status said last, so that only changes are shown.
#[derive(Default)]
struct Seen {
    line: String,
}

impl Seen {
    fn show(&mut self, progress: &Progress, status: &Status) {
        let line = format!(
            "{} ready, leader {}: {}",
            status.ready_replicas,
            status.leader.as_deref().unwrap_or("unknown"),
            status.plan.as_deref().unwrap_or("nothing to do"),
        );
        if line != self.line {
            progress.say(format!("  {line}"));
            self.line = line;
        }
    }
}

/// Heading and field of a column. A field `a/b` shows both.
type Columns = &'static [(&'static str, &'static str)];

const REWARDS: Columns = &[
    ("term", "term"),
    ("window", "window"),
    ("at", "at"),
    ("member", "member"),
    ("kind", "kind"),
    ("points", "points"),
    ("reason", "reason"),
];

const INTERVALS: Columns = &[
    ("term", "term"),
    ("window", "window"),
    ("member", "member"),
    (
        "heartbeats acknowledged/sent",
        "heartbeats_acknowledged/heartbeats_sent",
    ),
    ("answer p50/p95 [us]", "ack_p50_us/ack_p95_us"),
    ("last heard [ms]", "last_heard_ms"),
    ("lag [entries]", "lag_entries"),
];

fn table(rows: &[Document], columns: Columns, status: &Status) -> Result<String> {
    let mut table = Table::new();
    table.load_style(ASCII_FULL_CONDENSED);
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for row in rows {
        let mut cells = Vec::new();
        for (_, field) in columns {
            let values = field.split('/').map(|field| match row.get(field) {
                Some(value) => Ok(shown(field, value, status)),
                None => bail!("no field {field} in {row}"),
            });
            cells.push(values.collect::<Result<Vec<_>>>()?.join("/"));
        }
        table.add_row(cells);
    }
    Ok(table.to_string())
}

fn shown(field: &str, value: &Bson, status: &Status) -> String {
    match value {
        Bson::Null => "-".to_owned(),
        Bson::DateTime(at) => at.try_to_rfc3339_string().unwrap_or_default(),
        Bson::String(id) if field == "member" => {
            let id = id.trim_start_matches('0');
            let present = status.members.iter().find(|member| member.id == id);
            match present {
                Some(member) => format!("{id} (demo-{})", member.ordinal),
                None => format!("{id} (gone)"),
            }
        }
        Bson::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn relative(path: &Path) -> String {
    let from = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(from)
        .unwrap_or(path)
        .display()
        .to_string()
}
