//! What was found out, as it is kept in `results.json`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::case::Case;
use crate::cluster::System;
use crate::figures::with_thousands;

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// Ours, with its default settings
    Raftery,
    /// etcd with its default settings
    Etcd,
    /// etcd with a heartbeat of 10 ms and an election timeout of 100 ms
    EtcdTuned,
}

impl Contender {
    /// Its column.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Raftery => "raftery",
            Self::Etcd => "etcd",
            Self::EtcdTuned => "etcd, 10/100 ms",
        }
    }

    /// Which program.
    #[must_use]
    pub fn system(self) -> System {
        match self {
            Self::Raftery => System::Raftery,
            Self::Etcd | Self::EtcdTuned => System::Etcd,
        }
    }

    /// Its settings beyond the defaults.
    #[must_use]
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Raftery | Self::Etcd => &[],
            Self::EtcdTuned => &["--heartbeat-interval=10", "--election-timeout=100"],
        }
    }

    /// How long a whole cluster is left alone before the next fault. Timers that follow what is
    /// measured take their time.
    #[must_use]
    pub fn settle(self) -> Duration {
        match self {
            Self::Raftery => Duration::from_secs(15),
            Self::Etcd | Self::EtcdTuned => Duration::from_secs(5),
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// From the fault to an acknowledged put that was sent after it, in seconds.
    NextPut,
    /// The longest time without an acknowledged put, from the fault on, in seconds.
    Pause,
    /// From the fault until a member said that another one leads, in seconds.
    OtherLeader,
    /// Whether another member led at the end: 1 or 0.
    Moved,
    /// Acknowledged puts that couldn't be read back.
    Lost,
    /// Linearizable reads that didn't show what was acknowledged before them.
    Stale,
    /// Puts a second before the fault.
    Healthy,
    /// Puts a second under the fault.
    Faulty,
    /// The middle time of a put before the fault, in seconds.
    HealthyLatency,
    /// The middle time of a put under the fault, in seconds.
    FaultyLatency,
    /// The one rate divided by the other.
    Share,
    /// Changes of the leader, as the members count them.
    LeaderChanges,
    /// By how much the term rose.
    Terms,
}

impl Quantity {
    /// Its row.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::NextPut => "fault → next acknowledged put",
            Self::Pause => "longest pause of puts",
            Self::OtherLeader => "fault → another leader",
            Self::Moved => "leadership moved",
            Self::Lost => "acknowledged puts lost",
            Self::Stale => "stale reads",
            Self::Healthy => "puts/s before",
            Self::Faulty => "puts/s under the fault",
            Self::HealthyLatency => "median of a put before",
            Self::FaultyLatency => "median of a put under the fault",
            Self::Share => "share of the rate before",
            Self::LeaderChanges => "leader changes",
            Self::Terms => "terms",
        }
    }

    /// All values in one cell; `None` is what didn't happen while it was waited for.
    #[must_use]
    pub fn cell(self, values: &[Option<f64>]) -> String {
        if values.is_empty() {
            return "–".to_owned();
        }
        let some: Vec<f64> = values.iter().copied().flatten().collect();
        let sum: f64 = some.iter().sum();
        match self {
            Self::NextPut | Self::Pause | Self::OtherLeader => {
                let shown = [0.5, 0.99, 1.0].map(|share| match quantile(values, share) {
                    Some(seconds) => show_seconds(seconds),
                    None => "never".to_owned(),
                });
                match values {
                    [_] => shown[0].clone(),
                    _ => shown.join(" / "),
                }
            }
            Self::Moved => format!("{sum:.0} of {}", values.len()),
            Self::Lost | Self::Stale => with_thousands(sum as u64),
            Self::Healthy | Self::Faulty => spread(&some, |v| with_thousands(v.round() as u64)),
            Self::HealthyLatency | Self::FaultyLatency => spread(&some, show_seconds),
            Self::Share => spread(&some, |v| format!("{:.0} %", v * 100.0)),
            Self::LeaderChanges | Self::Terms => spread(&some, |v| format!("{v:.0}")),
        }
    }
}

/// `median (lowest–highest)`.
fn spread(values: &[f64], show: impl Fn(f64) -> String) -> String {
    let spread = crate::figures::Spread::of(values);
    spread.map_or_else(|| "–".to_owned(), |spread| spread.show(show))
}

/// The smallest value that this share of all doesn't exceed. What never happened is longer than
/// everything.
fn quantile(values: &[Option<f64>], share: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().map(|v| v.unwrap_or(f64::INFINITY)).collect();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let value = sorted.get(rank.max(1) - 1).copied();
    value.filter(|value| value.is_finite())
}

fn show_seconds(seconds: f64) -> String {
    match seconds {
        short if short < 0.01 => format!("{:.1} ms", short * 1000.0),
        short if short < 1.0 => format!("{:.0} ms", short * 1000.0),
        long => format!("{long:.2} s"),
    }
}

/// All values of a quantity, one from each time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// What.
    pub quantity: Quantity,
    /// How much.
    pub values: Vec<Option<f64>>,
}

/// The rate around one fault, to be drawn. Times are in seconds from the fault.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Timeline {
    /// Where it begins; before the fault.
    pub from: f64,
    /// Width of a piece.
    pub width: f64,
    /// Acknowledged puts a second in each piece.
    pub rates: Vec<f64>,
    /// When another leader was seen, and its name.
    pub leaders: Vec<(f64, String)>,
    /// When all was made well again.
    pub healed: Option<f64>,
    /// When a window ended for which a member was penalised, and the member's name.
    #[serde(default)]
    pub penalties: Vec<(f64, String)>,
}

/// A contender in a case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Who.
    pub contender: Contender,
    /// Its figures, in the order of their rows.
    pub figures: Vec<Measured>,
    /// One of the times.
    pub timeline: Timeline,
    /// What was unexpected.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Without figures.
    #[must_use]
    pub fn new(contender: Contender) -> Self {
        Self {
            contender,
            figures: Vec::new(),
            timeline: Timeline::default(),
            notes: Vec::new(),
        }
    }

    /// Adds a value.
    pub fn add(&mut self, quantity: Quantity, value: Option<f64>) {
        let known = self.figures.iter_mut().find(|m| m.quantity == quantity);
        match known {
            Some(measured) => measured.values.push(value),
            None => self.figures.push(Measured {
                quantity,
                values: vec![value],
            }),
        }
    }

    /// The values of a quantity.
    #[must_use]
    pub fn values(&self, quantity: Quantity) -> &[Option<f64>] {
        let found = self.figures.iter().find(|m| m.quantity == quantity);
        found.map_or(&[], |measured| &measured.values)
    }
}

/// A case, with how it was measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CaseResult {
    /// Which.
    pub case: Case,
    /// Day, UTC.
    pub date: String,
    /// What was built.
    pub commit: Option<String>,
    /// Versions of the programs, as they say them.
    pub versions: Vec<String>,
    /// The load, in words.
    pub load: String,
    /// How often, or how long, in words.
    pub extent: String,
    /// Those that were compared.
    pub outcomes: Vec<Outcome>,
}

impl CaseResult {
    /// What was measured of any of them, in order.
    #[must_use]
    pub fn quantities(&self) -> Vec<Quantity> {
        let mut found = Vec::new();
        for measured in self.outcomes.iter().flat_map(|outcome| &outcome.figures) {
            if !found.contains(&measured.quantity) {
                found.push(measured.quantity);
            }
        }
        found
    }
}

/// Everything on the page.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Where, in words.
    pub machine: String,
    /// In the order of the cases.
    pub cases: Vec<CaseResult>,
}

impl Results {
    /// As an earlier run left them; none if there was none.
    pub fn read(file: &Path) -> Result<Self> {
        match std::fs::read(file) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!(
                    "{} isn't of this version: remove it, and measure all cases",
                    file.display()
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
        }
    }

    /// Takes in a case, in place of what was known of it.
    pub fn put(&mut self, result: CaseResult) {
        self.cases.retain(|known| known.case != result.case);
        self.cases.push(result);
        self.cases.sort_by_key(|result| result.case);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred_and_never_is_longer_than_all() {
        let times: Vec<_> = (1..=100).rev().map(|v| Some(f64::from(v))).collect();
        assert_eq!(quantile(&times, 0.5), Some(50.0));
        assert_eq!(quantile(&times, 0.99), Some(99.0));
        assert_eq!(quantile(&times, 1.0), Some(100.0));
        let never = [Some(1.0), None, Some(2.0)];
        assert_eq!(quantile(&never, 0.5), Some(2.0));
        assert_eq!(quantile(&never, 0.99), None);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn cells_have_units_and_say_what_never_happened() {
        let cell = |quantity: Quantity, values: &[Option<f64>]| quantity.cell(values);
        let times = [Some(0.3121), Some(1.5), Some(0.2)];
        assert_eq!(cell(Quantity::NextPut, &times), "312 ms / 1.50 s / 1.50 s");
        assert_eq!(cell(Quantity::OtherLeader, &[None]), "never");
        assert_eq!(cell(Quantity::Moved, &[Some(1.0), Some(0.0)]), "1 of 2");
        assert_eq!(cell(Quantity::Share, &[Some(0.876)]), "88 %");
        assert_eq!(cell(Quantity::Healthy, &[Some(1234.4)]), "1,234");
        assert_eq!(cell(Quantity::Lost, &[]), "–");
    }

    #[test]
    fn a_case_measured_again_replaces_what_was_known_of_it() {
        let result = |case, date: &str| CaseResult {
            case,
            date: date.to_owned(),
            commit: None,
            versions: vec!["etcd 3.7.3".to_owned()],
            load: String::new(),
            extent: String::new(),
            outcomes: vec![Outcome::new(Contender::Etcd)],
        };
        let mut results = Results::default();
        results.put(result(Case::Jitter, "1"));
        results.put(result(Case::LeaderKilled, "2"));
        results.put(result(Case::Jitter, "3"));
        let order: Vec<_> = results
            .cases
            .iter()
            .map(|r| (r.case, &r.date[..]))
            .collect();
        assert_eq!(order, [(Case::LeaderKilled, "2"), (Case::Jitter, "3")]);
        let text = serde_json::to_vec(&results).unwrap();
        assert_eq!(serde_json::from_slice::<Results>(&text).unwrap(), results);
    }
}
