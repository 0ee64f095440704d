//! The rim of `directway undo`: one ConfigMap, and two lists.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use serde_json::json;

use super::standing::{NodeView, View};
use crate::{
    agent::{UNDO_KEY, UndoSwitch},
    api::{self, NodeState},
    cli::{
        Failure,
        kubernetes::{failed, is_missing, list, report},
    },
};

/// The cluster whose agents are asked.
pub(super) struct Cluster(Client);

impl Cluster {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    fn switches(&self, switch: &UndoSwitch) -> Api<ConfigMap> {
        Api::namespaced(self.0.clone(), &switch.namespace)
    }

    /// Asks, unless somebody has asked already: what agents did for that request is as good. `None` if there is no
    /// switch.
    pub(super) async fn request(&self, switch: &UndoSwitch) -> Result<Option<String>, Failure> {
        let there = match self.switches(switch).get_opt(&switch.name).await {
            Ok(there) => there,
            Err(error) => return Err(failed(&format!("get ConfigMap {switch}"), &error)),
        };
        let Some(map) = there else { return Ok(None) };
        let asked = map.data.and_then(|mut data| data.remove(UNDO_KEY));
        if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
            return Ok(Some(asked));
        }
        let request = Timestamp::now().to_string();
        self.say(switch, &request).await?;
        Ok(Some(request))
    }

    /// Takes every request back.
    pub(super) async fn cancel(&self, switch: &UndoSwitch) -> Result<(), Failure> {
        self.say(switch, "").await
    }

    async fn say(&self, switch: &UndoSwitch, request: &str) -> Result<(), Failure> {
        let patch = Patch::Merge(json!({"data": {UNDO_KEY: request}}));
        let maps = self.switches(switch);
        maps.patch(&switch.name, &PatchParams::default(), &patch)
            .await
            .map(|_| ())
            .map_err(|error| failed(&format!("patch ConfigMap {switch}"), &error))
    }

    /// What the API server has now.
    pub(super) async fn view(&self) -> Result<View, Failure> {
        let kind = ApiResource::erase::<NodeState>(&());
        let states = Api::<DynamicObject>::all_with(self.0.clone(), &kind);
        let states = match list(&states).await {
            Ok(states) => states,
            // Whoever deleted the definitions deleted the VirtualServices, too, and agents followed that.
            Err(error) if is_missing(&error) => Vec::new(),
            Err(error) => return Err(failed("list NodeStates", &error)),
        };
        let nodes = Api::<Node>::all(self.0.clone());
        let nodes = list(&nodes).await;
        let nodes = nodes.map_err(|error| failed("list Nodes", &error))?;
        Ok(View {
            nodes: nodes
                .iter()
                .map(|object| {
                    let (name, node, _) = api::node(object);
                    let has_role = node.is_director() || node.is_backend();
                    let not_ready = not_ready(object);
                    (
                        name,
                        NodeView {
                            has_role,
                            not_ready,
                        },
                    )
                })
                .collect(),
            states: states.into_iter().map(report).collect(),
        })
    }
}

/// Why Kubernetes holds a node for not ready.
fn not_ready(node: &Node) -> Option<String> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|one| one.type_ == "Ready")?;
    (ready.status != "True").then(|| ready.reason.clone().unwrap_or_default())
}
