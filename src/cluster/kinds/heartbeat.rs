//! Heartbeats: the Lease that each agent renews while its NodeState is up to date.

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};

use crate::{
    cluster::{Change, Key, SourceName, kind::Kind},
    model::NodeName,
};

const PREFIX: &str = "directway-agent-";

/// The name of the Lease that the agent of `node` renews.
pub fn heartbeat_name(node: &NodeName) -> String {
    format!("{PREFIX}{node}")
}

pub(super) fn kind(client: &Client, namespace: &str) -> Kind<Lease> {
    Kind {
        name: SourceName::Heartbeats,
        api: Api::namespaced(client.clone(), namespace),
        only: None,
        meaning: Box::new(|lease| {
            let change = node(&lease).map(|node| Change::Heartbeat(node, renewed(&lease)));
            change.into_iter().collect()
        }),
        ends: Box::new(|lease| Some(Key::Heartbeat(node(&lease)?))),
    }
}

/// Whose heartbeat this is; `None` = another Lease in the namespace.
pub fn node(lease: &Lease) -> Option<NodeName> {
    let name = lease.metadata.name.as_deref()?;
    name.strip_prefix(PREFIX).map(NodeName::from)
}

/// When it was renewed, as written: another host's clock says so.
fn renewed(lease: &Lease) -> String {
    let spec = lease.spec.as_ref();
    let renewed = spec.and_then(|spec| spec.renew_time.as_ref());
    renewed.map_or(String::new(), |time| time.0.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_heartbeats_are_taken_for_some() {
        let lease = |name: &str| -> Lease {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": name}, "spec": {"renewTime": "2026-01-01T00:00:00.5Z"},
            }))
            .unwrap()
        };
        let own = lease(&heartbeat_name(&"node-a".into()));
        assert_eq!(node(&own), Some("node-a".into()));
        assert_eq!(renewed(&own), "2026-01-01T00:00:00.5Z");
        assert_eq!(node(&lease("directway-controller")), None);
        assert_eq!(renewed(&Lease::default()), "");
    }
}
