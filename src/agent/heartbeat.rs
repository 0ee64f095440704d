//! Tells the controller that this node's NodeState is up to date: renews a Lease as long as it is.
//!
//! A NodeState is written when it changes, so it looks the same whether nothing changes or its agent is gone.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{Shared, state_writer::owner};
use crate::{
    admin::Admin,
    api::Report,
    cluster::{OwnObjects, heartbeat_name},
    model::NodeName,
};

/// The time between two renewals: as often as a kubelet renews its own Lease in quiet times, and a third of the time
/// after which the controller takes an agent for silent.
const BEAT: Duration = Duration::from_secs(20);
/// How long a Lease is valid, for people: the controller uses its own clock.
const VALID_SECONDS: i32 = 60;
/// A request that takes longer counts as failed; the next renewal is the next attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
const MANAGER: &str = "directway-agent";

/// Renews the Lease of one node.
pub struct Heart {
    /// The API server.
    pub client: Client,
    /// The namespace of the Lease.
    pub namespace: String,
    /// Whose Lease.
    pub node: NodeName,
    /// What the watches know of the node's objects.
    pub own: Arc<OwnObjects>,
    /// Whether passes run.
    pub shared: Arc<Shared>,
    /// The last report.
    pub latest: watch::Receiver<Option<Arc<Report>>>,
    /// The last report that was written.
    pub written: watch::Receiver<Option<Arc<Report>>>,
}

impl Heart {
    /// Works until the agent ends.
    pub async fn run(mut self) {
        let leases = Api::<Lease>::namespaced(self.client.clone(), &self.namespace);
        // An error means that the agent ends.
        if first_report(&mut self.written).await.is_err() {
            return;
        }
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            beats.tick().await;
            if !self.is_up_to_date() {
                continue;
            }
            let failure = match timeout(TIMEOUT, self.renew(&leases)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {} s", TIMEOUT.as_secs())),
            };
            match (&failure, failing) {
                (Some(error), false) => tracing::warn!(
                    error,
                    "heartbeat not written: statuses may say that this agent is silent; trying again"
                ),
                (None, true) => tracing::info!("heartbeat is written again"),
                (Some(_), true) | (None, false) => {}
            }
            failing = failure.is_some();
        }
    }

    /// Whether the API server has the last report, or has received one since the last heartbeat, and passes run.
    fn is_up_to_date(&mut self) -> bool {
        let is_new = self.written.has_changed().unwrap_or(false);
        let is_last = *self.written.borrow_and_update() == *self.latest.borrow();
        (is_new || is_last) && self.shared.unhealthy().is_none()
    }

    async fn renew(&self, leases: &Api<Lease>) -> Result<(), kube::Error> {
        let uid = self.own.node_uid.borrow().clone();
        let owners: Vec<_> = uid.iter().map(|uid| owner(&self.node, uid)).collect();
        let name = heartbeat_name(&self.node);
        let lease = json!({
            "apiVersion": Lease::api_version(&()),
            "kind": Lease::kind(&()),
            "metadata": {"name": name, "ownerReferences": owners},
            "spec": LeaseSpec {
                holder_identity: Some(self.node.0.clone()),
                lease_duration_seconds: Some(VALID_SECONDS),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            },
        });
        let params = PatchParams::apply(MANAGER).force();
        let written = leases.patch(&name, &params, &Patch::Apply(lease)).await;
        written.map(|_| ())
    }
}

/// Waits for the first report that is written: the first heartbeat comes with it. That report counts as new, even if a
/// newer one waits to be written; else the first heartbeat would come one beat late.
async fn first_report<T>(
    written: &mut watch::Receiver<Option<T>>,
) -> Result<(), watch::error::RecvError> {
    written.wait_for(Option::is_some).await?;
    written.mark_changed();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_report_counts_as_new_although_it_was_waited_for() {
        let (send, mut written) = watch::channel(None);
        send.send(Some("first")).unwrap();
        first_report(&mut written).await.unwrap();
        assert!(written.has_changed().unwrap());
    }
}
