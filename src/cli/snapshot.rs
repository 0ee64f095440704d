//! One complete look at the cluster or at a directory, for subcommands that run once.

use std::collections::BTreeSet;

use kube::Client;
use tokio::sync::watch;

use crate::{
    cluster::{LookError, SourceConfig, SourceName, Store, Wanted, directory, look},
    desired::RecentDirectors,
    model::{NodeName, ServiceName, Snapshot},
};

use super::{
    Failure,
    kubernetes::{KubeArgs, block_on, not_listed},
};

/// The option `--source`.
#[derive(Clone, Debug, clap::Args)]
pub struct SourceArgs {
    /// Where manifests come from: kubernetes or dir:PATH
    #[arg(long, default_value_t = SourceConfig::Kubernetes, value_name = "SOURCE")]
    pub source: SourceConfig,
}

/// What a source has now.
#[derive(Debug)]
pub(super) struct SourceRead {
    pub snapshot: Snapshot,
    /// What is wrong with its objects or files.
    pub problems: Vec<String>,
    /// Nodes that hold VIPs by what the controller wrote; see [`holders_by_status`].
    pub holders: BTreeSet<NodeName>,
}

impl SourceArgs {
    /// Reads the source once, completely.
    pub(super) fn read(&self, kube: &KubeArgs) -> Result<SourceRead, Failure> {
        match &self.source {
            SourceConfig::Directory(path) => {
                let store = directory::look(path).map_err(|error| {
                    let text = format!("--source dir:{}: {error}", path.display());
                    match error {
                        LookError::Unreadable(_) => Failure::Usage(text),
                        LookError::Unsettled => Failure::Failed(text),
                    }
                })?;
                Ok(SourceRead {
                    snapshot: store.snapshot().clone(),
                    // The messages name the file.
                    problems: store.problems().values().cloned().collect(),
                    holders: BTreeSet::new(),
                })
            }
            SourceConfig::Kubernetes => {
                let store = cluster_with_endpoints(kube, &BTreeSet::new())?;
                Ok(SourceRead {
                    snapshot: store.snapshot().clone(),
                    problems: problems(&store),
                    holders: holders_by_status(&store),
                })
            }
        }
    }
}

/// Everything in the cluster that concerns directway, except endpoints.
pub(super) fn cluster(kube: &KubeArgs) -> Result<Store, Failure> {
    block_on(async { fetch(&kube.client().await?).await })?
}

/// The same with the endpoints of the Services that VirtualServices name, and of `more`.
pub(super) fn cluster_with_endpoints(
    kube: &KubeArgs,
    more: &BTreeSet<ServiceName>,
) -> Result<Store, Failure> {
    block_on(async {
        let client = kube.client().await?;
        let mut store = fetch(&client).await?;
        let services = store.services().union(more).cloned().collect();
        let wanted = Wanted {
            services: Some(watch::channel(services).1),
            ..Wanted::all()
        };
        let found = look(&client, &wanted, &[SourceName::EndpointSlices], &mut store).await;
        found.map_err(|error| not_listed(&error))?;
        Ok(store)
    })?
}

async fn fetch(client: &Client) -> Result<Store, Failure> {
    let wanted = Wanted::all();
    let mut store = Store::new(&wanted.sources());
    // directway's kinds come first, so that the error names one of them if the CRDs are missing.
    let order = [
        SourceName::NodeStates,
        SourceName::VirtualServices,
        SourceName::Nodes,
    ];
    let found = look(client, &wanted, &order, &mut store).await;
    found.map_err(|error| not_listed(&error))?;
    Ok(store)
}

/// The nodes that VirtualServices' statuses name as holders. The controller follows the labels, so a node that is no
/// director any more was one lately if it is named there.
pub(super) fn holders_by_status(store: &Store) -> BTreeSet<NodeName> {
    let objects = store.objects().values();
    let statuses = objects.filter_map(|object| object.status.as_ref());
    let holders = statuses.flat_map(|status| &status.holders);
    holders
        .map(|holder| NodeName(holder.node.clone()))
        .collect()
}

/// Whose reports of VIPs count.
pub(super) fn recent_directors(store: &Store) -> RecentDirectors {
    RecentDirectors::at_a_look(store.snapshot(), &holders_by_status(store))
}

/// What is wrong with objects of the cluster.
pub(super) fn problems(store: &Store) -> Vec<String> {
    let known = store.problems().iter();
    let known = known.map(|((_, subject), message)| format!("{subject}: {message}"));
    let reports = store.reports().iter();
    let unreadable = reports.filter_map(|(name, report)| {
        let error = report.as_ref().err()?;
        Some(format!("NodeState {name}: {error}"))
    });
    known.chain(unreadable).collect()
}
