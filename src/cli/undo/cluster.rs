//! The requests of `directway undo` to the API server: one ConfigMap, and two lists.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::progress::{ClusterState, NodeInfo};
use crate::{
    cli::{
        Failure,
        kubernetes::{failed, is_missing, not_listed},
    },
    cluster::{LightNode, SourceName, Store, UNDO_KEY, UndoSwitch, Wanted, list, look},
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

    /// Writes a request into the switch, unless it has one: what agents did for that one counts as well. Returns the
    /// request; `None` if there is no switch.
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

    /// The nodes and reports that the API server has now.
    pub(super) async fn cluster_state(&self) -> Result<ClusterState, Failure> {
        let wanted = Wanted::all();
        let states = [SourceName::NodeStates];
        let mut store = Store::new(&states);
        match look(&self.0, &wanted, &states, &mut store).await {
            Ok(()) => {}
            // The CRDs were deleted, and with them the VirtualServices, which the agents have acted on.
            Err(error) if is_missing(&error.error) => {}
            Err(error) => return Err(not_listed(&error)),
        }
        let nodes = Api::<LightNode>::all(self.0.clone());
        let nodes = list(&nodes, &ListParams::default(), wanted.pace.page).await;
        let nodes = nodes.map_err(|error| failed("list Nodes", &error))?;
        let nodes = nodes.into_iter().map(|light| {
            let not_ready = light.not_ready();
            let (name, node, _) = light.read();
            let cluster_state = NodeInfo {
                has_role: node.is_director() || node.is_backend(),
                not_ready,
            };
            (name, cluster_state)
        });
        Ok(ClusterState {
            nodes: nodes.collect(),
            states: store.reports().clone(),
        })
    }
}
