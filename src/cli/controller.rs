//! `directway controller`: sums the agents' reports up in each VirtualService's status.

use std::{net::SocketAddr, process::ExitCode};

use crate::controller::{self, Config};

use super::{
    CommandResult, DEFAULT_CONTROLLER_ADDRESS, Failure, kubernetes::block_on, log::LogArgs,
};

/// Options of `controller`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  In a pod, with the Lease in the pod's namespace:
    directway controller
  Anywhere with a kubeconfig:
    directway controller --lease-namespace directway-system

Any number may run; the holder of the Lease \"directway-controller\" works. It
writes VirtualService.status and Events. Traffic never depends on it.

Exit status: 0 ended by a signal; 1 it could not start or go on;
64 wrong command line.")]
pub struct Args {
    /// Namespace of the Lease [default: the pod's, or the kubeconfig's]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    lease_namespace: Option<String>,
    /// A name that no other controller has [default: made from the host's name]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    identity: Option<String>,
    /// Where the admin endpoint listens
    #[arg(long, default_value_t = DEFAULT_CONTROLLER_ADDRESS, value_name = "HOST:PORT")]
    admin_address: SocketAddr,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) fn run(args: &Args) -> CommandResult {
    args.log.init()?;
    let config = Config {
        namespace: args.lease_namespace.clone(),
        identity: args.identity.clone(),
        admin_address: args.admin_address,
    };
    block_on(controller::run(config))?.map_err(Failure::Failed)?;
    Ok(ExitCode::SUCCESS)
}
