//! What the admin endpoint shows of the passes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kube::Resource;
use serde_json::json;

use super::{PassError, PassResult, RunDirError, report, snapshot_file::LastKnown};
use crate::{
    admin::Admin,
    api::{NodeState, Report, StatusSize},
    cluster::{self, SourceName, Store, WATCH_SUBJECT},
    metrics::Metrics,
    model::{NodeName, Preflight, PreflightCheck, Reason, ServiceName},
};

/// A pass that takes longer counts as hung: even the first pass of a large node takes only seconds.
const HUNG: Duration = Duration::from_secs(300);

/// How often [`Shared::nothing_left`] looks.
const LOOK: Duration = Duration::from_millis(100);

/// Written by the passes, read by the admin endpoint.
#[derive(Debug)]
pub struct Shared {
    node: NodeName,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    synced: BTreeMap<SourceName, bool>,
    problems: BTreeMap<(SourceName, String), String>,
    pass_since: Option<Instant>,
    passed: bool,
    error: Option<PassError>,
    stopping: bool,
    nothing_left: bool,
    undoing: bool,
    /// How many manifests could never be read completely.
    unread: usize,
    /// The time of the snapshot on disk that passes work with; `None` = with what the sources say.
    last_known: Option<String>,
    report: Option<Arc<Report>>,
}

impl Shared {
    /// The state before the first pass; none of `sources` has been read.
    pub fn new(node: NodeName, sources: &[SourceName], metrics: Arc<Metrics>) -> Self {
        let state = State {
            synced: sources.iter().map(|source| (*source, false)).collect(),
            ..State::default()
        };
        Self {
            node,
            metrics,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent is ending, so it is no longer ready.
    pub fn stop(&self) {
        self.state().stopping = true;
    }

    /// Returns once a pass has left nothing of ours on this node.
    pub async fn nothing_left(&self) {
        while !self.state().nothing_left {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether everything is to be undone.
    pub fn is_undoing(&self) -> bool {
        self.state().undoing
    }

    /// `last_known` is what passes work with instead of `store`; `services` are those whose endpoints this node has to
    /// know.
    pub(super) fn sources(
        &self,
        store: &Store,
        last_known: Option<&LastKnown>,
        services: &BTreeSet<ServiceName>,
    ) {
        let mut state = self.state();
        let used = last_known.map_or(store, |known| &known.store);
        state.undoing = used.snapshot().undo.is_some();
        state.unread = store.unread().len();
        state.last_known = last_known.map(|known| known.at.clone());
        state.synced.clone_from(store.synced());
        if !services.is_empty() {
            let known = &store.snapshot().endpoints;
            let all = services.iter().all(|service| known.contains_key(service));
            state.synced.insert(SourceName::EndpointSlices, all);
        }
        state.problems.clone_from(store.problems());
    }

    pub(super) fn source_error(&self, source: SourceName) {
        self.metrics.source_error(source.name());
    }

    pub(super) fn pass_begins(&self) {
        self.state().pass_since = Some(Instant::now());
    }

    pub(super) fn pass_ended(&self, end: &PassResult<'_>, took: Duration, report: Option<&Report>) {
        let complete = end.error.is_none() && end.outcome.is_complete();
        for (op, result) in end.outcome.done() {
            self.metrics.op(op, result);
        }
        self.metrics.pass(took, complete, end.drift);
        self.metrics.update(|gauges| {
            if complete {
                gauges.last_success = Some(unix_time());
            }
            if let Some(report) = report {
                report::gauges(report, gauges);
            }
        });
        let mut state = self.state();
        state.pass_since = None;
        state.passed |= end.error.is_none();
        state.nothing_left = end.leaves_nothing();
        state.error.clone_from(&end.error);
    }

    pub(super) fn report(&self, report: &Arc<Report>) {
        self.state().report = Some(Arc::clone(report));
    }
}

impl State {
    /// Failures of watches. NodeStates leave them out: while the API server fails, they cannot be written either.
    fn watch_problems(&self) -> Vec<Preflight> {
        let of_watches = self
            .problems
            .iter()
            .filter(|((_, subject), _)| subject == WATCH_SUBJECT);
        of_watches
            .map(|((source, _), message)| Preflight {
                check: PreflightCheck::Source,
                message: format!("{source}: {message}"),
                fix: "see what the message names".to_owned(),
            })
            .collect()
    }

    fn missing(&self) -> Vec<String> {
        if self.stopping {
            return vec!["the agent is ending; the data path stays as it is".to_owned()];
        }
        let mut missing = cluster::missing(&self.synced, &self.problems);
        if let Some(at) = &self.last_known {
            missing.push(format!(
                "until then the agent serves what was known at {at}"
            ));
        }
        match &self.error {
            Some(PassError::RunDir(RunDirError::Ledger(error))) => {
                missing.push(format!("{}: {error}", Reason::LedgerUnwritable));
            }
            Some(error @ PassError::RunDir(RunDirError::Busy { .. })) => {
                missing.push(format!("lock: {error}"));
            }
            Some(error @ PassError::Kernel(_)) => missing.push(format!("kernel: {error}")),
            None if !self.passed && missing.is_empty() => {
                missing.push("pass: the first one has not ended yet".to_owned());
            }
            None => {}
        }
        missing
    }
}

impl Admin for Shared {
    fn unhealthy(&self) -> Option<String> {
        let since = self.state().pass_since?.elapsed();
        (since > HUNG).then(|| format!("a pass has been running for {} s", since.as_secs()))
    }

    fn missing(&self) -> Vec<String> {
        self.state().missing()
    }

    fn metrics(&self) -> String {
        let state = self.state();
        let ready = state.missing().is_empty();
        let synced = state.synced.clone();
        let on_last_known = state.last_known.is_some();
        let unread = state.unread;
        drop(state);
        self.metrics.update(|gauges| {
            gauges.ready = ready;
            gauges.on_last_known = on_last_known;
            gauges.unread_manifests = unread;
            gauges.synced = synced
                .into_iter()
                .map(|(source, synced)| (source.name(), synced))
                .collect();
        });
        self.metrics.encode()
    }

    fn state(&self) -> Option<String> {
        let (report, watches) = {
            let state = self.state();
            (state.report.clone()?, state.watch_problems())
        };
        let mut status = report.to_status_within(StatusSize::ADMIN);
        for problem in &watches {
            status.preflight.push(problem.into());
        }
        let state = json!({
            "apiVersion": NodeState::api_version(&()),
            "kind": NodeState::kind(&()),
            "metadata": {"name": self.node.0},
            "status": status,
        });
        Some(state.to_string())
    }
}

/// Seconds since the epoch, now.
fn unix_time() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}
