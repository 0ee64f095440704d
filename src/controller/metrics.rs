//! The controller's own metrics, readiness and state.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::leader::Leadership;
use crate::admin::Admin;

/// Counters and the last pass's findings; texts are made at scrape time.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub writes: AtomicU64,
    pub write_errors: AtomicU64,
    pub event_errors: AtomicU64,
    pub found: Mutex<Found>,
}

/// What the sources lack, and what the last pass found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Sources that are not synced.
    pub missing: Vec<String>,
    /// VirtualServices by the reason of their condition Ready.
    pub by_reason: BTreeMap<String, u64>,
    /// How many VIPs several directors report as held, for longer than a move takes.
    pub held_twice: usize,
}

impl Metrics {
    pub(super) fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the admin endpoint serves.
pub(super) struct Status {
    pub metrics: std::sync::Arc<Metrics>,
    pub leadership: Leadership,
}

impl Admin for Status {
    fn unhealthy(&self) -> Option<String> {
        None
    }

    /// A follower is ready: it can lead at any time.
    fn missing(&self) -> Vec<String> {
        self.metrics.found().missing.clone()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        let counters = [
            ("status_writes", "Statuses written", &self.metrics.writes),
            (
                "status_write_errors",
                "Statuses that could not be written",
                &self.metrics.write_errors,
            ),
            (
                "event_errors",
                "Events that could not be written",
                &self.metrics.event_errors,
            ),
        ];
        for (name, help, counter) in counters {
            let value = counter.load(Ordering::Relaxed);
            let name = format!("directway_controller_{name}");
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "# HELP {name} {help}.\n# TYPE {name} counter\n{name}_total {value}"
            );
        }
        let name = "directway_controller_leader";
        let leads = u8::from(self.leadership.is_ours());
        let _ = writeln!(
            text,
            "# HELP {name} Whether this one leads.\n# TYPE {name} gauge\n{name} {leads}"
        );
        let name = "directway_controller_virtual_services";
        let _ = writeln!(
            text,
            "# HELP {name} VirtualServices by the reason of their condition Ready.\n# TYPE {name} gauge"
        );
        for (reason, count) in &self.metrics.found().by_reason {
            let _ = writeln!(text, "{name}{{reason=\"{reason}\"}} {count}");
        }
        let name = "directway_controller_vips_held_twice";
        let held_twice = self.metrics.found().held_twice;
        let _ = writeln!(
            text,
            "# HELP {name} VIPs that several directors report as held, for longer than a move takes.\n# TYPE {name} gauge\n{name} {held_twice}"
        );
        text.push_str("# EOF\n");
        text
    }

    fn state(&self) -> Option<String> {
        let found = self.metrics.found().clone();
        let state = serde_json::json!({
            "leads": self.leadership.is_ours(),
            "missing": found.missing,
            "virtualServices": found.by_reason,
        });
        Some(state.to_string())
    }
}
