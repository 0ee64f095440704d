//! The cluster as a subcommand sees it: one look, reads only.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::PathBuf,
};

use k8s_openapi::api::{core::v1::Node, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DynamicObject, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, Resource},
};
use serde::de::DeserializeOwned;

use crate::{
    api::{self, NodeState, Report, SERVICE_NAME_LABEL, VirtualService},
    model::{Endpoints, NodeName, Peers, ServiceName, Slices, Snapshot},
};

use super::{Failure, snapshot::Read};

/// Objects per page of a list.
const PAGE: u32 = 500;

/// Which cluster is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct KubeArgs {
    /// Kubeconfig to use [default: $KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig to use [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// Everything in the cluster that concerns directway.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    /// VirtualServices, whatever is in them.
    pub services: Vec<DynamicObject>,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// What the agents report, or what is wrong with it.
    pub states: BTreeMap<NodeName, Result<Report, String>>,
    /// Endpoints of Services, those that were asked for.
    pub endpoints: Endpoints,
}

/// Runs a future to its end on a runtime of its own.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| Failure::Failed(format!("cannot start a runtime: {error}")))?;
    Ok(runtime.block_on(future))
}

impl KubeArgs {
    /// A client for the cluster that is meant.
    pub(super) async fn client(&self) -> Result<Client, Failure> {
        let config = self.config().await.map_err(|error| {
            Failure::Failed(format!(
                "no cluster: {error}; give a kubeconfig with --kubeconfig FILE or $KUBECONFIG, or read manifests with --source dir:PATH"
            ))
        })?;
        Client::try_from(config).map_err(|error| failed("connect", &error))
    }

    async fn config(&self) -> Result<Config, String> {
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path)
                .map_err(|error| format!("--kubeconfig {}: {}", path.display(), causes(&error)))?,
            None => match (Kubeconfig::read(), Config::incluster()) {
                (Ok(kubeconfig), _) => kubeconfig,
                (Err(_), Ok(in_pod)) if self.context.is_none() => return Ok(in_pod),
                (Err(error), _) => return Err(causes(&error)),
            },
        };
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        config.map_err(|error| match &self.context {
            Some(context) => format!("--context {context}: {}", causes(&error)),
            None => causes(&error),
        })
    }
}

/// An error with everything that caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// What was not done, why, and what to do.
pub(super) fn failed(doing: &str, error: &kube::Error) -> Failure {
    let kube::Error::Api(status) = error else {
        return Failure::Failed(format!("{doing}: {}", causes(error)));
    };
    let hint = match status.code {
        404 => {
            "; is directway installed in this cluster? (helm install; or the definitions alone: directway crd | kubectl apply --server-side -f -)"
        }
        401 | 403 => "; use a kubeconfig that may do that",
        _ => "",
    };
    Failure::Failed(format!("{doing}: {}{hint}", status.message))
}

/// Whether the API server does not know the kind, or the object.
pub(super) fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

impl Cluster {
    /// Reads everything once, except endpoints.
    pub(super) fn fetch(args: &KubeArgs) -> Result<Self, Failure> {
        block_on(async { Self::fetch_from(args.client().await?).await })?
    }

    /// Reads everything once, with the endpoints of the Services that VirtualServices name, and of `more`.
    pub(super) fn fetch_with_endpoints(
        args: &KubeArgs,
        more: &BTreeSet<ServiceName>,
    ) -> Result<Self, Failure> {
        block_on(async {
            let client = args.client().await?;
            let mut cluster = Self::fetch_from(client.clone()).await?;
            let named = cluster.services.iter().map(api::admit);
            let mut services: BTreeSet<_> = named.filter_map(|one| service_of(&one)).collect();
            services.extend(more.iter().cloned());
            cluster.endpoints = endpoints(client, services).await?;
            Ok(cluster)
        })?
    }

    async fn fetch_from(client: Client) -> Result<Self, Failure> {
        let kind = ApiResource::erase::<VirtualService>(&());
        let services = Api::<DynamicObject>::all_with(client.clone(), &kind);
        let kind = ApiResource::erase::<NodeState>(&());
        let states = Api::<DynamicObject>::all_with(client.clone(), &kind);
        let states = list(&states).await;
        let states = states.map_err(|error| failed("list NodeStates", &error))?;
        let services = list(&services).await;
        let nodes = list(&Api::<Node>::all(client)).await;
        Ok(Self {
            services: services.map_err(|error| failed("list VirtualServices", &error))?,
            nodes: nodes.map_err(|error| failed("list Nodes", &error))?,
            states: states.into_iter().map(report).collect(),
            endpoints: Endpoints::new(),
        })
    }

    /// As an agent would know it.
    pub(super) fn read(&self) -> Read {
        let mut troubles = Vec::new();
        let services = self.services.iter().map(api::admit);
        let mut nodes = BTreeMap::new();
        for object in &self.nodes {
            let (name, node, problems) = api::node(object);
            troubles.extend(
                problems
                    .iter()
                    .map(|problem| format!("Node {name}: {problem}")),
            );
            nodes.insert(name, node);
        }
        let mut peers = BTreeMap::new();
        for (name, report) in &self.states {
            match report {
                Ok(report) => {
                    peers.insert(name.clone(), report.peer.clone());
                }
                Err(error) => troubles.push(format!("NodeState {name}: {error}")),
            }
        }
        Read {
            snapshot: Snapshot {
                virtual_services: services
                    .map(|admitted| (admitted.key, admitted.verdict))
                    .collect(),
                nodes,
                peers: Peers::Reported(peers),
                endpoints: self.endpoints.clone(),
                ..Snapshot::default()
            },
            troubles,
        }
    }
}

/// The Service whose endpoints a VirtualService asks for.
pub(super) fn service_of(admitted: &api::Admitted) -> Option<ServiceName> {
    let accepted = admitted.verdict.as_ref().ok()?;
    accepted.real_servers.service.clone()
}

/// Namespace by namespace: that is as much as many users may read.
async fn endpoints(client: Client, services: BTreeSet<ServiceName>) -> Result<Endpoints, Failure> {
    let mut endpoints: Endpoints = services
        .into_iter()
        .map(|service| (service, Slices::new()))
        .collect();
    let namespaces: BTreeSet<String> = endpoints
        .keys()
        .map(|service| service.namespace.clone())
        .collect();
    for namespace in namespaces {
        let slices = Api::<EndpointSlice>::namespaced(client.clone(), &namespace);
        let of_services = ListParams::default().labels(SERVICE_NAME_LABEL);
        let doing = format!("list EndpointSlices of namespace {namespace}");
        let found = list_some(&slices, &of_services).await;
        for object in found.map_err(|error| failed(&doing, &error))? {
            let (service, name, slice) = api::endpoint_slice(&object);
            if let Some(slices) = service.and_then(|service| endpoints.get_mut(&service)) {
                slices.insert(name, slice);
            }
        }
    }
    Ok(endpoints)
}

/// What a NodeState says.
pub(super) fn report(object: DynamicObject) -> (NodeName, Result<Report, String>) {
    let name = NodeName(object.name_any());
    let status = object.data.get("status").cloned();
    let report = match status {
        None | Some(serde_json::Value::Null) => Err("its agent has not reported yet".to_owned()),
        Some(status) => serde_json::from_value(status)
            .map_err(|error| error.to_string())
            .and_then(|status| Report::from_status(&status).map_err(|error| error.to_string())),
    };
    (name, report)
}

/// All of them, page by page.
pub(super) async fn list<K>(api: &Api<K>) -> Result<Vec<K>, kube::Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug + Resource,
{
    list_some(api, &ListParams::default()).await
}

/// All that are asked for, page by page.
async fn list_some<K>(api: &Api<K>, which: &ListParams) -> Result<Vec<K>, kube::Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug + Resource,
{
    let mut all = Vec::new();
    let mut params = which.clone().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = which.clone().limit(PAGE).continue_token(&token),
            None => return Ok(all),
        }
    }
}
