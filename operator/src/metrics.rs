//! Metrics of the operator itself.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::error::ErrorClass;
use crate::plan::Step;

/// Bounds of the histogram, in seconds: from a glance to a transfer that times out.
const SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The metrics, all registered.
pub struct Metrics {
    registry: Registry,
    reconciliations: Family<Outcome, Counter>,
    seconds: Histogram,
    steps: Family<StepLabels, Counter>,
    leading: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabels {
    step: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("raftery_operator");
        let metrics = (
            Family::<Outcome, Counter>::default(),
            Histogram::new(SECONDS),
            Family::<StepLabels, Counter>::default(),
            Gauge::default(),
        );
        let (reconciliations, seconds, steps, leading) = metrics;
        registry.register(
            "reconciliations",
            "Reconciliations by how they ended",
            reconciliations.clone(),
        );
        registry.register(
            "reconciliation_seconds",
            "How long reconciliations took",
            seconds.clone(),
        );
        registry.register("steps", "Steps taken", steps.clone());
        registry.register(
            "leading",
            "Whether this replica of the operator holds the lease",
            leading.clone(),
        );
        Self {
            registry,
            reconciliations,
            seconds,
            steps,
            leading,
        }
    }
}

impl Metrics {
    /// Counts a reconciliation; `failed` tells how.
    pub fn reconciled(&self, failed: Option<ErrorClass>, took: Duration) {
        let outcome = failed.map_or("ok", ErrorClass::name);
        self.reconciliations
            .get_or_create(&Outcome { outcome })
            .inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts a step.
    pub fn stepped(&self, step: &Step) {
        self.steps
            .get_or_create(&StepLabels { step: step.kind() })
            .inc();
    }

    /// Tells whether this replica acts.
    pub fn lead(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// All of them, as Prometheus reads them.
    pub fn text(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a String doesn't fail");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.reconciled(None, Duration::from_millis(3));
        metrics.reconciled(Some(ErrorClass::Bug), Duration::from_millis(3));
        metrics.stepped(&Step::Open);
        metrics.lead(true);
        let text = metrics.text();
        for line in [
            "raftery_operator_reconciliations_total{outcome=\"ok\"} 1",
            "raftery_operator_reconciliations_total{outcome=\"bug\"} 1",
            "raftery_operator_steps_total{step=\"Open\"} 1",
            "raftery_operator_leading 1",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
