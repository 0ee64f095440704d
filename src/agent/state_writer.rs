//! Writes this node's NodeState: only when it changed, at most once a second, never in the way of a pass.

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

/// The least time between two writes, because the API server sends every write to every agent.
const PACE: Duration = Duration::from_secs(1);
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
        let mut next = Instant::now();
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
            if Instant::now() < next {
                sleep_until(next).await;
                // There may be a newer report by now.
                continue;
            }
            next = Instant::now() + PACE;
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
