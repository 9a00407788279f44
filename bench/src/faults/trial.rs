//! One case on one cluster, as often as it is wanted.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::case::{Aim, Case};
use super::clients::{Clients, Demand};
use super::readers::Readers;
use super::results::{Contender, Outcome, Quantity, Timeline};
use super::watch::{View, Watcher};
use crate::cluster::{Cluster, System};
use crate::programs::Programs;
use crate::progress::Progress;

/// As always here.
const MEMBERS: usize = 3;
/// As both systems name it.
const LEADER_CHANGES: &str = "etcd_server_leader_changes_seen_total";
/// A put has so long where it is measured how soon one gets through again.
pub const SHORT_DEADLINE: Duration = Duration::from_millis(200);
/// And so long where slow answers are answers.
pub const LONG_DEADLINE: Duration = Duration::from_secs(5);
/// A cluster is whole again within this.
const WHOLE_LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at what clients and watchers noted.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Progress: before the fault there is a picture of so long.
const BEFORE: Duration = Duration::from_secs(3);
/// The fault lasts at least so long,
pub const LASTS: Duration = Duration::from_secs(5);
/// and if no put was acknowledged, so long.
pub const LASTS_MAX: Duration = Duration::from_secs(10);
/// After it, as long as the picture goes on.
const AFTER: Duration = Duration::from_secs(3);
const PROGRESS_WIDTH: Duration = Duration::from_millis(100);

/// Rate: measured before the fault, and under it, for so long.
pub const MEASURED: Duration = Duration::from_secs(10);
/// Under the fault it is measured from then on.
pub const ADAPTS: Duration = Duration::from_secs(15);
const RATE_WIDTH: Duration = Duration::from_millis(250);

/// Calm: a picture of minutes.
const CALM_WIDTH: Duration = Duration::from_secs(1);

/// How much, how often, how long.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Faults of cases about progress.
    pub times: u32,
    /// Faults of cases about the rate.
    pub rounds: u32,
    /// Length of cases about calm.
    pub calm: Duration,
    /// A whole cluster is left alone for so long; else as long as the contender wants.
    pub settle: Option<Duration>,
    /// Puts a second of a constant load.
    pub per_second: u32,
    /// Callers of a closed loop.
    pub callers: u32,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// How long a sync takes on this machine.
    pub sync: Duration,
}

impl Settings {
    /// The load of a case, and the time that each put has.
    #[must_use]
    pub fn demand(&self, aim: Aim) -> (Demand, Duration) {
        match aim {
            Aim::Progress => (Demand::Constant(self.per_second), SHORT_DEADLINE),
            Aim::Calm => (Demand::Constant(self.per_second), LONG_DEADLINE),
            Aim::Rate => (Demand::Callers(self.callers), LONG_DEADLINE),
        }
    }

    /// How long a whole cluster is left alone.
    #[must_use]
    pub fn settle(&self, contender: Contender) -> Duration {
        self.settle.unwrap_or(contender.settle())
    }
}

/// A cluster under load, watched.
pub struct Trial<'a> {
    settings: Settings,
    progress: &'a Progress,
    case: Case,
    contender: Contender,
    clients: Clients,
    /// Where it is measured how soon puts are acknowledged again.
    readers: Option<Readers>,
    watcher: Watcher,
    cluster: Cluster,
    began: Instant,
    /// With what was measured then: the picture shows the middle one.
    timelines: Vec<(f64, Timeline)>,
}

impl<'a> Trial<'a> {
    /// A new cluster, and load on it.
    pub async fn start(
        programs: &Programs,
        slowfs: &Path,
        progress: &'a Progress,
        settings: Settings,
        case: Case,
        contender: Contender,
    ) -> Result<Self> {
        let arguments = contender.arguments();
        let cluster = programs
            .start_with(contender.system(), MEMBERS, arguments, Some(slowfs))
            .await?;
        let began = Instant::now();
        let endpoints = cluster.endpoints();
        let (demand, deadline) = settings.demand(case.aim());
        let value_bytes = settings.value_bytes;
        let clients = Clients::start(endpoints.clone(), demand, deadline, value_bytes, began);
        let reads = case.aim() == Aim::Progress;
        let readers = reads.then(|| Readers::start(&endpoints, deadline, &clients.revision()));
        Ok(Self {
            settings,
            progress,
            case,
            contender,
            watcher: Watcher::start(&endpoints, began),
            readers,
            clients,
            cluster,
            began,
            timelines: Vec::new(),
        })
    }

    /// All faults, one after the other. What was measured before an error is in `outcome`.
    pub async fn run(mut self, outcome: &mut Outcome) -> Result<()> {
        let (times, what) = match self.case.aim() {
            Aim::Progress => (self.settings.times, "time"),
            Aim::Rate => (self.settings.rounds, "round"),
            Aim::Calm => (1, "time"),
        };
        for time in 1..=times {
            let told = match self.case.aim() {
                Aim::Progress => self.progress_once(outcome).await,
                Aim::Rate => self.rate_once(outcome).await,
                Aim::Calm => self.calm_once(outcome).await,
            };
            let told = told.with_context(|| format!("{what} {time}"))?;
            self.progress.say(&format!(
                "{} {} {what} {time}/{times}: {told}",
                self.case.name(),
                self.contender.title()
            ));
        }
        self.timelines.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let middle = self.timelines.len() / 2;
        if let Some((_, timeline)) = self.timelines.into_iter().nth(middle) {
            outcome.timeline = timeline;
        }
        Ok(())
    }

    /// How soon puts are acknowledged again.
    async fn progress_once(&mut self, outcome: &mut Outcome) -> Result<String> {
        let (leader, id) = self.settled().await?;
        self.readers.as_ref().map(Readers::take);
        let fault = self.inject(leader)?;
        let limit = fault + LASTS_MAX;
        let next = loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.now();
            let next = self.clients.record().next_acknowledged(fault, now);
            if now >= limit || (next.is_some() && now >= fault + LASTS) {
                break next;
            }
        };
        let healed = self.heal()?;
        let pause = self.clients.record().longest_pause(fault, healed);
        let other = self.other_leader(id, fault, healed);
        let next = next.map(|next| next.as_secs_f64());
        outcome.add(Quantity::NextPut, next);
        outcome.add(Quantity::Pause, Some(pause.as_secs_f64()));
        if self.case != Case::Bridge {
            outcome.add(Quantity::OtherLeader, other);
        }
        outcome.add(Quantity::Moved, Some(f64::from(u8::from(other.is_some()))));
        tokio::time::sleep(AFTER).await;
        self.keep_timeline(next, fault, BEFORE, healed, PROGRESS_WIDTH)
            .await;

        self.whole().await?;
        let (lost, looked_for) = self.clients.lost(fault - BEFORE, healed).await?;
        outcome.add(Quantity::Lost, Some(lost as f64));
        if lost > 0 {
            let note = format!("{lost} of {looked_for} acknowledged puts were lost");
            outcome.notes.push(note);
        }
        // Until all was well again: a member that comes back must not show what it missed either.
        let (stale, reads) = self.readers.as_ref().map_or((0, 0), Readers::take);
        outcome.add(Quantity::Stale, Some(stale as f64));
        if stale > 0 {
            let note = format!("{stale} of {reads} reads were stale");
            outcome.notes.push(note);
        }
        Ok(format!(
            "next put {}, longest pause {}, another leader {}, {lost} of {looked_for} puts lost, \
             {stale} of {reads} reads stale",
            Quantity::NextPut.cell(&[next]),
            Quantity::Pause.cell(&[Some(pause.as_secs_f64())]),
            Quantity::OtherLeader.cell(&[other]),
        ))
    }

    /// What remains of the rate.
    async fn rate_once(&mut self, outcome: &mut Outcome) -> Result<String> {
        self.settled().await?;
        tokio::time::sleep(MEASURED).await;
        // It may have changed since.
        let (leader, id) = self.whole().await?;
        let changes = self.leader_changes().await?;
        let fault = self.inject(leader)?;
        tokio::time::sleep(ADAPTS + MEASURED).await;
        let end = self.now();
        let (healthy, faulty) = {
            let record = self.clients.record();
            let healthy = record.rate(fault - MEASURED, fault);
            (healthy, record.rate(end - MEASURED, end))
        };
        let latencies = self.latencies(fault - MEASURED..fault, end - MEASURED..end);
        let changes = self.leader_changes().await? - changes;
        let other = self.other_leader(id, fault, end);
        let share = faulty / healthy.max(f64::MIN_POSITIVE);
        let healed = self.heal()?;
        outcome.add(Quantity::Healthy, Some(healthy));
        outcome.add(Quantity::Faulty, Some(faulty));
        outcome.add(Quantity::Share, Some(share));
        outcome.add(Quantity::HealthyLatency, latencies[0]);
        outcome.add(Quantity::FaultyLatency, latencies[1]);
        outcome.add(Quantity::Moved, Some(f64::from(u8::from(other.is_some()))));
        outcome.add(Quantity::LeaderChanges, Some(changes));
        tokio::time::sleep(AFTER).await;
        self.keep_timeline(Some(share), fault, MEASURED, healed, RATE_WIDTH)
            .await;
        Ok(format!(
            "{healthy:.0} puts/s before, {faulty:.0} under the fault ({:.0} %), {changes} leader \
             changes",
            share * 100.0
        ))
    }

    /// That nothing happens for minutes.
    async fn calm_once(&mut self, outcome: &mut Outcome) -> Result<String> {
        let (leader, _) = self.settled().await?;
        let (changes, term) = (self.leader_changes().await?, self.term()?);
        let fault = self.inject(leader)?;
        tokio::time::sleep(self.settings.calm).await;
        let end = self.now();
        let changes = self.leader_changes().await? - changes;
        let terms = (self.term()? - term) as f64;
        let healed = self.heal()?;
        let (pause, healthy, faulty) = {
            let record = self.clients.record();
            (
                record.longest_pause(fault, end).as_secs_f64(),
                record.rate(fault - BEFORE, fault),
                record.rate(fault, end),
            )
        };
        outcome.add(Quantity::LeaderChanges, Some(changes));
        outcome.add(Quantity::Terms, Some(terms));
        outcome.add(Quantity::Pause, Some(pause));
        outcome.add(Quantity::Healthy, Some(healthy));
        outcome.add(Quantity::Faulty, Some(faulty));
        let latencies = self.latencies(fault - BEFORE..fault, fault..end);
        outcome.add(Quantity::HealthyLatency, latencies[0]);
        outcome.add(Quantity::FaultyLatency, latencies[1]);
        self.keep_timeline(Some(pause), fault, BEFORE, healed, CALM_WIDTH)
            .await;
        Ok(format!(
            "{changes} leader changes in {terms} terms, longest pause {}",
            Quantity::Pause.cell(&[Some(pause)])
        ))
    }

    /// Penalties of the last time, in seconds from the fault, with the names of the members: those
    /// that all members agree on, as any that answers tells them.
    async fn penalties(&mut self, fault: Duration, last: Duration) -> Vec<(f64, String)> {
        if self.contender.system() != System::Raftery {
            return Vec::new();
        }
        let fault = SystemTime::now() - (self.now() - fault);
        let since_fault = |at_unix_ms: u64| {
            let at = UNIX_EPOCH + Duration::from_millis(at_unix_ms);
            at.duration_since(fault).map_or_else(
                |before| -before.duration().as_secs_f64(),
                |after| after.as_secs_f64(),
            )
        };
        let windows = last.as_secs() as usize + 1;
        for member in self.cluster.members() {
            let Ok(page) = member.ledger(windows).await else {
                continue;
            };
            let name = |id| {
                let known = page.members.iter().find(|known| known.id == id);
                known.map_or_else(String::new, |known| known.name.clone())
            };
            let penalties = page.rows.iter().flat_map(|row| {
                let penalised = row.verdicts.iter().filter(|verdict| verdict.points < 0);
                penalised.map(|verdict| (since_fault(row.at_unix_ms), name(verdict.member)))
            });
            return penalties.collect();
        }
        Vec::new()
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn inject(&mut self, leader: usize) -> Result<Duration> {
        let fault = self.now();
        let injected = self
            .case
            .inject(&mut self.cluster, leader, self.settings.sync);
        injected.with_context(|| format!("making it go wrong: {}", self.case.title()))?;
        Ok(fault)
    }

    fn heal(&mut self) -> Result<Duration> {
        let healed = self.now();
        let done = self.case.heal(&mut self.cluster);
        done.context("making everything well again")?;
        Ok(healed)
    }

    /// The leader's place and ID, once every member serves and all agree.
    async fn whole(&mut self) -> Result<(usize, u64)> {
        for member in self.cluster.members() {
            member.serves().await?;
        }
        let since = Instant::now();
        loop {
            if let Some(leader) = self.watcher.agreed()
                && let Some(View { member, .. }) = self.watcher.views()[leader]
            {
                return Ok((leader, member));
            }
            ensure!(
                since.elapsed() < WHOLE_LIMIT,
                "after {WHOLE_LIMIT:?} without a fault the members don't agree on a leader: {:?}",
                self.watcher.views()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The same, after the cluster was left alone for its time, and with clients where they began.
    async fn settled(&mut self) -> Result<(usize, u64)> {
        self.whole().await?;
        self.clients.go_home();
        tokio::time::sleep(self.settings.settle(self.contender)).await;
        let settled = self.whole().await?;
        let now = self.now();
        let before = now.saturating_sub(BEFORE.max(MEASURED));
        self.clients.record().forget_before(before);
        Ok(settled)
    }

    /// From the fault until another one than this was seen to lead.
    fn other_leader(&self, leader: u64, fault: Duration, end: Duration) -> Option<f64> {
        let leaders = self.watcher.leaders();
        let mut others = leaders.began(fault, end);
        let (at, _) = others.find(|(_, other)| *other != leader)?;
        Some((at - fault).as_secs_f64())
    }

    /// As the member counted that saw most.
    async fn leader_changes(&mut self) -> Result<f64> {
        let mut most: f64 = 0.0;
        for member in self.cluster.members() {
            most = most.max(member.metric(LEADER_CHANGES).await?);
        }
        Ok(most)
    }

    fn latencies(&self, before: Range<Duration>, under: Range<Duration>) -> [Option<f64>; 2] {
        let record = self.clients.record();
        [before, under].map(|time| {
            let latency = record.median_latency(time.start, time.end);
            latency.map(|latency| latency.as_secs_f64())
        })
    }

    fn term(&self) -> Result<u64> {
        let views = self.watcher.views();
        let terms = views.iter().flatten().map(|view| view.term);
        terms.max().context("no member answers")
    }

    async fn keep_timeline(
        &mut self,
        measured: Option<f64>,
        fault: Duration,
        before: Duration,
        healed: Duration,
        width: Duration,
    ) {
        let (from, to) = (fault.saturating_sub(before), self.now());
        let penalties = self.penalties(fault, to - from).await;
        let relative = |at: Duration| at.as_secs_f64() - fault.as_secs_f64();
        let views = self.watcher.views();
        let name = |leader: u64| {
            let is_it = |view: &Option<View>| view.is_some_and(|view| view.member == leader);
            let place = views.iter().position(is_it);
            place.map_or_else(|| "?".to_owned(), |place| format!("m{}", place + 1))
        };
        let leaders = self.watcher.leaders();
        let began = leaders.began(from, to);
        let leaders = began
            .map(|(at, leader)| (relative(at), name(leader)))
            .collect();
        let timeline = Timeline {
            from: relative(from),
            width: width.as_secs_f64(),
            rates: self.clients.record().rates(from, to, width),
            leaders,
            healed: Some(relative(healed)),
            penalties,
        };
        self.timelines
            .push((measured.unwrap_or(f64::INFINITY), timeline));
    }
}
