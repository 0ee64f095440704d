//! The thread that runs the passes, one at a time. Kernel calls block, so passes have a thread of their own.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc::Receiver, oneshot, watch};

use super::{
    Cause, NeighbourAnswers, NextPass, PassInput, PassState, Passes, Shared, Trigger,
    journal::Journal,
    report,
    snapshot_file::{LastKnown, SnapshotFile},
    snapshot_writer::SnapshotSender,
};
use crate::{
    api::Report,
    cluster::{Change, SourceName, Store, WATCH_SUBJECT},
    kernel::Kernel,
    model::{NodeName, ProxyAnswer, ServiceName},
};

/// How long the thread waits for a job while it has nothing to look at.
const IDLE: Duration = Duration::from_secs(3600);
/// How often it looks whether a service was deleted or an ARP setting changed.
const LOOK: Duration = Duration::from_secs(1);

/// How long an agent waits for its sources before it works with what is on disk: shorter than the shortest time that a
/// VIP's lifetime still has when an agent is gone, and longer than an API server usually takes.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the thread is asked to do.
pub enum Job {
    /// A pass; answered with when it wants the next one, or `None` if it had nothing to do.
    Pass {
        /// Why.
        cause: Cause,
        /// Where the answer goes.
        done: oneshot::Sender<Option<NextPass>>,
    },
    /// To store answers of neighbours.
    Hear(NeighbourAnswers),
    /// To end.
    Stop,
}

/// What passes work with until every source has been read.
#[derive(Debug)]
pub enum Fallback {
    /// Nothing yet.
    Untried,
    /// What was on disk.
    LastKnown(Box<LastKnown>),
    /// Nothing: there is none, or it is not needed any more.
    None,
}

impl Fallback {
    fn last_known(&self) -> Option<&LastKnown> {
        match self {
            Self::LastKnown(known) => Some(known),
            Self::Untried | Self::None => None,
        }
    }
}

/// Everything that the thread owns.
pub struct Worker {
    /// This node.
    pub node: NodeName,
    /// Its kernel.
    pub kernel: Box<dyn Kernel>,
    /// What passes keep between each other.
    pub passes: Passes,
    /// What the sources have delivered.
    pub store: Store,
    /// What was known to an earlier agent.
    pub fallback: Fallback,
    /// Where that is kept.
    pub snapshot_file: SnapshotFile,
    /// To the thread that writes it.
    pub snapshots: SnapshotSender,
    /// Changes from the sources.
    pub changes: Receiver<Vec<Change>>,
    /// The state for the admin endpoint.
    pub shared: Arc<Shared>,
    /// To ask for passes.
    pub trigger: Trigger,
    /// For the writer of the NodeState.
    pub reports: watch::Sender<Option<Arc<Report>>>,
    /// For the source: the Services whose endpoints this node has to know.
    pub services: watch::Sender<BTreeSet<ServiceName>>,
    /// Where this node reaches the API server.
    pub api_servers: watch::Receiver<BTreeSet<IpAddr>>,
    /// Whether kube-proxy is to be asked for its configuration.
    pub asks_kube_proxy: watch::Sender<bool>,
    /// kube-proxy's answer.
    pub kube_proxy: watch::Receiver<ProxyAnswer>,
}

impl Worker {
    /// Works until [`Job::Stop`], or until `jobs` has no sender left, and then until `writer` has written what is known.
    pub fn run(mut self, jobs: mpsc::Receiver<Job>, writer: JoinHandle<()>) {
        let start = Instant::now();
        let mut journal = Journal::default();
        let mut drift = 0u64;
        let mut look = LOOK;
        loop {
            let due = self.passes.is_watching().then_some(look);
            let wait = due.map_or(IDLE, |due| due.saturating_sub(start.elapsed()));
            match jobs.recv_timeout(wait) {
                Ok(Job::Pass { cause, done }) => {
                    let next = self.pass(cause, start.elapsed(), &mut journal, &mut drift);
                    look = start.elapsed() + LOOK;
                    // The runner may have been stopped meanwhile.
                    let _ = done.send(next);
                }
                Ok(Job::Hear(told)) => {
                    if self.passes.hear(told, start.elapsed()) {
                        self.trigger.kernel();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    look = start.elapsed() + LOOK;
                    if self.passes.finds_drift(self.kernel.as_mut()) {
                        self.trigger.kernel();
                    }
                }
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    if self.store.is_synced() && self.passes.has_run_dir() {
                        self.snapshots.send(&self.store);
                    }
                    self.snapshots.close();
                    // The passes keep the run directory locked until nothing is written there any more.
                    if writer.join().is_err() {
                        tracing::error!(
                            "the thread that writes what is known ended unexpectedly: the file may be old"
                        );
                    }
                    return;
                }
            }
        }
    }

    /// Counts every failure of a watch, and problems with objects that were not known before.
    fn count_problems(&self, changes: &[Change]) {
        for change in changes {
            if let Change::Problem {
                source,
                subject,
                message,
            } = change
                && (subject == WATCH_SUBJECT || !self.store.is_known(*source, subject, message))
            {
                self.shared.source_error(*source);
            }
        }
    }

    /// Chooses what passes work with; returns whether that is something else than before.
    fn choose(&mut self, now: Duration) -> bool {
        if self.store.is_synced() {
            let before = std::mem::replace(&mut self.fallback, Fallback::None);
            let over = before.last_known().is_some();
            if over {
                tracing::info!(
                    "every source has been read: what was on disk is not needed any more"
                );
            }
            return over;
        }
        if !matches!(self.fallback, Fallback::Untried) || now < PATIENCE {
            return false;
        }
        let sources: Vec<SourceName> = self.store.synced().keys().copied().collect();
        self.fallback = match self.snapshot_file.load(&sources) {
            Some(known) => {
                tracing::warn!(at = %known.at, missing = ?self.store.missing(), "not every source can be read: working with what was known then; nothing is removed, and no VIP moves for preference");
                Fallback::LastKnown(known.into())
            }
            None => Fallback::None,
        };
        self.fallback.last_known().is_some()
    }

    /// Takes in what the sources have delivered; returns whether it is news.
    fn read(&mut self) -> bool {
        let mut different = false;
        while let Ok(changes) = self.changes.try_recv() {
            self.count_problems(&changes);
            different |= self.store.apply(changes);
        }
        if different {
            self.snapshots.changed();
        }
        different
    }

    /// Passes on what follows from a pass, for the watcher of kube-proxy, the admin endpoint and the writer of the NodeState.
    fn publish(&self, state: Option<&PassState<'_>>, report: Option<&Arc<Report>>) {
        if let Some(state) = state {
            self.asks_kube_proxy.send_if_modified(|asks| {
                let asked = std::mem::replace(asks, state.meets_kube_proxy());
                *asks != asked
            });
        }
        if let Some(report) = report {
            self.shared.report(report);
            self.reports.send_if_modified(|last| {
                let news = last.as_ref() != Some(report);
                if news {
                    *last = Some(Arc::clone(report));
                }
                news
            });
        }
    }

    fn pass(
        &mut self,
        cause: Cause,
        now: Duration,
        journal: &mut Journal,
        drift: &mut u64,
    ) -> Option<NextPass> {
        let mut different = self.read();
        different |= self.choose(now);
        let last_known = self.fallback.last_known();
        let known = match last_known {
            Some(known) => Some(&known.store),
            None => self.store.is_synced().then_some(&self.store),
        };
        let services = known.map_or_else(BTreeSet::new, |store| store.services_of(&self.node));
        self.shared.sources(&self.store, last_known, &services);
        let Some(known) = known else {
            // A pass on part of the objects could remove what the missing ones ask for.
            return Some(match self.fallback {
                Fallback::Untried => NextPass::within(PATIENCE.saturating_sub(now)),
                Fallback::LastKnown(_) | Fallback::None => NextPass::default(),
            });
        };
        self.services.send_if_modified(|wanted| {
            let other = *wanted != services;
            *wanted = services;
            other
        });
        if !different && !cause.kernel && !cause.time {
            return None;
        }
        self.shared.pass_begins();
        let started = Instant::now();
        let input = PassInput {
            snapshot: known.snapshot(),
            // What is on disk may be older than what an earlier agent has done, so nothing is removed by it.
            complete: last_known.is_none() && known.is_complete(),
            fresh: last_known.is_none() && known.is_fresh(),
        };
        let answer = self.kube_proxy.borrow_and_update().clone();
        self.passes.hear_kube_proxy(answer);
        let addresses = self.api_servers.borrow_and_update().clone();
        self.passes.hear_api_servers(addresses);
        let end = self.passes.run(self.kernel.as_mut(), input, now);
        *drift = drift.saturating_add(end.drift.try_into().unwrap_or(u64::MAX));
        let report = report::report(&self.node, known, &end, *drift);
        let report = report.map(|mut report| {
            let note = last_known.map(|it| report::on_last_known(&it.at, &self.store.missing()));
            report.preflight.extend(note);
            Arc::new(report)
        });
        journal.pass(&end, report.as_deref());
        let took = started.elapsed();
        self.publish(end.state.as_ref(), report.as_ref());
        if last_known.is_none() && self.passes.has_run_dir() {
            self.snapshots.send_in_time(known, now);
        }
        // Last, so that the report is there when `Shared::nothing_left` returns.
        self.shared.pass_ended(&end, took, report.as_deref());
        Some(end.next)
    }
}
