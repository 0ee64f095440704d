//! Writes this node's NodeState: only when it changed, once a second on average at most, never in the way of a pass.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    api::{NodeState, NodeStateStatus, Report},
    cluster::OwnObjects,
    metrics::Metrics,
    model::NodeName,
};

/// The time that one write uses up, because the API server sends every write to every agent.
const PACE: Duration = Duration::from_secs(1);
/// How many writes may follow each other at once after a time without any: one change takes several passes of several
/// agents, each of which waits for what another one reports.
const BURST: u32 = 4;
/// A write that takes longer counts as failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after the first failure; doubles up to `LONGEST`.
const RETRY: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);
const MANAGER: &str = "directway-agent";

/// Writes each new report to the API server.
pub struct NodeStateWriter {
    /// The API server.
    pub client: Client,
    /// Whose NodeState.
    pub node: NodeName,
    /// What the watches know of the object.
    pub own: Arc<OwnObjects>,
    /// The latest report.
    pub reports: watch::Receiver<Option<Arc<Report>>>,
    /// The last report that was written.
    pub written: watch::Sender<Option<Arc<Report>>>,
    /// Where failures are counted.
    pub metrics: Arc<Metrics>,
}

impl NodeStateWriter {
    /// Works until the agent ends.
    pub async fn run(self) {
        let Self {
            client,
            node,
            own,
            mut reports,
            written: done,
            metrics,
        } = self;
        let api = Api::<NodeState>::all(client);
        let mut uid = own.node_uid.subscribe();
        // The owner and status that the object has, as far as known.
        let mut owner: Option<String> = None;
        let mut written: Option<NodeStateStatus> = None;
        let mut pace = Pace::new(Instant::now());
        let mut retry = RETRY;
        loop {
            let wanted_owner = uid.borrow_and_update().clone();
            let report = reports.borrow_and_update().clone();
            let status = report.as_ref().map(|report| report.to_status());
            let due = match (&wanted_owner, status) {
                (Some(uid), Some(status))
                    if owner.as_ref() != Some(uid) || written.as_ref() != Some(&status) =>
                {
                    Some((uid.clone(), status))
                }
                _ => None,
            };
            let Some((owner_uid, status)) = due else {
                if owner.is_some() {
                    done.send_replace(report);
                }
                tokio::select! {
                    changed = reports.changed() => if changed.is_err() { return },
                    changed = uid.changed() => if changed.is_err() { return },
                    () = own.state_deleted.notified() => (owner, written) = (None, None),
                }
                continue;
            };
            if let Err(later) = pace.take(Instant::now()) {
                sleep_until(later).await;
                // There may be a newer report by now.
                continue;
            }
            let has_owner = owner.as_ref() == Some(&owner_uid);
            let missing = (!has_owner).then_some(owner_uid.as_str());
            let failed = match write(&api, &node, missing, &status).await {
                Ok(()) => {
                    if retry != RETRY {
                        tracing::info!("NodeState is written again");
                    }
                    retry = RETRY;
                    owner = Some(owner_uid);
                    written = Some(status);
                    done.send_replace(report);
                    continue;
                }
                Err(failed) => failed,
            };
            if failed.is_gone {
                owner = None;
            }
            metrics.report_error();
            let error = failed.cause;
            if retry == RETRY {
                tracing::warn!(error, "NodeState not written; trying again until it is");
            } else {
                tracing::debug!(error, "NodeState not written");
            }
            sleep(retry).await;
            retry = (retry * 2).min(LONGEST);
        }
    }
}

/// When writes may be made.
#[derive(Debug)]
struct Pace {
    /// When a whole burst may be written again.
    rested: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { rested: now }
    }

    /// Takes one write at `now`, or says when there will be one.
    fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let used = self.rested.saturating_duration_since(now);
        let room = PACE * (BURST - 1);
        if used > room {
            return Err(now + (used - room));
        }
        self.rested = now + used + PACE;
        Ok(())
    }
}

/// Why the NodeState was not written.
struct WriteError {
    cause: String,
    /// There is no such object.
    is_gone: bool,
}

/// Writes the status, and before it the object if it is to get an owner with this UID.
async fn write(
    api: &Api<NodeState>,
    node: &NodeName,
    owner_uid: Option<&str>,
    status: &NodeStateStatus,
) -> Result<(), WriteError> {
    let attempt = async {
        if let Some(uid) = owner_uid {
            apply_object(api, node, uid).await?;
        }
        apply_status(api, node, status).await
    };
    match timeout(TIMEOUT, attempt).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(WriteError {
            is_gone: matches!(&error, kube::Error::Api(response) if response.code == 404),
            cause: error.to_string(),
        }),
        Err(_) => Err(WriteError {
            is_gone: false,
            cause: format!("no answer within {} s", TIMEOUT.as_secs()),
        }),
    }
}

fn params() -> PatchParams {
    PatchParams::apply(MANAGER).force()
}

/// The Node: the cluster deletes what it owns together with it.
pub(super) fn owner(node: &NodeName, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: Node::api_version(&()).into_owned(),
        kind: Node::kind(&()).into_owned(),
        name: node.0.clone(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    }
}

/// The object without its status.
async fn apply_object(
    api: &Api<NodeState>,
    node: &NodeName,
    node_uid: &str,
) -> Result<(), kube::Error> {
    let object = json!({
        "apiVersion": NodeState::api_version(&()),
        "kind": NodeState::kind(&()),
        "metadata": {"name": node.0, "ownerReferences": [owner(node, node_uid)]},
    });
    api.patch(&node.0, &params(), &Patch::Apply(object))
        .await
        .map(|_| ())
}

async fn apply_status(
    api: &Api<NodeState>,
    node: &NodeName,
    status: &NodeStateStatus,
) -> Result<(), kube::Error> {
    let object = json!({
        "apiVersion": NodeState::api_version(&()),
        "kind": NodeState::kind(&()),
        "status": status,
    });
    api.patch_status(&node.0, &params(), &Patch::Apply(object))
        .await
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_writes_follow_each_other_at_once_and_then_one_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |seconds: f32| start + Duration::from_secs_f32(seconds);
        let first: Vec<bool> = (0..6).map(|_| pace.take(start).is_ok()).collect();
        assert_eq!(first, [true, true, true, true, false, false]);
        assert_eq!(pace.take(at(0.5)), Err(at(1.0)));
        assert_eq!(
            (pace.take(at(1.0)), pace.take(at(1.0))),
            (Ok(()), Err(at(2.0)))
        );
        let writes = (0..1000).filter(|tick| pace.take(at(1.0 + *tick as f32 / 10.0)).is_ok());
        assert_eq!(writes.count(), 99, "one a second");
        let rested = (0..6).filter(|_| pace.take(at(200.0)).is_ok());
        assert_eq!(rested.count(), 4);
    }
}
