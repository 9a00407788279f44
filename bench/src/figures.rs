//! Measured figures: spread over rounds, ratio to etcd, how they are shown.

use serde::Serialize;

/// What a figure says, and in which unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Operations a second.
    PerSecond,
    /// Median latency, in microseconds.
    P50,
    /// 99th percentile of the latency, in microseconds.
    P99,
    /// CPU time of all servers for one operation, in microseconds.
    ServerCpu,
    /// Resident memory of all servers, in bytes.
    Memory,
    /// From the start of a member to its first linearizable read, in seconds.
    Restart,
    /// Keys a second while they were first written.
    FillPerSecond,
}

impl Figure {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "operations/s",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::ServerCpu => "server CPU/operation",
            Self::Memory => "resident memory",
            Self::Restart => "restart of a member",
            Self::FillPerSecond => "first writes/s",
        }
    }

    /// A value with its unit, three digits where that is enough.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond | Self::FillPerSecond => with_thousands(value.round() as u64),
            Self::P50 | Self::P99 | Self::ServerCpu if value < 1000.0 => {
                format!("{} µs", three_digits(value))
            }
            Self::P50 | Self::P99 | Self::ServerCpu => {
                format!("{} ms", three_digits(value / 1000.0))
            }
            Self::Memory => format!(
                "{} MiB",
                with_thousands((value / 1024.0 / 1024.0).round() as u64)
            ),
            Self::Restart => format!("{} s", three_digits(value)),
        }
    }
}

/// Lowest, median and highest of some values.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Spread {
    /// Lowest.
    pub min: f64,
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    /// Highest.
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Some(Self { min, median, max })
    }

    /// `median (min–max)`; the median alone if there is nothing else.
    #[must_use]
    pub fn show(self, show: impl Fn(f64) -> String) -> String {
        let median = show(self.median);
        if self.min == self.max {
            return median;
        }
        format!("{median} ({}–{})", show(self.min), show(self.max))
    }
}

/// One figure of both systems, a value from each round.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// What was done: a workload, a number of keys.
    pub subject: String,
    /// What of it was measured.
    pub figure: Figure,
    /// Ours, in the order of rounds.
    pub raftery: Vec<f64>,
    /// etcd's.
    pub etcd: Vec<f64>,
}

impl Row {
    /// Ours divided by etcd's, round by round: what a round's machine did to both cancels out.
    #[must_use]
    pub fn ratio(&self) -> Option<Spread> {
        let pairs = self.raftery.iter().zip(&self.etcd);
        let ratios: Vec<f64> = pairs
            .filter(|(_, etcd)| **etcd > 0.0)
            .map(|(raftery, etcd)| raftery / etcd)
            .collect();
        Spread::of(&ratios)
    }

    /// Its cells: ours, etcd's, ratio.
    #[must_use]
    pub fn cells(&self) -> [String; 3] {
        let show = |spread: Option<Spread>, unit: &dyn Fn(f64) -> String| {
            spread.map_or("–".to_owned(), |spread| spread.show(unit))
        };
        let unit = |value| self.figure.show(value);
        [
            show(Spread::of(&self.raftery), &unit),
            show(Spread::of(&self.etcd), &unit),
            show(self.ratio(), &|ratio| format!("{}x", three_digits(ratio))),
        ]
    }
}

/// Rows under one heading.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Table {
    /// Heading.
    pub title: String,
    /// What the first column lists.
    pub subjects: String,
    /// Rows of the same subject follow each other.
    pub rows: Vec<Row>,
    /// What spoils a figure: errors, elections.
    pub marks: Vec<String>,
}

impl Table {
    /// An empty one.
    #[must_use]
    pub fn new(title: &str, subjects: &str) -> Self {
        Self {
            title: title.to_owned(),
            subjects: subjects.to_owned(),
            rows: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Adds a value to the row of subject and figure, which is made if there is none. Rows of a
    /// subject stay together.
    pub fn add(&mut self, subject: &str, figure: Figure, is_ours: bool, value: f64) {
        let found = |row: &Row| row.subject == subject && row.figure == figure;
        let place = self.rows.iter().position(found).unwrap_or_else(|| {
            let last = self.rows.iter().rposition(|row| row.subject == subject);
            let place = last.map_or(self.rows.len(), |last| last + 1);
            let row = Row {
                subject: subject.to_owned(),
                figure,
                raftery: Vec::new(),
                etcd: Vec::new(),
            };
            self.rows.insert(place, row);
            place
        });
        let row = &mut self.rows[place];
        let values = if is_ours {
            &mut row.raftery
        } else {
            &mut row.etcd
        };
        values.push(value);
    }
}

/// At least three digits, the more of them behind the point the smaller the value.
fn three_digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Digits in groups of three.
#[must_use]
pub fn with_thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(figure: Figure, raftery: &[f64], etcd: &[f64]) -> Row {
        Row {
            subject: "put".to_owned(),
            figure,
            raftery: raftery.to_vec(),
            etcd: etcd.to_vec(),
        }
    }

    #[test]
    fn the_spread_holds_the_middle_value() {
        let spread = Spread::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of(&[1.0, 2.0, 4.0, 9.0]).unwrap().median, 3.0);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn the_ratio_compares_within_a_round() {
        let ratio = row(Figure::PerSecond, &[30.0, 20.0, 60.0], &[10.0, 10.0, 15.0]);
        let ratio = ratio.ratio().unwrap();
        assert_eq!((ratio.min, ratio.median, ratio.max), (2.0, 3.0, 4.0));
        assert_eq!(row(Figure::PerSecond, &[1.0], &[0.0]).ratio(), None);
        assert_eq!(row(Figure::PerSecond, &[1.0], &[]).ratio(), None);
    }

    #[test]
    fn values_come_with_units() {
        assert_eq!(Figure::PerSecond.show(1_234_567.4), "1,234,567");
        assert_eq!(Figure::PerSecond.show(12.0), "12");
        assert_eq!(Figure::P50.show(812.0), "812 µs");
        assert_eq!(Figure::P99.show(50_100.0), "50.1 ms");
        assert_eq!(Figure::ServerCpu.show(26.45), "26.4 µs");
        assert_eq!(Figure::Memory.show(1300.0 * 1024.0 * 1024.0), "1,300 MiB");
        assert_eq!(Figure::Restart.show(1.234), "1.23 s");
    }

    #[test]
    fn a_row_shows_medians_with_their_spread() {
        let cells = row(Figure::PerSecond, &[3000.0, 2000.0, 2500.0], &[1000.0]).cells();
        assert_eq!(cells, ["2,500 (2,000–3,000)", "1,000", "3.00x"]);
        assert_eq!(
            row(Figure::P50, &[900.0], &[]).cells(),
            ["900 µs", "–", "–"]
        );
    }

    #[test]
    fn rows_of_a_subject_stay_together() {
        let mut table = Table::new("t", "s");
        table.add("a", Figure::PerSecond, true, 1.0);
        table.add("b", Figure::PerSecond, true, 2.0);
        table.add("a", Figure::P50, true, 3.0);
        table.add("a", Figure::PerSecond, false, 4.0);
        let order: Vec<_> = table
            .rows
            .iter()
            .map(|r| (&r.subject[..], r.figure))
            .collect();
        assert_eq!(
            order,
            [
                ("a", Figure::PerSecond),
                ("a", Figure::P50),
                ("b", Figure::PerSecond)
            ]
        );
        assert_eq!(table.rows[0].etcd, [4.0]);
    }
}
