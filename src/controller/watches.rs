//! The watches: API objects → [`Change`]s.

use std::{fmt::Debug, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{ApiResource, DynamicObject},
    runtime::watcher::{self, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::cluster::{Change, News, Object};
use crate::{
    api::{
        Admitted, NodeState, NodeStateStatus, Report, VirtualService, VirtualServiceStatus, admit,
        node,
    },
    api_client,
    model::{Node, NodeName, VsKey},
};

/// How long the API server may be silent on a connection: watches end after five minutes by themselves.
const SILENCE: Duration = Duration::from_secs(310);
/// Between attempts: from this, doubled, up to that.
const SOON: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_secs(5);

/// A client with the service account of the pod, or with the kubeconfig.
pub(super) async fn client() -> Result<Client, String> {
    let config = kube::Config::infer().await.map_err(|error| {
        format!("no Kubernetes API server is configured: {error}; run in a pod with a service account, or set KUBECONFIG")
    })?;
    api_client::client(config, SILENCE).map_err(|error| format!("Kubernetes client: {error}"))
}

/// Follows all three kinds for ever.
pub(super) async fn follow(client: Client, changes: mpsc::Sender<Change>) {
    let dynamic = |resource: &ApiResource| Api::<DynamicObject>::all_with(client.clone(), resource);
    let services = dynamic(&ApiResource::erase::<VirtualService>(&()));
    let states = dynamic(&ApiResource::erase::<NodeState>(&()));
    let nodes = Api::<core::Node>::all(client.clone());
    tokio::join!(
        run(
            "VirtualServices",
            services,
            virtual_service,
            Change::VirtualService,
            &changes
        ),
        run("Nodes", nodes, node_of, Change::Node, &changes),
        run("NodeStates", states, report, Change::Report, &changes),
    );
}

async fn run<O, K: Clone, T: Clone>(
    kind: &str,
    api: Api<O>,
    read: impl Fn(&O) -> (K, T),
    change: impl Fn(News<K, T>) -> Change,
    changes: &mpsc::Sender<Change>,
) where
    O: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = watcher(api, watcher::Config::default()).boxed();
    let mut pause = SOON;
    let mut list = Vec::new();
    let mut trouble = String::new();
    while let Some(event) = events.next().await {
        let news = match event {
            Ok(watcher::Event::Init) => {
                list.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                list.push(read(&object));
                continue;
            }
            Ok(watcher::Event::InitDone) => News::All(std::mem::take(&mut list)),
            Ok(watcher::Event::Apply(object)) => {
                let (key, value) = read(&object);
                News::Is(key, value)
            }
            Ok(watcher::Event::Delete(object)) => News::Gone(read(&object).0),
            Err(error) => {
                let error = error.to_string();
                if error != trouble {
                    tracing::warn!(
                        kind,
                        "watch: {error}; what is known stays in force, trying again"
                    );
                    trouble = error;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LATE);
                continue;
            }
        };
        if !trouble.is_empty() {
            tracing::info!(kind, "watch: works again");
            trouble.clear();
            pause = SOON;
        }
        if changes.send(change(news)).await.is_err() {
            return;
        }
    }
}

/// A VirtualService of any shape. Its own status is read separately, so that one cannot spoil the other.
pub(super) fn virtual_service(object: &DynamicObject) -> (VsKey, Box<(Admitted, Object)>) {
    let admitted = admit(object);
    let status = object.data.get("status").cloned();
    let beyond = Object {
        uid: admitted.uid.clone(),
        generation: admitted.generation,
        status: status
            .and_then(|status| serde_json::from_value::<VirtualServiceStatus>(status).ok()),
        reference: core::ObjectReference {
            resource_version: None,
            ..object.object_ref(&ApiResource::erase::<VirtualService>(&()))
        },
    };
    (admitted.key.clone(), Box::new((admitted, beyond)))
}

fn node_of(object: &core::Node) -> (NodeName, Node) {
    // What is wrong with it, the agents say.
    let (name, node, _) = node(object);
    (name, node)
}

/// A report of any shape.
fn report(object: &DynamicObject) -> (NodeName, Box<Result<Report, String>>) {
    let status = object.data.get("status").cloned().unwrap_or_default();
    let status = serde_json::from_value::<Option<NodeStateStatus>>(status);
    let report = status
        .map_err(|error| format!("status: {error}"))
        .and_then(|status| {
            Report::from_status(&status.unwrap_or_default()).map_err(|error| error.to_string())
        });
    (NodeName(object.name_any()), Box::new(report))
}
