//! The Kubernetes API of directway: kinds, their rules, and the way from an object to the model.

mod conditions;
mod convert;
mod endpoint_slice;
mod health_check;
mod lists;
mod manifest;
mod manifest_of;
mod node;
mod node_state;
mod observed_generations;
mod report;
#[cfg(test)]
mod report_tests;
mod rules;
mod schema;
#[cfg(test)]
mod tests;
mod virtual_service;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use conditions::{ConditionReason, ConditionStatus, ConditionType};
pub use convert::{ParsedVirtualService, parse_virtual_service};
pub use endpoint_slice::{SERVICE_NAME_LABEL, endpoint_slice};
pub use health_check::{InvalidCa, authorities};
pub use manifest::{Manifest, OtherManifest, parse_manifests};
pub use manifest_of::manifest_of;
pub use node::node;
pub use node_state::{NodeState, NodeStateSpec, NodeStateStatus};
pub use observed_generations::{GenerationMatch, ObservedGenerations};
pub use report::{InvalidReport, Report, ReportedNic, StatusSize, Undoing};
pub use virtual_service::{
    Count, Directors, ExternalServer, Holder, NodeSelector, Persistence, Port, RealServers,
    Scheduler, SelectorRequirement, ServiceReference, Summary, VirtualService, VirtualServiceSpec,
    VirtualServiceStatus,
};

/// Every kind's definition, in the order in which they are installed.
pub fn crds() -> [CustomResourceDefinition; 2] {
    [VirtualService::crd(), NodeState::crd()].map(schema::without_null)
}

/// The definitions as they are committed under `crds/`: file name and content.
///
/// # Errors
/// None that a caller can cause: a definition that YAML cannot express.
pub fn crd_files() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    let file = |crd: &CustomResourceDefinition| {
        let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
        Ok((name, format!("---\n{}", serde_saphyr::to_string(crd)?)))
    };
    crds().iter().map(file).collect()
}

/// All definitions as one YAML stream, as `directway crd` prints it.
///
/// # Errors
/// As [`crd_files`].
pub fn crds_yaml() -> Result<String, serde_saphyr::ser::Error> {
    Ok(crd_files()?.into_iter().map(|(_, text)| text).collect())
}
