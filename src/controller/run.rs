//! The loop: watches → cluster → statuses → API server.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::ObjectReference};
use kube::{Resource, runtime::events::Event};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    context::{Context, agreements},
    double_holders::DoubleHolders,
    events::EventFilter,
    heartbeats::Heartbeats,
    holder::present_holders,
    leader::{LEASE, LeaderElector, Leadership},
    metrics::{Metrics, Status},
    summary::summarise,
    writer::{StatusWriter, Update},
};
use crate::{
    admin,
    api::{ConditionType, NodeState, VirtualServiceStatus},
    cluster::{self, Change, ChangeSender, Object, SourceName, Store, Wanted},
    desired::{DirectorHistory, admit, placement},
    model::{NodeName, VsKey},
};

/// The least time between passes, so that a burst of reports causes one pass.
const MIN_INTERVAL: Duration = Duration::from_millis(200);
/// How long a director may keep a VIP that it may no longer hold: the greatest value of the timer `retire`.
const RETIRE: Duration = Duration::from_secs(600);
/// The pause before a pass that repeats a failed write.
const RETRY: Duration = Duration::from_secs(2);

/// The options of a controller.
#[derive(Clone, Debug)]
pub struct Config {
    /// The namespace of the Lease; `None` = the pod's, or the kubeconfig's.
    pub namespace: Option<String>,
    /// A name that no other controller has; `None` = made from the host's name.
    pub identity: Option<String>,
    /// Where the admin endpoint listens.
    pub admin_address: SocketAddr,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// No API server is configured, or the admin endpoint cannot be opened.
pub async fn run(config: Config) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut wanted = Wanted::all();
    let (client, _) = cluster::client(wanted.pace, "or set KUBECONFIG").await?;
    let namespace = config
        .namespace
        .clone()
        .unwrap_or_else(|| client.default_namespace().to_owned());
    wanted.heartbeats = Some(namespace.clone());
    let identity = config.identity.clone().unwrap_or_else(own_name);
    let (candidate, leadership) = LeaderElector::new(client.clone(), &namespace, &identity);
    let (stop, mut stopped) = watch::channel(false);
    let election = tokio::spawn(candidate.run(async move {
        // An error means that the sender is gone, which also ends the election.
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    let metrics = Arc::new(Metrics::default());
    let status = Status {
        metrics: Arc::clone(&metrics),
        leadership: leadership.clone(),
    };
    let (feed, incoming) = ChangeSender::new(|| ());
    let worker = Reconciler {
        writer: StatusWriter::new(client.clone(), &identity, leadership.clone()),
        cluster: Store::new(&wanted.sources()),
        event_filter: None,
        heartbeats: Heartbeats::default(),
        lease: lease(&namespace),
        director_history: DirectorHistory::default(),
        double_holders: DoubleHolders::default(),
        metrics,
        leadership,
        start: Instant::now(),
    };
    let outcome = tokio::select! {
        outcome = admin::serve(config.admin_address, Arc::new(status)) => {
            outcome.map(|never| match never {}).map_err(|error| error.to_string())
        }
        () = cluster::follow(client, wanted, feed) => Ok(()),
        () = worker.run(incoming) => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    stop.send_replace(true);
    if let Err(error) = election.await {
        tracing::warn!("election: {error}");
    }
    outcome
}

/// The controllers' Lease, as Events refer to it.
fn lease(namespace: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(Lease::api_version(&()).into_owned()),
        kind: Some(Lease::kind(&()).into_owned()),
        name: Some(LEASE.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectReference::default()
    }
}

/// A node's NodeState, as Events refer to it.
fn node_state(node: &NodeName) -> ObjectReference {
    ObjectReference {
        api_version: Some(NodeState::api_version(&()).into_owned()),
        kind: Some(NodeState::kind(&()).into_owned()),
        name: Some(node.to_string()),
        ..ObjectReference::default()
    }
}

/// Unique unless two processes with the same PID start in the same nanosecond on hosts of the same name.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let now = jiff::Timestamp::now().as_nanosecond();
    format!("{}_{}_{now:x}", host.trim(), std::process::id())
}

struct Reconciler {
    writer: StatusWriter,
    cluster: Store,
    /// Which Events were sent since we lead.
    event_filter: Option<EventFilter>,
    heartbeats: Heartbeats,
    /// What Events that concern no single object are about.
    lease: ObjectReference,
    director_history: DirectorHistory,
    double_holders: DoubleHolders,
    metrics: Arc<Metrics>,
    leadership: Leadership,
    start: Instant,
}

impl Reconciler {
    async fn run(mut self, mut incoming: mpsc::Receiver<Vec<Change>>) {
        let mut leadership = self.leadership.clone();
        // When the next pass is due; `None` = when something changes.
        let mut due: Option<Instant> = None;
        let mut last = self.start;
        self.publish_missing();
        loop {
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let mut changed = false;
            tokio::select! {
                changes = incoming.recv() => {
                    let Some(changes) = changes else { return };
                    changed |= self.cluster.apply(changes);
                    while let Ok(changes) = incoming.try_recv() {
                        changed |= self.cluster.apply(changes);
                    }
                    changed |= self.hear();
                    self.publish_missing();
                }
                () = leadership.changed() => changed = true,
                () = wait => {
                    last = Instant::now();
                    due = self.pass().await.map(|pause| Instant::now() + pause);
                }
            }
            if changed {
                let soon = (last + MIN_INTERVAL).max(Instant::now());
                due = Some(due.map_or(soon, |due| due.min(soon)));
            }
        }
    }

    /// Takes in the heartbeats; returns whether an agent that was silent is alive again.
    fn hear(&mut self) -> bool {
        let looking = self.cluster.is_followed(SourceName::Heartbeats);
        let leases = self.cluster.heartbeats();
        self.heartbeats
            .observe(leases, looking, self.start.elapsed())
    }

    fn publish_missing(&self) {
        self.metrics.found().missing = self.cluster.missing();
    }

    /// Brings every status up to date; returns after which time the next pass is due even if nothing changes.
    async fn pass(&mut self) -> Option<Duration> {
        if !self.cluster.is_synced() {
            return None;
        }
        if !self.leadership.is_ours() {
            self.forget();
            return None;
        }
        self.hear();
        let Findings {
            updates,
            others,
            next,
        } = self.judge(self.start.elapsed());
        if updates.is_empty() && others.is_empty() {
            return next;
        }
        self.writer.tell(others, &self.metrics).await;
        let written = self.writer.write(updates, &self.metrics).await;
        self.cluster.apply(written.changes);
        if written.failures.is_empty() {
            next
        } else {
            Some(next.map_or(RETRY, |wait| wait.min(RETRY)))
        }
    }

    /// Another process leads: what this one has seen of events, heartbeats and holders will be out of date.
    fn forget(&mut self) {
        self.event_filter = None;
        // This process may have stood still, with heartbeats unread.
        self.heartbeats.interrupt();
        self.director_history = DirectorHistory::default();
        self.double_holders = DoubleHolders::default();
    }

    /// What has to be written, and when the next pass is due.
    fn judge(&mut self, now: Duration) -> Findings {
        let snapshot = self.cluster.snapshot();
        let directors = self.director_history.update(snapshot, RETIRE, now);
        let event_filter = self
            .event_filter
            .get_or_insert_with(|| EventFilter::begin(&self.cluster, &directors));
        event_filter.retain(&self.cluster, now);
        let admission = admit(snapshot);
        let placement = placement(snapshot, &admission);
        let agreements = agreements(&self.cluster);
        let holders = present_holders(&self.cluster, &directors);
        let vips = placement.orders.keys().copied();
        self.double_holders.update(vips, &holders, now);
        let context = Context {
            cluster: &self.cluster,
            admission: &admission,
            placement: &placement,
            directors: &directors,
            double_holders: &self.double_holders,
            agreements: &agreements,
            heartbeats: &self.heartbeats,
            now: jiff::Timestamp::now(),
        };
        let mut by_reason = BTreeMap::new();
        let mut updates = Vec::new();
        for (key, object) in self.cluster.objects() {
            let status = summarise(key, object, &context);
            if let Some(reason) = reason_of_ready(&status) {
                *by_reason.entry(reason).or_default() += 1;
            }
            let mut events = event_filter.events(key, &status.conditions, now);
            if let Some(virtual_service) = admission.accepted.get(key) {
                events.extend(event_filter.holder(virtual_service, &self.cluster, &directors, now));
            }
            updates.extend(update(key, object, status, events));
        }
        {
            let mut found = self.metrics.found();
            found.by_reason = by_reason;
            found.held_twice = self.double_holders.count();
        }
        let moved = event_filter.moved_together(&self.cluster, now).into_iter();
        let moved = moved.map(|(node, event)| (node_state(&node), event));
        let mut others: Vec<_> = moved.collect();
        let left_out = event_filter.left_out(now);
        others.extend(left_out.map(|event| (self.lease.clone(), event)));
        let waits = [
            event_filter.wait(now),
            self.heartbeats.next(now),
            self.double_holders.wait(),
        ];
        Findings {
            updates,
            others,
            next: waits.into_iter().flatten().min(),
        }
    }
}

/// What a pass has to write.
struct Findings {
    updates: Vec<Update>,
    /// Events of other objects than VirtualServices.
    others: Vec<(ObjectReference, Event)>,
    /// After which time the next pass is due even if nothing changes.
    next: Option<Duration>,
}

/// The reason of the condition `Ready`.
fn reason_of_ready(status: &VirtualServiceStatus) -> Option<String> {
    let ready = ConditionType::Ready.name();
    let mut conditions = status.conditions.iter();
    let ready = conditions.find(|condition| condition.type_ == ready);
    ready.map(|condition| condition.reason.clone())
}

/// What has to be written for this object, if anything.
fn update(
    key: &VsKey,
    object: &Object,
    status: VirtualServiceStatus,
    events: Vec<Event>,
) -> Option<Update> {
    let differs = object.status.as_ref() != Some(&status);
    (differs || !events.is_empty()).then(|| Update {
        key: key.clone(),
        object: object.clone(),
        status: differs.then_some(status),
        events,
    })
}
