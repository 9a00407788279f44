//! What clients and members told over time, and what follows from it. Times count from the start
//! of the load.

use std::collections::BTreeMap;
use std::time::Duration;

/// A put that is sent sooner after the fault may still have been on its way past it.
const TAKES_HOLD: Duration = Duration::from_millis(10);

/// A put with its outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Put {
    /// Its number; its value says it too.
    pub sequence: u64,
    /// When it was sent.
    pub sent: Duration,
    /// When the answer came, or its time was over.
    pub done: Duration,
    /// The answer said that it is written. Otherwise nobody knows.
    pub is_acknowledged: bool,
}

/// Puts in the order in which they were done.
#[derive(Default)]
pub struct Record {
    puts: Vec<Put>,
}

impl Record {
    /// One more, done after all others.
    pub fn add(&mut self, put: Put) {
        self.puts.push(put);
    }

    /// Forgets what was done before.
    pub fn forget_before(&mut self, time: Duration) {
        let kept = self.puts.partition_point(|put| put.done < time);
        self.puts.drain(..kept);
    }

    fn between(&self, from: Duration, to: Duration) -> &[Put] {
        let begin = self.puts.partition_point(|put| put.done < from);
        let end = self.puts.partition_point(|put| put.done < to);
        &self.puts[begin..end.max(begin)]
    }

    /// Puts that were acknowledged in that time.
    pub fn acknowledged(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Put> {
        let puts = self.between(from, to).iter();
        puts.filter(|put| put.is_acknowledged)
    }

    /// Puts that failed in that time.
    #[must_use]
    pub fn failed(&self, from: Duration, to: Duration) -> usize {
        let puts = self.between(from, to).iter();
        puts.filter(|put| !put.is_acknowledged).count()
    }

    /// From the fault until a put was acknowledged that had been sent after it.
    #[must_use]
    pub fn next_acknowledged(&self, fault: Duration, to: Duration) -> Option<Duration> {
        let mut acknowledged = self.acknowledged(fault, to);
        let next = acknowledged.find(|put| put.sent >= fault + TAKES_HOLD)?;
        Some(next.done - fault)
    }

    /// The longest time without an acknowledged put.
    #[must_use]
    pub fn longest_pause(&self, from: Duration, to: Duration) -> Duration {
        let mut last = from;
        let mut longest = Duration::ZERO;
        for put in self.acknowledged(from, to) {
            longest = longest.max(put.done - last);
            last = put.done;
        }
        longest.max(to.saturating_sub(last))
    }

    /// Acknowledged puts a second.
    #[must_use]
    pub fn rate(&self, from: Duration, to: Duration) -> f64 {
        self.acknowledged(from, to).count() as f64 / (to.saturating_sub(from)).as_secs_f64()
    }

    /// The middle time that an acknowledged put took.
    #[must_use]
    pub fn median_latency(&self, from: Duration, to: Duration) -> Option<Duration> {
        let mut took: Vec<_> = self
            .acknowledged(from, to)
            .map(|put| put.done - put.sent)
            .collect();
        let middle = took.len() / 2;
        (!took.is_empty()).then(|| *took.select_nth_unstable(middle).1)
    }

    /// Acknowledged puts a second in pieces of that time.
    #[must_use]
    pub fn rates(&self, from: Duration, to: Duration, width: Duration) -> Vec<f64> {
        let pieces = (to.saturating_sub(from))
            .as_nanos()
            .div_ceil(width.as_nanos());
        let mut counts = vec![0_u32; pieces as usize];
        for put in self.acknowledged(from, to) {
            counts[((put.done - from).as_nanos() / width.as_nanos()) as usize] += 1;
        }
        let per_second = |count| f64::from(count) / width.as_secs_f64();
        counts.into_iter().map(per_second).collect()
    }
}

/// Who led, by term, and when the first member said so.
#[derive(Default)]
pub struct Leaders {
    seen: BTreeMap<u64, (u64, Duration)>,
}

impl Leaders {
    /// A member says that this one leads in that term.
    pub fn note(&mut self, term: u64, leader: u64, at: Duration) {
        self.seen.entry(term).or_insert((leader, at));
    }

    /// The highest term that had a leader, with it.
    #[must_use]
    pub fn latest(&self) -> Option<(u64, u64)> {
        let (term, (leader, _)) = self.seen.last_key_value()?;
        Some((*term, *leader))
    }

    /// Who began to lead in that time, and when it was seen.
    pub fn began(&self, from: Duration, to: Duration) -> impl Iterator<Item = (Duration, u64)> {
        let seen = self.seen.values().map(|(leader, at)| (*at, *leader));
        seen.filter(move |(at, _)| (from..to).contains(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn record(puts: &[(u32, u32, bool)]) -> Record {
        let mut record = Record::default();
        for (sequence, (sent, done, is_acknowledged)) in puts.iter().enumerate() {
            record.add(Put {
                sequence: sequence as u64,
                sent: MS * *sent,
                done: MS * *done,
                is_acknowledged: *is_acknowledged,
            });
        }
        record
    }

    #[test]
    fn a_put_that_was_on_its_way_when_the_fault_came_shows_no_progress() {
        let record = record(&[
            (90, 95, true),
            (99, 104, true),
            (105, 108, true),
            (150, 350, false),
            (340, 420, true),
        ]);
        assert_eq!(
            record.next_acknowledged(MS * 100, MS * 1000),
            Some(MS * 320)
        );
        assert_eq!(record.next_acknowledged(MS * 100, MS * 400), None);
    }

    #[test]
    fn the_longest_pause_reaches_from_the_fault_or_to_the_end() {
        let record = record(&[
            (0, 10, true),
            (0, 300, true),
            (0, 340, false),
            (0, 350, true),
        ]);
        assert_eq!(record.longest_pause(MS * 100, MS * 400), MS * 200);
        assert_eq!(record.longest_pause(MS * 310, MS * 900), MS * 550);
        assert_eq!(record.longest_pause(MS * 400, MS * 900), MS * 500);
    }

    #[test]
    fn rates_count_what_was_acknowledged_in_each_piece() {
        let puts = [
            (0, 99, true),
            (0, 100, true),
            (0, 150, false),
            (0, 199, true),
            (0, 310, true),
        ];
        let record = record(&puts);
        let rates = record.rates(MS * 100, MS * 400, MS * 100);
        assert_eq!(rates, [20.0, 0.0, 10.0]);
        assert_eq!(record.rate(MS * 100, MS * 300), 10.0);
        assert_eq!(record.failed(MS * 100, MS * 300), 1);
        assert_eq!(
            record.median_latency(Duration::ZERO, MS * 400),
            Some(MS * 199)
        );
        assert_eq!(record.median_latency(MS * 311, MS * 400), None);
        assert_eq!(record.rates(MS * 100, MS * 450, MS * 100).len(), 4);
    }

    #[test]
    fn what_was_forgotten_is_gone_and_the_rest_stays() {
        let mut record = record(&[(0, 10, true), (0, 20, true), (0, 30, true)]);
        record.forget_before(MS * 20);
        let left: Vec<u64> = record
            .acknowledged(Duration::ZERO, MS * 99)
            .map(|p| p.sequence)
            .collect();
        assert_eq!(left, [1, 2]);
    }

    #[test]
    fn a_leader_counts_from_when_the_first_member_named_it() {
        let mut leaders = Leaders::default();
        leaders.note(2, 7, MS * 10);
        leaders.note(3, 8, MS * 200);
        leaders.note(3, 8, MS * 250);
        leaders.note(2, 7, MS * 260);
        assert_eq!(leaders.latest(), Some((3, 8)));
        let began: Vec<_> = leaders.began(MS * 11, MS * 300).collect();
        assert_eq!(began, [(MS * 200, 8)]);
    }
}
