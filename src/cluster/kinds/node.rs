//! Nodes.

use k8s_openapi::{
    api::core::v1::{self as core, NodeAddress, NodeCondition},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, Resource, core::ClusterResourceScope};
use serde::Deserialize;

use crate::{
    api::node,
    cluster::{Change, Key, SourceName, Wanted, kind::Kind},
    model::{Node, NodeName},
};

pub(super) fn kind(client: &Client, wanted: &Wanted) -> Kind<LightNode> {
    let own = wanted.own.clone();
    Kind {
        name: SourceName::Nodes,
        api: Api::all(client.clone()),
        only: None,
        meaning: Box::new(move |light| {
            if let Some(own) = &own
                && light.metadata.name.as_deref() == Some(own.node.0.as_str())
            {
                own.node_uid.send_if_modified(|uid| {
                    let changed = *uid != light.metadata.uid;
                    uid.clone_from(&light.metadata.uid);
                    changed
                });
            }
            let (name, node, problems) = light.read();
            let (subject, problems) = (Key::Node(name.clone()).subject(), problems.join("; "));
            vec![
                Change::Node(name, node),
                Change::problem(SourceName::Nodes, subject, problems),
            ]
        }),
        ends: Box::new(|light| Some(Key::Node(NodeName(light.metadata.name.unwrap_or_default())))),
    }
}

/// A Node without images, heartbeats and all else that is large or changes all the time.
#[derive(Clone, Debug, Deserialize)]
pub struct LightNode {
    /// Name, labels, annotations, UID.
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: LightSpec,
    #[serde(default)]
    status: LightStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct LightSpec {
    #[serde(default)]
    unschedulable: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct LightStatus {
    #[serde(default)]
    addresses: Option<Vec<NodeAddress>>,
    #[serde(default)]
    conditions: Option<Vec<LightCondition>>,
}

#[derive(Clone, Debug, Deserialize)]
struct LightCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    #[serde(default)]
    reason: Option<String>,
}

impl Resource for LightNode {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        core::Node::kind(&())
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        core::Node::group(&())
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        core::Node::version(&())
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        core::Node::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl LightNode {
    /// The reason of its Ready condition if that is not True.
    pub fn not_ready(&self) -> Option<String> {
        let mut conditions = self.status.conditions.iter().flatten();
        let ready = conditions.find(|one| one.type_ == "Ready")?;
        (ready.status != "True").then(|| ready.reason.clone().unwrap_or_default())
    }

    /// Its name, the parts that directway needs, and a problem for each address that cannot be parsed.
    pub fn read(self) -> (NodeName, Node, Vec<String>) {
        let conditions = self.status.conditions.into_iter().flatten();
        let conditions = conditions.map(|light| NodeCondition {
            type_: light.type_,
            status: light.status,
            ..NodeCondition::default()
        });
        node(&core::Node {
            metadata: self.metadata,
            spec: Some(core::NodeSpec {
                unschedulable: self.spec.unschedulable,
                ..core::NodeSpec::default()
            }),
            status: Some(core::NodeStatus {
                addresses: self.status.addresses,
                conditions: Some(conditions.collect()),
                ..core::NodeStatus::default()
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_read_without_its_bulk() {
        let light: LightNode = serde_json::from_value(json!({
            "metadata": {"name": "a", "labels": {"x": "y"}, "annotations": {"directway.dev/drain": ""}, "managedFields": [{"manager": "kubelet"}]},
            "spec": {"podCIDR": "10.1.0.0/24", "unschedulable": true},
            "status": {"images": [{"names": ["big"]}], "addresses": [
                {"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "a"}],
                "conditions": [{"type": "DiskPressure", "status": "Unknown"},
                    {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]},
        }))
        .unwrap();
        assert_eq!(light.not_ready().as_deref(), Some("NodeStatusUnknown"));
        let (name, node, problems) = light.read();
        assert!(problems.is_empty());
        assert_eq!(name.0, "a");
        assert_eq!(
            node.addresses,
            ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]
        );
        assert_eq!(node.labels.len(), 1);
        assert!(node.cordoned && node.silent && node.drained);
    }
}
