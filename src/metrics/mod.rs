//! Metrics. Counters are counted where things happen; gauges are read at scrape time from what the last pass found,
//! so that none goes stale.

mod gauges;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{kernel::OpResult, plan::Op};

pub use gauges::Gauges;
use gauges::Snapshot;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OpLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PassLabels {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabels {
    source: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MoveLabels {
    direction: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DirectorLabels {
    director: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FrameLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CheckLabels {
    check: &'static str,
    result: &'static str,
}

/// All metrics of an agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pass_seconds: Histogram,
    passes: Family<PassLabels, Counter>,
    ops: Family<OpLabels, Counter>,
    drift: Counter,
    source_errors: Family<SourceLabels, Counter>,
    report_errors: Counter,
    moves: Family<MoveLabels, Counter>,
    takeover_seconds: Histogram,
    frames: Family<FrameLabels, Counter>,
    garp: Counter,
    round_trip: Family<DirectorLabels, Histogram>,
    checks: Family<CheckLabels, Counter>,
    gauges: Arc<Mutex<Gauges>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("directway");
        // From an idle pass of a small node to a first one of 10,000 services.
        let bounds = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
        let pass_seconds = Histogram::new(bounds);
        let passes = Family::default();
        let ops = Family::default();
        let drift = Counter::default();
        let source_errors = Family::default();
        let report_errors = Counter::default();
        registry.register_with_unit(
            "pass_duration",
            "How long passes take",
            Unit::Seconds,
            pass_seconds.clone(),
        );
        registry.register("passes", "Passes by result", passes.clone());
        registry.register(
            "ops",
            "Effects on the kernel and the wire by kind and result",
            ops.clone(),
        );
        registry.register(
            "drift",
            "Ops that repaired what somebody else had changed",
            drift.clone(),
        );
        registry.register(
            "source_errors",
            "Failures to read a source, and manifests that could not be read",
            source_errors.clone(),
        );
        registry.register(
            "report_errors",
            "Failures to write this node's NodeState",
            report_errors.clone(),
        );
        let moves = Family::default();
        registry.register(
            "vip_transitions",
            "VIPs taken and given up by this director, by cause",
            moves.clone(),
        );
        let takeover_seconds = Histogram::new([0.1, 0.2, 0.3, 0.4, 0.6, 1.0, 2.0, 5.0, 10.0]);
        registry.register_with_unit(
            "vip_takeover",
            "From a VIP's being known as vacant, or from the start of its move, until it is held here",
            Unit::Seconds,
            takeover_seconds.clone(),
        );
        let frames = Family::default();
        registry.register(
            "election_frames_sent",
            "Questions of the election: broadcasts (probes), unicasts (liveness and confirmations)",
            frames.clone(),
        );
        let garp = Counter::default();
        registry.register(
            "garp_sent",
            "Gratuitous ARP of the election: frames that announce VIPs, a request and a reply each time",
            garp.clone(),
        );
        let round_trip = Family::<DirectorLabels, Histogram>::new_with_constructor(|| {
            Histogram::new([0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2])
        });
        registry.register_with_unit(
            "liveness_round_trip",
            "From a question to another director's kernel until its answer was read here",
            Unit::Seconds,
            round_trip.clone(),
        );
        let checks = Family::default();
        registry.register(
            "health_checks",
            "Health checks of real servers, by kind and result",
            checks.clone(),
        );
        let gauges = Arc::new(Mutex::new(Gauges::default()));
        registry.register_collector(Box::new(Snapshot(Arc::clone(&gauges))));
        Self {
            registry,
            pass_seconds,
            passes,
            ops,
            drift,
            source_errors,
            report_errors,
            moves,
            takeover_seconds,
            frames,
            garp,
            round_trip,
            checks,
            gauges,
        }
    }
}

impl Metrics {
    /// A pass has ended.
    pub fn pass(&self, took: Duration, complete: bool, drift: usize) {
        self.pass_seconds.observe(took.as_secs_f64());
        let result = if complete { "complete" } else { "failed" };
        self.passes.get_or_create(&PassLabels { result }).inc();
        self.drift.inc_by(drift.try_into().unwrap_or(u64::MAX));
    }

    /// This director holds a VIP that it did not hold before; `after` since it was vacant or its move began.
    pub fn took(&self, cause: &'static str, after: Duration) {
        let labels = MoveLabels {
            direction: "taken",
            cause,
        };
        self.moves.get_or_create(&labels).inc();
        self.takeover_seconds.observe(after.as_secs_f64());
    }

    /// This director gives a VIP up.
    pub fn gave(&self, cause: &'static str) {
        let labels = MoveLabels {
            direction: "given",
            cause,
        };
        self.moves.get_or_create(&labels).inc();
    }

    /// The election has sent `count` questions of this kind.
    pub fn asked(&self, kind: &'static str, count: usize) {
        let count = count.try_into().unwrap_or(u64::MAX);
        self.frames
            .get_or_create(&FrameLabels { kind })
            .inc_by(count);
    }

    /// The election has sent `frames` that announce VIPs.
    pub fn announced(&self, frames: usize) {
        self.garp.inc_by(frames.try_into().unwrap_or(u64::MAX));
    }

    /// Another director's kernel has answered, `after` the question.
    pub fn answered(&self, director: &str, after: Duration) {
        let labels = DirectorLabels {
            director: director.to_owned(),
        };
        let round_trip = self.round_trip.get_or_create(&labels);
        round_trip.observe(after.as_secs_f64());
    }

    /// A health check of this kind has a result.
    pub fn health_check(&self, check: &'static str, passed: bool) {
        let result = if passed { "passed" } else { "failed" };
        let labels = CheckLabels { check, result };
        self.checks.get_or_create(&labels).inc();
    }

    /// An op has been tried.
    pub fn op(&self, op: &Op, result: &OpResult) {
        let labels = OpLabels {
            kind: op.kind(),
            result: match result {
                OpResult::Applied => "applied",
                OpResult::Failed(_) => "failed",
                OpResult::Skipped => "skipped",
            },
        };
        self.ops.get_or_create(&labels).inc();
    }

    /// A source could not be read, or one of its objects.
    pub fn source_error(&self, source: &'static str) {
        self.source_errors
            .get_or_create(&SourceLabels { source })
            .inc();
    }

    /// This node's NodeState could not be written.
    pub fn report_error(&self) {
        self.report_errors.inc();
    }

    /// Changes what the next scrape shows.
    pub fn update(&self, change: impl FnOnce(&mut Gauges)) {
        change(&mut self.gauges.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a String cannot fail.
            Err(error) => format!("# {error}\n# EOF\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::model::{Conflict, Reason};

    #[test]
    fn a_scrape_shows_what_was_counted_and_what_was_found() {
        let metrics = Metrics::default();
        metrics.pass(Duration::from_millis(2), true, 3);
        let op = Op::AddDummy("vip0".parse().unwrap());
        metrics.op(&op, &OpResult::Applied);
        metrics.op(&op, &OpResult::Skipped);
        metrics.source_error("nodes");
        metrics.asked("unicasts", 2);
        metrics.announced(3);
        metrics.health_check("path", false);
        metrics.answered("e", Duration::from_micros(200));
        metrics.update(|gauges| {
            gauges.services = 7;
            gauges.real_servers_ready = 5;
            gauges.real_servers_unready.insert(Reason::NotBound, 2);
            gauges.endangered.insert(Reason::KubeProxyIpvs, 4);
            let vip = IpAddr::from([10, 0, 0, 100]);
            gauges.vips_held = [vip].into_iter().collect();
            let conflict = Conflict {
                own: "02:00:00:00:00:01".parse().ok(),
                rivals: [("02:00:00:00:00:02".parse().unwrap(), Some("e".into()))].into(),
            };
            let at = (vip, "eth0".parse().unwrap());
            gauges.conflicts.insert(at, conflict);
            gauges.synced.insert("nodes", true);
            gauges.last_success = Some(12.5);
        });
        let text = metrics.encode();
        for line in [
            "directway_pass_duration_seconds_count 1",
            r#"directway_passes_total{result="complete"} 1"#,
            r#"directway_ops_total{kind="add_dummy",result="applied"} 1"#,
            r#"directway_ops_total{kind="add_dummy",result="skipped"} 1"#,
            "directway_drift_total 3",
            r#"directway_source_errors_total{source="nodes"} 1"#,
            r#"directway_election_frames_sent_total{kind="unicasts"} 2"#,
            "directway_garp_sent_total 3",
            r#"directway_health_checks_total{check="path",result="failed"} 1"#,
            r#"directway_liveness_round_trip_seconds_count{director="e"} 1"#,
            "directway_services 7",
            "directway_vips_held 1",
            r#"directway_vip_holder{vip="10.0.0.100"} 1"#,
            r#"directway_vip_conflict{vip="10.0.0.100",interface="eth0",mac="02:00:00:00:00:01",rival="02:00:00:00:00:02",node="e"} 1"#,
            r#"directway_real_servers{state="Ready"} 5"#,
            r#"directway_real_servers{state="NotBound"} 2"#,
            r#"directway_vips_endangered{reason="KubeProxyIPVS"} 4"#,
            r#"directway_source_synced{source="nodes"} 1"#,
            "directway_last_successful_pass_timestamp_seconds 12.5",
            "# EOF",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn a_real_server_that_drains_is_one_series() {
        let metrics = Metrics::default();
        metrics.update(|gauges| {
            gauges.real_servers_draining = 1;
        });
        let text = metrics.encode();
        let series = text
            .lines()
            .filter(|line| line.contains(r#"state="Draining""#));
        assert_eq!(series.count(), 1, "{text}");
    }
}
