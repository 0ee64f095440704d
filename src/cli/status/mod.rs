//! `directway status`: how every VirtualService stands and, for each real server without traffic, why.

mod agent_state;
mod directors;
mod document;
mod drains;
mod holder;
mod nodes;
mod notes;
#[cfg(test)]
mod tests;
mod text;

use std::{net::SocketAddr, process::ExitCode};

use crate::cluster::SourceConfig;

use super::{
    CommandResult, DEFAULT_AGENT_ADDRESS,
    kubernetes::KubeArgs,
    liveness::LeaseArgs,
    output::OutputArgs,
    snapshot::{SourceArgs, SourceRead, cluster, problems},
};

/// Options of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  The cluster of the current kubeconfig, and one namespace of it:
    directway status
    directway status -n shop
  A plain host: its manifests and its agent
    directway status --source dir:/etc/directway
  What one agent reports:
    directway status --admin-address 127.0.0.1:8090")]
pub struct Args {
    /// Only VirtualServices of this namespace
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    #[command(flatten)]
    source: SourceArgs,
    /// Ask the agent that listens here, instead of the cluster [default with dir: 127.0.0.1:8090]
    #[arg(long, value_name = "HOST:PORT")]
    admin_address: Option<SocketAddr>,
    #[command(flatten)]
    leases: LeaseArgs,
    #[command(flatten)]
    kube: KubeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args) -> CommandResult {
    let mut document = match (&args.source.source, args.admin_address) {
        (SourceConfig::Kubernetes, None) => {
            let cluster = cluster(&args.kube)?;
            let liveness = args.leases.look(&args.kube)?;
            document::of_cluster(&cluster, &liveness, problems(&cluster))
        }
        (SourceConfig::Kubernetes, Some(address)) => {
            let (node, report) = agent_state::fetch(address)?;
            document::of_agent(&node, &report, None)
        }
        (SourceConfig::Directory(_), address) => {
            let SourceRead {
                snapshot, problems, ..
            } = args.source.read(&args.kube)?;
            let address = address.unwrap_or(DEFAULT_AGENT_ADDRESS);
            let (node, report) = agent_state::fetch(address)?;
            let mut document = document::of_agent(&node, &report, Some(&snapshot));
            document.notes.extend(problems);
            document
        }
    };
    if let Some(namespace) = &args.namespace {
        let services = &mut document.virtual_services;
        services.retain(|service| service.namespace == *namespace);
    }
    args.output
        .output
        .print(&document, || text::text(&document))?;
    Ok(ExitCode::SUCCESS)
}
