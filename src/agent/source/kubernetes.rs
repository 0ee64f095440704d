//! The Kubernetes API as a source: a watch per kind, and one for endpoints where it is needed; each of them retried for
//! ever, none of them acted on before its list is complete. When the API server is gone, what was known last stays in
//! force.

mod endpoints;

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::{ApiResource, DynamicObject},
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};

use super::{
    Change, Closed, Feed, SourceName, UndoSwitch, WATCH_SUBJECT, light_node::LightNode, undo_switch,
};
use crate::{
    api::{NodeState, NodeStateStatus, Report, VirtualService, admit},
    api_client,
    metrics::Metrics,
    model::{NodeName, ServiceName, VsKey},
};

/// The server ends a watch after this time and the client begins a new one, so that a connection that died without a
/// word is noticed.
const WATCH: u32 = 120;
/// No word for longer than a watch lasts: the connection is dead.
const SILENCE: Duration = Duration::from_secs(WATCH as u64 + 15);
/// How long an agent that is told to end waits for the answer whether its node still has a role.
const LAST_LOOK: Duration = Duration::from_secs(2);
/// Objects per page of a list: what is in memory at once.
const PAGE: u32 = 250;
/// Between the first attempts.
const BACKOFF: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
];
/// Between those that follow.
const LATE: Duration = Duration::from_secs(3);
/// After an error, how long without another one means that it is over.
const CALM: Duration = Duration::from_secs(10);

/// What the writer of this node's NodeState needs to know from the watches.
#[derive(Debug)]
pub struct Own {
    /// The UID of this node's Node object.
    pub node_uid: watch::Sender<Option<String>>,
    /// This node's NodeState was deleted.
    pub state_deleted: Notify,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            node_uid: watch::Sender::new(None),
            state_deleted: Notify::new(),
        }
    }
}

/// A client for the cluster that this process runs in, or the one that the kubeconfig names.
pub async fn client() -> Result<Client, String> {
    let config = kube::Config::infer().await;
    let config = config.map_err(|error| {
        format!("no Kubernetes API server is configured: {error}; run in a pod with a service account, set KUBECONFIG, or use --source dir:PATH")
    })?;
    api_client::client(config, SILENCE).map_err(|error| format!("Kubernetes client: {error}"))
}

/// Follows all kinds until the agent ends; the switch if there is one, endpoints of the Services in `wanted` only.
pub async fn follow(
    client: Client,
    this: NodeName,
    switch: Option<UndoSwitch>,
    own: Arc<Own>,
    wanted: watch::Receiver<BTreeSet<ServiceName>>,
    feed: Feed,
    metrics: Arc<Metrics>,
) {
    let endpoints = endpoints::follow(client.clone(), wanted, feed.clone(), Arc::clone(&metrics));
    let services = ApiResource::erase::<VirtualService>(&());
    let services = Api::<DynamicObject>::all_with(client.clone(), &services);
    let states = ApiResource::erase::<NodeState>(&());
    let states = Api::<DynamicObject>::all_with(client.clone(), &states);
    let nodes = Api::<LightNode>::all(client.clone());
    let watch = |source| Watch {
        source,
        only: None,
        feed: feed.clone(),
        metrics: Arc::clone(&metrics),
    };
    let services = watch(SourceName::VirtualServices).list(
        services,
        |object| vec![Change::VirtualService(Box::new(admit(&object)))],
        |object| {
            let namespace = object.metadata.namespace.unwrap_or_default();
            let name = object.metadata.name.unwrap_or_default();
            Some(Change::NoVirtualService(VsKey::new(&namespace, &name)))
        },
    );
    let nodes = watch(SourceName::Nodes).list(
        nodes,
        |light| {
            if light.metadata.name.as_deref() == Some(this.0.as_str()) {
                own.node_uid.send_if_modified(|uid| {
                    let changed = *uid != light.metadata.uid;
                    uid.clone_from(&light.metadata.uid);
                    changed
                });
            }
            node_changes(light)
        },
        |light| {
            Some(Change::NoNode(NodeName(
                light.metadata.name.unwrap_or_default(),
            )))
        },
    );
    let is_own = |object: &DynamicObject| object.metadata.name.as_deref() == Some(this.0.as_str());
    let states = watch(SourceName::NodeStates).list(
        states,
        |object| {
            // What this agent writes is no news to it.
            if is_own(&object) {
                Vec::new()
            } else {
                peer_changes(object)
            }
        },
        |object| {
            if is_own(&object) {
                own.state_deleted.notify_one();
                return None;
            }
            Some(Change::NoPeer(NodeName(
                object.metadata.name.unwrap_or_default(),
            )))
        },
    );
    let switch = async {
        let Some(switch) = switch else { return Closed };
        let only = Some(format!("metadata.name={}", switch.name));
        let watch = Watch {
            only,
            ..watch(SourceName::UndoSwitch)
        };
        let maps = Api::<ConfigMap>::namespaced(client, &switch.namespace);
        // One that is deleted changes nothing: see `undo_switch`.
        watch
            .list(maps, |map| vec![undo_switch::change(&map)], |_| None)
            .await
    };
    // They end only when nobody listens any more.
    let (Closed, Closed, Closed, Closed, Closed) =
        tokio::join!(services, nodes, states, endpoints, switch);
}

/// Whether the API server says that this node has no role any more; `false` also when it does not answer soon.
/// The watch may not have told yet.
pub async fn has_lost_its_roles(client: Client, this: &NodeName) -> bool {
    let nodes = Api::<LightNode>::all(client);
    let own = ListParams::default().fields(&format!("metadata.name={this}"));
    let Ok(Ok(list)) = tokio::time::timeout(LAST_LOOK, nodes.list(&own)).await else {
        return false;
    };
    !list.into_iter().any(|light| {
        let (_, node, _) = light.read();
        node.is_director() || node.is_backend()
    })
}

struct Watch {
    source: SourceName,
    /// A field selector.
    only: Option<String>,
    feed: Feed,
    metrics: Arc<Metrics>,
}

fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH).page_size(PAGE)
}

impl Watch {
    /// Follows all objects of a kind.
    async fn list<K>(
        self,
        api: Api<K>,
        changed: impl Fn(K) -> Vec<Change>,
        gone: impl Fn(K) -> Option<Change>,
    ) -> Closed
    where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        let source = self.source;
        let read = |event| match event {
            // Said before every attempt at a list, whatever becomes of it.
            Event::Init => vec![Change::Relist(source)],
            Event::InitDone => vec![Change::Listed(source)],
            Event::InitApply(object) | Event::Apply(object) => changed(object),
            Event::Delete(object) => gone(object).into_iter().collect(),
        };
        let mut config = config();
        config.field_selector = self.only.clone();
        self.run(api, config, read).await
    }

    /// Follows what `config` selects, as `read` understands it.
    async fn run<K>(
        self,
        api: Api<K>,
        config: watcher::Config,
        mut read: impl FnMut(Event<K>) -> Vec<Change>,
    ) -> Closed
    where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        let mut events = pin!(watcher(api, config));
        let mut batch = Vec::new();
        let mut failures = 0usize;
        // What was told of this outage: the words of a refused connection differ from attempt to attempt.
        let mut told: Option<(Option<u16>, String)> = None;
        loop {
            let event = if failures > 0 {
                match tokio::time::timeout(CALM, events.next()).await {
                    Ok(event) => event,
                    Err(_) => {
                        failures = 0;
                        told = None;
                        batch.push(self.no_trouble());
                        None
                    }
                }
            } else {
                events.next().await
            };
            match event {
                None => {}
                Some(Ok(event @ Event::Init)) => batch.extend(read(event)),
                Some(Ok(event)) => {
                    if failures > 0 {
                        failures = 0;
                        told = None;
                        batch.push(self.no_trouble());
                    }
                    let listing = matches!(event, Event::InitApply(_));
                    batch.extend(read(event));
                    if listing && batch.len() < PAGE as usize {
                        continue;
                    }
                }
                Some(Err(error)) => {
                    self.metrics.source_error(self.source.name());
                    let (status, message) = (status(&error), explain(&error));
                    tracing::debug!(source = self.source.name(), "{message}");
                    let (_, message) = match told.take() {
                        Some(before) if before.0 == status => told.insert(before),
                        Some(_) | None => told.insert((status, message)),
                    };
                    batch.push(Change::Trouble {
                        source: self.source,
                        subject: WATCH_SUBJECT.to_owned(),
                        message: message.clone(),
                    });
                    if self.feed.send(std::mem::take(&mut batch)).is_err() {
                        return Closed;
                    }
                    let wait = BACKOFF.get(failures).unwrap_or(&LATE);
                    tokio::time::sleep(*wait).await;
                    failures += 1;
                }
            }
            if self.feed.send(std::mem::take(&mut batch)).is_err() {
                return Closed;
            }
        }
    }

    fn no_trouble(&self) -> Change {
        Change::NoTrouble {
            source: self.source,
            subject: WATCH_SUBJECT.to_owned(),
        }
    }
}

/// The API server's verdict; `None` if it was not reached.
fn status(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    }
}

/// The error with its causes, and what to do where that is known.
fn explain(error: &watcher::Error) -> String {
    let fix = match status(error) {
        Some(401) => {
            "the API server does not accept these credentials; check the service account's token or the kubeconfig"
        }
        Some(403) => "the service account lacks a right; compare with the chart's ClusterRole",
        Some(404) => {
            "the API server does not know this kind; install the CRDs (directway crd | kubectl apply -f -)"
        }
        Some(410) => "reading the list again",
        Some(_) | None => "trying again; what was known last stays in force",
    };
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    format!("{text}; {fix}")
}

fn node_changes(light: LightNode) -> Vec<Change> {
    let (name, node, problems) = light.read();
    let trouble = trouble(
        SourceName::Nodes,
        format!("Node {name}"),
        problems.join("; "),
    );
    vec![Change::Node(name, node), trouble]
}

fn peer_changes(mut object: DynamicObject) -> Vec<Change> {
    let name = NodeName(object.metadata.name.unwrap_or_default());
    let subject = format!("NodeState {name}");
    let status = object.data.get_mut("status").map(serde_json::Value::take);
    let report = match status {
        // Its agent has not reported yet.
        None | Some(serde_json::Value::Null) => Ok(Report::default()),
        Some(status) => serde_json::from_value::<NodeStateStatus>(status)
            .map_err(|error| error.to_string())
            .and_then(|status| Report::from_status(&status).map_err(|error| error.to_string())),
    };
    match report {
        Ok(report) => {
            let over = trouble(SourceName::NodeStates, subject, String::new());
            vec![Change::Peer(name, report.peer), over]
        }
        Err(error) => vec![trouble(
            SourceName::NodeStates,
            subject,
            format!("{error}; what it said before stays in force"),
        )],
    }
}

fn trouble(source: SourceName, subject: String, message: String) -> Change {
    if message.is_empty() {
        Change::NoTrouble { source, subject }
    } else {
        Change::Trouble {
            source,
            subject,
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_garbled_node_state_changes_nothing() {
        let state = |status: serde_json::Value| -> DynamicObject {
            serde_json::from_value(json!({
                "apiVersion": "directway.dev/v1alpha1", "kind": "NodeState", "metadata": {"name": "b"}, "status": status,
            }))
            .unwrap()
        };
        let changes = peer_changes(state(json!({"bound": ["10.0.0.1-10.0.0.3"]})));
        assert!(
            matches!(&changes[..], [Change::Peer(_, peer), Change::NoTrouble { .. }] if peer.bound.contains([10, 0, 0, 2].into())),
            "{changes:?}"
        );
        for garbled in [
            json!({"bound": 5}),
            json!({"bound": ["10.0.0.9-10.0.0.1"]}),
            json!("?"),
        ] {
            let changes = peer_changes(state(garbled));
            assert!(
                matches!(&changes[..], [Change::Trouble { .. }]),
                "{changes:?}"
            );
        }
    }
}
