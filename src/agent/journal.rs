//! What a pass logs: every op on its own line, every refusal when it begins and when it ends.

use std::{collections::BTreeMap, net::IpAddr};

use super::{PassError, PassResult};
use crate::{
    api::Report,
    kernel::OpResult,
    model::{IpRanges, Preflight, PreflightCheck, Reason, Refusal, VsKey},
};

/// Ops of one pass that are logged at level info, further ones at debug. A first pass of a large node has 100,000.
const LINES: usize = 200;

/// Remembers what was logged.
#[derive(Debug, Default)]
pub struct Journal {
    refusals: BTreeMap<VsKey, Refusal>,
    servers: BTreeMap<(IpAddr, Reason), String>,
    warnings: BTreeMap<Reason, IpRanges>,
    /// What the node lacks, as far as nothing else logs it.
    lacks: Vec<Preflight>,
    error: Option<PassError>,
}

impl Journal {
    /// Logs what is new.
    pub fn pass(&mut self, end: &PassResult<'_>, report: Option<&Report>) {
        self.error(end.error.as_ref());
        ops(end);
        if let (Some(state), Some(report)) = (&end.state, report) {
            let mut refusals = report.refused.clone();
            for (key, refusal) in &state.admission.refused {
                refusals.insert((*key).clone(), refusal.clone());
            }
            self.refusals(refusals);
            self.servers(report);
            self.warnings(report);
            self.lacks(report);
        }
    }

    fn error(&mut self, error: Option<&PassError>) {
        match error {
            Some(error) if self.error.as_ref() != Some(error) => tracing::error!("{error}"),
            None if self.error.is_some() => tracing::info!("the last pass had no errors any more"),
            Some(_) | None => {}
        }
        self.error = error.cloned();
    }

    fn refusals(&mut self, now: BTreeMap<VsKey, Refusal>) {
        for (key, refusal) in &now {
            if self.refusals.get(key) != Some(refusal) {
                tracing::warn!(virtual_service = %key, reason = refusal.reason.name(), "refused: {}", refusal.message);
            }
        }
        for key in self.refusals.keys().filter(|key| !now.contains_key(*key)) {
            tracing::info!(virtual_service = %key, "no longer refused");
        }
        self.refusals = now;
    }

    fn warnings(&mut self, report: &Report) {
        let mut now = BTreeMap::new();
        for (warning, vips) in &report.warnings {
            now.insert(warning.reason, vips.clone());
            if self.warnings.get(&warning.reason) != Some(vips) {
                tracing::warn!(%vips, reason = warning.reason.name(), "endangered: {}", warning.message);
            }
        }
        for (reason, vips) in &self.warnings {
            if !now.contains_key(reason) {
                tracing::info!(%vips, reason = reason.name(), "that is over");
            }
        }
        self.warnings = now;
    }

    fn lacks(&mut self, report: &Report) {
        let is_new = |entry: &&Preflight| match entry.check {
            // Logged by the pass and by the sources.
            PreflightCheck::Needs(_) | PreflightCheck::Source => false,
            PreflightCheck::ConnectionSync
            | PreflightCheck::ExpireNodestConn
            | PreflightCheck::ExpireQuiescentTemplate
            | PreflightCheck::NodeName
            | PreflightCheck::UnreadManifest
            | PreflightCheck::ReportSize
            | PreflightCheck::Other(_) => true,
        };
        let now: Vec<Preflight> = report.preflight.iter().filter(is_new).cloned().collect();
        for entry in now.iter().filter(|entry| !self.lacks.contains(entry)) {
            tracing::warn!(check = %entry.check, "{}; {}", entry.message, entry.fix);
        }
        let over = |entry: &&Preflight| now.iter().all(|it| it.check != entry.check);
        for entry in self.lacks.iter().filter(over) {
            tracing::info!(check = %entry.check, "that is over");
        }
        self.lacks = now;
    }

    /// Logs a real server once, not once per VIP.
    fn servers(&mut self, report: &Report) {
        let mut now = BTreeMap::new();
        for group in &report.peer.directing {
            for (address, refusal) in &group.unready {
                // One that fails its checks as all others do gets connections all the same.
                let what = match group.ready.contains(*address) {
                    true => "is not well",
                    false => "gets no new connections",
                };
                let message = format!("{what}: {}", refusal.message);
                now.insert((*address, refusal.reason), message);
            }
        }
        for ((address, reason), message) in &now {
            if !self.servers.contains_key(&(*address, *reason)) {
                match reason {
                    // Normal while the real server is being added or removed.
                    Reason::NotBound | Reason::Pending | Reason::Draining => {
                        tracing::info!(real_server = %address, reason = reason.name(), "{message}");
                    }
                    reason => {
                        tracing::warn!(real_server = %address, reason = reason.name(), "{message}");
                    }
                }
            }
        }
        for (address, reason) in self.servers.keys().filter(|key| !now.contains_key(key)) {
            tracing::info!(real_server = %address, reason = reason.name(), "that is over");
        }
        self.servers = now;
    }
}

fn ops(end: &PassResult<'_>) {
    let done = end.outcome.done();
    let count = done.len();
    if end.drift > 0 {
        tracing::warn!(
            ops = end.drift,
            "drift: somebody else changed what directway had set up; put right"
        );
    }
    for (index, (op, result)) in done.enumerate() {
        match result {
            OpResult::Applied if index < LINES => tracing::info!(op = op.kind(), "{op}"),
            OpResult::Applied => tracing::debug!(op = op.kind(), "{op}"),
            OpResult::Failed(error) => tracing::error!(op = op.kind(), "{error}"),
            OpResult::Skipped => {
                tracing::warn!(
                    op = op.kind(),
                    "{op}: not tried, because something it rests on failed"
                );
            }
        }
    }
    if count > LINES {
        tracing::info!(
            ops = count,
            "applied; those after the first {LINES} are told at level debug"
        );
    }
}
